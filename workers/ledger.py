"""The ledger: the intent that is committed before a publishing call, and the outcome that is kept after it.

Two rules carry promise 2. Nothing is sent without a committed attempt; and an answer, once held, is written
down, however late it is and whoever owns the row by then.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Float, Row, Update, bindparam, case, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from db.models import Account, DeadLetter, PublishAttempt, ScheduledPost, table_of
from db.states import TERMINAL, WAITING, Status
from db.transitions import (
    NOW,
    PARTLY_PUBLISHED,
    move,
    partly,
    revise,
    save_checkpoint,
    sayable,
    seconds_from_now,
    storable,
)
from platforms.base import (
    AuthExpired,
    NotSent,
    Processing,
    Published,
    PublishOutcome,
    RateLimited,
    Rejected,
    Unknown,
)
from scheduler.settings import Settings
from workers.not_published import not_published, note_account
from workers.work import as_stored, of_part

posts = table_of(ScheduledPost)
attempts = table_of(PublishAttempt)
accounts = table_of(Account)
letters = table_of(DeadLetter)

# Built once: building a statement costs more than running it.
ACCOUNT_LOCK = select(accounts.c.id).where(accounts.c.id == bindparam("id")).with_for_update(key_share=True)
REPORT_LOCK = (
    select(accounts.c.id)
    .join(attempts, attempts.c.account_id == accounts.c.id)
    .where(
        accounts.c.id == bindparam("account"),
        attempts.c.id == bindparam("attempt"),
        attempts.c.scheduled_post_id == bindparam("post"),
    )
    .with_for_update(key_share=True, of=accounts)
)
"""Locks the account of a report, if its attempt is one of this database."""
POST_LOCK = select(posts).where(posts.c.id == bindparam("post")).with_for_update()
POST_SENT = (
    update(posts)
    .where(posts.c.id == bindparam("post"))
    .values(first_sent_at=func.coalesce(posts.c.first_sent_at, func.to_timestamp(bindparam("at", type_=Float))))
    .returning(*posts.c)
)
"""Locks the post as ``POST_LOCK`` does, and remembers when it was first sent."""
SETTLE_FOUND = (
    update(attempts)
    .where(
        attempts.c.scheduled_post_id == bindparam("post"),
        attempts.c.settled.is_(None),
        func.coalesce(attempts.c.outcome, "unknown") == "unknown",
    )
    .values(settled="found", outcome="unknown", finished_at=func.coalesce(attempts.c.finished_at, NOW))
)

IF_ABSENT, RETRY_AFTER = "if_absent", "retry_after_s"
"""Keys of ``lookups``: what becomes of a doubtful post that is not found."""
HAND_OVER_S = 5.0
"""How soon followup goes on with a thread whose publish worker does not, seconds."""
PROCESSING = "processing"
"""On an accepted attempt: the platform took it, but had not made it public yet."""


@dataclass(frozen=True)
class Report:
    """What came of an attempt, as it is kept until Postgres has it."""

    attempt_id: uuid.UUID
    scheduled_post_id: int
    generation: int
    account_id: int
    token_version: int
    outcome: PublishOutcome
    sent_at: float | None = None
    """Seconds since the epoch, this machine's clock, when the first byte left; None: nothing left."""
    counts: bool = True
    """Whether it spends an attempt (an expired fence does not)."""
    part: int = 0
    """Which part of a thread it was."""


class Stranger(Exception):
    """A report of an attempt that this database does not know: its numbers mean other posts here, or none."""


def conclude(conn: Connection, settings: Settings, report: Report) -> Status | None:
    """Writes what came of an attempt: first onto its row, once; then the state, under the guard.

    Safe to repeat. :returns: the post's new status, or None where somebody else had decided meanwhile.

    :raises Stranger: it is about an attempt of another database (a worker's file, and ``DATABASE_URL`` says another
        one now; or a restored backup). Nothing was changed.
    """
    whose = {"account": report.account_id, "attempt": report.attempt_id, "post": report.scheduled_post_id}
    if conn.execute(REPORT_LOCK, whose).one_or_none() is None:
        raise Stranger(f"attempt {report.attempt_id} of scheduled post {report.scheduled_post_id} is not known here")
    outcome = report.outcome
    word, code, message = _words(outcome)
    remote = _storable(outcome) if isinstance(outcome, Published) else None
    conn.execute(
        _answer(word),
        {
            "attempt": report.attempt_id,
            "new_outcome": word,
            "new_code": code,
            "new_message": message,
            "new_sent_at": report.sent_at or None,
            "new_http_status": getattr(outcome, "http_status", None),
            "new_remote_id": remote.remote_id if remote else None,
            "new_remote_url": remote.url if remote else None,
        },
    )
    if report.sent_at is not None:
        row = conn.execute(POST_SENT, {"post": report.scheduled_post_id, "at": report.sent_at}).one()
    else:
        row = conn.execute(POST_LOCK, {"post": report.scheduled_post_id}).one()
    if isinstance(outcome, AuthExpired | RateLimited):
        note_account(conn, report.account_id, report.token_version, outcome)
    if row.generation == report.generation and row.status == Status.PUBLISHING:
        return _decide(conn, settings, row, report)
    if row.parts > 1 and report.part != len(row.parts_out):
        return None  # that part has been decided, and the thread has gone on
    if isinstance(outcome, Processing) and outcome.checkpoint and row.status in LATE_YES:
        # Whoever looks for it can ask by what the platform gave it.
        _save_given(conn, row, report.part, outcome.checkpoint)
    if isinstance(outcome, Processing) and row.status in LATE_YES:
        # What a person has ended is looked at, too, but its last step is not taken any more.
        given_up: dict[str, Any] = {"cancel_requested": True} if _given_up(conn, row) else {}
        move(
            conn,
            row.id,
            generation=row.generation,
            source=Status(row.status),
            target=Status.PROCESSING,
            by="late answer",
            available_at=seconds_from_now(outcome.poll_after_s),
            claims=0,
            lookups={},
            error_code=None,
            error_message=None,
            **given_up,
        )
        return Status.PROCESSING
    if isinstance(outcome, Published) and row.status not in {
        Status.PUBLISHED,
        Status.PUBLISHING,
        Status.PROCESSING,
    }:
        # Late, but an answer: whatever was believed meanwhile, it is public.
        return publish(conn, row, outcome, part=report.part, evidence="api", by="late answer")
    return None


