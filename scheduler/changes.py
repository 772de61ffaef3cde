"""What a person may change about an accepted post: edit, cancel, reschedule, retry.

All of them race with dispatch and publish; whoever commits first wins, and the caller is told which. Each
takes a post (all its scheduled posts) or the id of one scheduled post.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy import text as sql

from db.models import Account, PostVersion, table_of
from db.models import ScheduledPost as Table
from db.states import CANCELABLE, Status
from db.transitions import database_now, doubtful_attempts, move, parts_out, revise, seconds_from_now
from platforms.base import Violation
from scheduler import accounts, audit, intake, posts
from scheduler.api import _connection, attach_media, database, first_part, insert_version
from scheduler.checking import Target, check_one
from scheduler.errors import InvalidPost, NotAllowed, NotFound
from scheduler.intake import Arrived
from scheduler.logging import logger
from scheduler.options import POST, post_options
from scheduler.posts import Post
from scheduler.settings import Settings, current
from scheduler.when import check_future, instant

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logger(__name__)
table = table_of(Table)

CHANGEABLE = (Status.SCHEDULED, Status.PREPARING, Status.READY, Status.QUEUED, Status.RETRYING)
PERSON = "person"


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
    """The scheduled posts that a number names, locked. :raises NotFound: none."""
    # Not joined: FOR UPDATE shall lock the scheduled posts alone, in one order.
    found = conn.execute(
        select(
            table,
            (
                select(Account.platform + ":" + Account.name).where(Account.id == table.c.account_id).scalar_subquery()
            ).label("account"),
        )
        .where((table.c.post_id == number) | (table.c.id == number))
        .order_by(table.c.id)
        .with_for_update()
    ).all()
    if not found:
        raise NotFound(f"There is no post {number}; see: schedulerx posts list")
    return found


def cancel(post: Post | int, *, by: str = PERSON, session: Session | Connection | None = None) -> Changes:
    """Stops a post. At once where nothing was called yet; else it is recorded, and honoured if the platform
    turns out not to have published.

    :raises scheduler.errors.NotFound: there is no such post.
    """
    number = _number(post)
    with _connection(session, current()) as conn:
        rows = rows_of(conn, number)
        done = [cancel_row(conn, row, by=by, why="canceled") for row in rows]
        return _recorded(conn, "post.canceled", rows, done, by)


def _recorded(conn: Connection, action: str, rows: Sequence[Row[Any]], done: Sequence[Change], by: str) -> Changes:
    """Writes who changed what into the audit trail, and answers with the post as it stands now."""
    ids = [row.id for row in rows]
    now = conn.execute(
        select(table.c.id, table.c.status, table.c.due_at, table.c.version_id).where(table.c.id.in_(ids))
    ).all()
    audit.record(
        conn,
        action,
        f"post:{rows[0].post_id}",
        by=by,
        before={str(row.id): _facts(row) for row in rows},
        after={str(row.id): _facts(row) for row in now},
    )
    return Changes(posts.load(conn, rows[0].post_id), tuple(done))


def _facts(row: Any) -> dict[str, Any]:
    return {"status": row.status, "due_at": row.due_at.isoformat(), "version_id": row.version_id}


def cancel_row(conn: Connection, row: Any, *, by: str, why: str) -> Change:
    """Cancels one (locked) row."""
    status = Status(row.status)
    account = getattr(row, "account", "")
    if status in CANCELABLE and getattr(row, "held_for", None) != "outcome_unknown":
        begun = parts_out(conn, row.id)
        doubtful = status is not Status.HELD and doubtful_attempts(conn, row.id)
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
    number = _number(post)
    due = instant(at, tz)
    with _connection(session, current()) as conn:
        if due is not None:
            check_future(due, database_now(conn))
        rows = rows_of(conn, number)
        done = [_reschedule_row(conn, row, due, by) for row in rows]
        return _recorded(conn, "post.rescheduled", rows, done, by)


def _reschedule_row(conn: Connection, row: Row[Any], due: datetime | None, by: str) -> Change:
    status = Status(row.status)
    reason = _unchangeable(conn, row)
    if reason:
        return Change(row.id, row.account, False, status.value, reason)
    new_due = due if due is not None else func.clock_timestamp()
    lead = _lead(row)
    values = {
        "due_at": new_due,
        "window_ends_at": new_due + (row.window_ends_at - row.due_at),
        "available_at": new_due - lead if row.needs_prepare else new_due,
        "error_code": None,
        "error_message": None,
    }
    _back_to_scheduled(conn, row, by=by, why=f"rescheduled to {due.isoformat() if due else 'now'}", **values)
    return Change(row.id, row.account, True, "scheduled", "rescheduled")


def _lead(row: Row[Any]) -> timedelta:
    from platforms import registry

    return timedelta(seconds=registry.get(row.platform).capabilities.prepare_lead_s if row.needs_prepare else 0)


def _unchangeable(conn: Connection, row: Row[Any]) -> str:
    """Why a row may not be edited or moved; empty: it may."""
    status = Status(row.status)
    if row.parts_out and status not in {Status.PUBLISHED, Status.FAILED}:
        return f"{len(row.parts_out)} of its {row.parts} parts are public already"
    if status is Status.HELD and row.held_for != "outcome_unknown":
        return ""
    if status not in CHANGEABLE:
        return {
            Status.PUBLISHED: "it is already published",
            Status.CANCELED: "it is canceled; use retry to bring it back",
            Status.FAILED: "it failed; use retry to bring it back",
            Status.MISSED: "it missed its window; use retry to bring it back",
            Status.HELD: "whether it is public is not known; use dead-letters",
        }.get(status, "it is being published")
    if doubtful_attempts(conn, row.id):
        return "an earlier attempt's outcome is not known"
    return ""


def _back_to_scheduled(conn: Connection, row: Row[Any], *, by: str, why: str, **values: Any) -> None:
    """A changed row starts over: workers that hold it lose it by the new generation."""
    status = Status(row.status)
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


def edit(
    post: Post | int,
    *,
    text: str | Sequence[str] | None = None,
    media: Sequence[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    by: str = PERSON,
    session: Session | Connection | None = None,
) -> Changes:
    """Gives a post new content (what is None stays). It never goes out with its old content after this
    returned ``done`` for it; siblings that already went keep theirs, and the caller is told which.

    :raises scheduler.errors.InvalidPost: the new content breaks a rule of one of the targets still to come;
        nothing was changed.
    :raises scheduler.errors.NotFound: there is no such post.
    """
    settings = current()
    number = _number(post)
    if text is None and media is None and options is None:
        raise NotAllowed("edit() was given nothing to change: text, media or options")
    thread = None if isinstance(text, str) or text is None else [*text[1:]]
    text = first_part(text, {}) if text is not None else None
    arrived, wrong = intake.look_at(list(media), settings) if media is not None else ([], [])
    if wrong:
        raise InvalidPost(wrong)
    fresh_ids: list[int] = []
    if media is not None:
        # Judged before anything is stored; judged again below, under the rows' locks.
        with _connection(session, settings) as conn:
            open_now = [row for row in rows_of(conn, number) if not _unchangeable(conn, row)]
            content = _content(conn, posts.load(conn, number).id)
            chosen = _options(content, options, thread)
            _check_again(conn, open_now, content.text if text is None else text, arrived, chosen, settings)
        fresh_ids = intake.store(arrived, settings)
    with _connection(session, settings) as conn:
        rows = rows_of(conn, number)
        content = _content(conn, rows[0].post_id)
        if media is None:
            arrived, fresh_ids = _arrived_before(conn, content.media)
        new_text = content.text if text is None else text
        new_options = _options(content, options, thread)
        reasons = {row.id: _unchangeable(conn, row) for row in rows}
        open_rows = [row for row in rows if not reasons[row.id]]
        checked = _check_again(conn, open_rows, new_text, arrived, new_options, settings)
        if open_rows:
            version = insert_version(
                conn, rows[0].post_id, content.number + 1, new_text, arrived, fresh_ids, new_options
            )
            for row in open_rows:
                _repoint(conn, row, version, arrived, fresh_ids, checked[row.id], by)
        done = [
            Change(
                row.id,
                row.account,
                not reasons[row.id],
                row.status if reasons[row.id] else "scheduled",
                reasons[row.id] or "edited",
            )
            for row in rows
        ]
        return _recorded(conn, "post.edited", rows, done, by)


def _options(content: Row[Any], given: Mapping[str, Any] | None, thread: list[str] | None) -> dict[str, Any]:
    """The new version's options. A text given as a list says what the thread is now; a plain text leaves it."""
    chosen = dict(content.options if given is None else given)
    if thread is not None:
        chosen[POST] = {**chosen.get(POST, {}), "thread": thread}
    return chosen


