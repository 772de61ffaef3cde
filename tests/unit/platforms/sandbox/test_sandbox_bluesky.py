"""The Bluesky of the sandbox: what it takes and refuses, by the lexicons, and with the real module."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import lexicons
import pytest
import requests
from bluesky_desk import Desk, item
from hypothesis import given
from hypothesis import strategies as st
from sandbox_client import VIDEO, Client, animation, picture

from platforms.base import (
    AuthExpired,
    Draft,
    Found,
    Published,
    RateLimited,
    Ready,
    Rejected,
    Repeatable,
    Unknown,
)
from platforms.bluesky import PLATFORM
from platforms.bluesky.text import graphemes
from platforms.errors import TransportError
from platforms.sandbox import Sandbox
from platforms.sandbox.bluesky_record import clusters
from platforms.sandbox.bluesky_video import FOR_LIMITS
from platforms.sandbox.bluesky_words import HOST

POST = "app.bsky.feed.post"
KEY = "3l6oveex3ii2l"


@pytest.fixture
def bluesky(box: Sandbox) -> Client:
    return Client(box, "sandbox-bluesky-acme")


@pytest.fixture
def did(bluesky: Client) -> str:
    return str(bluesky("GET", "/xrpc/com.atproto.server.getSession").json()["did"])


def record(text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"$type": POST, "text": text, "createdAt": "2026-11-22T10:15:00.000Z", **more}


def put(bluesky: Client, did: str, value: dict[str, Any], **more: Any) -> requests.Response:
    body = {"repo": did, "collection": value.get("$type", POST), "rkey": KEY, "record": value, **more}
    return bluesky("POST", "/xrpc/com.atproto.repo.putRecord", json=body)


def upload(bluesky: Client, data: bytes, mime: str = "image/png") -> dict[str, Any]:
    answer = bluesky("POST", "/xrpc/com.atproto.repo.uploadBlob", data=data, headers={"Content-Type": mime})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["blob"])


# --- Records ------------------------------------------------------------------------------------------------


def test_the_same_record_twice_is_one_post(box: Sandbox, bluesky: Client, did: str) -> None:
    first = put(bluesky, did, record(), swapRecord=None).json()
    again = put(bluesky, did, record(), swapRecord=None)
    assert again.status_code == 200
    assert (again.json()["uri"], again.json()["cid"]) == (first["uri"], first["cid"])
    assert "commit" in first
    assert "commit" not in again.json()
    assert len(box.accepted()) == 1


def test_another_record_under_the_key_is_refused_or_replaces(box: Sandbox, bluesky: Client, did: str) -> None:
    put(bluesky, did, record(), swapRecord=None)
    refused = put(bluesky, did, record("other"), swapRecord=None)
    assert (refused.status_code, refused.json()["error"]) == (400, "InvalidSwap")
    assert put(bluesky, did, record("other")).status_code == 200
    assert [row["content"]["text"] for row in box.accepted() if row["deleted_at"] is None] == ["other"]


def test_create_record_under_a_used_key_fails_as_the_reference_server_does(bluesky: Client, did: str) -> None:
    body = {"repo": did, "collection": POST, "rkey": KEY, "record": record()}
    assert bluesky("POST", "/xrpc/com.atproto.repo.createRecord", json=body).status_code == 200
    again = bluesky("POST", "/xrpc/com.atproto.repo.createRecord", json=body)
    assert (again.status_code, again.json()["error"]) == (500, "InternalServerError")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"text": "x" * 301}, "maximum 300, got 301"),
        ({"text": "👩‍👩‍👧‍👦" * 130}, "3000 bytes"),
        ({"createdAt": "now"}, "createdAt"),
        ({"text": None}, "text"),
        ({"$type": "app.bsky.feed.like"}, "$type"),
        ({"langs": ["en"] * 4}, "langs"),
        ({"tags": ["x" * 65]}, "tags"),
        ({"facets": [{"index": {"byteStart": 0, "byteEnd": 1}, "features": [{"did": "x"}]}]}, "$type"),
        (
            {
                "facets": [
                    {
                        "index": {"byteStart": 0, "byteEnd": 1},
                        "features": [{"$type": "app.bsky.richtext.facet#mention", "did": "bob"}],
                    }
                ]
            },
            "did",
        ),
        ({"embed": {"$type": "app.bsky.embed.external", "external": {"uri": "https://a.b"}}}, "title"),
    ],
)
def test_records_that_break_the_lexicon(bluesky: Client, did: str, change: dict[str, Any], told: str) -> None:
    body = {"repo": did, "collection": POST, "rkey": KEY, "record": {**record(), **change}}
    answer = bluesky("POST", "/xrpc/com.atproto.repo.putRecord", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequest")
    assert told in answer.json()["message"]


def test_images(box: Sandbox, bluesky: Client, did: str) -> None:
    blob = upload(bluesky, picture())
    assert upload(bluesky, picture()) == blob

    def images(*blobs: dict[str, Any]) -> dict[str, Any]:
        shown = [{"alt": "a", "image": one, "aspectRatio": {"width": 2, "height": 3}} for one in blobs]
        return record(embed={"$type": "app.bsky.embed.images", "images": shown})

    assert "maximum 4, got 5" in put(bluesky, did, images(*[blob] * 5)).json()["message"]
    unknown = {**blob, "ref": {"$link": "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"}}
    assert put(bluesky, did, images(unknown)).json()["error"] == "BlobNotFound"
    film = upload(bluesky, VIDEO, "video/mp4")
    assert put(bluesky, did, images(film)).json()["error"] == "InvalidMimeType"
    assert put(bluesky, did, images(blob)).status_code == 200
    other = Client(box, "sandbox-bluesky-other")
    assert (
        put(other, other("GET", "/xrpc/com.atproto.server.getSession").json()["did"], images(blob)).status_code == 400
    )
    [row] = box.accepted()
    assert [shown["alt"] for shown in row["content"]["pictures"]] == ["a"]


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"rkey": "short"}, 400, "InvalidRequest"),
        ({"rkey": "k" + KEY[1:]}, 400, "InvalidRequest"),
        ({"repo": "did:plc:somebodyelse"}, 403, "Forbidden"),
        ({"collection": "post"}, 400, "InvalidRequest"),
        ({"record": "text"}, 400, "InvalidRequest"),
    ],
)
def test_bodies_that_are_refused(bluesky: Client, did: str, change: dict[str, Any], status: int, error: str) -> None:
    body = {"repo": did, "collection": POST, "rkey": KEY, "record": record(), **change}
    answer = bluesky("POST", "/xrpc/com.atproto.repo.putRecord", json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_reading_and_deleting(box: Sandbox, bluesky: Client, did: str) -> None:
    made = put(bluesky, did, record()).json()
    query = {"repo": did, "collection": POST, "rkey": KEY}
    found = requests.get(f"{box.url}/xrpc/com.atproto.repo.getRecord", params=query, timeout=10).json()
    assert (found["cid"], found["value"]) == (made["cid"], record())
    listed = bluesky("GET", "/xrpc/com.atproto.repo.listRecords", params={"repo": did, "collection": POST}).json()
    assert [row["uri"] for row in listed["records"]] == [made["uri"]]
    for _ in range(2):
        assert bluesky("POST", "/xrpc/com.atproto.repo.deleteRecord", json=query).status_code == 200
    gone = bluesky("GET", "/xrpc/com.atproto.repo.getRecord", params=query)
    assert (gone.status_code, gone.json()["error"]) == (400, "RecordNotFound")


def test_sessions(box: Sandbox) -> None:
    def session(path: str, token: str = "", **body: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{box.url}/xrpc/com.atproto.server.{path}"
        return requests.post(url, json=body or None, headers=headers, timeout=10)

    wrong = session("createSession", identifier="acme", password="guess")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "AuthenticationRequired")
    other = session("createSession", identifier="other", password="sandbox-bluesky-acme")
    assert other.status_code == 401
    made = session("createSession", identifier="acme.bsky.social", password="sandbox-bluesky-acme").json()
    renewed = session("refreshSession", made["refreshJwt"])
    assert renewed.json()["refreshJwt"] != made["refreshJwt"]
    spent = session("refreshSession", made["refreshJwt"])
    assert (spent.status_code, spent.json()["error"]) == (400, "ExpiredToken")
    assert session("refreshSession", "nonsense").json()["error"] == "InvalidToken"
    box.account("bluesky", "acme", taken_down=True)
    closed = session("createSession", identifier="acme", password="sandbox-bluesky-acme")
    assert closed.json()["error"] == "AccountTakedown"


def test_sign_ins_are_limited(box: Sandbox) -> None:
    box.configure(enforce_limits=True)
    body = {"identifier": "acme", "password": "guess"}
    url = f"{box.url}/xrpc/com.atproto.server.createSession"
    answers = [requests.post(url, json=body, timeout=10) for _ in range(31)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["ratelimit-reset"]) > 0


def test_a_day_of_sign_ins_is_limited_too(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    box.configure(enforce_limits=True)
    body = {"identifier": "acme", "password": "guess"}
    url = f"{box.url}/xrpc/com.atproto.server.createSession"
    monkeypatch.setattr("platforms.sandbox.bluesky.SIGN_INS", ((30, 0), (3, 86_400)))
    answers = [requests.post(url, json=body, timeout=10) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1].headers["ratelimit-reset"]) > time.time() + 86_000


def test_bodies_have_limits(box: Sandbox, bluesky: Client, did: str) -> None:
    large = put(bluesky, did, record(filler="x" * 1_000_000))
    assert (large.status_code, large.json()["error"]) == (413, "PayloadTooLarge")
    assert put(bluesky, did, record(filler="x" * 990_000)).status_code == 200
    body = {"identifier": "acme", "password": "x" * 150 * 1024}
    answer = requests.post(f"{box.url}/xrpc/com.atproto.server.createSession", json=body, timeout=10)
    assert answer.status_code == 413


def test_the_page_of_a_post(box: Sandbox, bluesky: Client, did: str) -> None:
    blob = upload(bluesky, picture())
    embed = {"$type": "app.bsky.embed.images", "images": [{"alt": "te<al", "image": blob}]}
    put(bluesky, did, record("Soup & bread <3", embed=embed))
    page = requests.get(f"{box.url}/profile/acme.bsky.social/post/{KEY}", timeout=10)
    assert page.status_code == 200
    assert "Soup &amp; bread &lt;3" in page.text
    assert "te&lt;al" in page.text
    assert "@acme" in requests.get(f"{box.url}/_sandbox/feed", timeout=10).text
    assert requests.get(f"{box.url}/profile/nobody.test/post/{KEY}", timeout=10).status_code == 404


# --- By the lexicons ----------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.skipif(not lexicons.available(), reason="the lexicons are not beside the checkout (set SCHEDULERX_SHARED)")
def test_answers_are_as_the_lexicons_say(box: Sandbox, bluesky: Client, did: str) -> None:
    box.configure(processing_s=0.0)

    def fits(name: str, answer: requests.Response) -> Any:
        assert answer.status_code == 200, answer.text
        assert lexicons.problems(name, "output", answer.json(), closed=True) == []
        return answer.json()

    server = "com.atproto.server"
    url = f"{box.url}/xrpc/"
    body = {"identifier": "acme", "password": "sandbox-bluesky-acme"}
    made = fits(f"{server}.createSession", requests.post(f"{url}{server}.createSession", json=body, timeout=10))
    headers = {"Authorization": f"Bearer {made['refreshJwt']}"}
    fits(f"{server}.refreshSession", requests.post(f"{url}{server}.refreshSession", headers=headers, timeout=10))
    fits(f"{server}.getSession", bluesky("GET", f"/xrpc/{server}.getSession"))
    fits(f"{server}.describeServer", bluesky("GET", f"/xrpc/{server}.describeServer"))
    handle = {"handle": "acme.bsky.social"}
    fits(
        "com.atproto.identity.resolveHandle", bluesky("GET", "/xrpc/com.atproto.identity.resolveHandle", params=handle)
    )
    repo = "com.atproto.repo"
    png = {"Content-Type": "image/png"}
    fits(f"{repo}.uploadBlob", bluesky("POST", f"/xrpc/{repo}.uploadBlob", data=picture(), headers=png))
    place = {"repo": did, "collection": POST, "rkey": KEY}
    for _ in range(2):
        fits(f"{repo}.putRecord", put(bluesky, did, record(), swapRecord=None))
    fits(f"{repo}.getRecord", bluesky("GET", f"/xrpc/{repo}.getRecord", params=place))
    listing = {"repo": did, "collection": POST}
    fits(f"{repo}.listRecords", bluesky("GET", f"/xrpc/{repo}.listRecords", params=listing))
    fits(f"{repo}.deleteRecord", bluesky("POST", f"/xrpc/{repo}.deleteRecord", json=place))
    new = {"repo": did, "collection": POST, "record": record()}
    fits(f"{repo}.createRecord", bluesky("POST", f"/xrpc/{repo}.createRecord", json=new))
    auth = {"aud": f"did:web:{HOST}", "lxm": "com.atproto.repo.uploadBlob"}
    token = fits(f"{server}.getServiceAuth", bluesky("GET", f"/xrpc/{server}.getServiceAuth", params=auth))["token"]
    film = {"Authorization": f"Bearer {token}", "Content-Type": "video/mp4"}
    sent = bluesky("POST", "/xrpc/app.bsky.video.uploadVideo", params={"did": did}, data=VIDEO, headers=film)
    # The live service leaves out the wrapper that the lexicon has. Source: bsky-docs and clients, 2026.
    checker = lexicons.Checker(closed=True)
    checker.value({"type": "ref", "ref": "app.bsky.video.defs#jobStatus"}, sent.json(), "", "job")
    assert checker.errors == []
    job = {"jobId": sent.json()["jobId"]}
    auth = {"aud": FOR_LIMITS[0], "lxm": FOR_LIMITS[1]}
    token = fits(f"{server}.getServiceAuth", bluesky("GET", f"/xrpc/{server}.getServiceAuth", params=auth))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    fits("app.bsky.video.getUploadLimits", bluesky("GET", "/xrpc/app.bsky.video.getUploadLimits", headers=headers))
    fits("app.bsky.video.getJobStatus", bluesky("GET", "/xrpc/app.bsky.video.getJobStatus", params=job))


CLUSTERS = ["x", "é", "é", "日", "🇩🇪", "👍🏽", "❤️", "1️⃣", "👩\u200d👩\u200d👧", "क्ष", "각", "한"]
PIECES = st.sampled_from([*CLUSTERS, "\n", " "])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_two_counters_agree(text: str) -> None:
    assert graphemes(text) == clusters(text)


# --- With the real module -----------------------------------------------------------------------------------


@pytest.fixture(params=["override", "own-server"])
def desk(box: Sandbox, request: pytest.FixtureRequest) -> Desk:
    return Desk(box, **({"server": box.url} if request.param == "own-server" else {}))


def test_publish_and_find_again(box: Sandbox, desk: Desk) -> None:
    drafts = [
        Draft("Soup & bread <3 https://example.org/a?b=1 👋 @acme.bsky.social #soup", desk.account),
        Draft("with a picture", desk.account, (item(picture()),)),
        Draft("moves", desk.account, (item(animation(), mime="image/gif"),)),
        Draft("see example.com", desk.account, options={"card_title": "Tea"}),
        Draft("quiet", desk.account, options={"replies": "nobody", "quotes": False}),
    ]
    for draft in drafts:
        desk.checkpoint.clear()
        outcome = desk.publish(draft)
        assert isinstance(outcome, Published), outcome
        found = desk.look(draft)
        assert isinstance(found, Found), found
        assert found.remote_id == outcome.remote_id
    assert [row["remote_id"] for row in box.accepted()][-1] == found.remote_id
    assert len(box.accepted()) == len(drafts)


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
def test_doubt_is_settled_by_the_key(box: Sandbox, kind: str, stored: bool) -> None:
    desk = Desk(box)
    draft = Draft("doubtful", desk.account, (item(picture()),))
    assert isinstance(PLATFORM.prepare(desk.call(), draft), Ready)
    box.set_faults([{"step": "bluesky.put_record", "kind": kind, "count": 1}])
    if kind in {"reset_before", "reset_after", "cut_answer"}:
        with pytest.raises(TransportError):
            PLATFORM.publish(desk.call(), draft)
    else:
        assert isinstance(PLATFORM.publish(desk.call(), draft), Unknown)
    assert len(box.accepted()) == stored
    found = desk.look(draft)
    assert isinstance(found, Found if stored else Repeatable), found
    # Sent again in any case: still one.
    assert isinstance(PLATFORM.publish(desk.call(), draft), Published)
    assert len(box.accepted()) == 1


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("rate_limited", RateLimited), ("expired_token", AuthExpired), ("forbidden", Rejected), ("too_large", Rejected)],
)
def test_refusals_are_understood(box: Sandbox, kind: str, outcome: type) -> None:
    desk = Desk(box)
    draft = Draft("refused", desk.account)
    box.set_faults([{"step": "*.publish", "kind": kind, "count": 1}])
    assert isinstance(PLATFORM.publish(desk.call(), draft), outcome)
    assert box.accepted() == []
    if kind == "expired_token":
        desk.sign_in()
        assert isinstance(PLATFORM.publish(desk.call(), draft), Published)


def test_a_session_that_is_dead_is_made_anew_by_the_password(box: Sandbox) -> None:
    desk = Desk(box)
    desk.credentials["refresh_token"] = "gone"
    desk.sign_in()
    box.configure(token_life_s=60.0)
    desk.sign_in()
    until = PLATFORM.expires_at(desk.credentials)
    assert until is not None
    assert 50 < (until - datetime.now(UTC)).total_seconds() < 61
