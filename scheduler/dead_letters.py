"""The desk: what needs a person, why, and what to do about it. Every way out is explicit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, update
from sqlalchemy import text as sql

from db.models import PublishAttempt, table_of
from db.redaction import clean
from db.states import HeldFor, Status
from db.transitions import close_letter, doubtful_attempts, move, partly
from scheduler import audit
from scheduler.changed import rows_of
from scheduler.errors import NotAllowed, NotFound
from scheduler.posts import WORDS
from scheduler.replays import NOTHING_TO_ANSWER, again

attempts = table_of(PublishAttempt)

PLAIN: dict[str, tuple[str, str]] = {
    "outcome_unknown": (
        "it may be public or not",
        "look at the profile; then mark-published, or replay --resend",
    ),
    "reconnect": (
        "the platform no longer accepts our access",
        "connect the account again: schedulerx accounts add",
    ),
    "approval": ("it waits for an approval", "replay to approve, discard to refuse"),
    "missed": ("its window ended before it could go out", "replay to send it now, or discard it"),
    "worker_crash": ("it ended its worker each time", "check its media, then replay"),
    "out_of_credits": ("the platform account has no credits left", "buy credits, then replay"),
    "partly_published": (
        "a part of the thread is public",
        "look at the links; replay sends the parts that are missing, discard leaves it so",
    ),
    "attempts_spent": ("every try failed", "see the attempts; replay when the platform is well again"),
}
OTHERWISE = ("the platform or a rule refused it", "mend what the message says (edit), then replay")
SELECT = f"""
    SELECT d.id, d.scheduled_post_id, d.status, d.code, d.message, d.created_at, d.resolved_at, d.resolution,
           d.resolved_by, s.post_id, s.platform, s.generation, s.due_at, s.status AS now, s.api_url,
           a.platform || ':' || a.name AS account,
           {WORDS} AS text
      FROM dead_letters d JOIN scheduled_posts s ON s.id = d.scheduled_post_id JOIN accounts a ON a.id = s.account_id
      JOIN post_versions v ON v.id = s.version_id
"""  # noqa: S608 - constants alone


@dataclass(frozen=True)
class DeadLetter:
    """A post in front of a person. Times in UTC."""

    id: int
    scheduled_post_id: int
    post_id: int
    account: str
    status: str
    code: str
    message: str
    created_at: datetime
    resolution: str | None
    api_url: str | None = None
    """Not None: made against an override of the platform's address (a sandbox), not the real one."""
    text: str = ""
    """What the post says on this account (of a thread: its first part)."""
    now: str = ""
    """The status of the post now; ``status`` is the one that made it a dead letter."""
    resolved_at: datetime | None = None
    resolved_by: str | None = None

    @property
    def plain(self) -> str:
        """The class of failure in plain words."""
        return PLAIN.get(self.code, OTHERWISE)[0]

    @property
    def next_action(self) -> str:
        """What to do."""
        if self.resolution is not None:
            return "nothing, it is settled"
        return PLAIN.get(self.code, OTHERWISE)[1]

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "id": self.id,
            "scheduled_post_id": self.scheduled_post_id,
            "post_id": self.post_id,
            "account": self.account,
            "status": self.status,
            "code": self.code,
            "class": self.plain,
            "message": self.message,
            "next_action": self.next_action,
            "created_at": self.created_at.isoformat(),
            "resolution": self.resolution,
            "resolved_at": self.resolved_at.isoformat() if self.resolved_at else None,
            "resolved_by": self.resolved_by,
            "post_status": self.now,
            "text": clean(self.text),
            "test_api_url": self.api_url,
        }


def listing(
    conn: Connection,
    *,
    limit: int = 50,
    resolved: bool = False,
    code: str | None = None,
    account: str | None = None,
) -> list[DeadLetter]:
    """Dead letters, the oldest first; open ones unless ``resolved``."""
    where = ["d.resolved_at IS NOT NULL" if resolved else "d.resolved_at IS NULL"]
    if code:
        where.append("d.code = :code")
    if account:
        where.append("a.platform || ':' || a.name = :account")
    query = f"{SELECT} WHERE {' AND '.join(where)} ORDER BY d.id LIMIT :limit"
    rows = conn.execute(sql(query), {"limit": limit, "code": code, "account": account})
    return [_view(row) for row in rows]