def _content(conn: Connection, post_id: int) -> Row[Any]:
    return conn.execute(
        select(PostVersion.number, PostVersion.text, PostVersion.media, PostVersion.options)
        .where(PostVersion.post_id == post_id)
        .order_by(PostVersion.number.desc())
        .limit(1)
    ).one()


def _arrived_before(conn: Connection, media: Sequence[Mapping[str, Any]]) -> tuple[list[Arrived], list[int]]:
    """The files of the present version, from what we keep of them."""
    from media.probe import Probe

    arrived = []
    ids = []
    for one in media:
        asset = conn.execute(
            sql("SELECT id, probe, source_url, mime, size FROM media_assets WHERE id = :id"),
            {"id": one["asset_id"]},
        ).one()
        found = Probe.from_json(asset.probe) if asset.probe else None
        arrived.append(
            Arrived(
                name=one["name"],
                alt=one["alt"],
                probe=found,
                url=asset.source_url,
                remote_mime=asset.mime or "",
                remote_size=asset.size or 0,
            )
        )
        ids.append(asset.id)
    return arrived, ids


def _check_again(
    conn: Connection,
    rows: Sequence[Row[Any]],
    text: str,
    arrived: Sequence[Arrived],
    options: Mapping[str, Any],
    settings: Settings,
) -> dict[int, Target]:
    post, wrong = post_options(options)
    checked = {}
    for row in rows:
        account = accounts.find(conn, row.account)
        checked[row.id] = check_one(text, accounts.reference(account), arrived, options, post, settings)
        wrong += checked[row.id].violations
    if wrong:
        raise InvalidPost(list(dict.fromkeys(wrong)))
    return checked


