"""A video's bytes, with Facebook Login: read while they are sent, and gone on with where an upload broke off."""

from __future__ import annotations

import dataclasses
import io
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from instagram_desk import Desk
from world_instagram import FACEBOOK_SUBJECT, clip, page_draft

from platforms import rest
from platforms.base import Processing, Ready, Rejected, Streamed
from platforms.errors import TransportError
from platforms.instagram import PLATFORM, rupload

DATA = bytes(index % 251 for index in range(300_000))


def film(data: bytes = DATA) -> Any:
    return dataclasses.replace(clip(url=None, size=len(data)), read=lambda: io.BytesIO(data))


def uploads(desk: Desk) -> list[Sent]:
    return [sent for sent in desk.http.sent if "rupload" in sent.url]


def broken(desk: Desk, arrived: int) -> Any:
    """Answers of a world that an upload breaks off in, after so many bytes."""

    def answer(sent: Sent) -> Answer | Exception:
        if "rupload" not in sent.url:
            return desk.world(sent)
        desk.world.take(sent, arrived)
        return TransportError("cut", sent=True)

    return answer


def test_a_video_is_never_in_memory_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(page_draft("long", film()))
    read: list[int] = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            read.append(-1 if size is None else size)
            return super().read(size)

    desk.draft = page_draft("long", dataclasses.replace(film(), read=lambda: Counting(DATA)))
    bodies: list[Any] = []
    whole = FakeHttp.request

    def seen(self: FakeHttp, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("content") is not None:
            bodies.append((type(kwargs["content"]), len(kwargs["content"]), kwargs["timeout_s"]))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(FakeHttp, "request", seen)
    assert isinstance(desk.prepare(), Processing)
    [(kind, size, timeout_s)] = bodies
    assert issubclass(kind, rest.Rest)
    assert (size, timeout_s) == (len(DATA), rupload.LEAST_S + len(DATA) / rupload.SLOWEST)
    assert max(read) <= rest.PIECE
    assert next(iter(desk.world.uploaded.values())) == DATA


def test_a_long_upload_says_that_it_is_alive() -> None:
    desk = Desk(page_draft("slow", film()))
    call = desk.call()
    saved: list[dict[str, Any]] = []
    call.store = lambda values: saved.append(dict(values))

    class Slow(FakeHttp):
        def request(self, *args: Any, content: bytes | Streamed | None = None, **kwargs: Any) -> Any:
            if content is not None and not isinstance(content, bytes):
                for _ in range(4):
                    desk.late += timedelta(seconds=20)
                    content.read(10)
                return super().request(*args, content=b"", **kwargs)
            return super().request(*args, content=content, **kwargs)

    call.http = Slow(lambda sent: Answer(503, b"") if "rupload" in sent.url else desk.world(sent))
    PLATFORM.prepare(call, desk.draft)
    beats = [values["uploading_since"] for values in saved if "uploading_since" in values]
    assert beats == [(NOW + timedelta(seconds=seconds)).isoformat() for seconds in (40, 80)]


@pytest.mark.parametrize("arrived", [0, 1, 100_000, 299_999])
def test_an_upload_that_broke_off_goes_on_from_there(arrived: int) -> None:
    desk = Desk(page_draft("resumed", film()))
    with pytest.raises(TransportError):
        desk.prepare(broken(desk, arrived))
    assert isinstance(desk.prepare(), Processing)
    [sent] = uploads(desk)
    assert (sent.headers["offset"], sent.headers["file_size"]) == (str(arrived), str(len(DATA)))
    assert sent.content == DATA[arrived:]
    assert isinstance(desk.prepare(), Ready)
    assert list(desk.world.uploaded.values()) == [DATA]


def test_one_that_arrived_whole_is_not_sent_again() -> None:
    desk = Desk(page_draft("whole", film()))
    with pytest.raises(TransportError):
        desk.prepare(broken(desk, len(DATA)))
    assert isinstance(desk.prepare(), Processing | Ready)
    assert uploads(desk) == []


@pytest.mark.parametrize(
    "status", [{}, {"uploading_phase": {}}, {"uploading_phase": {"bytes_transferred": 10**9}}, None]
)
def test_without_a_word_about_what_arrived_it_begins_anew(status: Any) -> None:
    desk = Desk(page_draft("anew", film()))
    with pytest.raises(TransportError):
        desk.prepare(broken(desk, 0))

    def answer(sent: Sent) -> Answer | Exception:
        if "video_status" in sent.params.get("fields", ""):
            return Answer(200, {"id": "1", "video_status": status}) if status is not None else Answer(500, b"")
        return desk.world(sent)

    assert isinstance(desk.prepare(answer), Processing)
    assert uploads(desk)[0].headers["offset"] == "0"


def test_a_refused_rest_gives_the_container_up_but_a_refused_first_upload_does_not() -> None:
    refusal = Answer(400, {"debug_info": {"retriable": False, "type": "ProcessingFailedError", "message": "m"}})
    desk = Desk(page_draft("refused", film()))
    assert isinstance(desk.prepare(lambda sent: refusal if "rupload" in sent.url else desk.world(sent)), Rejected)
    desk = Desk(page_draft("refused", film()))
    with pytest.raises(TransportError):
        desk.prepare(broken(desk, 100))
    outcome = desk.prepare(lambda sent: refusal if "rupload" in sent.url else desk.world(sent))
    assert outcome.code == "upload_lost"
    desk.ready()
    assert len(desk.world.containers) == 2
    assert desk.subject is FACEBOOK_SUBJECT
