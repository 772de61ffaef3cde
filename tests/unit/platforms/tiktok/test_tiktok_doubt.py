"""A last chunk that may have arrived: it makes one post, whatever TikTok answers, and however late its status is."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, Sent
from tiktok_desk import BIG, Desk, big, last_chunk_gets
from world_tiktok import TikTokWorld, ok, video

from platforms.base import (
    Absent,
    Doubt,
    Effect,
    Found,
    Inconclusive,
    NotSent,
    Processing,
    Published,
    Ready,
    Rejected,
    Repeatable,
    Unknown,
)
from platforms.errors import FenceExpired, TransportError
from platforms.tiktok import PLATFORM
from platforms.tiktok.doubt import GONE_AFTER, LIFETIME, STATUS_LAG

LOST = TransportError("lost", sent=True)


def look(desk: Desk, answerer: Any = None, ended_at: datetime | None = None) -> Any:
    return PLATFORM.reconcile(desk.call(answerer), desk.draft, Doubt(NOW, ended_at, frozenset()))


def lagging(world: TikTokWorld) -> Any:
    """A TikTok whose status has not heard of the last chunk."""
    old = {"status": "PROCESSING_UPLOAD", "uploaded_bytes": 15750090}
    return lambda sent: ok(old) if "/status/fetch" in sent.path else world(sent)


def doubtful(*, arrives: bool, error: Answer | Exception = LOST) -> Desk:
    """A post whose last chunk was sent and not answered."""
    desk = big()
    desk.prepare()

    def lossy(sent: Sent) -> Answer | Exception:
        if sent.effect is not Effect.PUBLISHES:
            return desk.world(sent)
        if arrives:
            desk.world(sent)
        return error

    if isinstance(error, Exception):
        with pytest.raises(type(error)):
            desk.publish(lossy)
    else:
        assert isinstance(desk.publish(lossy), Unknown)
    assert len(desk.world.posts) == arrives
    return desk


def finished_answers(desk: Desk, status: int) -> Any:
    """A TikTok whose status lags, and whose upload host answers so to a chunk for a finished upload."""
    behind = lagging(desk.world)
    return lambda sent: Answer(status, b"") if sent.method == "PUT" else behind(sent)


def test_a_lost_last_chunk_that_arrived_is_found_and_not_sent_again() -> None:
    desk = doubtful(arrives=True)
    found = look(desk)
    assert found.remote_id == desk.world.posts[0]["id"]
    # Were it sent all the same, the status would be asked for first.
    assert isinstance(desk.publish(), Published)
    assert desk.http.publishing == []
    assert len(desk.world.posts) == 1


def test_a_lost_last_chunk_that_did_not_arrive_goes_on_with_the_same_post() -> None:
    desk = doubtful(arrives=False)
    desk.late = STATUS_LAG
    assert look(desk) == Repeatable()
    assert isinstance(desk.publish(), Processing)
    assert [sent.effect for sent in desk.http.sent] == [Effect.READ, Effect.PUBLISHES]
    assert len(desk.world.posts) == len(desk.world.jobs) == 1


def test_still_uploading_is_believed_a_while_after_the_sending() -> None:
    desk = doubtful(arrives=True)
    behind = lagging(desk.world)
    desk.late = timedelta(seconds=1)
    early = look(desk, behind)
    assert isinstance(early, Inconclusive)
    assert early.retry_after_s == STATUS_LAG.total_seconds() - 1
    # The sending took a while: its end counts.
    desk.late = STATUS_LAG
    early = look(desk, behind, NOW + timedelta(seconds=20))
    assert isinstance(early, Inconclusive)
    assert early.retry_after_s == 20
    assert look(desk, behind) == Repeatable()


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_no_to_a_second_sending_proves_nothing(status: int) -> None:
    desk = doubtful(arrives=True)
    finished = finished_answers(desk, status)
    desk.late = STATUS_LAG
    assert look(desk, finished) == Repeatable()
    assert isinstance(desk.publish(finished), Unknown)
    # The publish_id is kept; nobody sends again, nobody begins anew, until the status has told.
    [publish_id] = desk.world.jobs
    assert desk.checkpoint["job"]["publish_id"] == publish_id
    waits = look(desk, finished)
    assert isinstance(waits, Inconclusive)
    assert waits.retry_after_s == (GONE_AFTER - STATUS_LAG).total_seconds()
    assert isinstance(desk.publish(finished), Unknown)
    assert desk.http.publishing == []
    assert isinstance(desk.prepare(finished), Ready)
    assert desk.http.sent == []
    assert isinstance(look(desk), Found)
    assert isinstance(desk.publish(), Published)
    assert len(desk.world.jobs) == len(desk.world.posts) == 1


def test_what_is_still_uploading_well_after_its_upload_was_closed_is_begun_anew() -> None:
    desk = doubtful(arrives=False)
    desk.late = STATUS_LAG
    assert isinstance(desk.publish(finished_answers(desk, 404)), Unknown)
    desk.late = GONE_AFTER - timedelta(seconds=1)
    assert isinstance(look(desk), Inconclusive)
    desk.late = GONE_AFTER
    assert look(desk) == Absent()
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.jobs) == 2
    assert len(desk.world.posts) == 1


def test_a_sending_whose_time_was_not_noted_does_not_stay_in_doubt_for_ever() -> None:
    """An upload of an earlier release: what is known is when it was begun, and until when it took a chunk."""
    desk = doubtful(arrives=False)
    del desk.checkpoint["job"]["sent_at"]
    assert isinstance(look(desk), Inconclusive)
    desk.late = STATUS_LAG
    # The same chunk of the same upload is the same post.
    assert look(desk) == Repeatable()
    desk.checkpoint["job"]["closed"] = True
    desk.late = LIFETIME + GONE_AFTER - timedelta(seconds=1)
    assert isinstance(look(desk), Inconclusive)
    desk.late = LIFETIME + GONE_AFTER
    assert look(desk) == Absent()


def test_the_end_of_the_attempt_stands_for_a_time_that_was_not_noted() -> None:
    desk = doubtful(arrives=False)
    del desk.checkpoint["job"]["sent_at"]
    desk.checkpoint["job"]["closed"] = True
    ended_at = NOW + timedelta(minutes=2)
    desk.late = timedelta(minutes=2) + GONE_AFTER - timedelta(seconds=1)
    assert isinstance(look(desk, ended_at=ended_at), Inconclusive)
    desk.late += timedelta(seconds=1)
    assert look(desk, ended_at=ended_at) == Absent()


def test_an_upload_that_has_run_out_meanwhile_is_not_sent_to() -> None:
    desk = doubtful(arrives=False)
    desk.late = LIFETIME - timedelta(seconds=1)
    assert look(desk) == Repeatable()
    desk.late = LIFETIME
    assert look(desk) == Absent()
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.jobs) == 2
    assert len(desk.world.posts) == 1


@pytest.mark.parametrize("error", [FenceExpired("too late"), TransportError("refused", sent=False)])
def test_what_was_not_sent_is_not_in_doubt(error: Exception) -> None:
    desk = big()
    desk.prepare()
    before = dict(desk.checkpoint["job"])
    with pytest.raises(type(error)):
        desk.publish(last_chunk_gets(desk.world, error))
    assert desk.checkpoint["job"] == before
    assert look(desk) == Repeatable()
    # The upload is gone by now, and nothing can have come of it.
    outcome = desk.publish(last_chunk_gets(desk.world, Answer(404, b"")))
    assert isinstance(outcome, NotSent)
    assert desk.checkpoint["job"] == {}


def test_a_sending_that_did_not_leave_takes_no_doubt_away() -> None:
    desk = doubtful(arrives=True)
    before = dict(desk.checkpoint["job"])
    behind = lagging(desk.world)
    with pytest.raises(FenceExpired):
        desk.publish(lambda sent: FenceExpired("too late") if sent.effect is Effect.PUBLISHES else behind(sent))
    assert desk.checkpoint["job"] == before


def test_a_last_chunk_that_is_refused_for_good_leaves_nothing_behind() -> None:
    desk = big()
    desk.prepare()
    assert isinstance(desk.publish(last_chunk_gets(desk.world, Answer(400, b""))), Rejected)
    assert desk.checkpoint["job"] == {}


def test_a_last_chunk_that_is_refused_again_and_again_is_sent_with_pauses() -> None:
    desk = doubtful(arrives=False, error=Answer(502, b""))
    assert isinstance(desk.publish(last_chunk_gets(desk.world, Answer(502, b""))), Unknown)
    outcome = desk.publish()
    assert isinstance(outcome, NotSent)
    assert outcome.code == "resend_pause"
    desk.late = timedelta(seconds=31)
    assert isinstance(desk.publish(), Processing)


def test_another_rendition_of_the_video_starts_nothing_beside_what_is_in_doubt() -> None:
    desk = doubtful(arrives=True)
    desk.draft = dataclasses.replace(desk.draft, media=(video(BIG, sha="z"),))
    behind = lagging(desk.world)
    desk.late = STATUS_LAG
    assert isinstance(look(desk, behind), Inconclusive)
    assert isinstance(desk.publish(behind), Unknown)
    assert isinstance(desk.prepare(behind), Ready)
    assert len(desk.world.jobs) == 1
    assert isinstance(desk.publish(), Published)


def test_an_earlier_part_that_is_refused_after_a_doubtful_last_one_keeps_the_upload() -> None:
    desk = doubtful(arrives=False)
    job = next(iter(desk.world.jobs.values()))
    job["held"] = 2 * 5250030
    job["bytes"] = job["bytes"][: job["held"]]
    assert isinstance(desk.publish(), NotSent)  # 416: it lacks the third
    assert desk.checkpoint["job"]["tries"] == 1
    outcome = desk.publish(lambda sent: Answer(404, b"") if sent.method == "PUT" else desk.world(sent))
    assert isinstance(outcome, NotSent)
    assert desk.checkpoint["job"]["publish_id"] in desk.world.jobs
    assert isinstance(desk.publish(), Unknown)
    desk.late = GONE_AFTER
    assert isinstance(desk.publish(), Processing)
    assert len(desk.world.jobs) == 2
    assert len(desk.world.posts) == 1


def test_what_is_in_doubt_does_not_run_out_by_preparing_it_again() -> None:
    desk = doubtful(arrives=False)
    desk.late = LIFETIME - timedelta(minutes=1)
    assert desk.prepare() == Ready()