def _for_later(outcome: Unknown) -> dict[str, Any]:
    """What reconcile is told for the case that it finds nothing (``workers.reconcile``)."""
    told: dict[str, Any] = {}
    if outcome.if_absent is not None:
        told[IF_ABSENT] = {
            "code": storable(outcome.if_absent.code),
            "message": sayable(outcome.if_absent.message),
            "operator_alert": outcome.if_absent.operator_alert,
        }
    if outcome.retry_after_s is not None:
        told[RETRY_AFTER] = outcome.retry_after_s
    return told


ENDED = TERMINAL - {Status.PUBLISHED}
LATE_YES = frozenset({*WAITING, *ENDED, Status.PREPARING, Status.QUEUED, Status.UNKNOWN, Status.HELD})
"""Where a platform's yes that comes late changes what becomes of the post: it has it, and works on it. What has ended
is looked after again, too: brought back by a person it would be sent a second time."""


def _given_up(conn: Connection, row: Row[Any]) -> bool:
    """Whether a person wants a (locked) post no more: it was canceled, or its dead letter was discarded."""
    if row.status not in {Status.FAILED, Status.MISSED}:
        return bool(row.status == Status.CANCELED)
    still_open = select(letters.c.id).where(letters.c.scheduled_post_id == row.id, letters.c.resolved_at.is_(None))
    return conn.execute(still_open).first() is None


def _save_given(conn: Connection, row: Row[Any], part: int, given: Mapping[str, Any]) -> None:
    """What the platform gave with its answer goes into the checkpoint of the (locked) post, with the outcome."""
    values = as_stored(of_part(row.checkpoint, part), part, given)
    save_checkpoint(conn, row.id, generation=row.generation, values=values)


@functools.cache
def _answer(word: str) -> Update:
    """The statement that writes an answer of this kind onto its attempt, once; built once, too."""
    # Whoever settled a doubt wrote "unknown" on the worker's behalf; the worker's own answer is worth more.
    unanswered: ColumnElement[bool] = attempts.c.outcome.is_(None)
    if word != "unknown":
        unanswered |= attempts.c.outcome == "unknown"
    new = {
        "outcome": "new_outcome",
        "error_code": "new_code",
        "error_message": "new_message",
        "http_status": "new_http_status",
        "remote_id": "new_remote_id",
        "remote_url": "new_remote_url",
    }
    return (
        update(attempts)
        .where(attempts.c.id == bindparam("attempt"), unanswered)
        .values(
            finished_at=NOW,
            sent_at=func.to_timestamp(bindparam("new_sent_at", type_=Float)),
            **{column: bindparam(name, type_=attempts.c[column].type) for column, name in new.items()},
            **({"settled": case((attempts.c.settled.is_not(None), "found"))} if word == "accepted" else {}),
        )
    )


def _decide(conn: Connection, settings: Settings, row: Row[Any], report: Report) -> Status:
    outcome = report.outcome
    source = Status.PUBLISHING
    common: dict[str, Any] = {"generation": row.generation, "source": source, "by": "publish"}
    spent = row.attempts + (1 if report.counts and not isinstance(outcome, RateLimited) else 0)
    earlier = None if isinstance(outcome, Published) else accepted_before(conn, row.id, report.part)
    ends: dict[str, Any] = {"part": report.part, "evidence": "api", "attempts": spent, "claims": 0}
    if isinstance(outcome, Published):
        return publish(conn, row, outcome, by="publish", **ends)
    if earlier is not None:
        return publish(conn, row, earlier, by="late answer", **ends)
    _, code, message = _words(outcome)
    told: dict[str, Any] = {"error_code": code, "error_message": message, "attempts": spent}
    if isinstance(outcome, Processing):
        if outcome.checkpoint:
            _save_given(conn, row, report.part, outcome.checkpoint)
        move(
            conn,
            row.id,
            target=Status.PROCESSING,
            available_at=seconds_from_now(outcome.poll_after_s),
            attempts=spent,
            claims=0,
            **common,
        )
        return Status.PROCESSING
    if isinstance(outcome, Unknown):
        move(
            conn,
            row.id,
            target=Status.UNKNOWN,
            available_at=func.clock_timestamp(),
            lookups=_for_later(outcome),
            claims=0,  # its worker lives
            **told,
            **common,
        )
        return Status.UNKNOWN
    return not_published(conn, settings, row, source, outcome, told, report.token_version, by="publish")