def _repoint(
    conn: Connection,
    row: Row[Any],
    version: int,
    arrived: Sequence[Arrived],
    asset_ids: Sequence[int],
    target: Target,
    by: str,
) -> None:
    needs = target.needs_prepare
    lead = timedelta(seconds=target.module.capabilities.prepare_lead_s if needs else 0)
    _back_to_scheduled(
        conn,
        row,
        by=by,
        why="edited",
        version_id=version,
        needs_prepare=needs,
        media_ready=not target.uses,
        parts=len(target.parts.drafts),
        available_at=row.due_at - lead,
        checkpoint={},
        checkpoint_expires_at=None,
        claims=0,
        error_code=None,
        error_message=None,
    )
    conn.execute(sql("DELETE FROM scheduled_post_media WHERE scheduled_post_id = :id"), {"id": row.id})
    if target.uses:
        attach_media(conn, row.id, arrived, asset_ids, target)


def retry(post: Post | int, *, by: str = PERSON, session: Session | Connection | None = None) -> Changes:
    """Brings back what failed, was missed or canceled, with a new window from now; its due time stays, so
    that its lateness stays true. A post whose outcome is unknown is refused: resending could double it.

    :raises scheduler.errors.NotFound: there is no such post.
    """
    number = _number(post)
    with _connection(session, current()) as conn:
        rows = rows_of(conn, number)
        done = [retry_row(conn, row, by=by) for row in rows]
        return _recorded(conn, "post.retried", rows, done, by)


NOTHING_TO_ANSWER = (
    "a part of it is public and the platform's id of that part is not known: there is nothing for the rest to"
    " answer; schedule the rest as a new post"
)


