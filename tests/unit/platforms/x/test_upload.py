"""Uploading to X: what is sent, what is kept, what is done about each trouble."""

from __future__ import annotations

import dataclasses
import io
import tracemalloc
from datetime import timedelta
from typing import Any, BinaryIO, cast

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from worlds import X_ACCOUNT, X_SUBJECT, XWorld, clip, picture

from platforms.base import (
    AuthExpired,
    Draft,
    Effect,
    MediaKind,
    NotSent,
    Processing,
    RateLimited,
    Ready,
    Rejected,
)
from platforms.errors import TransportError
from platforms.x import PLATFORM, upload

MIB = 1024 * 1024


def visit(answerer: Any, draft: Draft, checkpoint: dict[str, Any], *, poll: bool = False) -> tuple[Any, FakeHttp]:
    http = FakeHttp(answerer)
    call = X_SUBJECT.call(http, checkpoint, checkpoint.update)
    return (PLATFORM.poll if poll else PLATFORM.prepare)(call, draft), http


def images(*items: Any) -> Draft:
    return Draft("text", X_ACCOUNT, items)


def test_bytes_arrive_whole_in_pieces_of_one_mebibyte() -> None:
    world, checkpoint = XWorld(), {}
    item = picture(2 * MIB + 5, alt="words")
    outcome, http = visit(world, images(item), checkpoint)
    assert outcome == Ready(NOW + timedelta(hours=24) - upload.MARGIN)
    [(media_id, data)] = world.uploads.items()
    assert item.read is not None
    assert data == item.read().read()
    sizes = [len(sent.files["media"][1]) for sent in http.sent if sent.files]
    assert sizes == [MIB, MIB, 5]
    assert [sent.form["segment_index"] for sent in http.sent if sent.files] == ["0", "1", "2"]
    assert world.alts == {media_id: "words"}
    assert {sent.effect for sent in http.sent} == {Effect.PREPARES}


def test_no_alt_text_is_no_request() -> None:
    world = XWorld()
    _, http = visit(world, images(picture()), {})
    assert [sent.path.rsplit("/", 1)[-1] for sent in http.sent] == ["initialize", "append", "finalize"]


def test_a_ready_checkpoint_is_not_uploaded_again() -> None:
    world, checkpoint = XWorld(), {}
    draft = images(picture(alt="a"), picture(sha="b"))
    first, _ = visit(world, draft, checkpoint)
    again, http = visit(world, draft, checkpoint)
    assert again == first
    assert http.sent == []


def test_a_file_that_changed_or_ran_out_is_uploaded_anew() -> None:
    world, checkpoint = XWorld(), {}
    visit(world, images(picture()), checkpoint)
    changed = dataclasses.replace(picture(), sha256="c" * 64)
    visit(world, images(changed), checkpoint)
    assert len(world.uploads) == 2
    checkpoint["media"][0]["expires_at"] = (NOW - timedelta(seconds=1)).isoformat()
    visit(world, images(changed), checkpoint)
    assert len(world.uploads) == 3


def test_segments_that_arrived_are_not_sent_again() -> None:
    world, checkpoint = XWorld(), {}
    left = [3]  # initialize and two segments

    def cut(sent: Sent) -> Answer | Exception:
        left[0] -= 1
        return world(sent) if left[0] >= 0 else TransportError("cut", sent=True)

    draft = images(picture(3 * MIB))
    with pytest.raises(TransportError):
        visit(cut, draft, checkpoint)
    assert checkpoint["media"][0]["next_segment"] == 2
    outcome, http = visit(world, draft, checkpoint)
    assert isinstance(outcome, Ready)
    assert [sent.form["segment_index"] for sent in http.sent if sent.files] == ["2"]
    item = draft.media[0]
    assert item.read is not None
    assert list(world.uploads.values()) == [item.read().read()]


def test_413_leads_to_smaller_pieces_in_a_new_upload() -> None:
    world, checkpoint = XWorld(), {}

    def narrow(sent: Sent) -> Answer:
        if sent.files and len(sent.files["media"][1]) > 300_000:
            return Answer(413, b"")
        return world(sent)

    outcome, _ = visit(narrow, images(picture(MIB)), checkpoint)
    assert isinstance(outcome, Ready)
    assert checkpoint["media"][0]["chunk"] == MIB // 4
    assert len(world.uploads[checkpoint["media"][0]["id"]]) == MIB


def test_413_for_the_smallest_piece_is_a_refusal() -> None:
    world = XWorld()
    outcome, _ = visit(lambda s: Answer(413, b"") if s.files else world(s), images(picture()), {})
    assert isinstance(outcome, Rejected)


