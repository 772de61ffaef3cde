"""What a person may change about an accepted post: edit, cancel, reschedule, retry.

All of them race with dispatch and publish; whoever commits first wins, and the caller is told which. Each
takes a post (all its scheduled posts) or the id of one scheduled post.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, update

from db.states import CANCELABLE, Status
from db.transitions import database_now, doubtful_attempts, move, parts_out
from scheduler.api import _connection
from scheduler.changed import (
    PERSON,
    Change,
    Changes,
    changed,
    lead_of,
    recorded,
    rows_of,
    start_over,
    table,
    unchangeable,
    window_of,
)
from scheduler.edits import edit
from scheduler.posts import Post, number_of
from scheduler.replays import retry_row
from scheduler.settings import current
from scheduler.when import check_future, instant

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def cancel(post: Post | int, *, by: str = PERSON, session: Session | Connection | None = None) -> Changes:
    """Stops a post. At once where nothing was called yet; else it is recorded, and honoured if the platform
    turns out not to have published.

    :raises scheduler.errors.NotFound: there is no such post.
    """
    number = number_of(post)
    with _connection(session, current()) as conn:
        rows = rows_of(conn, number)
        done = [cancel_row(conn, row, by=by, why="canceled") for row in rows]
        return recorded(conn, "post.canceled", rows, done, by)


def cancel_row(conn: Connection, row: Any, *, by: str, why: str) -> Change:
    """Cancels one (locked) row."""
    status = Status(row.status)
    account = getattr(row, "account", "")
    if status in CANCELABLE and getattr(row, "held_for", None) != "outcome_unknown":
        begun = parts_out(conn, row.id)
        doubtful = doubtful_attempts(conn, row.id)
        move(
            conn,
            row.id,
            generation=row.generation,
            source=status,
            target=Status.CANCELED,
            by=by,
            why=why,
            resolution="canceled",
        )
        if doubtful:
            return Change(
                row.id,
                account,
                False,
                "held",
                "it will not be sent again, but an earlier try may have published it; look at the profile",
            )
        if begun is not None:
            told = f"{len(begun[1])} of its {begun[0]} parts are public already; the rest will not be sent"
            return Change(row.id, account, False, "failed", told)
        return Change(row.id, account, True, "canceled", "canceled")
    if status in {Status.PUBLISHING, Status.PROCESSING, Status.UNKNOWN}:
        conn.execute(update(table).where(table.c.id == row.id).values(cancel_requested=True))
        return Change(
            row.id,
            account,
            False,
            status.value,
            "it is being published; if the platform did not take it, it will not be sent again",
        )
    if status is Status.HELD:
        return Change(
            row.id,
            account,
            False,
            "held",
            "whether it is public is not known; look at the profile, then"
            " use dead-letters mark-published or dead-letters discard",
        )
    return Change(row.id, account, status is Status.CANCELED, status.value, f"it is already {status.value}")


def reschedule(
    post: Post | int,
    at: datetime | str,
    *,
    tz: str | tzinfo | None = None,
    by: str = PERSON,
    session: Session | Connection | None = None,
) -> Changes:
    """Gives a post another time. Refused row by row where it is under way, over, or its outcome is unknown.

    :raises scheduler.errors.InvalidTime: see ``schedule``.
    :raises scheduler.errors.NotFound: there is no such post.
    """
    number = number_of(post)
    due = instant(at, tz)
    with _connection(session, current()) as conn:
        now = database_now(conn)
        if due is not None:
            check_future(due, now)
        rows = rows_of(conn, number)
        done = [_reschedule_row(conn, row, now if due is None else due, by) for row in rows]
        return recorded(conn, "post.rescheduled", rows, done, by)


def _reschedule_row(conn: Connection, row: Row[Any], due: datetime, by: str) -> Change:
    reason = unchangeable(conn, row, ended="use retry to bring it back")
    if reason:
        return Change(row.id, row.account, False, row.status, reason)
    window = window_of(row)
    values: dict[str, Any] = {
        "due_at": due,
        "window_ends_at": due + window,
        "window_seconds": int(window.total_seconds()),
        "available_at": due - lead_of(row),
        # A person has asked anew: how late it was for its old time, and what was tried then, is over.
        "first_sent_at": None,
        "attempts": 0,
        "claims": 0,
    }
    if row.checkpoint_expires_at is not None and row.checkpoint_expires_at <= due:
        values |= {"checkpoint": {}, "checkpoint_expires_at": None}
    start_over(conn, row, by=by, why=f"rescheduled to {due.isoformat(timespec='seconds')}", **values)
    return changed(row, "rescheduled")


def retry(post: Post | int, *, by: str = PERSON, session: Session | Connection | None = None) -> Changes:
    """Brings back what failed, was missed or canceled: at its due time, or at once where that is past, with a new
    window of the same length. Its due time stays, so that its lateness stays true. A post whose outcome is unknown is
    refused: resending could double it.

    :raises scheduler.errors.NotFound: there is no such post.
    """
    number = number_of(post)
    with _connection(session, current()) as conn:
        rows = rows_of(conn, number)
        done = [retry_row(conn, row, by=by) for row in rows]
        return recorded(conn, "post.retried", rows, done, by)


__all__ = ["Change", "Changes", "cancel", "cancel_row", "edit", "reschedule", "retry"]
