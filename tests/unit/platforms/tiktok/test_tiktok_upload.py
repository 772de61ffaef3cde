"""Uploading to TikTok: which request publishes, what is kept, what is done about each trouble."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from world_tiktok import MB, PUBLIC, UPLOADS, TikTokWorld, data_of, draft_of, no, told, video

from platforms.base import Call, Draft, Effect, NotSent, Processing, Published, Ready, Rejected, Repeatable, Unknown
from platforms.base import Doubt as Doubted
from platforms.errors import TransportError
from platforms.tiktok import PLATFORM, tails, upload

BIG = 21 * MB + 123
LAST = "bytes 15750090-21000122/21000123"


@pytest.fixture(autouse=True)
def _no_tails() -> Iterator[None]:
    """Each test is a process of its own."""
    upload.TAILS = tails.Tails()
    yield
    upload.TAILS = tails.TAILS


class Desk:
    """One post, visited again and again over one checkpoint."""

    def __init__(self, draft: Draft, world: TikTokWorld | None = None) -> None:
        self.draft = draft
        self.world = world or TikTokWorld()
        self.checkpoint: dict[str, Any] = {}
        self.http = FakeHttp(self.world)
        self.learnt: dict[str, Any] = {}
        self.late = timedelta()

    def call(self, answerer: Any = None) -> Call:
        self.http = FakeHttp(answerer or self.world)
        call = UPLOADS.call(self.http, self.checkpoint, self.checkpoint.update)
        call.learn = self.learnt.update
        call.now = lambda: NOW + self.late
        return call

    def prepare(self, answerer: Any = None) -> Any:
        return PLATFORM.prepare(self.call(answerer), self.draft)

    def publish(self, answerer: Any = None) -> Any:
        return PLATFORM.publish(self.call(answerer), self.draft)

    def poll(self, answerer: Any = None) -> Any:
        return PLATFORM.poll(self.call(answerer), self.draft)

    def paths(self) -> list[str]:
        return [sent.path.rstrip("/").rsplit("/", 2)[-2] for sent in self.http.sent]


def big(**options: Any) -> Desk:
    return Desk(draft_of("Several", video(BIG), **options))


def last_chunk_gets(world: TikTokWorld, answer: Answer | Exception) -> Any:
    return lambda sent: answer if sent.effect is Effect.PUBLISHES else world(sent)


def test_all_but_the_last_chunk_go_ahead_and_the_last_one_publishes() -> None:
    desk = big()
    ready = desk.prepare()
    assert ready == Ready(NOW + timedelta(minutes=55))
    assert desk.world.posts == []
    assert [sent.effect for sent in desk.http.sent] == [Effect.READ, *[Effect.PREPARES] * 4]
    init = told(desk.http.sent[1])["source_info"]
    size = {"video_size": BIG, "chunk_size": 5250030, "total_chunk_count": 4}
    assert init == {"source": "FILE_UPLOAD", **size}
    assert isinstance(desk.publish(), Processing)
    assert [sent.headers["Content-Range"] for sent in desk.http.sent] == [LAST]
    assert desk.http.sent[0].effect is Effect.PUBLISHES
    assert "Authorization" not in desk.http.sent[0].headers
    [job] = desk.world.jobs.values()
    assert job["bytes"] == data_of(BIG)
    done = desk.poll()
    assert done == Published(
        desk.world.posts[0]["id"], f"https://www.tiktok.com/@acme/video/{desk.world.posts[0]['id']}"
    )


def test_what_the_creator_may_do_is_asked_learnt_and_obeyed() -> None:
    desk = big()
    desk.prepare()
    assert desk.learnt["creator"]["privacy_level_options"] == desk.world.offered
    info = told(desk.http.sent[1])["post_info"]
    assert info["privacy_level"] == PUBLIC
    assert info["title"] == "Several"
    # The creator has switched stitches off; the draft has not.
    assert (info["disable_stitch"], info["disable_duet"]) == (True, False)
    shut = big()
    shut.world.offered = ["SELF_ONLY"]
    outcome = shut.prepare()
    assert isinstance(outcome, Rejected)
    assert outcome.code == "privacy_not_offered"
    assert len(shut.http.sent) == 1


def test_the_creator_is_asked_again_when_the_answer_is_old() -> None:
    desk = big()
    desk.prepare()
    desk.late = timedelta(minutes=54)
    desk.prepare()
    assert desk.http.sent == []
    desk.late = timedelta(minutes=56)
    desk.prepare()
    assert [sent.path.rstrip("/").rsplit("/", 1)[-1] for sent in desk.http.sent[:2]] == ["query", "init"]


def test_too_long_a_video_for_this_creator() -> None:
    desk = Desk(draft_of("long", video(duration_s=601.0)))
    outcome = desk.prepare()
    assert isinstance(outcome, Rejected)
    assert outcome.code == "video_too_long"


def test_the_inbox_asks_nothing_and_says_nothing() -> None:
    desk = Desk(Draft("", UPLOADS.account, (video(),), {"mode": "inbox"}))
    assert isinstance(desk.prepare(), Ready)
    [init] = desk.http.sent
    assert init.path == "/v2/post/publish/inbox/video/init/"
    assert set(told(init)) == {"source_info"}
    assert isinstance(desk.publish(), Processing)
    assert desk.poll() == Published(None)


def test_a_chunk_whose_answer_was_lost_is_not_sent_twice() -> None:
    desk = big()
    left = [3]  # creator, init, first chunk; the second arrives and is not answered

    def lossy(sent: Sent) -> Answer | Exception:
        left[0] -= 1
        answer = desk.world(sent)
        return answer if left[0] >= 0 else TransportError("lost", sent=True)

    with pytest.raises(TransportError):
        desk.prepare(lossy)
    assert desk.checkpoint["job"]["next"] == 1
    assert isinstance(desk.prepare(), Ready)
    # 416 told that TikTok has it.
    assert len(desk.world.chunks) == 3
    assert isinstance(desk.publish(), Processing)
    assert next(iter(desk.world.jobs.values()))["bytes"] == data_of(BIG)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Rejected), (403, NotSent), (404, NotSent), (500, NotSent), (429, NotSent)]
)
def test_troubles_of_a_chunk(status: int, kind: type) -> None:
    desk = big()
    outcome = desk.prepare(lambda sent: Answer(status, b"") if sent.method == "PUT" else desk.world(sent))
    assert isinstance(outcome, kind)
    assert desk.world.posts == []
    if status in {403, 404}:
        # Begun anew, with a publish_id of its own.
        assert isinstance(desk.prepare(), Ready)
        assert len(desk.world.jobs) == 2


def test_an_upload_that_ran_out_is_begun_anew() -> None:
    desk = big()
    desk.prepare()
    desk.late = timedelta(minutes=56)
    assert isinstance(desk.prepare(), Ready)
    assert len(desk.world.jobs) == 2


def test_a_changed_file_is_another_upload() -> None:
    desk = big()
    desk.prepare()
    desk.draft = dataclasses.replace(desk.draft, media=(video(BIG, sha="z"),))
    assert isinstance(desk.prepare(), Ready)
    assert len(desk.world.jobs) == 2


def test_a_process_without_the_last_chunk_reads_it_first() -> None:
    desk = big()
    desk.prepare()
    upload.TAILS = tails.Tails()
    assert isinstance(desk.publish(), Processing)
    assert len(desk.http.sent) == 1
    assert next(iter(desk.world.jobs.values()))["bytes"] == data_of(BIG)


def test_tails_keep_what_was_used_last() -> None:
    kept = tails.Tails(most_bytes=10)
    for name in "ab":
        kept.keep((name, 0), bytes(5))
    assert kept.get(("a", 0)) is not None
    kept.keep(("c", 0), bytes(5))
    assert (kept.get(("b", 0)), kept.get(("a", 0))) == (None, bytes(5))
    kept.keep(("d", 0), bytes(50))
    assert kept.get(("d", 0)) == bytes(50)
    kept.drop(("d", 0))
    assert kept.get(("d", 0)) is None


# --- Doubt ------------------------------------------------------------------------------------------------


def look(desk: Desk) -> Any:
    return PLATFORM.reconcile(desk.call(), desk.draft, Doubted(NOW, None, frozenset()))


def test_a_lost_last_chunk_that_arrived_is_found_and_not_sent_again() -> None:
    desk = big()
    desk.prepare()

    def lossy(sent: Sent) -> Answer | Exception:
        answer = desk.world(sent)
        return TransportError("lost", sent=True) if sent.effect is Effect.PUBLISHES else answer

    with pytest.raises(TransportError):
        desk.publish(lossy)
    found = look(desk)
    assert found.remote_id == desk.world.posts[0]["id"]
    # Were it sent all the same, the status would be asked for first.
    assert isinstance(desk.publish(), Published)
    assert desk.http.publishing == []
    assert len(desk.world.posts) == 1


def test_a_lost_last_chunk_that_did_not_arrive_goes_on_with_the_same_post() -> None:
    desk = big()
    desk.prepare()
    with pytest.raises(TransportError):
        desk.publish(last_chunk_gets(desk.world, TransportError("lost", sent=True)))
    assert look(desk) == Repeatable()
    assert isinstance(desk.publish(), Processing)
    assert [sent.effect for sent in desk.http.sent] == [Effect.READ, Effect.PUBLISHES]
    assert len(desk.world.posts) == len(desk.world.jobs) == 1


def test_a_last_chunk_that_is_refused_again_and_again_is_sent_with_pauses() -> None:
    desk = big()
    desk.prepare()
    for _ in range(2):
        assert isinstance(desk.publish(last_chunk_gets(desk.world, Answer(502, b""))), Unknown)
    outcome = desk.publish()
    assert isinstance(outcome, NotSent)
    assert outcome.code == "resend_pause"
    desk.late = timedelta(seconds=31)
    assert isinstance(desk.publish(), Processing)


def test_an_earlier_part_that_is_missing_is_sent_before_the_last() -> None:
    desk = big()
    desk.prepare()
    job = next(iter(desk.world.jobs.values()))
    job["held"] = 2 * 5250030
    job["bytes"] = job["bytes"][: job["held"]]
    outcome = desk.publish()
    assert isinstance(outcome, NotSent)
    assert outcome.code == "upload_incomplete"
    assert isinstance(desk.publish(), Processing)
    assert job["bytes"] == data_of(BIG)


def test_a_status_that_cannot_be_read_is_no_refusal_of_the_post() -> None:
    desk = big()
    desk.prepare()
    desk.publish()
    for answer in (no(400, "invalid_publish_id"), no(500, "internal_error"), Answer(200, b"<html>")):
        outcome = desk.poll(lambda _sent, answer=answer: answer)
        assert isinstance(outcome, NotSent)
