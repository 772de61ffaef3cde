"""The Mastodon of the sandbox: what it takes and refuses, by the document, and with the real module."""

from __future__ import annotations

import io
import json
import os
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from browser import code_of, sign_in
from jsonschema import Draft202012Validator
from sandbox_client import VIDEO, Client, animation, picture

from platforms.base import (
    Absent,
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
    Unknown,
)
from platforms.errors import TransportError
from platforms.http import Client as HttpClient
from platforms.mastodon import PLATFORM
from platforms.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[4]
FILE = Path(os.environ.get("SCHEDULERX_SHARED", ROOT.parent / "shared")) / "specs" / "mastodon-openapi.json"
STATUSES = "/api/v1/statuses"
MARKDOWN = """## So & so

- one
- two

1. three

> said

**very** *good*, `x`
[the docs](https://example.com/?utm_source=a&b=2) https://example.com/?utm_source=a :blobcat: ![a cup](https://example.com/c.png)"""


@pytest.fixture
def mastodon(box: Sandbox) -> Client:
    return Client(box, "sandbox-mastodon-acme")


def upload(client: Client, data: bytes, mime: str = "image/png", alt: str = "") -> requests.Response:
    return client("POST", "/api/v2/media", files={"file": ("a", data, mime)}, data={"description": alt})


def post(client: Client, key: str = "", **body: Any) -> requests.Response:
    return client("POST", STATUSES, json=body, headers={"Idempotency-Key": key} if key else {})


# --- Statuses -----------------------------------------------------------------------------------------------


def test_a_key_makes_one_status(box: Sandbox, mastodon: Client) -> None:
    first, again = post(mastodon, "k", status="hi"), post(mastodon, "k", status="hi")
    assert first.json() == again.json()
    assert post(mastodon, "other", status="ho").json()["id"] != first.json()["id"]
    other = Client(box, "sandbox-mastodon-other")
    assert post(other, "k", status="hi").json()["id"] != first.json()["id"]
    assert len(box.accepted()) == 3


def test_a_server_may_ignore_the_key(box: Sandbox, mastodon: Client) -> None:
    box.account("mastodon", "acme", ignores_idempotency_key=True)
    assert post(mastodon, "k", status="hi").json()["id"] != post(mastodon, "k", status="hi").json()["id"]
    assert [row["count"] for row in box.summary()["doubled"]] == [2]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 422, "blank"),
        ({"status": " "}, 422, "blank"),
        ({"status": "x" * 501}, 422, "limit of 500"),
        ({"status": "x" * 400, "spoiler_text": "y" * 101}, 422, "limit of 500"),
        ({"status": "hi", "visibility": "secret"}, 422, "Visibility"),
        ({"status": "hi", "media_ids": ["12"]}, 422, "not found"),
        ({"status": "hi", "in_reply_to_id": "12"}, 404, "not found"),
        ({"status": "hi", "poll": {"options": ["a"], "expires_in": 300}}, 422, "Options"),
        ({"status": "hi", "poll": {"options": ["a", "a"], "expires_in": 300}}, 422, "duplicate"),
        ({"status": "hi", "poll": {"options": ["a", "b"], "expires_in": 299}}, 422, "Expires"),
        ({"status": "hi", "poll": {"options": ["a", "x" * 51], "expires_in": 300}}, 422, "long"),
        ({"status": "hi", "scheduled_at": "2030-01-01T00:00:00Z"}, 422, "schedule"),
    ],
)
def test_statuses_that_are_refused(mastodon: Client, body: dict[str, Any], status: int, told: str) -> None:
    answer = post(mastodon, **body)
    assert (answer.status_code, told in answer.json()["error"]) == (status, True), answer.text


def test_a_status_fits_that_the_server_counts_short(mastodon: Client) -> None:
    link = "https://example.com/" + "x" * 300
    assert post(mastodon, status="x" * 470 + " " + link).status_code == 200
    assert post(mastodon, status="x" * 495 + " @bob@mastodon.social").status_code == 200
    assert post(mastodon, status="👩‍👩‍👧‍👦" * 500).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "kept"), [("de", "de"), ("pt-BR", "pt-BR"), ("German", "en"), (5, "en"), (None, "en")]
)
def test_a_language_that_is_none_is_not_kept(mastodon: Client, wanted: Any, kept: str) -> None:
    assert post(mastodon, status="hi", language=wanted).json()["language"] == kept


