"""The audit trail: who did what to which post or account, before and after.

Each entry is written by the transaction that does the thing, so that neither exists without the other, and is
logged as ``audit.*`` as well. Postgres refuses to change entries (a trigger); prune alone removes them, by age.
What workers do by themselves is not in here but in ``transitions``. No entry holds a secret, nor a post's text:
the text's hash tells which version it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, text

from db.models import AuditEntry, table_of
from db.transitions import storable
from scheduler.actor import acting_as as acting_as  # noqa: PLC0414 - audit's callers name who acts by it
from scheduler.actor import actor as actor  # noqa: PLC0414 - as above
from scheduler.logging import logger, scrub

log = logger(__name__)
entries = table_of(AuditEntry)

PRUNE_BATCH = 10_000


@dataclass(frozen=True)
class Entry:
    """One thing that was done. ``at`` in UTC."""

    id: int
    at: datetime
    by: str
    action: str
    subject: str
    before: dict[str, Any]
    after: dict[str, Any]


def record(
    conn: Connection,
    action: str,
    subject: str,
    *,
    by: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Writes an entry within the caller's transaction.

    :param action: thing and deed, such as ``post.canceled``.
    :param subject: what it was done to, such as ``post:12`` or ``account:x:acme``.
    """
    # "person" alone is what callers say who know no name; whoever acts here has one.
    who = actor() if by in {None, "person"} else str(by)
    was, now = _plain(before), _plain(after)
    conn.execute(
        insert(entries).values(by=storable(who), action=action, subject=storable(subject), before=was, after=now)
    )
    event = f"audit.{action}"
    log.info(event, by=who, subject=subject, before=was, after=now)


def listing(conn: Connection, *, subject: str | None = None, action: str | None = None, limit: int = 50) -> list[Entry]:
    """Entries, the newest first."""
    rows = conn.execute(
        text("""
            SELECT id, at, by, action, subject, before, after FROM audit_log
             WHERE (CAST(:subject AS text) IS NULL OR subject = :subject)
               AND (CAST(:action AS text) IS NULL OR action = :action)
             ORDER BY id DESC LIMIT :limit
        """),
        {"subject": subject, "action": action, "limit": limit},
    )
    return [Entry(*row) for row in rows]


def prune(conn: Connection, *, days: int) -> int:
    """Removes entries older than ``days``; how many. The trigger keeps the last week whatever is asked."""
    conn.execute(text("SELECT set_config('schedulerx.audit_prune', 'on', true)"))
    gone = conn.execute(
        text("""
            DELETE FROM audit_log WHERE id IN (
                SELECT id FROM audit_log WHERE at < clock_timestamp() - make_interval(days => :days)
                 ORDER BY id LIMIT :batch)
        """),
        {"days": max(days, 7), "batch": PRUNE_BATCH},
    ).rowcount
    conn.execute(text("SELECT set_config('schedulerx.audit_prune', '', true)"))
    return gone


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = scrub(dict(values or {}))
    return {name: storable(value) if isinstance(value, str) else value for name, value in found.items()}
