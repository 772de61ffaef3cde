"""The sandbox's TikTok: what it takes and refuses, and the real module against it, with faults at each step."""

from __future__ import annotations

import functools
import io
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from sandbox_client import VIDEO, Client, picture

from platforms.base import (
    AccountRef,
    AuthExpired,
    Call,
    Doubt,
    Draft,
    Found,
    Identity,
    Inconclusive,
    MediaItem,
    MediaKind,
    Processing,
    Published,
    RateLimited,
    Ready,
    Refreshed,
    Rejected,
    Repeatable,
    Unknown,
)
from platforms.errors import TransportError
from platforms.http import Client as Http
from platforms.sandbox import Sandbox
from platforms.tiktok import PLATFORM

PUBLIC = "PUBLIC_TO_EVERYONE"
INIT = "/v2/post/publish/video/init/"
BIG = VIDEO + bytes(11 * 1024 * 1024)
TYPED = {"Content-Type": "application/json; charset=UTF-8"}


@pytest.fixture
def tiktok(box: Sandbox) -> Client:
    return Client(box, "sandbox-tiktok-acme")


@pytest.fixture
def store() -> Iterator[tuple[str, dict[str, tuple[bytes, str]]]]:
    """A store on this machine: its address, and its files by path."""
    files: dict[str, tuple[bytes, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data, kind = files.get(self.path, (b"", ""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()
    server.server_close()
    thread.join()


class Desk:
    """One account, as a worker would use it: one post over one checkpoint."""

    def __init__(self, box: Sandbox, credentials: Mapping[str, Any] | None = None) -> None:
        self.box = box
        self.credentials = dict(credentials or {"access_token": "sandbox-tiktok-acme"})
        self.http = Http(api_hosts=PLATFORM.api_hosts, override=box.url, deadline_s=10)
        self.checkpoint: dict[str, Any] = {}
        self.account = AccountRef("tiktok", "acme")
        identity = PLATFORM.identify(self.call())
        if isinstance(identity, Identity):
            facts = {**identity.facts, "scopes": ["video.list"]}
            self.account = AccountRef("tiktok", "acme", identity.handle, identity.remote_id, facts)

    def call(self) -> Call:
        return Call(self.http, self.account, self.credentials, lambda: datetime.now(UTC), self.checkpoint)

    def draft(self, text: str, *media: MediaItem, **options: Any) -> Draft:
        draft = Draft(text, self.account, media, {"privacy": PUBLIC} | options)
        assert PLATFORM.validate(draft) == []
        return draft

    def prepare(self, draft: Draft) -> None:
        if PLATFORM.needs_prepare(draft):
            assert isinstance(PLATFORM.prepare(self.call(), draft), Ready)

    def tried(self, draft: Draft) -> Any:
        """What ``publish`` answers or raises."""
        try:
            return PLATFORM.publish(self.call(), draft)
        except TransportError as error:
            return error

    def finish(self, draft: Draft, outcome: Any = None) -> Any:
        outcome = outcome or PLATFORM.publish(self.call(), draft)
        for _ in range(100):
            if not isinstance(outcome, Processing):
                return outcome
            time.sleep(0.02)
            outcome = PLATFORM.poll(self.call(), draft)
        raise AssertionError("never done")

    def look(self, draft: Draft) -> Any:
        now = datetime.now(UTC)
        return PLATFORM.reconcile(self.call(), draft, Doubt(now - timedelta(seconds=30), now, frozenset()))


def clip(data: bytes = VIDEO, url: str | None = None) -> MediaItem:
    sha = f"{len(data):064x}"
    return MediaItem(
        MediaKind.VIDEO, "video/mp4", len(data), 720, 1280, sha, duration_s=9.0, url=url, read=lambda: io.BytesIO(data)
    )


def photo(url: str) -> MediaItem:
    return MediaItem(MediaKind.IMAGE, "image/jpeg", 100, 60, 90, "1" * 64, url=url)


# --- The module against the sandbox -----------------------------------------------------------------------


@pytest.mark.parametrize("data", [VIDEO, BIG], ids=["one-chunk", "two-chunks"])
def test_an_uploaded_video(box: Sandbox, data: bytes) -> None:
    box.configure(processing_s=0.1)
    desk = Desk(box)
    draft = desk.draft("Soup #lunch", clip(data))
    desk.prepare(draft)
    assert box.accepted() == []
    outcome = desk.finish(draft)
    [row] = box.accepted()
    assert outcome == Published(row["remote_id"], f"https://www.tiktok.com/@acme/video/{row['remote_id']}")
    assert row["content"]["text"] == "Soup #lunch"
    assert row["content"]["privacy"] == PUBLIC


def test_photos_and_a_pulled_video_private_and_inbox(box: Sandbox, store: Any) -> None:
    box.configure(processing_s=0.05)
    url, files = store
    files["/p.jpg"] = (picture(kind="JPEG"), "image/jpeg")
    files["/v.mp4"] = (VIDEO, "video/mp4")
    desk = Desk(box)
    for draft, named in (
        (desk.draft("Photos", photo(f"{url}/p.jpg"), photo(f"{url}/p.jpg"), title="Two"), True),
        (desk.draft("Pulled", clip(url=f"{url}/v.mp4"), media="url"), True),
        (desk.draft("Mine", photo(f"{url}/p.jpg"), privacy="SELF_ONLY"), False),
        (desk.draft("Draft", photo(f"{url}/p.jpg"), mode="inbox", privacy=None), False),
        (desk.draft("", clip(), mode="inbox", privacy=None), False),
    ):
        desk.checkpoint = {}
        desk.prepare(draft)
        outcome = desk.finish(draft)
        assert isinstance(outcome, Published)
        assert (outcome.remote_id is not None) is named
    assert len(box.accepted()) == 5
    assert box.summary()["doubled"] == []


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("reset_early", False),
        ("reset_before", False),
        ("reset_after", True),
        ("cut_answer", True),
        ("server_error", False),
        ("server_error_after", True),
        ("html_error_page", False),
    ],
)
def test_a_doubtful_last_chunk_is_settled_by_its_publish_id(box: Sandbox, kind: str, stored: bool) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("doubtful", clip(BIG))
    desk.prepare(draft)
    box.set_faults([{"step": "tiktok.upload", "kind": kind, "count": 1}])
    outcome = desk.tried(draft)
    # The answer to a chunk has no body: what is cut of it tells all the same.
    told = Processing if kind == "cut_answer" else Unknown
    assert isinstance(outcome, told) or (isinstance(outcome, TransportError) and outcome.sent), outcome
    assert len(box.accepted()) == stored
    found = desk.look(draft)
    assert isinstance(found, Found if stored else Repeatable), found
    if not stored:
        assert isinstance(desk.finish(draft), Published)
    assert len(box.accepted()) == 1


def test_a_lost_answer_of_an_init_that_publishes(box: Sandbox, store: Any) -> None:
    box.configure(processing_s=0.0)
    url, files = store
    files["/p.jpg"] = (picture(kind="JPEG"), "image/jpeg")
    desk = Desk(box)
    draft = desk.draft("Lost & found", photo(f"{url}/p.jpg"))
    desk.prepare(draft)
    box.set_faults([{"step": "*.publish", "kind": "reset_after", "count": 1}])
    with pytest.raises(TransportError):
        PLATFORM.publish(desk.call(), draft)
    found = desk.look(draft)
    assert isinstance(found, Found)
    assert found.remote_id == box.accepted()[0]["remote_id"]
    never = desk.draft("Never sent", photo(f"{url}/p.jpg"))
    assert isinstance(desk.look(never), Inconclusive)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("rate_limited", RateLimited),
        ("expired_token", AuthExpired),
        ("forbidden", AuthExpired),
        ("server_error", Unknown),
    ],
)
def test_refusals_of_an_init_are_understood(box: Sandbox, store: Any, kind: str, outcome: type) -> None:
    url, files = store
    files["/p.jpg"] = (picture(kind="JPEG"), "image/jpeg")
    desk = Desk(box)
    draft = desk.draft("refused", photo(f"{url}/p.jpg"))
    desk.prepare(draft)
    box.set_faults([{"step": "tiktok.content_init", "kind": kind}])
    assert isinstance(PLATFORM.publish(desk.call(), draft), outcome)
    assert box.accepted() == []


