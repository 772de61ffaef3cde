"""The sandbox's Instagram where it says no, late, or one thing while doing another; and what the module makes of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
import requests
from browser import code_of, sign_in
from sandbox_client import VIDEO, Client
from sandbox_instagram_desk import TOKEN, Desk, clip, image, make, serving

from platforms.base import (
    AuthExpired,
    Draft,
    Found,
    Identity,
    NotSent,
    Processing,
    Published,
    RateLimited,
    Ready,
    Rejected,
    Repeatable,
    ReplyTo,
    Unknown,
)
from platforms.errors import TransportError
from platforms.instagram import PLATFORM
from platforms.sandbox import Sandbox

BASIC, PUBLISH = "instagram_business_basic", "instagram_business_content_publish"
COMMENTS = "instagram_business_manage_comments"


@pytest.fixture
def store() -> Iterator[str]:
    with serving() as url:
        yield url


def posted(desk: Desk, draft: Draft) -> Draft:
    """The draft's first comment, once the post is out."""
    assert isinstance(desk.prepared(draft), Ready)
    outcome = desk.finish(draft)
    assert isinstance(outcome, Published)
    assert outcome.remote_id is not None
    [comment] = PLATFORM.sequels(draft)
    desk.checkpoint = {}
    return replace(comment, part=1, parts=2, reply_to=ReplyTo(outcome.remote_id, outcome.remote_id, outcome.url))


# --- Scopes -----------------------------------------------------------------------------------------------


def test_a_comment_without_its_scope_leaves_the_account_as_it_is(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.0)
    box.account("instagram", "acme", scopes=[BASIC, PUBLISH])
    desk = Desk(box)
    comment = posted(desk, desk.draft("out", image(f"{store}/i.jpg"), first_comment="#soup"))
    for outcome in (PLATFORM.publish(desk.call(), comment), PLATFORM.publish(desk.call(), comment)):
        assert isinstance(outcome, Rejected)
        assert outcome.code == "permission_missing"
    assert not isinstance(desk.look(comment), AuthExpired)
    assert isinstance(PLATFORM.identify(desk.call()), Identity)
    assert len(box.accepted()) == 1
    # Where it is known what was granted, nothing is accepted that would end so.
    desk = Desk(box, {"access_token": TOKEN, "scope": f"{BASIC},{PUBLISH}"})
    wrong = PLATFORM.validate(Draft("out", desk.account, (image(f"{store}/i.jpg"),), {"first_comment": "#soup"}))
    assert [violation.code for violation in wrong] == ["scope_missing"]


@pytest.mark.parametrize(
    ("scopes", "good"),
    [
        ([BASIC], False),
        ([BASIC, COMMENTS], False),
        ([BASIC, PUBLISH], True),
        (["instagram_basic", "instagram_content_publish"], True),
    ],
)
def test_containers_and_publishing_need_their_scope(box: Sandbox, store: str, scopes: list[str], good: bool) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("scoped", image(f"{store}/i.jpg"))
    assert isinstance(desk.prepared(draft), Ready)
    box.account("instagram", "acme", scopes=scopes)
    outcome = desk.publish(draft)
    assert isinstance(outcome, Processing if good else AuthExpired), outcome
    assert len(box.accepted()) == good
    desk.checkpoint = {}
    again = desk.prepared(desk.draft("scoped too", image(f"{store}/i.jpg")))
    assert isinstance(again, Ready if good else AuthExpired), again


def test_a_token_without_the_basic_scope_reads_nothing(box: Sandbox) -> None:
    Desk(box)
    box.account("instagram", "acme", scopes=[PUBLISH])
    assert isinstance(PLATFORM.identify(Desk(box).call()), AuthExpired)


# --- The app's secret -------------------------------------------------------------------------------------