def test_a_gif_is_waited_for_and_comes_from_poll() -> None:
    world, checkpoint = XWorld(), {}
    draft = images(picture(kind=MediaKind.GIF, alt="moves"))
    assert visit(world, draft, checkpoint)[0] == Processing(1.0)
    assert isinstance(visit(world, draft, checkpoint, poll=True)[0], Processing)
    outcome, http = visit(world, draft, checkpoint, poll=True)
    assert isinstance(outcome, Ready)
    # The alt text is set once X is done, and not before.
    assert [sent.path for sent in http.sent] == ["/2/media/upload", "/2/media/metadata"]
    assert next(iter(world.kinds.values())) == "tweet_gif"


def no_bytes() -> Any:
    raise AssertionError("the whole file was opened")


def test_a_video_goes_in_pieces_and_is_waited_for() -> None:
    world, checkpoint = XWorld(), {}
    draft = images(clip(2 * MIB + 7, alt="a boat"))
    outcome, http = visit(world, draft, checkpoint)
    assert outcome == Processing(1.0)
    begun = http.sent[0].json
    assert begun == {"media_type": "video/mp4", "total_bytes": 2 * MIB + 7, "media_category": "tweet_video"}
    assert [len(sent.files["media"][1]) for sent in http.sent if sent.files] == [MIB, MIB, 7]
    assert visit(world, draft, checkpoint)[0] == Processing(upload.POLL_S)
    outcome, http = visit(world, draft, checkpoint)
    assert isinstance(outcome, Ready)
    assert list(world.alts.values()) == ["a boat"]
    item = draft.media[0]
    assert item.read is not None
    assert list(world.uploads.values()) == [item.read().read()]


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_killed_upload_goes_on_after_the_last_segment_that_x_took(kept: int) -> None:
    world, checkpoint = XWorld(), {}
    left = [1 + kept]

    def cut(sent: Sent) -> Answer | Exception:
        left[0] -= 1
        return world(sent) if left[0] >= 0 else TransportError("killed", sent=True)

    draft = images(clip(4 * MIB))
    with pytest.raises(TransportError):
        visit(cut, draft, checkpoint)
    # From there on the file is read in ranges: nothing is fetched that X has.
    item = dataclasses.replace(draft.media[0], read=no_bytes) if kept else draft.media[0]
    outcome, http = visit(world, images(item), checkpoint)
    assert isinstance(outcome, Processing)
    assert [sent.form["segment_index"] for sent in http.sent if sent.files] == [str(n) for n in range(kept, 4)]
    assert draft.media[0].read is not None
    assert list(world.uploads.values()) == [draft.media[0].read().read()]


class Trickle(io.BytesIO):
    """A stream that gives less than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 700_001))


def test_a_stream_that_gives_little_at_a_time_is_cut_where_it_should_be() -> None:
    data = clip(3 * MIB).read
    assert data is not None
    item = dataclasses.replace(clip(3 * MIB), read=lambda: Trickle(data().read()), read_range=None)
    world = XWorld()
    _, http = visit(world, images(item), {})
    assert [len(sent.files["media"][1]) for sent in http.sent if sent.files] == [MIB] * 3


def test_pieces_never_get_so_small_that_there_are_too_many() -> None:
    size = 200 * MIB
    least = -(-size // upload.MAX_SEGMENTS)
    sizes: list[int] = []

    def narrow(sent: Sent) -> Answer:
        if sent.files:
            sizes.append(len(sent.files["media"][1]))
            return Answer(413, b"")
        return XWorld()(sent)

    item = dataclasses.replace(clip(MIB), size=size)
    outcome, _ = visit(narrow, images(item), {})
    assert isinstance(outcome, Rejected)
    assert sizes == [MIB, MIB // 2, MIB // 4, least]


class Zeros(io.RawIOBase):
    """A file that takes no memory."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