def test_a_server_may_make_markup_of_a_text(box: Sandbox, mastodon: Client) -> None:
    box.account("mastodon", "acme", renders_markdown=True)
    shown = post(mastodon, status=MARKDOWN).json()
    assert shown["content"] == (
        "<h2>So &amp; so</h2><ul><li>one</li><li>two</li></ul><ol><li>three</li></ol>"
        "<blockquote><p>said</p></blockquote>"
        '<p><strong>very</strong> <em>good</em>, <code>x</code><br><a href="https://example.com/?b=2">the docs</a>'
        ' <a href="https://example.com/">https://example.com/</a>'
        f' <img class="emoji" alt=":blobcat:" title=":blobcat:" src="{box.url}/emoji/blobcat.png">'
        ' <img src="https://example.com/c.png" alt="a cup"></p>'
    )
    assert mastodon("GET", f"{STATUSES}/{shown['id']}/source").json()["text"] == MARKDOWN


def test_a_server_may_tell_less_of_itself(box: Sandbox, mastodon: Client) -> None:
    box.account("mastodon", "acme", leaves_out=["polls", "media_attachments"], max_characters=700)
    for version in ("v1", "v2"):
        told = mastodon("GET", f"/api/{version}/instance").json()["configuration"]
        assert "statuses" in told
        assert not {"polls", "media_attachments"} & set(told)
    limits = Desk(box).account.facts["limits"]
    assert (limits["max_characters"], limits["max_options"]) == (700, 4)


def test_forms_are_taken_too(mastodon: Client) -> None:
    form = {"status": "hi", "poll[options][]": ["a", "b"], "poll[expires_in]": "300", "poll[multiple]": "true"}
    shown = mastodon("POST", STATUSES, data=form).json()
    assert [option["title"] for option in shown["poll"]["options"]] == ["a", "b"]
    assert shown["poll"]["multiple"] is True


def test_who_may_see_what(box: Sandbox, mastodon: Client) -> None:
    me = mastodon("GET", "/api/v1/accounts/verify_credentials").json()["id"]
    for visibility in ("public", "unlisted", "private", "direct"):
        post(mastodon, status=visibility, visibility=visibility)
    path = f"/api/v1/accounts/{me}/statuses"
    assert [row["visibility"] for row in mastodon("GET", path).json()] == ["direct", "private", "unlisted", "public"]
    other = Client(box, "sandbox-mastodon-other")("GET", path).json()
    assert [row["visibility"] for row in other] == ["unlisted", "public"]
    page = mastodon("GET", path, params={"limit": "2"}).json()
    rest = mastodon("GET", path, params={"limit": "2", "max_id": page[-1]["id"]}).json()
    assert [row["visibility"] for row in rest] == ["unlisted", "public"]


def test_scopes(box: Sandbox) -> None:
    for scopes, write, read in ((["write"], 200, 403), (["read:statuses"], 403, 200), (["write:statuses"], 200, 403)):
        token = box.account("mastodon", "acme", scopes=scopes)["token"]
        client = Client(box, token)
        me = box.account("mastodon", "acme")["user_id"]
        assert post(client, status="hi").status_code == write
        assert client("GET", f"/api/v1/accounts/{me}/statuses").status_code == read
    refused = post(Client(box, box.account("mastodon", "acme", scopes=["read"])["token"]), status="hi")
    assert "outside the authorized scopes" in refused.json()["error"]


# --- Files --------------------------------------------------------------------------------------------------


def test_a_file_is_processed_then_attached_once(box: Sandbox, mastodon: Client) -> None:
    box.configure(processing_s=30.0)
    made = upload(mastodon, VIDEO, "video/mp4", "a film")
    assert (made.status_code, made.json()["url"], made.json()["description"]) == (202, None, "a film")
    one = f"/api/v1/media/{made.json()['id']}"
    assert mastodon("GET", one).status_code == 206
    early = post(mastodon, status="hi", media_ids=[made.json()["id"]])
    assert "not finished processing" in early.json()["error"]
    image = upload(mastodon, picture()).json()["id"]
    assert mastodon("GET", f"/api/v1/media/{image}").status_code == 200
    assert post(mastodon, status="hi", media_ids=[image]).status_code == 200
    assert mastodon("GET", f"/api/v1/media/{image}").status_code == 404
    again = post(mastodon, status="ho", media_ids=[image])
    assert "already attached" in again.json()["error"]