def test_long_tokens_are_for_the_app_that_the_short_one_was_given_to(box: Sandbox) -> None:
    box.app("instagram", "mine", "own", ["https://a.b/back"])
    box.app("instagram", "other", "theirs", ["https://a.b/back"])
    asked = {"response_type": "code", "client_id": "mine", "redirect_uri": "https://a.b/back", "scope": BASIC}
    form = {
        "client_id": "mine", "client_secret": "own", "grant_type": "authorization_code",
        "redirect_uri": "https://a.b/back", "code": code_of(sign_in(f"{box.url}/oauth/authorize?{urlencode(asked)}")),
    }  # fmt: skip
    short = requests.post(f"{box.url}/oauth/access_token", data=form, timeout=10).json()["access_token"]

    def exchanged(secret: str, token: str = short) -> int:
        query = {"grant_type": "ig_exchange_token", "client_secret": secret, "access_token": token}
        return requests.get(f"{box.url}/access_token", params=query, timeout=10).status_code

    assert [exchanged(secret) for secret in ("", "wrong", "theirs")] == [400, 400, 400]
    assert exchanged("own") == 200
    # A token that no app was given may be anybody's.
    assert (exchanged("theirs", TOKEN), exchanged("nobody's", TOKEN)) == (200, 400)


# --- What goes together -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "good"),
    [
        ({"image_url": "/i.jpg", "is_carousel_item": "true", "collaborators": '["friend"]'}, False),
        ({"image_url": "/i.jpg", "collaborators": '["friend"]'}, True),
        ({"video_url": "/v.mp4", "media_type": "REELS", "user_tags": '[{"username":"a","x":0.1,"y":0.2}]'}, False),
        ({"video_url": "/v.mp4", "media_type": "REELS", "user_tags": '[{"username":"a"}]'}, True),
        (
            {
                "video_url": "/v.mp4", "media_type": "VIDEO", "is_carousel_item": "true",
                "user_tags": '[{"username":"a","x":0.1,"y":0.2}]',
            },
            False,
        ),
        ({"image_url": "/i.jpg", "user_tags": '["a"]'}, False),
    ],
)  # fmt: skip
def test_what_belongs_to_which_container(box: Sandbox, store: str, form: dict[str, str], good: bool) -> None:
    ig = Client(box, TOKEN)
    ig.headers = {}
    user = str(ig("GET", f"/v26.0/me?fields=user_id&access_token={TOKEN}").json()["user_id"])
    told = {name: store + text if name.endswith("_url") else text for name, text in form.items()}
    answer = make(ig, user, **told)
    assert (answer.status_code == 200) is good, answer.text


# --- Faults -----------------------------------------------------------------------------------------------


def fault(box: Sandbox, step: str, status: int, count: int | None = 1, kind: str = "server_error") -> None:
    box.set_faults([{"step": step, "kind": kind, "status": status, "count": count}])


@pytest.mark.parametrize(
    ("subcode", "code", "outcome"),
    [(2207008, 24, NotSent), (2207050, 25, AuthExpired), (2207051, 4, RateLimited), (2207042, 9, RateLimited)],
)
def test_a_documented_refusal_can_be_ordered_by_its_subcode(
    box: Sandbox, store: str, subcode: int, code: int, outcome: type
) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("refused", image(f"{store}/i.jpg"))
    assert isinstance(desk.prepared(draft), Ready)
    fault(box, "instagram.media_publish", subcode)
    answer = requests.post(
        f"{box.url}/v26.0/{desk.account.remote_id}/media_publish",
        params={"access_token": TOKEN},
        data={"creation_id": desk.checkpoint["items"][0]["id"]},
        timeout=10,
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["error_subcode"]) == (400, code, subcode)
    fault(box, "instagram.media_publish", subcode)
    told = desk.publish(draft)
    assert isinstance(told, outcome), told
    assert getattr(told, "permanent", True)
    if subcode == 2207051:
        assert isinstance(told, RateLimited)
        assert told.until > datetime.now(UTC) + timedelta(hours=11)
    assert box.accepted() == []