def test_a_large_video_takes_the_memory_of_a_few_pieces() -> None:
    size = 64 * MIB
    item = dataclasses.replace(clip(1), size=size, read=lambda: cast("BinaryIO", Zeros(size)), read_range=None)
    arrived = [0]

    def count(sent: Sent) -> Answer:
        http.sent.clear()
        arrived[0] += len(sent.files["media"][1]) if sent.files else 0
        return Answer(200, {"data": {"id": "1", "expires_after_secs": 86400}})

    http = FakeHttp(count)
    checkpoint: dict[str, Any] = {}
    call = X_SUBJECT.call(http, checkpoint, checkpoint.update)
    tracemalloc.start()
    try:
        outcome = PLATFORM.prepare(call, images(item))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(outcome, Ready)
    assert arrived == [size]
    assert peak < 6 * MIB, peak


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Ready), (403, Ready), (401, AuthExpired), (429, RateLimited), (503, NotSent)]
)
def test_a_video_whose_alt_text_is_refused_goes_out_without(status: int, kind: type) -> None:
    world, checkpoint = XWorld(), {}
    draft = images(clip(5, alt="a boat"))
    while not world.looked:
        visit(world, draft, checkpoint)
    refuse = lambda sent: Answer(status, {}) if sent.path.endswith("metadata") else world(sent)  # noqa: E731 - used once
    outcome, _ = visit(refuse, draft, checkpoint)
    assert isinstance(outcome, kind)
    assert (checkpoint["media"][0].get("alt_set") is False) is (kind is Ready)
    again = [sent.path for sent in visit(world, draft, checkpoint)[1].sent]
    assert again == ([] if kind is Ready else ["/2/media/metadata"])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(401, {}), AuthExpired),
        (Answer(402, {}), Rejected),
        (Answer(403, {"type": "x/user-suspended"}), AuthExpired),
        (Answer(429, {}, {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "1795342800"}), RateLimited),
        (Answer(500, b"<html>"), NotSent),
        (Answer(200, b"<html>"), NotSent),
        (TransportError("refused", sent=False), TransportError),
        (TransportError("no answer", sent=True, code="timeout"), TransportError),
    ],
)
@pytest.mark.parametrize("kind_of_media", [MediaKind.GIF, MediaKind.VIDEO])
def test_trouble_while_x_works_on_it_costs_nothing(
    kind_of_media: MediaKind, answer: Answer | Exception, kind: type
) -> None:
    world, checkpoint = XWorld(), {}
    draft = images(clip(5) if kind_of_media is MediaKind.VIDEO else picture(kind=kind_of_media))
    visit(world, draft, checkpoint)
    if isinstance(answer, Exception):
        with pytest.raises(TransportError):
            visit(lambda _: answer, draft, checkpoint)
    else:
        assert isinstance(visit(lambda _: answer, draft, checkpoint)[0], kind)
    assert isinstance(visit(world, draft, checkpoint)[0], Processing)
    assert isinstance(visit(world, draft, checkpoint)[0], Ready)
    assert len(world.uploads) == 1


def test_x_cannot_make_us_wait_for_long() -> None:
    world, checkpoint = XWorld(), {}

    def slow(sent: Sent) -> Answer:
        answer = world(sent)
        if sent.path.endswith("finalize"):
            answer.body["data"]["processing_info"]["check_after_secs"] = 10_000
        return answer

    outcome, _ = visit(slow, images(picture(kind=MediaKind.GIF)), checkpoint)
    assert outcome == Processing(upload.LONGEST_POLL_S)


def test_media_that_x_cannot_process_are_refused() -> None:
    world, checkpoint = XWorld(), {}
    draft = images(picture(kind=MediaKind.GIF))
    visit(world, draft, checkpoint)
    failed = {"state": "failed", "error": {"message": "bad GIF"}}
    answer = Answer(200, {"data": {"id": "1", "processing_info": failed}})
    outcome, _ = visit(lambda _: answer, draft, checkpoint, poll=True)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, "bad GIF" in outcome.message) == ("media_failed", True)


@pytest.mark.parametrize("status", [400, 404])
def test_an_upload_that_x_has_forgotten_begins_anew(status: int) -> None:
    world, checkpoint = XWorld(), {}
    draft = images(picture(kind=MediaKind.GIF))
    visit(world, draft, checkpoint)
    outcome, _ = visit(lambda _: Answer(status, {"detail": "no such media"}), draft, checkpoint, poll=True)
    assert isinstance(outcome, NotSent)
    assert outcome.code == "upload_lost"
    visit(world, draft, checkpoint)
    assert len(world.uploads) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(400, {"detail": "bad type"}), Rejected),
        (Answer(401, {}), AuthExpired),
        (Answer(402, {}), Rejected),
        (Answer(403, {}), Rejected),
        (Answer(429, {}), RateLimited),
        (Answer(503, b"busy", {"Retry-After": "7"}), NotSent),
        (Answer(200, {"data": {}}), NotSent),
    ],
)
@pytest.mark.parametrize("step", ["initialize", "append", "finalize", "metadata"])
def test_refusals(step: str, answer: Answer, kind: type) -> None:
    world = XWorld()
    good_without_id = answer.status == 200 and step in {"append", "metadata"}

    def answers(sent: Sent) -> Answer:
        if not sent.path.endswith(step):
            return world(sent)
        if good_without_id:
            world(sent)
        return answer

    outcome, _ = visit(answers, images(picture(alt="a")), {})
    assert isinstance(outcome, Ready if good_without_id else kind)
    if answer.status == 503:
        assert outcome.retry_after_s == 7


def test_publishing_without_ready_media_sends_nothing() -> None:
    http = FakeHttp(XWorld())
    outcome = PLATFORM.publish(X_SUBJECT.call(http), images(picture()))
    assert isinstance(outcome, NotSent)
    assert http.sent == []
