"""Uploading to TikTok: which request publishes, what is kept, what is done about each trouble."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from tiktok_desk import BIG, LAST, Desk, big
from world_tiktok import MB, PUBLIC, UPLOADS, data_of, draft_of, no, told, video

from platforms.base import Draft, Effect, NotSent, Processing, Published, Ready, Rejected
from platforms.errors import TransportError
from platforms.tiktok import PLATFORM, pieces, tails, upload


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


# --- How the video is read ----------------------------------------------------------------------------------


def never() -> Any:
    raise AssertionError("the whole video was fetched")


def test_only_what_is_wanted_is_fetched() -> None:
    asked: list[tuple[int, int]] = []

    def ranged(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return data_of(BIG)[offset : offset + length]

    desk = Desk(draft_of("ranges", dataclasses.replace(video(BIG), read=never, read_range=ranged)))
    assert isinstance(desk.prepare(), Ready)
    assert sum(length for _, length in asked) == BIG
    assert max(length for _, length in asked) == pieces.RANGE
    # Another process has none of it: it fetches the last chunk, and no more.
    upload.TAILS = tails.Tails()
    asked.clear()
    assert isinstance(desk.publish(), Processing)
    assert asked == [(15750090, pieces.RANGE), (15750090 + pieces.RANGE, 5250033 - pieces.RANGE)]
    assert next(iter(desk.world.jobs.values()))["bytes"] == data_of(BIG)


@pytest.mark.parametrize("how", ["read", "read_range"])
def test_a_video_that_ends_early_is_not_sent(how: str) -> None:
    whole = dataclasses.replace(video(BIG), read=None, read_range=None)
    short = dataclasses.replace(video(6 * MB), read_range=lambda at, size: data_of(6 * MB)[at : at + size])
    desk = Desk(draft_of("short", dataclasses.replace(whole, **{how: getattr(short, how)})))
    outcome = desk.prepare()
    assert isinstance(outcome, NotSent)
    assert outcome.code == "no_bytes"


def test_a_video_that_cannot_be_read_is_not_sent() -> None:
    desk = Desk(draft_of("none", dataclasses.replace(video(BIG), read=None)))
    outcome = desk.prepare()
    assert isinstance(outcome, NotSent)
    assert outcome.code == "no_bytes"


@pytest.mark.parametrize("slow", ["store", "line"])
def test_a_slow_upload_says_each_half_minute_that_it_is_alive(slow: str) -> None:
    """As long as the store is slow, and as long as TikTok is."""
    saved: list[float] = []
    desk = Desk(draft_of("slow", video(BIG)))

    def ranged(offset: int, length: int) -> bytes:
        desk.late += timedelta(seconds=20) if slow == "store" else timedelta()
        return data_of(BIG)[offset : offset + length]

    item = dataclasses.replace(video(BIG), read=None, read_range=ranged)
    desk.draft = dataclasses.replace(desk.draft, media=(item,))
    call = desk.call()

    def store(values: Any) -> None:
        saved.append(desk.late.total_seconds())
        desk.checkpoint.update(values)

    class Line(FakeHttp):
        """Takes 20 s for a megabyte."""

        def request(self, *args: Any, content: Any = None, **more: Any) -> Any:
            if slow == "line" and isinstance(content, pieces.Alive):
                taken = []
                while piece := content.read(MB):
                    taken.append(piece)
                    desk.late += timedelta(seconds=20)
                content = b"".join(taken)
            return super().request(*args, content=content, **more)

    call.store, call.http = store, Line(desk.world)
    assert isinstance(PLATFORM.prepare(call, desk.draft), Ready)
    assert desk.late > timedelta(seconds=60)
    gaps = [after - before for before, after in zip([0.0, *saved], [*saved, desk.late.total_seconds()], strict=True)]
    # A beat is due after 30 s and comes with the next range or piece.
    assert max(gaps) <= 40 + 20 * (slow == "store")


# --- The creator's choices change ---------------------------------------------------------------------------


def test_a_level_that_is_gone_by_the_time_of_the_init_is_named() -> None:
    desk = big()
    desk.prepare(lambda sent: Answer(503, b"") if sent.path.endswith("/init/") else desk.world(sent))
    assert desk.checkpoint["creator"]["privacy_level_options"]

    def mismatch(sent: Sent) -> Answer:
        return no(403, "privacy_level_option_mismatch") if sent.path.endswith("/init/") else desk.world(sent)

    desk.world.offered = ["SELF_ONLY"]
    outcome = desk.prepare(mismatch)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "privacy_not_offered"
    assert desk.paths() == ["video", "creator_info"]


def test_a_level_that_is_still_offered_is_tried_once_more() -> None:
    desk = big()
    left = [1]

    def mismatch(sent: Sent) -> Answer:
        if sent.path.endswith("/init/") and left[0]:
            left[0] -= 1
            return no(403, "privacy_level_option_mismatch")
        return desk.world(sent)

    assert isinstance(desk.prepare(mismatch), NotSent)
    assert isinstance(desk.prepare(mismatch), Ready)
