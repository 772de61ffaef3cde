"""The sandbox's TikTok itself: what it takes and refuses, and in which words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sandbox_client import VIDEO, Client
from sandbox_tiktok_desk import APP, INIT, PUBLIC, SPEC, STATUS, Desk, begin, clip, put, watched

from platforms.sandbox import Sandbox
from platforms.sandbox.tiktok import TikTok
from platforms.sandbox.wire import Response

PHOTOS = {"source": "PULL_FROM_URL", "photo_images": ["https://media.example/p.jpg"]}
BODIES = {
    "content_init": {
        "media_type": "PHOTO",
        "post_mode": "DIRECT_POST",
        "post_info": {"privacy_level": PUBLIC},
        "source_info": PHOTOS,
    },
    "status_fetch": {"publish_id": "p"},
}
"""Of calls that look at the body before they know which scope is meant."""


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Response]]]:
    """Every answer, all of which have to be described ones."""
    with watched(monkeypatch) as seen:
        yield seen


@pytest.fixture
def tiktok(box: Sandbox) -> Client:
    return Client(box, "sandbox-tiktok-acme")


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
    assert answer.json()["error"]["code"] == ("ok" if good else "invalid_param")
    assert len(answer.json()["data"].get("publish_id", "")) <= 64


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_param"),
        ({"post_info": {}, "source_info": {"source": "FILE_UPLOAD"}}, 400, "invalid_param"),
        ({"post_info": {"privacy_level": "ALL"}, "source_info": {"source": "FILE_UPLOAD"}}, 400, "invalid_param"),
        ({"post_info": {"privacy_level": PUBLIC}, "source_info": {"source": "PULL_FROM_URL"}}, 400, "invalid_param"),
        (
            {"post_info": {"privacy_level": "FOLLOWER_OF_CREATOR"}, "source_info": {"source": "FILE_UPLOAD"}},
            403,
            "privacy_level_option_mismatch",
        ),
        (
            {"post_info": {"privacy_level": PUBLIC, "title": "x" * 2201}, "source_info": {"source": "FILE_UPLOAD"}},
            400,
            "invalid_param",
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
    url = begin(tiktok, len(VIDEO), len(VIDEO), 1).json()["data"]["upload_url"]
    assert put(box, url).status_code == 403


def test_a_chunk_carries_no_token_of_the_creators(box: Sandbox, tiktok: Client) -> None:
    url = begin(tiktok, len(VIDEO), len(VIDEO), 1).json()["data"]["upload_url"]
    assert put(box, url, **tiktok.headers).status_code == 400
    assert box.accepted() == []
    assert put(box, url).status_code == 201


@pytest.mark.parametrize("answered", [403, 404, 416])
def test_what_a_finished_upload_answers_can_be_ordered(box: Sandbox, tiktok: Client, answered: int) -> None:
    box.account("tiktok", "acme", finished_upload=answered)
    url = begin(tiktok, len(VIDEO), len(VIDEO), 1).json()["data"]["upload_url"]
    assert [put(box, url).status_code for _ in range(2)] == [201, answered]
    assert len(box.accepted()) == 1


def test_a_status_may_lag_behind_the_upload(box: Sandbox, tiktok: Client) -> None:
    box.configure(processing_s=0.0)
    made = begin(tiktok, len(VIDEO), len(VIDEO), 1).json()["data"]
    assert put(box, made["upload_url"]).status_code == 201
    box.set_faults([{"step": "tiktok.status", "kind": "read_lag", "lag_s": 60.0, "count": 1}])
    told = [tiktok("POST", STATUS, json={"publish_id": made["publish_id"]}).json()["data"] for _ in range(2)]
    assert told[0] == {"status": "PROCESSING_UPLOAD", "uploaded_bytes": 0}
    assert told[1]["status"] == "PUBLISH_COMPLETE"


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
    refused = "unaudited_client_can_only_post_to_private_accounts"
    assert begin(small, 224, 224, 1).json()["error"]["code"] == refused
    assert begin(small, 224, 224, 1, "SELF_ONLY").json()["error"]["code"] == refused
    box.account("tiktok", "small", private_account=True)
    assert begin(small, 224, 224, 1).json()["error"]["code"] == "privacy_level_option_mismatch"
    assert begin(small, 224, 224, 1, "FOLLOWER_OF_CREATOR").json()["error"]["code"] == refused
    assert begin(small, 224, 224, 1, "SELF_ONLY").status_code == 200


def test_an_app_that_was_not_audited_posts_for_five_creators_a_day(box: Sandbox) -> None:
    box.configure(enforce_limits=True)
    told = []
    for number in range(6):
        made = box.account("tiktok", f"small{number}", audited=False, private_account=True)
        small = Client(box, made["token"])
        for _ in range(2):
            answer = begin(small, len(VIDEO), len(VIDEO), 1, "SELF_ONLY").json()
            told.append(answer["error"]["code"])
            if "upload_url" in answer["data"]:
                assert put(box, answer["data"]["upload_url"]).status_code == 201
    assert told == ["ok"] * 10 + ["reached_active_user_cap"] * 2


def test_the_inbox_has_a_cap_of_its_own(box: Sandbox, tiktok: Client) -> None:
    box.configure(enforce_limits=True)
    source = {
        "source": "FILE_UPLOAD", "video_size": len(VIDEO), "chunk_size": len(VIDEO), "total_chunk_count": 1,
    }  # fmt: skip
    told = []
    for _ in range(6):
        answer = tiktok("POST", "/v2/post/publish/inbox/video/init/", json={"source_info": source})
        told.append((answer.status_code, answer.json()["error"]["code"]))
        if answer.status_code == 200:
            assert put(box, answer.json()["data"]["upload_url"]).status_code == 201
    assert told == [(200, "ok")] * 5 + [(403, "spam_risk_too_many_pending_share")]
    assert begin(tiktok, 224, 224, 1).status_code == 200


@pytest.mark.shared
@pytest.mark.skipif(not SPEC.is_file(), reason=f"the platform's table is not at {SPEC}")
def test_each_described_call_is_there_and_asks_for_its_scope(box: Sandbox) -> None:
    made = box.account("tiktok", "bare", scopes=[])
    bare = Client(box, made["token"])
    described = json.loads(SPEC.read_text())["endpoints"]
    for name, one in described.items():
        if "scope" in one:
            answer = bare(
                one["method"], one["path"], **({"json": BODIES.get(name, {})} if one["method"] == "POST" else {})
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "scope_not_authorized"), name
    limits = {route.path: route.limit for route in TikTok(box.world).routes()}
    for name, one in described.items():
        per_minute = one.get("per_minute_per_token") or one.get("per_minute")
        assert "path" not in one or limits[one["path"]] == ((per_minute, 60) if per_minute else None), name


def test_the_app_is_asked_for_its_secret(box: Sandbox) -> None:
    made = box.account("tiktok", "acme")
    form = {"grant_type": "refresh_token", "refresh_token": made["refresh_token"]}
    for wrong in ({"client_key": "other", "client_secret": APP["client_secret"]}, {**APP, "client_secret": "wrong"}):
        for path, more in (("token", form), ("revoke", {"token": made["token"]})):
            answer = requests.post(f"{box.url}/v2/oauth/{path}/", data=wrong | more, timeout=10).json()
            assert answer["error"] == "invalid_client"
    assert "access_token" in requests.post(f"{box.url}/v2/oauth/token/", data=APP | form, timeout=10).json()
    gone = requests.post(f"{box.url}/v2/oauth/revoke/", data=APP | {"token": made["token"]}, timeout=10)
    assert gone.json() == {}


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