def test_files_that_are_refused(box: Sandbox, mastodon: Client) -> None:
    assert upload(mastodon, b"no picture").status_code == 422
    assert "Description" in upload(mastodon, picture(), alt="x" * 1501).json()["error"]
    box.account("mastodon", "acme", image_size_limit=10)
    assert "less than 10" in upload(mastodon, picture()).json()["error"]
    box.account("mastodon", "acme", image_size_limit=16_777_216)
    box.configure(processing_s=0.0)
    gif = upload(mastodon, animation(), "image/gif").json()
    assert gif["type"] == "gifv"
    image = upload(mastodon, picture()).json()["id"]
    mixed = post(mastodon, status="hi", media_ids=[gif["id"], image])
    assert mixed.status_code == 422


def test_a_picture_of_too_many_pixels_is_refused(box: Sandbox, mastodon: Client) -> None:
    box.account("mastodon", "acme", image_matrix_limit=60 * 90 - 1)
    answer = upload(mastodon, picture())
    assert (answer.status_code, answer.json()["error"]) == (422, "Validation failed: 60x90 images are not supported")


def test_the_page_of_a_status(box: Sandbox, mastodon: Client) -> None:
    url = post(mastodon, status="Soup & bread <3").json()["url"]
    assert url.startswith(f"{box.url}/@acme/")
    page = requests.get(url, timeout=10)
    assert page.status_code == 200
    assert "Soup &amp; bread &lt;3" in page.text
    assert "Mastodon" in requests.get(f"{box.url}/_sandbox/feed", timeout=10).text


def test_apps_and_tokens(box: Sandbox) -> None:
    wanted = {"client_name": "t", "redirect_uris": ["https://a.b/c"], "scopes": "read write"}
    app = requests.post(f"{box.url}/api/v1/apps", json=wanted, timeout=10).json()
    asked = {"response_type": "code", "client_id": app["client_id"], "redirect_uri": "https://a.b/c", "scope": "read"}
    form = {
        "grant_type": "authorization_code",
        "code": code_of(sign_in(f"{box.url}/oauth/authorize?{urlencode(asked)}")),
        "client_id": app["client_id"],
        "client_secret": app["client_secret"],
        "redirect_uri": "https://a.b/c",
    }
    assert requests.post(f"{box.url}/oauth/token", data={**form, "code": "x"}, timeout=10).status_code == 400
    assert requests.post(f"{box.url}/oauth/token", data={**form, "client_secret": "x"}, timeout=10).status_code == 401
    token = requests.post(f"{box.url}/oauth/token", data=form, timeout=10).json()
    client = Client(box, token["access_token"])
    assert client("GET", "/api/v1/accounts/verify_credentials").json()["username"] == "acme"
    revoked = {**form, "token": token["access_token"]}
    assert requests.post(f"{box.url}/oauth/revoke", data=revoked, timeout=10).status_code == 200
    assert client("GET", "/api/v1/accounts/verify_credentials").status_code == 401


# --- By the document ----------------------------------------------------------------------------------------


@cache
def document() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text()))


@pytest.mark.shared
@pytest.mark.skipif(not FILE.is_file(), reason="Mastodon's OpenAPI is not beside the checkout (set SCHEDULERX_SHARED)")
def test_answers_are_as_the_document_says(box: Sandbox, mastodon: Client) -> None:
    box.configure(processing_s=0.0)

    def fits(answer: requests.Response, method: str, route: str) -> Any:
        found = document()["paths"][route][method]["responses"][str(answer.status_code)]["content"]["application/json"]
        schema = {**found["schema"], "components": document()["components"]}
        errors = [
            f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
            for error in Draft202012Validator(schema).iter_errors(answer.json())
        ]
        assert errors == []
        return answer.json()

    me = fits(mastodon("GET", "/api/v1/accounts/verify_credentials"), "get", "/api/v1/accounts/verify_credentials")
    fits(mastodon("GET", "/api/v2/instance"), "get", "/api/v2/instance")
    fits(mastodon("GET", "/api/v1/instance"), "get", "/api/v1/instance")
    image = fits(upload(mastodon, picture(), alt="teal"), "post", "/api/v2/media")["id"]
    fits(mastodon("GET", f"/api/v1/media/{image}"), "get", "/api/v1/media/{id}")
    fits(mastodon("PUT", f"/api/v1/media/{image}", json={"description": "blue"}), "put", "/api/v1/media/{id}")
    text = "Tea & <cake> https://example.com/a @bob@other.example #tea"
    made = fits(post(mastodon, status=text, media_ids=[image], spoiler_text="hot"), "post", STATUSES)["id"]
    fits(post(mastodon, status="Which?", poll={"options": ["a", "b"], "expires_in": 300}), "post", STATUSES)
    fits(mastodon("GET", f"{STATUSES}/{made}"), "get", f"{STATUSES}/{{id}}")
    fits(mastodon("GET", f"{STATUSES}/{made}/source"), "get", f"{STATUSES}/{{id}}/source")
    fits(mastodon("GET", f"/api/v1/accounts/{me['id']}/statuses"), "get", "/api/v1/accounts/{id}/statuses")
    fits(mastodon("DELETE", f"{STATUSES}/{made}"), "delete", f"{STATUSES}/{{id}}")
    fits(mastodon("GET", f"{STATUSES}/{made}"), "get", f"{STATUSES}/{{id}}")
    fits(post(mastodon, status=""), "post", STATUSES)
    fits(post(Client(box, "nonsense"), status="hi"), "post", STATUSES)
    wanted = {"client_name": "t", "redirect_uris": ["https://a.b/c"], "scopes": "read write"}
    app = fits(requests.post(f"{box.url}/api/v1/apps", json=wanted, timeout=10), "post", "/api/v1/apps")
    form = {"grant_type": "client_credentials", **{name: app[name] for name in ("client_id", "client_secret")}}
    fits(requests.post(f"{box.url}/oauth/token", data=form, timeout=10), "post", "/oauth/token")


