"""The sandbox's Instagram: what it takes and refuses, and the real module against it, with faults at each step."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from browser import code_of, sign_in
from sandbox_client import Client
from sandbox_instagram_desk import TOKEN, Desk, clip, image, make, serving

from platforms.base import (
    AuthExpired,
    Found,
    NotSent,
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
from platforms.instagram import PLATFORM
from platforms.sandbox import Sandbox


@pytest.fixture
def ig(box: Sandbox) -> Client:
    client = Client(box, TOKEN)
    client.headers = {}
    return client


@pytest.fixture
def user(ig: Client) -> str:
    return str(ig("GET", f"/v26.0/me?fields=user_id&access_token={TOKEN}").json()["user_id"])


@pytest.fixture
def store() -> Iterator[str]:
    with serving() as url:
        yield url


# --- The module against the sandbox -----------------------------------------------------------------------


def test_each_kind_of_post(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.1)
    desk = Desk(box)
    drafts = (
        desk.draft("Soup #lunch", image(f"{store}/i.jpg", alt="a bowl"), collaborators=["friend"]),
        desk.draft("Several", image(f"{store}/i.jpg"), clip(f"{store}/v.mp4"), image(f"{store}/i.jpg")),
        desk.draft("It moves", clip(f"{store}/v.mp4"), thumb_offset_ms=10),
        desk.draft("", image(f"{store}/i.jpg"), placement="story"),
        desk.draft("", clip(f"{store}/v.mp4"), placement="story"),
    )
    for draft in drafts:
        desk.checkpoint = {}
        assert isinstance(desk.prepared(draft), Ready)
        count = len(box.accepted())
        outcome = desk.finish(draft)
        assert isinstance(outcome, Published), outcome
        assert len(box.accepted()) == count + 1
        assert outcome.remote_id == box.accepted()[-1]["remote_id"]
        assert outcome.url is not None
        assert outcome.url.startswith("https://www.instagram.com/")
    rows = box.accepted()
    assert [row["content"]["product"] for row in rows] == ["FEED", "FEED", "REELS", "STORY", "STORY"]
    assert [len(row["content"]["pictures"]) for row in rows] == [1, 3, 1, 1, 1]
    assert rows[0]["content"]["pictures"][0]["alt"] == "a bowl"
    page = f"{box.url}/instagram/status/{rows[0]['remote_id']}"
    assert "Soup #lunch" in requests.get(page, timeout=10).text


def test_bytes_by_facebook_login(box: Sandbox, user: str) -> None:
    box.configure(processing_s=0.05)
    desk = Desk(box, {"access_token": TOKEN, "login": "facebook", "ig_user_id": user})
    draft = desk.draft("By bytes", clip(None))
    assert isinstance(desk.prepared(draft), Ready)
    assert isinstance(desk.finish(draft), Published)
    assert len(box.accepted()) == 1


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
def test_a_doubtful_media_publish_is_settled_by_its_container(
    box: Sandbox, store: str, kind: str, stored: bool
) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("doubtful", image(f"{store}/i.jpg"))
    assert isinstance(desk.prepared(draft), Ready)
    box.set_faults([{"step": "*.publish", "kind": kind, "count": 1}])
    outcome = desk.tried(draft)
    assert isinstance(outcome, Unknown) or (isinstance(outcome, TransportError) and outcome.sent), outcome
    assert len(box.accepted()) == stored
    found = desk.look(draft)
    assert isinstance(found, Found if stored else Repeatable), found
    # Were it sent again without a look, the container would be asked first.
    assert isinstance(desk.tried(draft), Unknown if stored else Processing)
    assert len(box.accepted()) == 1


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("rate_limited", RateLimited), ("expired_token", AuthExpired), ("forbidden", AuthExpired)],
)
def test_refusals_are_understood(box: Sandbox, store: str, kind: str, outcome: type) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("refused", image(f"{store}/i.jpg"))
    assert isinstance(desk.prepared(draft), Ready)
    box.set_faults([{"step": "*.publish", "kind": kind}])
    assert isinstance(PLATFORM.publish(desk.call(), draft), outcome)
    assert box.accepted() == []


@pytest.mark.parametrize("step", ["instagram.limit", "instagram.media", "instagram.node", "instagram.rupload"])
def test_a_fault_at_each_step_of_preparing_is_got_over(box: Sandbox, user: str, step: str) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box, {"access_token": TOKEN, "login": "facebook", "ig_user_id": user})
    draft = desk.draft("by bytes", clip(None))
    box.set_faults(
        [{"step": step, "kind": "server_error", "count": 1}, {"step": step, "kind": "reset_after", "count": 1}]
    )
    assert isinstance(desk.prepared(draft), NotSent)
    with pytest.raises(TransportError):
        desk.prepared(draft)
    assert isinstance(desk.prepared(draft), Ready)
    assert box.accepted() == []


@pytest.mark.parametrize(
    ("media", "code"),
    [("/gone.jpg", "url_not_fetchable"), ("/p.png", "image_format"), ("/wide.jpg", "ratio")],
)
def test_wrong_images(box: Sandbox, store: str, media: str, code: str) -> None:
    desk = Desk(box)
    outcome = desk.prepared(desk.draft("no", image(store + media)))
    assert isinstance(outcome, Rejected)
    assert outcome.code == code


@pytest.mark.parametrize(("media", "code"), [("/gone.mp4", "url_not_fetchable"), ("/t.mp4", "video_format")])
def test_wrong_videos_are_told_by_the_container(box: Sandbox, store: str, media: str, code: str) -> None:
    box.configure(processing_s=0.1)
    desk = Desk(box)
    outcome = desk.prepared(desk.draft("no", clip(store + media)))
    assert isinstance(outcome, Rejected)
    assert outcome.code == code


def test_other_machines_are_not_fetched_from(box: Sandbox) -> None:
    desk = Desk(box)
    assert isinstance(desk.prepared(desk.draft("no", image("https://media.example/i.jpg"))), Rejected)


def test_the_days_limit_stops_before_a_container_is_made(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    box.account("instagram", "acme", quota_total=1)
    first, second = (desk.draft(text, image(f"{store}/i.jpg")) for text in ("one", "two"))
    assert isinstance(desk.prepared(first), Ready)
    kept, desk.checkpoint = desk.checkpoint, {}
    assert isinstance(desk.prepared(second), Ready)
    assert isinstance(desk.finish(second), Published)
    desk.checkpoint = kept
    assert isinstance(desk.finish(first), RateLimited)
    desk.checkpoint = {}
    assert isinstance(desk.prepared(first), RateLimited)
    assert desk.checkpoint == {}


def test_an_expired_container_is_replaced_at_the_last_step(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.05, media_ttl_s=0.3)
    desk = Desk(box)
    draft = desk.draft("late", clip(f"{store}/v.mp4"))
    assert isinstance(desk.prepared(draft), Ready)
    time.sleep(0.35)
    box.configure(media_ttl_s=3600.0)
    assert isinstance(PLATFORM.publish(desk.call(), draft), NotSent)
    assert isinstance(desk.finish(draft), Published)
    assert len(box.accepted()) == 1


def test_missing_captions_do_not_hide_the_post(box: Sandbox, store: str) -> None:
    box.configure(processing_s=0.0)
    box.account("instagram", "acme", captions=False)
    desk = Desk(box)
    draft = desk.draft("nameless", image(f"{store}/i.jpg"))
    assert isinstance(desk.prepared(draft), Ready)
    box.set_faults([{"step": "*.publish", "kind": "reset_after", "count": 1}])
    assert isinstance(desk.tried(draft), TransportError)
    found = desk.look(draft)
    assert isinstance(found, Found)
    assert found.remote_id == box.accepted()[0]["remote_id"]


def test_tokens_are_renewed_once_a_day_at_most(box: Sandbox) -> None:
    desk = Desk(box)
    renewed = PLATFORM.refresh(desk.call())
    assert isinstance(renewed, Refreshed)
    assert renewed.expires_at is not None
    assert renewed.expires_at > datetime.now(UTC) + timedelta(days=59)
    query = {"grant_type": "ig_refresh_token", "access_token": renewed.credentials["access_token"]}
    young = requests.get(f"{box.url}/refresh_access_token", params=query, timeout=10)
    assert (young.status_code, young.json()["error"]["code"]) == (400, 100)
    desk.credentials = dict(renewed.credentials)
    assert PLATFORM.refresh(desk.call()) is None
    box.account("instagram", "acme", revoked=True)
    dead = requests.get(f"{box.url}/refresh_access_token", params=query, timeout=10)
    assert dead.json()["error"]["code"] == 190


# --- The sandbox itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "code", "subcode"),
    [
        ({}, 100, None),
        ({"image_url": "{store}/i.jpg", "colour": "red"}, 100, None),
        ({"image_url": "{store}/i.jpg", "video_url": "{store}/v.mp4"}, 100, None),
        ({"video_url": "{store}/v.mp4"}, 100, None),
        ({"video_url": "{store}/v.mp4", "media_type": "VIDEO"}, 100, None),
        ({"image_url": "{store}/i.jpg", "media_type": "REELS"}, 100, None),
        ({"image_url": "{store}/i.jpg", "media_type": "ALBUM"}, 100, 2207023),
        ({"image_url": "{store}/i.jpg", "caption": "x" * 2201}, 36004, 2207010),
        ({"image_url": "{store}/i.jpg", "caption": "@a " * 21}, 100, 2207040),
        ({"image_url": "{store}/i.jpg", "is_carousel_item": "true", "caption": "x"}, 100, None),
        ({"image_url": "{store}/i.jpg", "alt_text": "x" * 1001}, 100, None),
        ({"image_url": "{store}/i.jpg", "collaborators": '["a","b","c","d"]'}, 100, None),
        ({"image_url": "{store}/i.jpg", "user_tags": '[{"username":"a"}]'}, 100, None),
        ({"image_url": "{store}/i.jpg", "media_type": "STORIES", "collaborators": '["a"]'}, 100, None),
        ({"image_url": "{store}/gone.jpg"}, 9004, 2207052),
        ({"media_type": "CAROUSEL", "children": "1"}, 100, 2207028),
        ({"media_type": "CAROUSEL", "children": "1,2"}, 24, 2207006),
    ],
)
def test_containers_are_checked(ig: Client, user: str, store: str, form: Any, code: int, subcode: int | None) -> None:
    answer = make(ig, user, **{name: text.replace("{store}", store) for name, text in form.items()})
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"].get("error_subcode")) == (code, subcode)


def test_a_container_publishes_once_and_only_when_it_is_ready(box: Sandbox, ig: Client, user: str, store: str) -> None:
    box.configure(processing_s=0.5)
    made = make(ig, user, video_url=f"{store}/v.mp4", media_type="REELS").json()["id"]
    publish = functools.partial(ig, "POST", f"/v26.0/{user}/media_publish", params={"access_token": TOKEN})

    def status() -> str:
        query = {"fields": "status_code,status", "access_token": TOKEN}
        return str(ig("GET", f"/v26.0/{made}", params=query).json()["status_code"])

    assert publish(json={"creation_id": made}).json()["error"]["error_subcode"] == 2207027
    assert status() == "IN_PROGRESS"
    deadline = time.monotonic() + 5
    while status() != "FINISHED":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "id" in publish(data={"creation_id": made}).json()
    assert status() == "PUBLISHED"
    assert publish(data={"creation_id": made}).status_code == 400
    assert publish(data={"creation_id": "1"}).json()["error"]["error_subcode"] == 2207006
    assert publish(data={}).json()["error"]["code"] == 100
    assert len(box.accepted()) == 1


def test_others_see_nothing_of_it(box: Sandbox, ig: Client, user: str, store: str) -> None:
    box.configure(processing_s=0.0)
    made = make(ig, user, image_url=f"{store}/i.jpg").json()["id"]
    other = {"access_token": "sandbox-instagram-other"}
    assert ig("GET", f"/v26.0/{made}", params={**other, "fields": "status_code"}).json()["error"]["error_subcode"] == 33
    refused = ig("POST", f"/v26.0/{user}/media_publish", params=other, data={"creation_id": made})
    assert refused.json()["error"]["error_subcode"] == 33
    assert ig("GET", f"/v26.0/{user}/media").status_code == 401
    assert ig("GET", f"/v26.0/{made}", params={"access_token": TOKEN, "fields": "colour"}).status_code == 400


def test_lists_pages_and_permalinks(box: Sandbox, ig: Client, user: str, store: str) -> None:
    box.configure(processing_s=0.0)
    for text, kind in (("one", ""), ("two", ""), ("", "STORIES")):
        form = {"image_url": f"{store}/i.jpg", "caption": text, "media_type": kind}
        made = make(ig, user, **{name: value for name, value in form.items() if value}).json()["id"]
        ig("POST", f"/v26.0/{user}/media_publish", params={"access_token": TOKEN}, data={"creation_id": made})
    query = {"access_token": TOKEN, "fields": "id,caption,permalink,timestamp,media_product_type"}
    rows = ig("GET", f"/v26.0/{user}/media", params=query).json()["data"]
    assert [row["caption"] for row in rows] == ["two", "one"]
    assert len(ig("GET", f"/v26.0/{user}/media", params={**query, "limit": "1"}).json()["data"]) == 1
    later = str(int(time.time()) + 60)
    assert ig("GET", f"/v26.0/{user}/media", params={**query, "since": later}).json()["data"] == []
    [story] = ig("GET", f"/v26.0/{user}/stories", params=query).json()["data"]
    assert story["media_product_type"] == "STORY"
    path = rows[0]["permalink"].removeprefix("https://www.instagram.com")
    assert "two" in requests.get(box.url + path, timeout=10).text
    gone = ig("DELETE", f"/v26.0/{rows[0]['id']}", params={"access_token": TOKEN})
    assert gone.json() == {"success": True}


def test_codes_are_exchanged_for_long_tokens(box: Sandbox) -> None:
    box.app("instagram", "app", "s", ["https://a.b/back"])
    asked = {"response_type": "code", "client_id": "app", "redirect_uri": "https://a.b/back"}
    page = f"{box.url}/oauth/authorize?{urlencode({**asked, 'scope': 'instagram_business_basic'})}"
    form = {
        "client_id": "app", "client_secret": "s", "grant_type": "authorization_code",
        "redirect_uri": "https://a.b/back", "code": code_of(sign_in(page)) + "#_",
    }  # fmt: skip
    url = f"{box.url}/oauth/access_token"
    short = requests.post(url, data=form, timeout=10).json()
    assert isinstance(short["user_id"], int)
    query = {"grant_type": "ig_exchange_token", "client_secret": "s", "access_token": short["access_token"]}
    long = requests.get(f"{box.url}/access_token", params=query, timeout=10).json()
    assert long["expires_in"] > 5_000_000
    assert requests.post(url, data={**form, "code": "x"}, timeout=10).status_code == 400


def test_a_limit_says_when_it_ends(box: Sandbox, ig: Client, user: str) -> None:
    box.set_faults([{"step": "instagram.limit", "kind": "rate_limited", "retry_after_s": 600}])
    answer = ig("GET", f"/v26.0/{user}/content_publishing_limit", params={"access_token": TOKEN})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 4)
    [row] = json.loads(answer.headers["x-business-use-case-usage"])["0"]
    assert row["estimated_time_to_regain_access"] == 10
