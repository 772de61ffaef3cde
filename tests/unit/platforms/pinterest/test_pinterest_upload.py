"""A video on its way to Pinterest: what is sent where, what is kept, what is done about each trouble."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from worlds import PINTEREST_ACCOUNT, PINTEREST_SUBJECT, STORE, PinterestWorld, clip, picture

from platforms.base import AuthExpired, Draft, Effect, NotSent, Processing, RateLimited, Ready, Rejected
from platforms.errors import TransportError
from platforms.pinterest import PLATFORM, upload

VIDEO = Draft("words", PINTEREST_ACCOUNT, (clip(300_000),), {"board": "1"})


def visit(
    answerer: Any, checkpoint: dict[str, Any], now: datetime = NOW, wanted: Draft = VIDEO
) -> tuple[Any, FakeHttp]:
    http = FakeHttp(answerer)
    call = dataclasses.replace(PINTEREST_SUBJECT.call(http, checkpoint, checkpoint.update), now=lambda: now)
    return PLATFORM.prepare(call, wanted), http


def in_the_store(sent: Sent) -> bool:
    return sent.url == STORE


def test_register_form_look_and_ready() -> None:
    world, checkpoint = PinterestWorld(), {}
    outcome, http = visit(world, checkpoint)
    assert outcome == Processing(upload.FIRST_LOOK_S)
    assert [(sent.method, sent.path) for sent in http.sent] == [("POST", "/v5/media"), ("POST", "/")]
    assert {sent.effect for sent in http.sent} == {Effect.PREPARES}
    assert http.sent[0].json == {"media_type": "video"}
    item = VIDEO.media[0]
    assert item.read is not None
    [(media_id, data)] = world.videos.items()
    assert data == item.read().read()
    # The pass to the store is a secret of that one upload: it is kept nowhere.
    assert checkpoint["video"] == {
        "media_id": media_id, "sha256": item.sha256, "state": "uploaded", "uploaded_at": NOW.isoformat(),
    }  # fmt: skip
    assert [visit(world, checkpoint)[0] for _ in range(3)] == [
        Processing(upload.FIRST_LOOK_S), Processing(upload.FIRST_LOOK_S), Ready(NOW + upload.LIFETIME),
    ]  # fmt: skip
    assert visit(world, checkpoint)[1].sent == []


def test_looks_become_rarer() -> None:
    world, checkpoint = PinterestWorld(), {}
    visit(world, checkpoint)
    assert visit(world, checkpoint, NOW + timedelta(seconds=61))[0] == Processing(upload.LOOK_S)


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("step", ["register", "store"])
def test_an_upload_that_broke_off_is_registered_anew(step: str, sent: bool) -> None:
    world, checkpoint = PinterestWorld(), {}
    error = TransportError("broken", sent=sent)
    with pytest.raises(TransportError):
        visit(lambda one: error if in_the_store(one) is (step == "store") else world(one), checkpoint)
    assert checkpoint == {}
    visit(world, checkpoint)
    assert len(world.videos) == 1
    assert checkpoint["video"]["media_id"] in world.videos


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(400, {"code": 1, "message": "no"}), Rejected),
        (Answer(401, {"code": 2}), AuthExpired),
        (Answer(401, {"code": 3}), Rejected),
        (Answer(403, {"code": 29}), Rejected),
        (Answer(429, {"code": 8}, {"x-ratelimit-reset": "7"}), RateLimited),
        (Answer(503, b"busy"), NotSent),
        (Answer(201, {}), NotSent),
        (Answer(201, {"media_id": "1", "upload_url": STORE}), NotSent),
        (Answer(200, b"<html>"), NotSent),
    ],
)
def test_refusals_of_the_registration(answer: Answer, kind: type) -> None:
    checkpoint: dict[str, Any] = {}
    outcome, http = visit(lambda _: answer, checkpoint)
    assert type(outcome) is kind
    assert (len(http.sent), checkpoint) == (1, {})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(403, b"<Error><Code>AccessDenied</Code></Error>"), NotSent),
        (Answer(400, b"<Error><Code>MalformedPOSTRequest</Code></Error>"), NotSent),
        (Answer(400, b"<Error><Code>EntityTooLarge</Code></Error>"), Rejected),
        (Answer(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry-After": "9"}), NotSent),
        (Answer(307, b""), NotSent),
    ],
)
def test_refusals_of_the_store(answer: Answer, kind: type) -> None:
    world, checkpoint = PinterestWorld(), {}
    outcome, _ = visit(lambda sent: answer if in_the_store(sent) else world(sent), checkpoint)
    assert type(outcome) is kind
    assert checkpoint == {}
    assert answer.status != 503 or outcome.retry_after_s == 9


@pytest.mark.parametrize(
    ("answer", "kind", "kept"),
    [
        (Answer(401, {}), AuthExpired, True),
        (Answer(429, {}), RateLimited, True),
        (Answer(500, b"<html>"), NotSent, True),
        (Answer(200, b"<html>"), NotSent, True),
        (Answer(404, {"code": 50}), NotSent, False),
        (Answer(200, {"status": "failed"}), Rejected, False),
        (Answer(200, {"status": "something new"}), NotSent, True),
    ],
)
def test_trouble_while_pinterest_works_on_it(answer: Answer, kind: type, kept: bool) -> None:
    world, checkpoint = PinterestWorld(), {}
    visit(world, checkpoint)
    outcome, _ = visit(lambda _: answer, checkpoint)
    assert type(outcome) is kind
    assert bool(checkpoint["video"]) is kept
    while isinstance(outcome := visit(world, checkpoint)[0], Processing):
        pass
    assert isinstance(outcome, Ready)
    assert len(world.videos) == (1 if kept else 2)


def test_an_upload_that_pinterest_never_hears_of_is_begun_anew() -> None:
    checkpoint: dict[str, Any] = {}
    visit(PinterestWorld(), checkpoint)
    unheard = lambda _: Answer(200, {"status": "registered"})  # noqa: E731 - one line, used twice
    assert isinstance(visit(unheard, checkpoint, NOW + upload.REGISTERED_LONGEST)[0], Processing)
    late, _ = visit(unheard, checkpoint, NOW + upload.REGISTERED_LONGEST + timedelta(seconds=1))
    assert isinstance(late, NotSent)
    assert (late.code, checkpoint["video"]) == ("upload_lost", {})


def test_another_file_or_an_old_upload_is_sent_anew() -> None:
    world, checkpoint = PinterestWorld(), {}
    while isinstance(visit(world, checkpoint)[0], Processing):
        pass
    other = dataclasses.replace(VIDEO, media=(clip(5, sha="z"), picture()))
    visit(world, checkpoint, wanted=other)
    assert len(world.videos) == 2
    visit(world, checkpoint, NOW + upload.LIFETIME, other)
    assert len(world.videos) == 3


def test_a_long_upload_says_that_it_is_alive() -> None:
    world = PinterestWorld()
    saved: list[dict[str, Any]] = []
    clock = [NOW]

    def tick() -> datetime:
        clock[0] += timedelta(seconds=16)
        return clock[0]

    # The fake reads the whole form by one read; the beat is called for each of its pieces.
    http = FakeHttp(world)
    call = dataclasses.replace(PINTEREST_SUBJECT.call(http, {}, saved.append), now=tick)
    PLATFORM.prepare(call, VIDEO)
    beats = [entry for entry in saved if "uploading_since" in entry]
    assert beats
    assert list(saved[-1]) == ["video"]
