"""What callers get back: a post with its scheduled posts, as they stand. Also the rows of listings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from db.redaction import clean
from scheduler.errors import NotFound

WORDS = "coalesce(v.options -> (a.platform || ':' || a.name) ->> 'text', v.options -> a.platform ->> 'text', v.text)"
"""SQL: what a version (``v``) says on an account (``a``), in its first part."""
SELECT = f"""
    SELECT s.id, s.post_id, a.platform || ':' || a.name AS account, s.platform, s.status, s.held_for, s.due_at,
           s.available_at, s.window_ends_at, s.media_ready, s.paused, s.generation, s.attempts, s.remote_id,
           s.remote_url AS url, s.published_at, s.evidence, s.error_code, s.error_message, s.cancel_requested,
           s.version_id, s.account_id, s.api_url, s.created_at, s.parts, s.parts_out,
           EXTRACT(EPOCH FROM s.first_sent_at - s.due_at) AS lateness_s,
           CASE WHEN s.finalized_at IS NULL THEN r.problems END AS not_ready,
           {WORDS} AS text,
           s.status IN ('scheduled', 'preparing', 'ready', 'queued', 'retrying')
               AND EXISTS (SELECT 1 FROM switches WHERE name = 'all') AS everything_paused
      FROM scheduled_posts s JOIN accounts a ON a.id = s.account_id JOIN post_versions v ON v.id = s.version_id
      LEFT JOIN readiness r
        ON r.scheduled_post_id = s.id AND r.since IS NOT NULL AND r.due_at = s.due_at AND r.version_id = s.version_id
"""  # noqa: S608 - constants alone


@dataclass(frozen=True)
class ScheduledPost:
    """A post on one account at one time. Times in UTC; ``lateness_s``: request sent minus due, seconds."""

    id: int
    post_id: int
    account: str
    platform: str
    status: str
    held_for: str | None
    due_at: datetime
    window_ends_at: datetime
    lateness_s: float | None
    attempts: int
    remote_id: str | None
    url: str | None
    published_at: datetime | None
    evidence: str | None
    error_code: str | None
    error_message: str | None
    cancel_requested: bool
    media_ready: bool
    paused: bool
    api_url: str | None
    """Not None: made against an override of the platform's address (a sandbox), not the real one."""
    parts: int = 1
    """How many parts it has: more than one for a thread."""
    parts_out: tuple[dict[str, Any], ...] = ()
    """The parts of a thread that are public: ``remote_id`` and ``url`` of each, in order."""
    not_ready: tuple[dict[str, Any], ...] = ()
    """What was found ahead of its time that would keep it from going out: each with ``code``, ``message``, ``field``
    and ``file``."""
    text: str = ""
    """What it says on this account (of a thread: its first part)."""
    everything_paused: bool = False
    """It waits since the stop button for everything is pressed; ``paused`` is its account's own."""

    def as_json(self) -> dict[str, Any]:
        """A row of ``posts list --json``."""
        return {
            "id": self.id,
            "post_id": self.post_id,
            "account": self.account,
            "platform": self.platform,
            "status": self.status,
            "held_for": self.held_for,
            "due_at": self.due_at.isoformat(),
            "window_ends_at": self.window_ends_at.isoformat(),
            "lateness_s": self.lateness_s,
            "attempts": self.attempts,
            "remote_id": self.remote_id,
            "url": self.url,
            "published_at": self.published_at.isoformat() if self.published_at else None,
            "evidence": self.evidence,
            "error_code": self.error_code,
            "error_message": self.error_message,
            "cancel_requested": self.cancel_requested,
            "media_ready": self.media_ready,
            "paused": self.paused or self.everything_paused,
            "everything_paused": self.everything_paused,
            "test_api_url": self.api_url,
            "parts": self.parts,
            "parts_out": list(self.parts_out),
            "not_ready": list(self.not_ready),
            # A list ends up in tickets and logs, so what looks like a secret is left out; the post itself has it.
            "text": clean(self.text),
        }