def publish(
    conn: Connection,
    row: Row[Any],
    outcome: Published,
    *,
    evidence: str,
    by: str,
    part: int = 0,
    published_at: datetime | None = None,
    **values: Any,
) -> Status:
    """Moves a (locked) row to published, or a thread on to its next part.

    One remote id never serves two: a second owner gets none.
    """
    outcome = _storable(outcome)
    if row.parts > 1:
        if part != len(row.parts_out):
            return Status(row.status)  # this part is known to be public, by an earlier answer or look-up
        out = [*row.parts_out, {"remote_id": outcome.remote_id, "url": outcome.url}]
        if len(out) < row.parts:
            return _part_out(conn, row, out, by)
        # The thread goes by its first part.
        outcome = Published(out[0]["remote_id"], out[0]["url"])
        values = {**values, "parts_out": out}
    common: dict[str, Any] = {
        "generation": row.generation,
        "source": Status(row.status),
        "target": Status.PUBLISHED,
        "by": by,
        "published_at": published_at or NOW,
        "evidence": evidence,
        "remote_url": outcome.url,
        "resolution": "published",
        **values,
    }
    try:
        with conn.begin_nested():
            move(conn, row.id, remote_id=outcome.remote_id, error_code=None, error_message=None, **common)
    except IntegrityError:
        move(
            conn,
            row.id,
            error_code="remote_id_taken",
            error_message=f"the platform answered with {outcome.remote_id}, which another post of this account holds",
            **common,
        )
    conn.execute(SETTLE_FOUND, {"post": row.id})
    return Status.PUBLISHED


def _part_out(conn: Connection, row: Row[Any], out: list[dict[str, Any]], by: str) -> Status:
    """Notes that one more part of a thread is public; its next part starts with a budget of its own."""
    status = Status(row.status)
    conn.execute(SETTLE_FOUND, {"post": row.id})
    if status in TERMINAL:
        # It ended (by a person, or by its window) before this was known: what is public is said, no more is sent.
        conn.execute(update(posts).where(posts.c.id == row.id).values(parts_out=out, error_code=PARTLY_PUBLISHED))
        return status
    if out[-1]["remote_id"] is None:
        # Better ended in front of a person than a part that answers nothing.
        told = partly(row.parts, out, "the platform gave no id that the next part could answer")
        move(
            conn,
            row.id,
            generation=row.generation,
            source=status,
            target=Status.FAILED,
            by=by,
            parts_out=out,
            **told,
        )
        return Status.FAILED
    changes: dict[str, Any] = {
        "generation": row.generation,
        "by": by,
        "why": f"part {len(out)} of {row.parts} is public",
        "parts_out": out,
        "available_at": seconds_from_now(HAND_OVER_S),
        "attempts": 0,
        "claims": 0,
        "lookups": {},
        "error_code": None,
        "error_message": None,
    }
    if status is Status.PROCESSING:
        revise(conn, row.id, status=status, **changes)
    else:
        move(conn, row.id, source=status, target=Status.PROCESSING, **changes)
    return Status.PROCESSING


def accepted_before(conn: Connection, scheduled_post_id: int, part: int = 0) -> Published | None:
    """The platform's yes to an earlier attempt at this part, if one came late."""
    row = conn.execute(
        select(attempts.c.remote_id, attempts.c.remote_url)
        .where(
            attempts.c.scheduled_post_id == scheduled_post_id,
            attempts.c.part == part,
            attempts.c.outcome == "accepted",
            attempts.c.error_code.is_distinct_from(PROCESSING),
        )
        .limit(1)
    ).one_or_none()
    return Published(row.remote_id, row.remote_url) if row else None


def _words(outcome: PublishOutcome) -> tuple[str, str | None, str | None]:
    """(the attempt's outcome, error code, error message)."""
    match outcome:
        case Published():
            return "accepted", None, None
        case Processing():
            return "accepted", PROCESSING, None
        case RateLimited(message=message):
            return "rejected", "rate_limited", sayable(message)
        case Rejected(code=code, message=message) | AuthExpired(code=code, message=message):
            return "rejected", storable(code), sayable(message)
        case NotSent(code=code, message=message):
            return "not_sent", storable(code), sayable(message)
        case Unknown(code=code, message=message):
            return "unknown", storable(code), sayable(message)


def _storable(found: Published) -> Published:
    return Published(
        None if found.remote_id is None else storable(found.remote_id),
        None if found.url is None else storable(found.url),
    )