# --- With the real module -----------------------------------------------------------------------------------


class Desk:
    """One account, as a worker would use it; its own server is the sandbox."""

    def __init__(self, box: Sandbox, token: str = "sandbox-mastodon-acme") -> None:
        self.credentials: dict[str, Any] = {"server": box.url, "access_token": token}
        # An override must not matter: the account's own server wins.
        self.client = HttpClient(api_hosts=PLATFORM.api_hosts, override="http://127.0.0.1:9", deadline_s=10)
        self.account = AccountRef("mastodon", "acme")
        self.checkpoint: dict[str, Any] = {}
        identity = PLATFORM.identify(self.call())
        if isinstance(identity, Identity):
            self.account = AccountRef("mastodon", "acme", identity.handle, identity.remote_id, dict(identity.facts))

    def call(self) -> Call:
        now = lambda: datetime.now(UTC)  # noqa: E731 - one clock, given as a value
        return Call(self.client, self.account, self.credentials, now, self.checkpoint, self.checkpoint.update, "key")

    def prepare(self, draft: Draft) -> None:
        assert PLATFORM.validate(draft) == []
        if PLATFORM.needs_prepare(draft):
            outcome = PLATFORM.prepare(self.call(), draft)
            assert isinstance(outcome, Ready), outcome

    def look(self, draft: Draft, *taken: str) -> Any:
        now = datetime.now(UTC)
        return PLATFORM.reconcile(self.call(), draft, Doubt(now - timedelta(seconds=30), now, frozenset(taken)))


def item(data: bytes, kind: MediaKind = MediaKind.IMAGE, mime: str = "image/png") -> MediaItem:
    return MediaItem(kind, mime, len(data), 60, 90, "0" * 64, "a picture", read=lambda: io.BytesIO(data))


def drafts(desk: Desk) -> list[Draft]:
    return [
        Draft("Soup & bread <3\n\nhttps://example.org/a?b=1&c=2 👋 @bob@other.example #soup", desk.account),
        Draft("with a picture", desk.account, (item(picture()),)),
        Draft("", desk.account, (item(animation(), MediaKind.GIF, "image/gif"),)),
        Draft("warned", desk.account, options={"spoiler_text": "careful", "visibility": "private", "language": "en"}),
        Draft("Which?", desk.account, options={"poll": {"options": ["a", "b"], "expires_in": 300}}),
    ]


def test_publish_and_find_again(box: Sandbox) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    for number, draft in enumerate(drafts(desk)):
        desk.checkpoint.clear()
        desk.prepare(draft)
        call = desk.call()
        call.platform_key = f"key-{number}"
        outcome = PLATFORM.publish(call, draft)
        assert isinstance(outcome, Published), outcome
        found = desk.look(draft)
        assert isinstance(found, Found), found
        assert (found.remote_id, found.url) == (outcome.remote_id, outcome.url)
        assert isinstance(desk.look(draft, found.remote_id), Absent)
    assert len(box.accepted()) == len(drafts(desk))


def test_a_video_is_waited_for(box: Sandbox) -> None:
    box.configure(processing_s=0.3)
    desk = Desk(box)
    draft = Draft("It moves", desk.account, (item(VIDEO, MediaKind.VIDEO, "video/mp4"),))
    outcome: Any = PLATFORM.prepare(desk.call(), draft)
    assert isinstance(outcome, Processing)
    until = time.monotonic() + 20
    while isinstance(outcome, Processing) and time.monotonic() < until:
        time.sleep(0.02)
        outcome = PLATFORM.poll(desk.call(), draft)
    assert isinstance(outcome, Ready), outcome
    assert isinstance(PLATFORM.publish(desk.call(), draft), Published)