@pytest.mark.parametrize("path", ["/gone.jpg", "/text.jpg", "/p.png"])
def test_what_cannot_be_fetched_or_is_no_photo_fails_by_its_status(box: Sandbox, store: Any, path: str) -> None:
    box.configure(processing_s=0.0)
    url, files = store
    files |= {"/text.jpg": (b"no picture", "image/jpeg"), "/p.png": (picture(), "image/png")}
    desk = Desk(box)
    draft = desk.draft("no", photo(f"{url}{path}"))
    desk.prepare(draft)
    assert isinstance(PLATFORM.publish(desk.call(), draft), Processing)
    outcome = PLATFORM.poll(desk.call(), draft)
    # A pull that failed is begun anew; a wrong file is not.
    assert isinstance(outcome, Processing if path == "/gone.jpg" else Rejected)
    assert box.accepted() == []


def test_urls_of_other_machines_are_not_ours_to_use(box: Sandbox) -> None:
    desk = Desk(box)
    draft = desk.draft("far away", photo("https://media.example/p.jpg"))
    desk.prepare(draft)
    outcome = PLATFORM.publish(desk.call(), draft)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.operator_alert) == ("url_ownership_unverified", True)


def test_the_creators_options_are_asked_for_at_each_post(box: Sandbox) -> None:
    desk = Desk(box)
    draft = desk.draft("hi", clip())
    box.account("tiktok", "acme", privacy_level_options=["SELF_ONLY"])
    outcome = PLATFORM.prepare(desk.call(), draft)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "privacy_not_offered"