def show(conn: Connection, number: int) -> tuple[DeadLetter, Sequence[Row[Any]]]:
    """A dead letter (by its own id or its scheduled post's) and all attempts. :raises NotFound: none."""
    row = conn.execute(
        sql(f"{SELECT} WHERE d.id = :n OR d.scheduled_post_id = :n ORDER BY (d.id = :n) DESC, d.id DESC LIMIT 1"),
        {"n": number},
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no dead letter {number}; see: schedulerx dead-letters list")
    letter = _view(row)
    told = conn.execute(
        sql("""
            SELECT started_at, sent_at, finished_at, outcome, settled, http_status, error_code, error_message, worker
              FROM publish_attempts WHERE scheduled_post_id = :id ORDER BY started_at
        """),
        {"id": letter.scheduled_post_id},
    ).all()
    return letter, told


def replay(conn: Connection, number: int, *, by: str, resend: bool = False) -> DeadLetter:
    """Puts a post back on its way. One whose outcome is unknown needs ``resend``: it may then appear twice.

    :raises NotFound: there is no such dead letter.
    :raises NotAllowed: it is settled already, or it may be public and ``resend`` was not given.
    """
    letter, row = _open(conn, number)
    doubt = doubtful_attempts(conn, row.id) > 0 or row.held_for == "outcome_unknown"
    if doubt and not resend:
        raise NotAllowed(
            f"Dead letter {number}: {letter.account} may have published this post; look at the profile, then use"
            f" `schedulerx dead-letters mark-published {number} [URL]`, or replay with --resend if it is not there"
        )
    if row.parts_out and row.parts_out[-1]["remote_id"] is None:
        raise NotAllowed(f"Dead letter {number}: {NOTHING_TO_ANSWER}")
    if doubt:
        _settle(conn, row.id)
    again(conn, row, by=by, why="resent by a person" if doubt else "replayed")
    _record(conn, "resent" if doubt else "replayed", letter, by)
    return letter


def mark_published(conn: Connection, number: int, *, by: str, url: str | None = None) -> DeadLetter:
    """A person has seen it on the platform: it is published, with a person's word as evidence.

    :raises NotFound: there is no such dead letter.
    :raises NotAllowed: nothing was ever sent for it, or it is settled already.
    """
    letter, row = _open(conn, number)
    if doubtful_attempts(conn, row.id) == 0 and row.held_for != "outcome_unknown":
        raise NotAllowed(f"Dead letter {number}: no attempt may have published it, so it cannot be marked as published")
    _settle(conn, row.id)
    out = [*row.parts_out, {"remote_id": None, "url": url}] if row.parts > 1 else []
    whole: dict[str, Any] = {"parts_out": out} if out else {}
    if out and len(out) < row.parts:
        # Without the platform's id of this part there is nothing for the next one to answer.
        _end_partly(conn, row, out, by)
        _record(conn, "marked_published", letter, by)
        return letter
    move(
        conn,
        row.id,
        generation=row.generation,
        source=Status(row.status),
        target=Status.PUBLISHED,
        by=by,
        why="marked by a person",
        resolution="marked_published",
        published_at=func.clock_timestamp(),
        evidence="person",
        remote_url=out[0]["url"] if out else url,
        **whole,
        error_code=None,
        error_message=None,
    )
    _record(conn, "marked_published", letter, by)
    return letter


def discard(conn: Connection, number: int, *, by: str) -> DeadLetter:
    """Lets it be: failed and missed posts stay so, a held one is canceled.

    :raises NotFound: there is no such dead letter.
    :raises NotAllowed: it is settled already, or it says nothing of a try whose outcome is in doubt.
    """
    letter, row = _open(conn, number)
    if row.status == Status.HELD and row.held_for != HeldFor.OUTCOME_UNKNOWN and doubtful_attempts(conn, row.id):
        raise NotAllowed(
            f"Dead letter {number}: {letter.account} may have published this post in an earlier try; look at the"
            f" profile, then use `schedulerx dead-letters mark-published {number} [URL]`, or if it is not there"
            f" `schedulerx posts cancel {row.id}`"
        )
    if row.status == Status.HELD and row.parts_out:
        _end_partly(conn, row, row.parts_out, by)
    elif row.status == Status.HELD:
        move(
            conn,
            row.id,
            generation=row.generation,
            source=Status.HELD,
            target=Status.CANCELED,
            by=by,
            why="discarded",
            resolution="discarded",
        )
    else:
        close_letter(conn, row.id, resolution="discarded", by=by)
    _record(conn, "discarded", letter, by)
    return letter


def _end_partly(conn: Connection, row: Row[Any], out: list[Any], by: str) -> None:
    """Ends a held thread with what is public of it; a person has decided, so no dead letter stays open."""
    told = partly(row.parts, out, "the rest was given up")
    move(
        conn,
        row.id,
        generation=row.generation,
        source=Status.HELD,
        target=Status.FAILED,
        by=by,
        why="the rest was given up",
        parts_out=out,
        **told,
    )
    close_letter(conn, row.id, resolution="discarded", by=by)


def _open(conn: Connection, number: int) -> tuple[DeadLetter, Row[Any]]:
    letter, _ = show(conn, number)
    row = rows_of(conn, letter.scheduled_post_id)[0]
    # Read again under the row's lock: another person may have been first.
    letter, _ = show(conn, number)
    if letter.resolution is not None:
        raise NotAllowed(f"Dead letter {number} is settled already ({letter.resolution}); the post is {row.status}")
    return letter, row


def _record(conn: Connection, deed: str, letter: DeadLetter, by: str) -> None:
    audit.record(
        conn,
        f"dead_letter.{deed}",
        f"post:{letter.post_id}",
        by=by,
        before={"scheduled_post_id": letter.scheduled_post_id, "status": letter.status, "code": letter.code},
    )


def _settle(conn: Connection, scheduled_post_id: int) -> None:
    conn.execute(
        update(attempts)
        .where(
            attempts.c.scheduled_post_id == scheduled_post_id,
            attempts.c.settled.is_(None),
            func.coalesce(attempts.c.outcome, "unknown") == "unknown",
        )
        .values(
            settled="person",
            outcome="unknown",
            finished_at=func.coalesce(attempts.c.finished_at, func.clock_timestamp()),
        )
    )


def _view(row: Row[Any]) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        scheduled_post_id=row.scheduled_post_id,
        post_id=row.post_id,
        account=row.account,
        status=row.status,
        code=row.code,
        message=row.message,
        created_at=row.created_at,
        resolution=row.resolution,
        api_url=row.api_url,
        text=row.text,
        now=row.now,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
    )
