"""Queue ``followup``: polls what platforms still process, settles what is unknown, renews tokens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, text, update

from db.failpoints import about, hit
from db.models import Account, PublishAttempt, ScheduledPost, table_of
from db.session import transaction
from db.states import Status
from db.transitions import move, sayable, seconds_from_now
from platforms.base import (
    AuthExpired,
    NotPublished,
    NotSent,
    Processing,
    Published,
    RateLimited,
    Ready,
    Rejected,
)
from platforms.errors import TransportError
from scheduler.logging import logger
from scheduler.retry_policy import LOOKUPS
from scheduler.settings import Settings, current
from workers.app import task
from workers.context import send, worker_name
from workers.intents import leave_to_others
from workers.ledger import publish
from workers.not_published import not_published, note_account
from workers.publish import Stale, deliver, saver
from workers.reconcile import ELSEWHERE, hold, load_as, reconcile
from workers.tokens import due_for_refresh, refresh
from workers.work import Work, client

log = logger(__name__)
posts = table_of(ScheduledPost)
attempts = table_of(PublishAttempt)
accounts = table_of(Account)

PROCESSING_LONGEST_S = 24 * 3600.0
"""A platform that works on a post for longer than this is not waited for: a person shall look."""


@task("followup.poll")
def poll_task(scheduled_post_id: int, generation: int) -> None:
    """Asks the platform how far it is."""
    poll(current(), scheduled_post_id, generation)


@task("followup.reconcile")
def reconcile_task(scheduled_post_id: int, generation: int) -> None:
    """Finds out whether a doubtful post is public."""
    reconcile(current(), scheduled_post_id, generation)


@task("followup.renew")
def renew_task() -> None:
    """Renews the tokens that end soon. Here, and not in dispatch: it needs the platform modules, which
    followup has loaded anyway.
    """
    settings = current()
    with transaction(settings.database()) as conn:
        due = due_for_refresh(conn)
    for account_id, token_version in due:
        refresh(settings, account_id, token_version, refused=False)


@task("followup.refresh")
def refresh_task(account_id: int, token_version: int, refused: bool = True) -> None:
    """Renews an account's tokens."""
    refresh(current(), account_id, token_version, refused=refused)


def poll(settings: Settings, scheduled_post_id: int, generation: int) -> Status | None:
    """One look at a post that the platform processes; its new status, or None: unchanged or stale."""
    about(scheduled_post_id)
    hit("poll.start")
    work = load_as(settings, scheduled_post_id, generation, Status.PROCESSING)
    if work is None:
        return None
    if work.goes_elsewhere(settings):
        return _leave(settings, work, generation)
    if len(work.parts.drafts) > 1 and not _under_way(settings, work):
        return deliver(settings, work.id, generation, source=Status.PROCESSING)
    try:
        outcome = work.module.poll(
            work.call(client(settings, work), saver(settings, work, generation, None)), work.draft
        )
    except TransportError as error:
        outcome = NotSent(error.code, error.detail)  # a poll only reads
    except Stale:
        return None
    except Exception as error:  # a bug in a module; asking again is safe
        log.exception("poll.broken", error=type(error).__name__)
        outcome = NotSent("module_error", f"the platform module failed: {type(error).__name__}")
    hit("poll.answered")
    if isinstance(outcome, Ready):
        return deliver(settings, work.id, generation, source=Status.PROCESSING)
    with transaction(settings.database()) as conn:
        status = _polled(conn, settings, work, generation, outcome)
        hit("poll.before_commit", handle=conn)
    hit("poll.after_commit")
    return status


def _leave(settings: Settings, work: Work, generation: int) -> Status | None:
    """Leaves it to a worker that is set up for the address it was sent to; for a day."""
    with transaction(settings.database()) as conn:
        if _processing_since_s(conn, work) > PROCESSING_LONGEST_S:
            return hold(conn, work, generation, ELSEWHERE, Status.PROCESSING)
        leave_to_others(conn, work.row, Status.PROCESSING)
    return None