def test_the_days_cap_is_told_with_status_200(box: Sandbox, tiktok: Client) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    for number in range(15):
        desk.checkpoint = {}
        draft = desk.draft(f"n{number}", clip())
        desk.prepare(draft)
        assert isinstance(desk.finish(draft), Published)
    box.configure(enforce_limits=True)
    answer = tiktok("POST", "/v2/post/publish/creator_info/query/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, "spam_risk_too_many_posts")
    desk.checkpoint = {}
    assert isinstance(PLATFORM.prepare(desk.call(), desk.draft("one more", clip())), RateLimited)


def test_a_refresh_token_works_once(box: Sandbox) -> None:
    made = box.account("tiktok", "acme", expires_in=0.0)
    old = {
        "access_token": made["token"], "refresh_token": made["refresh_token"], "client_key": "k", "client_secret": "s",
    }  # fmt: skip
    desk = Desk(box, old)
    assert isinstance(PLATFORM.identify(desk.call()), AuthExpired)
    renewed = PLATFORM.refresh(desk.call())
    assert isinstance(renewed, Refreshed)
    assert renewed.credentials["refresh_token"] != old["refresh_token"]
    again = PLATFORM.refresh(desk.call())
    assert isinstance(again, AuthExpired)
    assert again.permanent
    desk.credentials = dict(renewed.credentials)
    assert isinstance(PLATFORM.identify(desk.call()), Identity)


# --- The sandbox itself -----------------------------------------------------------------------------------


def begin(tiktok: Client, size: int, chunk: int, count: int, level: str = PUBLIC, title: str = "") -> requests.Response:
    source = {"source": "FILE_UPLOAD", "video_size": size, "chunk_size": chunk, "total_chunk_count": count}
    body = {"post_info": {"privacy_level": level, "title": title}, "source_info": source}
    return tiktok("POST", INIT, json=body)


@pytest.mark.parametrize(
    ("size", "chunk", "count", "good"),
    [
        (1000, 1000, 1, True),
        (1000, 500, 2, False),
        (50_000_123, 10_000_000, 5, True),
        (50_000_123, 10_000_000, 6, False),
        (50_000_123, 4_000_000, 12, False),
        (100_000_000, 100_000_000, 1, False),
        (0, 0, 0, False),
        (5 * 1024**3, 64_000_000, 83, False),
    ],
)
def test_the_floor_rule(tiktok: Client, size: int, chunk: int, count: int, good: bool) -> None:
    answer = begin(tiktok, size, chunk, count)
    assert answer.status_code == (200 if good else 400)
    assert answer.json()["error"]["code"] == ("ok" if good else "invalid_params")
    assert len(answer.json()["data"].get("publish_id", "")) <= 64


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_params"),
        ({"post_info": {}, "source_info": {"source": "FILE_UPLOAD"}}, 400, "invalid_params"),
        ({"post_info": {"privacy_level": "ALL"}, "source_info": {"source": "FILE_UPLOAD"}}, 400, "invalid_params"),
        ({"post_info": {"privacy_level": PUBLIC}, "source_info": {"source": "PULL_FROM_URL"}}, 400, "invalid_params"),
        (
            {"post_info": {"privacy_level": "FOLLOWER_OF_CREATOR"}, "source_info": {"source": "FILE_UPLOAD"}},
            403,
            "privacy_level_option_mismatch",
        ),
        (
            {"post_info": {"privacy_level": PUBLIC, "title": "x" * 2201}, "source_info": {"source": "FILE_UPLOAD"}},
            400,
            "invalid_params",
        ),
    ],
)
def test_init_checks_its_body(tiktok: Client, body: dict[str, Any], status: int, code: str) -> None:
    answer = tiktok("POST", INIT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_chunks_in_order_of_the_announced_size_and_nothing_else(box: Sandbox, tiktok: Client) -> None:
    size, chunk = 12_000_000, 5_500_000
    data = (VIDEO + bytes(size))[:size]
    made = begin(tiktok, size, chunk, 2).json()["data"]
    assert made["upload_url"].startswith("https://open-upload.tiktokapis.com/video/?upload_id=")
    url = box.url + made["upload_url"].removeprefix("https://open-upload.tiktokapis.com")

    def put(first: int, last: int, total: int = size, **headers: str) -> requests.Response:
        told = {"Content-Type": "video/mp4", "Content-Range": f"bytes {first}-{last}/{total}", **headers}
        return requests.put(url, data=data[first : last + 1], headers=told, timeout=10)

    assert put(chunk, size - 1).headers["content-range"] == f"bytes */{size}"
    assert put(0, chunk).status_code == 400
    assert put(0, chunk - 1, size + 1).status_code == 400
    assert put(0, chunk - 1, **{"Content-Type": "text/plain"}).status_code == 400
    assert put(0, chunk - 1).status_code == 206
    again = put(0, chunk - 1)
    assert (again.status_code, again.headers["content-range"]) == (416, f"bytes 0-{chunk - 1}/{size}")
    assert box.accepted() == []
    assert requests.put(url + "x", data=b"", timeout=10).status_code == 404
    assert put(chunk, size - 1).status_code == 201
    assert put(chunk, size - 1).status_code == 416
    assert len(box.accepted()) == 1


def test_an_upload_url_runs_out(box: Sandbox, tiktok: Client) -> None:
    box.configure(media_ttl_s=0.0)
    url = begin(tiktok, 224, 224, 1).json()["data"]["upload_url"]
    headers = {"Content-Type": "video/mp4", "Content-Range": "bytes 0-223/224"}
    path = url.removeprefix("https://open-upload.tiktokapis.com")
    assert requests.put(box.url + path, data=VIDEO, headers=headers, timeout=10).status_code == 403


def test_status_is_for_the_owner_alone(box: Sandbox, tiktok: Client) -> None:
    publish_id = begin(tiktok, 224, 224, 1).json()["data"]["publish_id"]
    path = "/v2/post/publish/status/fetch/"
    mine = tiktok("POST", path, json={"publish_id": publish_id}).json()
    assert mine["data"] == {"status": "PROCESSING_UPLOAD", "uploaded_bytes": 0}
    other = Client(box, "sandbox-tiktok-other")("POST", path, json={"publish_id": publish_id})
    assert other.json()["error"]["code"] == "token_not_authorized_for_specified_publish_id"
    assert tiktok("POST", path, json={"publish_id": "x"}).json()["error"]["code"] == "invalid_publish_id"
    assert tiktok("POST", "/v2/post/publish/cancel/", json={"publish_id": publish_id}).status_code == 400


def test_scopes_and_an_app_that_was_not_audited(box: Sandbox) -> None:
    made = box.account("tiktok", "small", scopes=["user.info.basic", "video.upload"], audited=False)
    small = Client(box, made["token"])
    assert begin(small, 224, 224, 1).json()["error"]["code"] == "scope_not_authorized"
    assert small("GET", "/v2/user/info/?fields=open_id,username").status_code == 401
    assert small("GET", "/v2/user/info/?fields=open_id").json()["data"]["user"].keys() == {"open_id"}
    box.account("tiktok", "small", scopes=None)
    answer = begin(small, 224, 224, 1)
    assert answer.json()["error"]["code"] == "unaudited_client_can_only_post_to_private_accounts"
    assert begin(small, 224, 224, 1, "SELF_ONLY").status_code == 200


def test_only_public_posts_are_listed(box: Sandbox, tiktok: Client) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    for number in range(3):
        desk.checkpoint = {}
        draft = desk.draft(f"n{number}", clip(), privacy="SELF_ONLY" if number == 1 else PUBLIC)
        desk.prepare(draft)
        desk.finish(draft)
    path = "/v2/video/list/?fields=id,video_description"
    page = tiktok("POST", path, json={"max_count": 1}).json()["data"]
    rest = tiktok("POST", path, json={"max_count": 20, "cursor": page["cursor"]}).json()["data"]
    assert [row["video_description"] for row in page["videos"] + rest["videos"]] == ["n2", "n0"]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert tiktok("POST", path, json={"max_count": 21}).status_code == 400
    wanted = {"filters": {"video_ids": [page["videos"][0]["id"]]}}
    found = tiktok("POST", "/v2/video/query/?fields=id,view_count", json=wanted).json()["data"]["videos"]
    assert found == [{"id": page["videos"][0]["id"], "view_count": 0}]
    shown = requests.get(box.url + f"/tiktok/status/{found[0]['id']}", timeout=10)
    assert "n2" in shown.text