def retry_row(conn: Connection, row: Row[Any], *, by: str) -> Change:
    """Brings back one (locked) row, where that is safe."""
    status = Status(row.status)
    if status not in {Status.FAILED, Status.MISSED, Status.CANCELED}:
        told = (
            "whether it is public is not known; use dead-letters replay --resend or mark-published"
            if row.held_for == "outcome_unknown" or status is Status.UNKNOWN
            else f"it is {status.value}"
        )
        return Change(row.id, row.account, False, status.value, told)
    if conn.execute(select(Account.deleted_at).where(Account.id == row.account_id)).scalar_one() is not None:
        return Change(row.id, row.account, False, status.value, "its account was deleted")
    if doubtful_attempts(conn, row.id):
        return Change(
            row.id,
            row.account,
            False,
            status.value,
            "an earlier attempt may have published it; use dead-letters replay --resend or mark-published",
        )
    if row.parts_out and row.parts_out[-1]["remote_id"] is None:
        return Change(row.id, row.account, False, status.value, NOTHING_TO_ANSWER)
    again(conn, row, by=by, why="retried")
    told = f"scheduled again, from part {len(row.parts_out) + 1} on" if row.parts_out else "scheduled again"
    return Change(row.id, row.account, True, "scheduled", told)


def again(conn: Connection, row: Row[Any], *, by: str, why: str) -> None:
    """Puts an ended or held row back on its way, at once, with a fresh window, budget and checkpoint."""
    window = row.window_ends_at - row.due_at
    # All of its files are touched, not only those that failed: prune may be about to delete one that nobody needed
    # until now, and whoever comes second sees what the first has done. What was pruned is made again.
    states = conn.execute(
        sql("""
            UPDATE renditions SET touched_at = clock_timestamp(), delete_after = NULL,
                   state = CASE WHEN state = 'failed' THEN 'pending' ELSE state END,
                   claims = CASE WHEN state = 'failed' THEN 0 ELSE claims END,
                   available_at = CASE WHEN state = 'failed' OR available_at = 'infinity'
                                       THEN clock_timestamp() ELSE available_at END,
                   error_code = CASE WHEN state <> 'failed' THEN error_code END,
                   error_message = CASE WHEN state <> 'failed' THEN error_message END
             WHERE id IN (SELECT rendition_id FROM scheduled_post_media WHERE scheduled_post_id = :id)
            RETURNING state
        """),
        {"id": row.id},
    ).scalars()
    unmade = any(state != "ready" for state in states)
    conn.execute(
        sql("""
            UPDATE media_assets SET touched_at = clock_timestamp(), delete_after = NULL,
                   state = CASE WHEN state = 'failed' THEN 'pending' ELSE state END,
                   claims = CASE WHEN state = 'failed' THEN 0 ELSE claims END,
                   available_at = CASE WHEN state = 'failed' OR available_at = 'infinity'
                                       THEN clock_timestamp() ELSE available_at END
             WHERE id IN (SELECT asset_id FROM scheduled_post_media WHERE scheduled_post_id = :id)
        """),
        {"id": row.id},
    )
    move(
        conn,
        row.id,
        generation=row.generation,
        source=Status(row.status),
        target=Status.SCHEDULED,
        by=by,
        why=why,
        resolution="replayed",
        available_at=func.clock_timestamp(),
        window_ends_at=func.greatest(table.c.due_at, seconds_from_now(window.total_seconds())),
        claims=0,
        attempts=0,
        checkpoint={},
        checkpoint_expires_at=None,
        lookups={},
        error_code=None,
        error_message=None,
        cancel_requested=False,
        first_sent_at=None,
        **({"media_ready": False} if unmade else {}),
    )


def _number(post: Post | int) -> int:
    return post.id if isinstance(post, Post) else post


__all__ = [
    "Change",
    "Changes",
    "Violation",
    "again",
    "cancel",
    "database",
    "edit",
    "reschedule",
    "retry",
    "retry_row",
]