def test_a_container_that_stays_unknown_is_replaced(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("replaced", image(f"{store}/i.jpg"))
    assert isinstance(desk.prepared(draft), Ready)
    first = desk.checkpoint["items"][0]["id"]
    fault(box, "instagram.media_publish", 2207008, 2)
    assert isinstance(desk.publish(draft), NotSent)
    assert isinstance(desk.publish(draft), NotSent)
    assert isinstance(desk.finish(draft), Published)
    assert desk.checkpoint["items"][0]["id"] != first
    assert len(box.accepted()) == 1


def test_a_status_that_lags_behind_leads_to_no_second_post(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("lagging", image(f"{store}/i.jpg"))
    assert isinstance(desk.prepared(draft), Ready)
    lag = {"step": "instagram.node", "kind": "read_lag", "lag_s": 60.0}
    box.set_faults([{"step": "*.publish", "kind": "reset_after", "count": 1}, lag])
    assert isinstance(desk.tried(draft), TransportError)
    assert desk.look(draft) == Repeatable()
    for _ in range(2):
        assert isinstance(desk.publish(draft), NotSent)
    assert len(desk.checkpoint["items"]) == 1
    box.set_faults([])
    assert isinstance(desk.publish(draft), Unknown)
    found = desk.look(draft)
    assert isinstance(found, Found)
    assert [found.remote_id] == [row["remote_id"] for row in box.accepted()]


def test_a_comment_that_was_made_and_refused_is_found(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    comment = posted(desk, desk.draft("out", image(f"{store}/i.jpg"), first_comment="#soup"))
    fault(box, "instagram.comment", 400, kind="server_error_after")
    outcome = PLATFORM.publish(desk.call(), comment)
    assert isinstance(outcome, Unknown), outcome
    assert outcome.http_status == 400
    found = desk.look(comment)
    assert isinstance(found, Found)
    assert found.remote_id == box.accepted()[-1]["remote_id"]
    assert len(box.accepted()) == 2


def test_children_that_ran_out_are_made_anew(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.3, media_ttl_s=0.2)
    desk = Desk(box)
    draft = desk.draft("several", image(f"{store}/i.jpg"), clip(f"{store}/v.mp4"))
    assert isinstance(PLATFORM.prepare(desk.call(), draft), Processing)
    for entry in desk.checkpoint["items"]:
        entry["state"] = "finished"
    time.sleep(0.25)
    box.configure(media_ttl_s=3600.0, processing_s=0.0)
    assert isinstance(desk.prepared(draft), Ready)
    assert isinstance(desk.finish(draft), Published)
    assert len(box.accepted()) == 1


def test_an_upload_that_broke_off_is_gone_on_with(box: Sandbox) -> None:
    box.configure(processing_s=0.0)
    user = Desk(box).account.remote_id
    desk = Desk(box, {"access_token": TOKEN, "login": "facebook", "ig_user_id": user})
    draft = desk.draft("resumed", clip(None))
    box.set_faults([{"step": "instagram.rupload", "kind": "reset_before", "count": 1}])
    with pytest.raises(TransportError):
        PLATFORM.prepare(desk.call(), draft)
    [entry] = desk.checkpoint["items"]
    url = entry["uri"].replace("https://rupload.facebook.com", box.url)

    def piece(data: bytes, offset: int) -> int:
        headers = {"Authorization": f"OAuth {TOKEN}", "offset": str(offset), "file_size": str(len(VIDEO))}
        return requests.post(url, data=data, headers=headers, timeout=10).status_code

    assert piece(VIDEO[:100], 0) == 200
    assert piece(VIDEO[50:], 50) == 400
    assert isinstance(desk.prepared(draft), Ready)
    assert isinstance(desk.finish(draft), Published)
    [row] = box.accepted()
    assert row["content"]["pictures"][0]["sha256"] == hashlib.sha256(VIDEO).hexdigest()