def _under_way(settings: Settings, work: Work) -> bool:
    """Whether the platform works on the present part of a thread; else the thread waits for it to be sent."""
    with transaction(settings.database()) as conn:
        return (
            conn.execute(
                select(attempts.c.id)
                .where(
                    attempts.c.scheduled_post_id == work.id,
                    attempts.c.part == work.part,
                    attempts.c.outcome == "accepted",
                )
                .limit(1)
            ).one_or_none()
            is not None
        )


def _polled(conn: Connection, settings: Settings, work: Work, generation: int, outcome: Any) -> Status | None:
    common: dict[str, Any] = {"generation": generation, "source": Status.PROCESSING, "by": worker_name()}
    if isinstance(outcome, Published):
        row = conn.execute(select(posts).where(posts.c.id == work.id).with_for_update()).one()
        if row.generation != generation:
            return None
        return publish(conn, row, outcome, part=work.part, evidence="api", by=worker_name())
    if isinstance(outcome, Rejected):
        target = Status.CANCELED if work.row.cancel_requested else Status.FAILED
        return (
            target
            if move(
                conn,
                work.id,
                target=target,
                error_code=outcome.code,
                error_message=outcome.message[:2000],
                operator=outcome.operator_alert,
                **common,
            )
            else None
        )
    asked = outcome.why if isinstance(outcome, NotPublished) else outcome
    if isinstance(asked, AuthExpired | RateLimited):
        note_account(conn, work.row.account_id, work.row.token_version, asked)
    if isinstance(asked, AuthExpired) and not asked.permanent:
        send("followup.refresh", (work.row.account_id, work.row.token_version))
    if isinstance(outcome, NotPublished):
        return _ended(conn, settings, work, generation, outcome.why)
    failed = int(work.row.lookups.get("polls", 0))
    if isinstance(outcome, Processing):
        if _processing_since_s(conn, work) > PROCESSING_LONGEST_S:
            return hold(conn, work, generation, "the platform has been working on it for a day", Status.PROCESSING)
        later: Any = seconds_from_now(outcome.poll_after_s)
        failed = 0
    elif isinstance(outcome, RateLimited):
        if _processing_since_s(conn, work) > PROCESSING_LONGEST_S:
            told = f"the platform took it, and has let nobody ask for a day ({outcome.message})"
            return hold(conn, work, generation, told, Status.PROCESSING)
        later = outcome.until
    else:
        failed += 1
        if failed >= settings.lookup_budget:
            told = getattr(outcome, "message", "no answer")
            return hold(
                conn,
                work,
                generation,
                f"the platform took it, but {failed} times did not say what became of it ({told})",
                Status.PROCESSING,
            )
        later = seconds_from_now(LOOKUPS.pause_s(failed, getattr(outcome, "retry_after_s", None)))
    conn.execute(
        update(posts)
        .where(posts.c.id == work.id, posts.c.generation == generation)
        .values(available_at=later, lookups={**work.row.lookups, "polls": failed})
    )
    return None


def _ended(
    conn: Connection,
    settings: Settings,
    work: Work,
    generation: int,
    why: Rejected | AuthExpired | RateLimited | NotSent,
) -> Status | None:
    """The platform worked on it and did not publish it: as if the publishing call had been answered so."""
    row = conn.execute(select(posts).where(posts.c.id == work.id).with_for_update()).one()
    if row.generation != generation:
        return None
    told = {
        "error_code": "rate_limited" if isinstance(why, RateLimited) else why.code,
        "error_message": sayable(why.message),
        # The call that the platform took was counted as it took it.
        "attempts": row.attempts,
    }
    return not_published(conn, settings, row, Status.PROCESSING, why, told, work.row.token_version, by=worker_name())


def _processing_since_s(conn: Connection, work: Work) -> float:
    """Seconds since the platform took the post."""
    return float(
        conn.execute(
            text("""
                SELECT extract(epoch FROM clock_timestamp() - max(started_at)) FROM publish_attempts
                 WHERE scheduled_post_id = :id
            """),
            {"id": work.id},
        ).scalar_one()
        or 0.0
    )