def test_the_limits_of_the_instance_decide(box: Sandbox) -> None:
    box.account("mastodon", "acme", max_characters=40, description_limit=5, max_options=2)
    desk = Desk(box)
    draft = Draft("x" * 41, desk.account, (item(picture()),))
    assert {bad.code for bad in PLATFORM.validate(draft)} == {"text_too_long", "alt_too_long"}


@pytest.mark.parametrize("ignores", [False, True], ids=["keeps-keys", "ignores-keys"])
@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("reset_before", False),
        ("reset_after", True),
        ("cut_answer", True),
        ("server_error", False),
        ("server_error_after", True),
        ("html_error_page", False),
    ],
)
def test_doubt_is_settled_by_looking(box: Sandbox, kind: str, stored: bool, ignores: bool) -> None:
    box.account("mastodon", "acme", ignores_idempotency_key=ignores)
    desk = Desk(box)
    for draft in (Draft("doubtful", desk.account), Draft("doubtful", desk.account, (item(picture()),))):
        desk.checkpoint.clear()
        box.reset(keep_accounts=True)
        desk.prepare(draft)
        box.set_faults([{"step": "mastodon.create", "kind": kind, "count": 1}])
        if kind in {"reset_before", "reset_after", "cut_answer"}:
            with pytest.raises(TransportError):
                PLATFORM.publish(desk.call(), draft)
        else:
            assert isinstance(PLATFORM.publish(desk.call(), draft), Unknown)
        assert len(box.accepted()) == stored
        found = desk.look(draft)
        assert isinstance(found, Found if stored else Absent), found
        if not stored:
            assert isinstance(PLATFORM.publish(desk.call(), draft), Published)
        assert len(box.accepted()) == 1


@pytest.mark.parametrize("text", [MARKDOWN, "so *very* good", "see https://example.com/?utm_source=a", ":blobcat:"])
def test_doubt_is_settled_where_the_server_makes_markup(box: Sandbox, text: str) -> None:
    box.account("mastodon", "acme", renders_markdown=True, ignores_idempotency_key=True)
    desk = Desk(box)
    draft = Draft(text, desk.account)
    box.set_faults([{"step": "mastodon.create", "kind": "reset_after", "count": 1}])
    with pytest.raises(TransportError):
        PLATFORM.publish(desk.call(), draft)
    assert isinstance(desk.look(draft), Found)
    # A server that does not tell the source leaves it to a person.
    box.set_faults([{"step": "mastodon.source", "kind": "server_error"}])
    assert isinstance(desk.look(draft), Found if text == ":blobcat:" else Inconclusive)
    box.set_faults([])
    assert isinstance(desk.look(Draft("another", desk.account)), Absent)


def test_files_guard_where_the_key_does_not(box: Sandbox) -> None:
    box.account("mastodon", "acme", ignores_idempotency_key=True)
    desk = Desk(box)
    draft = Draft("once", desk.account, (item(picture()),))
    desk.prepare(draft)
    box.set_faults([{"step": "mastodon.create", "kind": "reset_after", "count": 1}])
    with pytest.raises(TransportError):
        PLATFORM.publish(desk.call(), draft)
    # Sent again without looking: the server says that the files are taken, and that is no reason to upload anew.
    assert isinstance(PLATFORM.publish(desk.call(), draft), Unknown)
    assert len(box.accepted()) == 1


@pytest.mark.parametrize(("kind", "outcome"), [("rate_limited", RateLimited), ("expired_token", AuthExpired)])
def test_refusals_are_understood(box: Sandbox, kind: str, outcome: type) -> None:
    desk = Desk(box)
    box.set_faults([{"step": "*.publish", "kind": kind}])
    found = PLATFORM.publish(desk.call(), Draft("refused", desk.account))
    assert isinstance(found, outcome)
    if isinstance(found, RateLimited):
        assert 0 < (found.until - datetime.now(UTC)).total_seconds() < 10
    assert box.accepted() == []


def test_without_a_server_an_override_decides(box: Sandbox) -> None:
    client = HttpClient(api_hosts=PLATFORM.api_hosts, override=box.url, deadline_s=10)
    call = Call(
        client, AccountRef("mastodon", "acme"), {"access_token": "sandbox-mastodon-acme"}, lambda: datetime.now(UTC)
    )
    assert isinstance(PLATFORM.identify(call), Identity)
