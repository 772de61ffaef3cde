"""Bluesky's rules for a draft, its sessions, what goes where, and what comes of odd answers."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from conformance import prepared
from fake_http import NOW, Answer, FakeHttp, Sent
from world_bluesky import BLUESKY_ACCOUNT, BLUESKY_SUBJECT, BOB, CLIP, DID, PDS, BlueskyWorld
from worlds import picture

from platforms.base import (
    AccountRef,
    Doubt,
    Draft,
    Found,
    Inconclusive,
    MediaKind,
    NotSent,
    Published,
    Ready,
    Repeatable,
    Unknown,
)
from platforms.bluesky import PLATFORM

FIRST = {"identifier": "acme.bsky.social", "password": "p"}


def codes(
    text: str = "hi", media: tuple[Any, ...] = (), account: AccountRef = BLUESKY_ACCOUNT, **options: Any
) -> set[str]:
    found = PLATFORM.validate(Draft(text, account, media, options))
    assert all(violation.platform == "bluesky" for violation in found)
    return {violation.code for violation in found}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"text": "x" * 300}, set()),
        ({"text": "x" * 301}, {"text_too_long"}),
        ({"text": "👩‍👩‍👧‍👦" * 100}, set()),
        ({"text": "👩‍👩‍👧‍👦" * 130}, {"text_too_many_bytes"}),
        ({"text": "👩‍👩‍👧‍👦" * 301}, {"text_too_long", "text_too_many_bytes"}),
        ({"text": "\ud83d"}, {"invalid_character"}),
        ({"text": ""}, {"empty_post"}),
        ({"text": " \n"}, {"empty_post"}),
        ({"text": "", "media": (picture(),)}, set()),
        ({"media": (picture(),) * 4}, set()),
        ({"media": (picture(),) * 5}, {"too_many_media"}),
        ({"media": (CLIP,)}, set()),
        ({"media": (CLIP, picture())}, {"video_not_alone"}),
        ({"media": (picture(kind=MediaKind.GIF), picture())}, {"video_not_alone"}),
        ({"media": (picture(alt="x" * 10_000),)}, set()),
        ({"media": (picture(alt="x" * 10_001),)}, {"alt_too_long"}),
        ({"langs": ["en", "de", "fr"]}, set()),
        ({"langs": "en"}, set()),
        ({"langs": ["en", "de", "fr", "it"]}, {"invalid_option"}),
        ({"langs": ["english!"]}, {"invalid_option"}),
        ({"labels": "nudity"}, set()),
        ({"labels": ["spicy"]}, {"invalid_option"}),
        ({"tags": ["#tea"]}, set()),
        ({"tags": ["x" * 65]}, {"invalid_option"}),
        ({"tags": ["x"] * 9}, {"invalid_option"}),
        ({"replies": "nobody"}, set()),
        ({"replies": "followers"}, set()),
        ({"replies": ["mentioned", "at://did:plc:a/app.bsky.graph.list/3k"]}, set()),
        ({"replies": []}, {"invalid_option"}),
        ({"replies": ["friends"]}, {"invalid_option"}),
        ({"text": "a.com", "card": True}, set()),
        ({"text": "a.com b.com", "card": True}, {"card_without_link"}),
        ({"card": True}, {"card_without_link"}),
        ({"text": "", "card_url": "https://a.com"}, set()),
        ({"card_url": "javascript:alert(1)"}, {"invalid_option"}),
        ({"text": "a.com", "card": True, "media": (picture(),)}, {"card_with_media"}),
        ({"mood": "good"}, {"unknown_option"}),
    ],
)
def test_rules(arguments: dict[str, Any], expected: set[str]) -> None:
    assert codes(**arguments) == expected


def test_a_text_that_is_too_long_is_told_by_how_much_and_what_is_counted() -> None:
    [long] = PLATFORM.validate(Draft("é" * 312, BLUESKY_ACCOUNT))
    assert "312 characters" in long.message
    assert "12 more than the 300" in long.message
    [large] = PLATFORM.validate(Draft("👩‍👩‍👧‍👦" * 130, BLUESKY_ACCOUNT))
    assert "3,250 bytes" in large.message
    assert "250 more than the 3,000" in large.message


def test_videos_need_a_confirmed_address_on_bluesky_itself() -> None:
    facts = {"email_confirmed": False, "server": PDS}
    account = dataclasses.replace(BLUESKY_ACCOUNT, facts=facts)
    assert codes(media=(CLIP,), account=account) == {"email_unconfirmed"}
    assert codes(media=(picture(),), account=account) == set()
    own = dataclasses.replace(BLUESKY_ACCOUNT, facts={**facts, "server": "https://pds.example.org"})
    assert codes(media=(CLIP,), account=own) == set()


@pytest.mark.parametrize(
    ("draft", "needed"),
    [
        (Draft("hi", BLUESKY_ACCOUNT), False),
        (Draft("hi example.com #tea", BLUESKY_ACCOUNT), False),
        (Draft("hi @bob.test", BLUESKY_ACCOUNT), True),
        (Draft("hi", BLUESKY_ACCOUNT, (picture(),)), True),
        (Draft("hi", BLUESKY_ACCOUNT, options={"replies": "nobody"}), True),
        (Draft("hi", BLUESKY_ACCOUNT, options={"quotes": False}), True),
    ],
)
def test_what_the_draft_needs(draft: Draft, needed: bool) -> None:
    assert PLATFORM.needs_prepare(draft) is needed
    assert not PLATFORM.wants_url(draft)


def answering(*answers: Answer) -> FakeHttp:
    waiting = list(answers)
    return FakeHttp(lambda _: waiting.pop(0))


# --- Preparing ----------------------------------------------------------------------------------------------


def test_mentions_are_asked_for_once() -> None:
    world, checkpoint = BlueskyWorld(), {}
    draft = Draft("@bob.test @nobody.test @bob.test", BLUESKY_ACCOUNT)
    http = FakeHttp(world)
    for _ in range(2):
        outcome = PLATFORM.prepare(BLUESKY_SUBJECT.call(http, checkpoint, checkpoint.update), draft)
        assert outcome == Ready(None)
    assert len(http.sent) == 2
    assert checkpoint["dids"] == {"bob.test": BOB, "nobody.test": None}


def test_uploads_run_out_and_are_made_again() -> None:
    world = BlueskyWorld()
    draft = Draft("hi", BLUESKY_ACCOUNT, (picture(),))
    checkpoint = prepared(BLUESKY_SUBJECT, draft, world)
    http = FakeHttp(world)
    call = BLUESKY_SUBJECT.call(http, checkpoint, checkpoint.update)
    call.now = lambda: NOW + timedelta(hours=1)
    assert isinstance(PLATFORM.publish(call, draft), Published)
    assert [request.path.rsplit(".", 1)[1] for request in http.sent] == ["uploadBlob", "putRecord"]


# --- Publishing ---------------------------------------------------------------------------------------------


def test_the_same_bytes_are_sent_again() -> None:
    world, checkpoint = BlueskyWorld(), {}
    draft = Draft("Hi example.com", BLUESKY_ACCOUNT)
    bodies = []
    for _ in range(2):
        http = FakeHttp(world)
        outcome = PLATFORM.publish(BLUESKY_SUBJECT.call(http, checkpoint, checkpoint.update), draft)
        assert isinstance(outcome, Published)
        bodies.append(http.sent[-1].json)
    assert bodies[0] == bodies[1]
    assert len(world.published()) == 1


def test_the_key_is_committed_before_the_first_byte() -> None:
    checkpoint: dict[str, Any] = {}
    seen: list[dict[str, Any]] = []
    world = BlueskyWorld()

    def watching(sent: Sent) -> Answer:
        seen.append(dict(checkpoint))
        return world(sent)

    http = FakeHttp(watching)
    PLATFORM.publish(BLUESKY_SUBJECT.call(http, checkpoint, checkpoint.update), Draft("hi", BLUESKY_ACCOUNT))
    assert seen[-1]["record"]["rkey"] == http.sent[-1].json["rkey"]


def test_a_lost_blob_is_brought_again_at_the_next_try() -> None:
    world = BlueskyWorld()
    draft = Draft("hi", BLUESKY_ACCOUNT, (picture(),))
    checkpoint = prepared(BLUESKY_SUBJECT, draft, world)
    lost = FakeHttp(lambda _: Answer(400, {"error": "BlobNotFound", "message": "Could not find blob"}))
    call = BLUESKY_SUBJECT.call(lost, checkpoint, checkpoint.update)
    assert isinstance(PLATFORM.publish(call, draft), NotSent)
    http = FakeHttp(world)
    assert isinstance(PLATFORM.publish(BLUESKY_SUBJECT.call(http, checkpoint, checkpoint.update), draft), Published)
    assert len(http.sent) == 2


def test_an_earlier_try_under_another_time_is_found() -> None:
    world, checkpoint = BlueskyWorld(), {}
    draft = Draft("hi", BLUESKY_ACCOUNT)
    first = PLATFORM.publish(BLUESKY_SUBJECT.call(FakeHttp(world), checkpoint, checkpoint.update), draft)
    late = BLUESKY_SUBJECT.call(FakeHttp(world), checkpoint, checkpoint.update)
    late.now = lambda: NOW + timedelta(hours=1)
    outcome = PLATFORM.publish(late, draft)
    assert isinstance(outcome, Unknown)
    assert outcome.code == "record_exists"
    found = PLATFORM.reconcile(late, draft, Doubt(NOW, None, frozenset()))
    assert isinstance(found, Found)
    assert isinstance(first, Published)
    assert found.remote_id == first.remote_id
    assert found.published_at == NOW


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(400, {"error": "RecordNotFound", "message": "no"}), Repeatable),
        (Answer(400, {"error": "InvalidRequest", "message": "Could not locate record: at://x"}), Repeatable),
        (Answer(400, {"error": "InvalidRequest", "message": "Could not find repo"}), Inconclusive),
        (Answer(200, {"uri": "at://x", "cid": "b", "value": {"text": "something else"}}), Inconclusive),
        (Answer(200, {"uri": "at://x", "cid": "b", "value": {"text": "hi"}}), Found),
        (Answer(404, b""), Inconclusive),
    ],
)
def test_looking_up(answer: Answer, kind: type) -> None:
    checkpoint: dict[str, Any] = {}
    draft = Draft("hi", BLUESKY_ACCOUNT)
    PLATFORM.publish(BLUESKY_SUBJECT.call(FakeHttp(BlueskyWorld()), checkpoint, checkpoint.update), draft)
    http = answering(answer)
    found = PLATFORM.reconcile(BLUESKY_SUBJECT.call(http, checkpoint), draft, Doubt(NOW, None, frozenset()))
    assert isinstance(found, kind), found
    assert "Authorization" not in http.sent[0].headers


def test_what_was_never_begun_may_be_sent() -> None:
    http = FakeHttp(BlueskyWorld())
    draft = Draft("hi", BLUESKY_ACCOUNT)
    assert PLATFORM.reconcile(BLUESKY_SUBJECT.call(http), draft, Doubt(NOW, None, frozenset())) == Repeatable()
    assert http.sent == []


def test_links_by_did_where_the_handle_is_broken() -> None:
    account = dataclasses.replace(BLUESKY_ACCOUNT, handle="handle.invalid")
    call = BLUESKY_SUBJECT.call(FakeHttp(BlueskyWorld()))
    call.account = account
    outcome = PLATFORM.publish(call, Draft("hi", account))
    assert isinstance(outcome, Published)
    assert outcome.url is not None
    assert outcome.url.startswith(f"https://bsky.app/profile/{DID}/post/")
