"""The intent: the committed will to publish, and everything that may forbid it. Nothing is sent without one."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, text, update

from db import claims
from db.models import PublishAttempt, ScheduledPost, table_of
from db.states import Status
from db.transitions import move, seconds_from_now
from scheduler import accounts as profiles
from scheduler.dispatch import miss
from scheduler.limits import BURST_GUARD, Full, app_full, full, guards
from scheduler.logging import logger
from scheduler.settings import Settings
from workers.not_published import hold_for_reconnect
from workers.twins import twin_in_doubt
from workers.work import Work, load

log = logger(__name__)
posts = table_of(ScheduledPost)
attempts = table_of(PublishAttempt)

ONE_MORE_CLAIM = posts.c.claims + 1
ONE_FEWER = posts.c.claims - 1
SAME = posts.c.claims + 0
"""Built once: building a statement costs more than running it."""
PAUSED_LOOK_S = 5.0
"""How often a paused post that waits for its last step is looked at, seconds."""
TWIN_LOOK_S = 5.0
"""How soon a post is tried again whose words are in doubt on its account, seconds."""


@dataclass(frozen=True)
class Intent:
    """A committed attempt: the only licence to send."""

    attempt_id: uuid.UUID
    generation: int
    work: Work
    lease_s: float


def intend(
    conn: Connection,
    settings: Settings,
    scheduled_post_id: int,
    generation: int,
    *,
    attempt_id: uuid.UUID,
    worker: str,
    source: Status = Status.QUEUED,
) -> Intent | None:
    """Transaction A: checks everything under the account's lock and commits the will to publish.

    :returns: None where there is nothing to send: the hint is stale, or the row was moved out of the way.
    """
    work = load(conn, settings, scheduled_post_id, lock_account=True)
    if work is None or work.row.generation != generation or work.row.status != source:
        return None
    if _stopped(conn, settings, work, source):
        return None
    budget = settings.call_budget_seconds or work.module.publishing_call(work.draft).budget_s
    lease_s = budget + settings.send_margin_seconds + settings.lease_margin_seconds
    moved = move(
        conn,
        work.id,
        generation=generation,
        source=source,
        target=Status.PUBLISHING,
        by=worker,
        lease_s=lease_s,
        why="attempt " + str(attempt_id),
        claims=SAME if _counted(work.row) else ONE_MORE_CLAIM,
    )
    if moved is None:
        return None
    conn.execute(
        insert(attempts).values(
            id=attempt_id,
            scheduled_post_id=work.id,
            account_id=work.row.account_id,
            version_id=work.row.version_id,
            generation=moved,
            call=work.module.publishing_call(work.draft).name,
            platform_key=work.platform_key,
            payload_sha256=work.payload_sha256(),
            worker=worker,
            app=work.row.app,
            part=work.part,
        )
    )
    return Intent(attempt_id, moved, work, lease_s)


def _counted(row: Row[Any]) -> bool:
    """Whether this claim was counted before the post was loaded (``workers.publish.deliver``)."""
    return row.status == Status.QUEUED and not str(row.leased_by).startswith("dispatch")


def _stopped(conn: Connection, settings: Settings, work: Work, source: Status) -> bool:
    """Whether something forbids publishing now; the row was moved accordingly."""
    row = work.row
    # Also where the platform has been at work until now: its last step, or a call anew, would come too late.
    if row.over:
        miss(conn, row.id, row.generation, source)
    elif row.deleted_at is not None:
        move(
            conn,
            row.id,
            generation=row.generation,
            source=source,
            target=Status.CANCELED,
            by="publish",
            why="its account was deleted",
        )
    elif work.goes_elsewhere(settings):
        leave_to_others(conn, row, source)
    elif row.account_state == "needs_reconnect":
        hold_for_reconnect(conn, row.id, row.generation, source)
    elif row.cancel_requested:
        # Only at the last step of a call that has several: before the first, cancel wins by itself.
        move(
            conn,
            row.id,
            generation=row.generation,
            source=source,
            target=Status.CANCELED,
            by="publish",
            why="canceled before its last step; it was not published",
        )
    elif work.violations:
        one = work.violations[0]
        move(
            conn,
            row.id,
            generation=row.generation,
            source=source,
            target=Status.FAILED,
            by="publish",
            error_code=one.code,
            error_message=" · ".join(bad.message for bad in work.violations)[:2000],
        )
    else:
        return _not_now(conn, settings, work, source)
    return True


def _not_now(conn: Connection, settings: Settings, work: Work, source: Status) -> bool:
    """Whether it has to wait: for the stop button, a twin, a limit; the row was put back accordingly."""
    row = work.row
    if source is Status.PROCESSING:
        # Its last step, and the stop button holds. It counts like a first one, unless what began it was sent and has
        # been counted. The next part of a thread counts.
        until = row.limited_until
        if until is None and (row.paused_at is not None or profiles.everything_paused(conn)):
            until = seconds_from_now(PAUSED_LOOK_S)
        if until is None and not _was_counted(conn, work) and (limit := _limit(conn, settings, work)) is not None:
            until = limit.until
        if until is None:
            return False
        conn.execute(
            update(posts).where(posts.c.id == row.id, posts.c.generation == row.generation).values(available_at=until)
        )
    elif row.paused_at is not None or profiles.everything_paused(conn):
        put_back(conn, row, why="paused", paused=row.paused_at is not None)
    elif twin_in_doubt(conn, work):
        # A look-up for the twin could take what we are about to send for its own, and one of the two be lost.
        put_back(
            conn,
            row,
            why="the same words are in doubt on this account",
            available_at=seconds_from_now(TWIN_LOOK_S),
        )
    elif row.limited_until is not None:
        put_back(conn, row, why="the platform asked this account to wait", available_at=row.limited_until)
    elif (limit := _limit(conn, settings, work)) is not None:
        put_back(
            conn,
            row,
            why=limit.message,
            available_at=limit.until,
            error_code=limit.name,
            error_message=limit.message,
        )
        claims.move_account(conn, row.account_id, until=limit.until, code=limit.name, message=limit.message)
    else:
        return False
    return True


def _limit(conn: Connection, settings: Settings, work: Work) -> Full | None:
    """The limit of the account, or of the app it belongs to, that has no place now."""
    call = work.module.publishing_call(work.draft).name
    quotas = [quota for quota in work.module.capabilities.quotas if quota.call in {"", call}]
    own = guards(settings, quotas)
    if work.part > 0:
        own = [quota for quota in own if quota.name != BURST_GUARD]  # a thread is one post
    return full(conn, work.row.account_id, own) or app_full(conn, work.row.app, quotas)


def _was_counted(conn: Connection, work: Work) -> bool:
    """Whether a call for this part has left, which the limits count already."""
    return (
        conn.execute(
            text("""
            SELECT 1 FROM publish_attempts
             WHERE scheduled_post_id = :post AND part = :part AND sent_at IS NOT NULL
               AND outcome = 'accepted' LIMIT 1
        """),
            {"post": work.id, "part": work.part},
        ).one_or_none()
        is not None
    )


OTHER_ORIGIN = "other_origin"
"""What a post says that this worker would send elsewhere than its author was told."""
OTHER_ORIGIN_LOOK_S = 30.0
"""How soon it is looked at again: by a worker that is set up as the script was, one hopes. Seconds."""


def leave_to_others(conn: Connection, row: Row[Any], source: Status) -> None:
    """A post that was scheduled against a stand-in (or for real) while this worker is set up for the other.

    It waits, inside its window: a test must not reach 124,000 followers, nor a real post end in a sandbox.
    """
    told: dict[str, Any] = {
        "available_at": seconds_from_now(OTHER_ORIGIN_LOOK_S),
        "error_code": OTHER_ORIGIN,
        "error_message": f"it was scheduled for {row.api_url or 'the real ' + row.platform}, and the workers are set up"
        f" for another: set SCHEDULERX_{row.platform.upper()}_API_URL alike for scripts and workers",
    }
    log.warning("publish.other_origin", scheduled_post_id=row.id, platform=row.platform, scheduled_for=row.api_url)
    if source is Status.QUEUED:
        put_back(conn, row, why="this worker is set up for another address", **told)
    elif source is Status.PREPARING:
        move(
            conn,
            row.id,
            generation=row.generation,
            source=source,
            target=Status.SCHEDULED,
            by="publish",
            why="this worker is set up for another address",
            claims=ONE_FEWER,
            **told,
        )
    else:
        conn.execute(update(posts).where(posts.c.id == row.id, posts.c.generation == row.generation).values(told))


def put_back(conn: Connection, row: Row[Any], *, why: str, **values: Any) -> None:
    """A queued row that cannot go now waits again; nothing was called. Its worker lives: that does not count."""
    if _counted(row):
        values["claims"] = ONE_FEWER
    move(
        conn,
        row.id,
        generation=row.generation,
        source=Status.QUEUED,
        by="publish",
        why=why,
        target=Status.READY if row.prepared else Status.SCHEDULED,
        **values,
    )


def intent_committed(conn: Connection, attempt_id: uuid.UUID) -> bool:
    """Whether an intent whose COMMIT got no answer is there."""
    return (
        conn.execute(text("SELECT 1 FROM publish_attempts WHERE id = :id"), {"id": attempt_id}).one_or_none()
        is not None
    )