@dataclass(frozen=True)
class Post:
    """A post and where it goes."""

    id: int
    text: str
    scheduled: tuple[ScheduledPost, ...]
    correlation_id: str = ""
    thread: tuple[str, ...] = ()
    """The texts of the parts after the first."""
    repeated: bool = field(default=False, compare=False)
    """``schedule()`` was given a key that was used before: this is the post of that call, no new one."""

    @property
    def status(self) -> str:
        """One word for all: the status they share, or ``mixed``."""
        words = {one.status for one in self.scheduled}
        return words.pop() if len(words) == 1 else "mixed"

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "id": self.id,
            "text": self.text,
            "thread": list(self.thread),
            "status": self.status,
            "correlation_id": self.correlation_id,
            "scheduled": [one.as_json() for one in self.scheduled],
        }


def number_of(post: Post | int) -> int:
    """The number of a post that was given itself or by its number. :raises NotFound: it is neither."""
    number: object = post.id if isinstance(post, Post) else post
    if not isinstance(number, int):
        raise NotFound(f"{number!r} is not the number of a post; see: schedulerx posts list")
    return number


def view(row: Row[Any]) -> ScheduledPost:
    """A row of ``SELECT`` as callers see it."""
    return ScheduledPost(
        id=row.id,
        post_id=row.post_id,
        account=row.account,
        platform=row.platform,
        status=row.status,
        held_for=row.held_for,
        due_at=row.due_at,
        window_ends_at=row.window_ends_at,
        lateness_s=None if row.lateness_s is None else round(float(row.lateness_s), 3),
        attempts=row.attempts,
        remote_id=row.remote_id,
        url=row.url,
        published_at=row.published_at,
        evidence=row.evidence,
        error_code=row.error_code,
        error_message=row.error_message,
        cancel_requested=row.cancel_requested,
        media_ready=row.media_ready,
        paused=row.paused,
        api_url=row.api_url,
        parts=row.parts,
        parts_out=tuple(row.parts_out),
        not_ready=tuple(row.not_ready or ()),
        text=row.text,
        everything_paused=row.everything_paused,
    )


def load(conn: Connection, number: int) -> Post:
    """The post of that id, or that a scheduled post of that id belongs to. :raises NotFound: neither exists."""
    found = conn.execute(
        text("""
            SELECT p.id, p.correlation_id, v.text, v.options -> 'post' -> 'thread' AS thread FROM posts p
              JOIN LATERAL (
                SELECT text, options FROM post_versions WHERE post_id = p.id ORDER BY number DESC LIMIT 1) v ON true
             WHERE p.id = :n OR p.id = (SELECT post_id FROM scheduled_posts WHERE id = :n)
        """),
        {"n": number},
    ).one_or_none()
    if found is None:
        raise NotFound(f"There is no post {number}; see: schedulerx posts list")
    rows = conn.execute(text(SELECT + " WHERE s.post_id = :id ORDER BY s.id"), {"id": found.id})
    thread = tuple(part if isinstance(part, str) else str(part["text"]) for part in found.thread or ())
    return Post(found.id, found.text, tuple(view(row) for row in rows), found.correlation_id, thread)


def listing(
    conn: Connection,
    *,
    limit: int = 50,
    statuses: Sequence[str] = (),
    account: str | None = None,
    before: int | None = None,
) -> list[ScheduledPost]:
    """Scheduled posts, the latest due first."""
    where = ["true"]
    values: dict[str, Any] = {"limit": limit}
    if statuses:
        where.append("s.status = ANY(:statuses)")
        values["statuses"] = list(statuses)
    if account:
        where.append("a.platform || ':' || a.name = :account")
        values["account"] = account
    if before is not None:
        where.append("s.id < :before")
        values["before"] = before
    query = f"{SELECT} WHERE {' AND '.join(where)} ORDER BY s.due_at DESC, s.id DESC LIMIT :limit"
    return [view(row) for row in conn.execute(text(query), values)]
