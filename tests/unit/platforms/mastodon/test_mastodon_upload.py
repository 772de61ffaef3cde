"""Files on their way to a Mastodon server: steps, what is lost there, long uploads, and doubt about them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from conformance import prepared
from fake_http import NOW, Answer, FakeHttp, Sent
from world_mastodon import CLIP, MASTODON_ACCOUNT, MASTODON_SUBJECT, MastodonWorld, form_of
from worlds import clip, picture

from platforms.base import (
    Absent,
    Call,
    Doubt,
    Draft,
    Effect,
    NotSent,
    Processing,
    Published,
    RateLimited,
    Ready,
    Rejected,
    Unknown,
)
from platforms.errors import FenceExpired, TransportError
from platforms.mastodon import PLATFORM

# --- Uploads ------------------------------------------------------------------------------------------------


def visits(*answers: Answer, item: Any = CLIP) -> tuple[Any, dict[str, Any]]:
    """What the last of as many visits as there are answers says."""
    waiting = list(answers)
    checkpoint: dict[str, Any] = {}
    outcome: Any = None
    for _ in answers:
        http = FakeHttp(lambda _: waiting.pop(0))
        call = MASTODON_SUBJECT.call(http, checkpoint, checkpoint.update)
        outcome = PLATFORM.prepare(call, Draft("hi", MASTODON_ACCOUNT, (item,)))
    return outcome, checkpoint


MADE = Answer(202, {"id": "9", "url": None})


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([Answer(200, {"id": "9"})], Ready),
        ([MADE], Processing),
        ([MADE, Answer(206, {"id": "9"})], Processing),
        ([MADE, Answer(206, {}), Answer(200, {"id": "9"})], Ready),
        ([MADE, Answer(404, {"error": "Record not found"})], NotSent),
        ([MADE, Answer(422, {"error": "Error processing"})], Rejected),
        ([MADE, Answer(503, b"")], NotSent),
        ([Answer(422, {"error": "Validation failed: File content type is invalid"})], Rejected),
        ([Answer(500, {"error": "Error processing thumbnail for uploaded media"})], NotSent),
        ([Answer(413, b"<html>")], Rejected),
    ],
)
def test_uploads(answers: list[Answer], kind: type) -> None:
    assert isinstance(visits(*answers)[0], kind)


def test_what_is_forgotten_is_uploaded_again() -> None:
    outcome, checkpoint = visits(MADE, Answer(404, {}), Answer(200, {"id": "10"}))
    assert isinstance(outcome, Ready)
    assert [entry["id"] for entry in checkpoint["media"]] == ["10"]


def test_uploads_run_out_and_are_made_again_before_the_post() -> None:
    world = MastodonWorld()
    draft = Draft("hi", MASTODON_ACCOUNT, (picture(),))
    checkpoint = prepared(MASTODON_SUBJECT, draft, world)
    http = FakeHttp(world)
    call = MASTODON_SUBJECT.call(http, checkpoint, checkpoint.update)
    call.now = lambda: NOW + timedelta(days=1)
    assert isinstance(PLATFORM.publish(call, draft), Published)
    assert [request.path for request in http.sent] == ["/api/v2/media", "/api/v1/statuses"]


def test_a_file_is_read_whole_and_closed() -> None:
    opened: list[io.BytesIO] = []

    def read() -> io.BytesIO:
        opened.append(io.BytesIO(b"abc"))
        return opened[-1]

    item = dataclasses.replace(picture(3), read=read)
    assert isinstance(visits(Answer(200, {"id": "9"}), item=item)[0], Ready)
    assert all(source.closed for source in opened)


# --- Long ones ----------------------------------------------------------------------------------------------


def test_a_long_upload_renews_its_lease_and_holds_no_file_in_memory() -> None:
    """A minute for each MiB: the lease of five minutes would have run out long before the end."""
    now = [NOW]
    film = clip(12 * 1024 * 1024)
    largest = [0]
    saved: list[datetime] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size > 0
            largest[0] = max(largest[0], size)
            now[0] += timedelta(seconds=60 * size / 1024 / 1024)
            return super().read(size)

    assert film.read is not None
    with film.read() as file:
        data = file.read()
    item = dataclasses.replace(film, read=lambda: Slow(data))
    checkpoint: dict[str, Any] = {}

    def store(values: Mapping[str, Any]) -> None:
        saved.append(now[0])
        checkpoint.update(values)

    class Streaming(FakeHttp):
        def request(self, *arguments: Any, content: Any = None, **more: Any) -> Any:
            return super().request(*arguments, content=b"".join(content) if content else None, **more)

    world = MastodonWorld()
    http = Streaming(world)
    call = MASTODON_SUBJECT.call(http, checkpoint, store)
    call.now = lambda: now[0]
    outcome = PLATFORM.prepare(call, Draft("hi", MASTODON_ACCOUNT, (item,)))
    assert isinstance(outcome, Processing)
    assert form_of(http.sent[0])["file"][1] == data
    assert now[0] - NOW == timedelta(minutes=12)
    assert largest[0] <= 64 * 1024
    pauses = [later - earlier for earlier, later in zip([NOW, *saved], saved, strict=False)]
    assert timedelta(seconds=30) <= max(pauses) < timedelta(seconds=40)
    assert len(saved) < 30


# --- Doubt --------------------------------------------------------------------------------------------------


LOST = Answer(422, {"error": "Media 9 not found or already attached to another post"})
LIMITED = Answer(429, {"error": "Too many requests"})
WITH_A_PICTURE = Draft("hi", MASTODON_ACCOUNT, (picture(),))


class Tries:
    """Tries of one post on one server, which answers the publishing call as it is told."""

    def __init__(self) -> None:
        self.world = MastodonWorld()
        self.checkpoint = prepared(MASTODON_SUBJECT, WITH_A_PICTURE, self.world)

    def call(self, answer: Answer | Exception | None = None) -> Call:
        def server(sent: Sent) -> Answer | Exception:
            return answer if answer is not None and sent.effect is Effect.PUBLISHES else self.world(sent)

        return MASTODON_SUBJECT.call(FakeHttp(server), self.checkpoint, self.checkpoint.update)

    def publish(self, answer: Answer | Exception | None = None) -> Any:
        return PLATFORM.publish(self.call(answer), WITH_A_PICTURE)

    def reconcile(self) -> Any:
        return PLATFORM.reconcile(self.call(), WITH_A_PICTURE, Doubt(NOW - timedelta(seconds=60), None, frozenset()))

    def again(self) -> None:
        """Prepared anew and published, once."""
        before = len(self.world.media)
        assert isinstance(PLATFORM.prepare(self.call(), WITH_A_PICTURE), Ready)
        assert len(self.world.media) == before + 1
        assert isinstance(self.publish(), Published)
        assert len(self.world.published()) == 1


def lost_for_good(outcome: Any) -> bool:
    return isinstance(outcome, NotSent) and outcome.code == "media_not_ready"


def test_files_that_were_never_sent_are_uploaded_again_at_once() -> None:
    tries = Tries()
    assert lost_for_good(tries.publish(LOST))
    tries.again()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (LIMITED, RateLimited),
        (Answer(422, {"error": "Validation failed: Text character limit of 500 exceeded"}), Rejected),
        (Answer(422, {"error": "Cannot attach files that have not finished processing. Try again!"}), Rejected),
    ],
)
def test_a_refused_try_leaves_no_doubt_about_the_files(refusal: Answer, kind: type) -> None:
    tries = Tries()
    for _ in range(3):
        assert isinstance(tries.publish(refusal), kind | NotSent)
    assert lost_for_good(tries.publish(LOST))
    tries.again()


@pytest.mark.parametrize("error", [TransportError("no route", sent=False), FenceExpired("slept")])
def test_a_try_that_never_left_leaves_no_doubt_either(error: Exception) -> None:
    tries = Tries()
    with pytest.raises(type(error)):
        tries.publish(error)
    assert lost_for_good(tries.publish(LOST))
    tries.again()


@pytest.mark.parametrize("doubt", [Answer(502, b""), TransportError("reset", sent=True)])
def test_after_doubt_files_are_uploaded_again_only_when_a_look_up_has_found_nothing(doubt: Any) -> None:
    tries = Tries()
    if isinstance(doubt, Exception):
        with pytest.raises(TransportError):
            tries.publish(doubt)
    else:
        assert isinstance(tries.publish(doubt), Unknown)
    assert isinstance(tries.reconcile(), Absent)
    # A refusal in between settles only its own try.
    assert isinstance(tries.publish(LIMITED), RateLimited)
    answered = tries.publish(LOST)
    assert isinstance(answered, Unknown)
    assert answered.code == "media_attached"
    assert isinstance(tries.reconcile(), Absent)
    assert lost_for_good(tries.publish())
    tries.again()
