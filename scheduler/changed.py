"""What all changes by a person share: the locked rows, what forbids a change, and the answer row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from db.models import Account, table_of
from db.models import ScheduledPost as Table
from db.states import HeldFor, Status
from db.transitions import doubtful_attempts, move, revise
from scheduler import audit, posts
from scheduler.errors import NotFound
from scheduler.posts import Post

table = table_of(Table)

PERSON = "person"
CHANGEABLE = frozenset({Status.SCHEDULED, Status.PREPARING, Status.READY, Status.QUEUED, Status.RETRYING, Status.HELD})
ENDED = frozenset({Status.FAILED, Status.MISSED, Status.CANCELED})
"""Over, and not public: a person may mend it and bring it back."""
NO_ACCOUNT = "its account was deleted"


@dataclass(frozen=True)
class Change:
    """What became of a request for one scheduled post."""

    id: int
    account: str
    done: bool
    status: str
    message: str

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "id": self.id,
            "account": self.account,
            "done": self.done,
            "status": self.status,
            "message": self.message,
        }


@dataclass(frozen=True)
class Changes:
    """What became of a request, row by row, and the post as it stands now."""

    post: Post
    changes: tuple[Change, ...]

    @property
    def done(self) -> bool:
        """Whether every scheduled post was changed."""
        return bool(self.changes) and all(one.done for one in self.changes)


def rows_of(conn: Connection, number: int) -> Sequence[Row[Any]]:
    """The scheduled posts that a number names, locked, each with its account. :raises NotFound: none."""
    # Not joined: FOR UPDATE shall lock the scheduled posts alone, in one order.
    its = select(Account).where(Account.id == table.c.account_id)
    found = conn.execute(
        select(
            table,
            its.with_only_columns(Account.platform + ":" + Account.name).scalar_subquery().label("account"),
            its.with_only_columns(Account.deleted_at.is_not(None)).scalar_subquery().label("account_deleted"),
        )
        .where((table.c.post_id == number) | (table.c.id == number))
        .order_by(table.c.id)
        .with_for_update()
    ).all()
    if not found:
        raise NotFound(f"There is no post {number}; see: schedulerx posts list")
    return found


def recorded(conn: Connection, action: str, rows: Sequence[Row[Any]], done: Sequence[Change], by: str) -> Changes:
    """Writes who changed what into the audit trail, and answers with the post as it stands now.

    Rows that were left as they were are not written down, and nothing is where that was all of them. What was not
    done as asked may have changed a row all the same: a cancel is noted on one that is being published.
    """
    ids = [row.id for row in rows]
    now = {row.id: row for row in conn.execute(select(table).where(table.c.id.in_(ids)))}
    touched = [
        row
        for row in rows
        if (row.generation, row.cancel_requested) != (now[row.id].generation, now[row.id].cancel_requested)
    ]
    if touched:
        audit.record(
            conn,
            action,
            f"post:{rows[0].post_id}",
            by=by,
            before={str(row.id): _facts(row) for row in touched},
            after={str(row.id): _facts(now[row.id]) for row in touched},
        )
    return Changes(posts.load(conn, rows[0].post_id), tuple(done))


def _facts(row: Any) -> dict[str, Any]:
    return {
        "status": row.status,
        "due_at": row.due_at.isoformat(),
        "version_id": row.version_id,
        **({"cancel_requested": True} if row.cancel_requested else {}),
    }


def unchangeable(conn: Connection, row: Row[Any], *, ended: str = "") -> str:
    """Why a (locked) row may not be edited or moved; empty: it may.

    :param ended: what else to do where it is over; empty: it may be changed although it is.
    """
    status = Status(row.status)
    if row.parts_out and status is not Status.PUBLISHED:
        return f"{len(row.parts_out)} of its {row.parts} parts are public already"
    if status is Status.HELD and row.held_for == HeldFor.OUTCOME_UNKNOWN:
        return "whether it is public is not known; use dead-letters"
    if status in ENDED and ended:
        told = {Status.CANCELED: "it is canceled", Status.FAILED: "it failed", Status.MISSED: "it missed its window"}
        return f"{told[status]}; {ended}"
    if status not in CHANGEABLE | ENDED:
        return "it is already published" if status is Status.PUBLISHED else "it is being published"
    if row.account_deleted:
        return NO_ACCOUNT
    # Whatever it waits for: repeating that try would make the same object, anything else may make a second one.
    if doubtful_attempts(conn, row.id):
        return "an earlier try may have published it, and its outcome is not known"
    return ""


def waits_for_approval(row: Row[Any]) -> bool:
    """Whether a person has yet to approve the row: that is an act of its own, which no change takes for them."""
    return bool(row.held_for == HeldFor.APPROVAL)


def start_over(conn: Connection, row: Row[Any], *, by: str, why: str, **values: Any) -> None:
    """A changed row is scheduled anew: workers that hold it lose it by the new generation. One that waits for an
    approval goes on waiting, with its reason and its dead letter.
    """
    status = Status(row.status)
    if waits_for_approval(row):
        revise(conn, row.id, generation=row.generation, status=status, by=by, why=why, **values)
        return
    values |= {"error_code": None, "error_message": None}
    if status is Status.SCHEDULED:
        revise(conn, row.id, generation=row.generation, status=status, by=by, why=why, **values)
    else:
        move(
            conn,
            row.id,
            generation=row.generation,
            source=status,
            target=Status.SCHEDULED,
            by=by,
            why=why,
            **values,
        )


def changed(row: Row[Any], deed: str) -> Change:
    """What is told of a row that ``start_over`` has changed."""
    if waits_for_approval(row):
        told = f"{deed}; it still waits for an approval (dead-letters replay approves it)"
        return Change(row.id, row.account, True, row.status, told)
    return Change(row.id, row.account, True, "scheduled", deed)


def lead_of(row: Row[Any]) -> timedelta:
    """How long before its time a row's preparation may begin."""
    from platforms import registry

    return timedelta(seconds=registry.get(row.platform).capabilities.prepare_lead_s if row.needs_prepare else 0)


def window_of(row: Row[Any]) -> timedelta:
    """How long a row's window is, wherever it begins now."""
    if row.window_seconds is not None:
        return timedelta(seconds=row.window_seconds)
    window: timedelta = row.window_ends_at - row.due_at  # written by a release that did not note the length
    return window
