"""Readiness: posts that wait are looked at ahead of their time, and what is wrong is said while it can be mended.

Here are the rows: which posts are to be looked at now, who looks at them, what was found, who is told. The looking
is ``workers.readiness``. A look changes nothing about the post itself: whatever it finds, or however it fails, the
post is claimed and published as if nobody had looked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from db.events import tell
from db.redaction import clean
from db.transitions import sayable
from platforms.base import Violation
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)

EVENT = "post.not_ready"
LEASE_S = 300.0
LATER_S = 120.0
"""When a look that came to no answer is tried again."""
TRIES = 3
"""After so many looks without an answer it is said that there is none."""
BATCH = 200
LOCK = 7_235_322
"""Advisory lock: two workers choose what to look at one after the other."""
LOOKED_AT = (
    "(s.status IN ('scheduled', 'preparing', 'ready') OR (s.status = 'held' AND s.held_for <> 'outcome_unknown'))"
)
"""Posts that have not been called for yet. ``retrying`` comes after the due time."""

# By account, since its index leads to exactly the posts of the next hours, however many wait behind them (OFFSET 0
# keeps the planner from reading the index of all accounts at once). What was looked at with another due time or
# another content does not count.
CLAIM = text(f"""
    WITH found AS (
        SELECT s.id, s.due_at FROM (SELECT clock_timestamp() AS now) t
         CROSS JOIN accounts a
         CROSS JOIN LATERAL (
            SELECT s.id, s.due_at, s.version_id FROM scheduled_posts s
             WHERE s.account_id = a.id AND {LOOKED_AT} AND NOT s.paused
               AND s.due_at > t.now + make_interval(secs => :least)
               AND s.due_at <= t.now + make_interval(secs => :longest)
            OFFSET 0
         ) s
          LEFT JOIN readiness r ON r.scheduled_post_id = s.id
         WHERE a.deleted_at IS NULL
           AND (r.lease_expires_at IS NULL OR r.lease_expires_at <= t.now)
           AND (r.due_at IS DISTINCT FROM s.due_at OR r.version_id IS DISTINCT FROM s.version_id
                OR r.since IS NOT NULL
                OR r.stage < (SELECT count(*) FROM unnest(CAST(:leads AS float8[])) AS l
                               WHERE s.due_at <= t.now + make_interval(secs => l)))
           AND (r.available_at IS NULL OR r.available_at <= t.now
                OR (r.tries = 0 AND (r.due_at <> s.due_at OR r.version_id <> s.version_id)))
         ORDER BY s.due_at, s.id LIMIT :batch
    ), leased AS (
        INSERT INTO readiness (scheduled_post_id, leased_by, lease_expires_at)
        SELECT id, :by, clock_timestamp() + make_interval(secs => :lease) FROM found ORDER BY id
        ON CONFLICT (scheduled_post_id) DO UPDATE
           SET leased_by = excluded.leased_by, lease_expires_at = excluded.lease_expires_at
         WHERE readiness.lease_expires_at IS NULL OR readiness.lease_expires_at <= clock_timestamp()
        RETURNING scheduled_post_id, problems, tries
    )
    SELECT s.id, s.account_id, s.platform, s.due_at, s.version_id, l.problems, l.tries,
           (SELECT count(*) FROM unnest(CAST(:leads AS float8[])) AS lead
             WHERE s.due_at <= clock_timestamp() + make_interval(secs => lead)) AS stage
      FROM leased l JOIN scheduled_posts s ON s.id = l.scheduled_post_id
     ORDER BY s.due_at, s.id
""")  # noqa: S608 - LOOKED_AT is a constant of this module


@dataclass(frozen=True)
class Claimed:
    """A post that is ours to look at, as it was when it was claimed."""

    id: int
    account_id: int
    platform: str
    due_at: datetime
    version_id: int
    stage: int
    """How many of the times to look have come."""
    known: frozenset[str]
    """Codes of what was found before."""
    tries: int


def claim(conn: Connection, settings: Settings, *, by: str) -> list[Claimed]:
    """Leases posts that are to be looked at now, the soonest due first."""
    leads = settings.readiness_leads()
    if not leads:
        return []
    # One at a time, so that no two of them lock the same rows in another order.
    if not conn.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK}).scalar_one():
        return []
    rows = conn.execute(
        CLAIM,
        {
            "leads": leads,
            "longest": leads[0],
            "least": settings.readiness_least_minutes * 60,
            "batch": BATCH,
            "by": by,
            "lease": LEASE_S,
        },
    )
    return [
        Claimed(
            row.id,
            row.account_id,
            row.platform,
            row.due_at,
            row.version_id,
            row.stage,
            frozenset(one["code"] for one in row.problems),
            row.tries,
        )
        for row in rows
    ]


def settle(conn: Connection, settings: Settings, one: Claimed, found: Sequence[Violation], *, by: str) -> bool:
    """Writes what a look has found (nothing: it is ready); whether it was ours to write.

    What is new is told to webhooks in the same transaction, and logged; what was known before is not.
    """
    problems = [
        {
            "code": bad.code,
            "message": sayable(bad.message)[:500],
            "field": bad.field,
            "file": bad.file and clean(bad.file),
        }
        for bad in dict.fromkeys(found)
    ]
    done = conn.execute(
        text("""
            UPDATE readiness SET due_at = :due, version_id = :version, stage = :stage, tries = 0,
                   problems = CAST(:problems AS jsonb),
                   since = CASE WHEN :any THEN coalesce(since, clock_timestamp()) END,
                   checked_at = clock_timestamp(), leased_by = NULL, lease_expires_at = NULL,
                   available_at = clock_timestamp() + make_interval(secs => :pause)
             WHERE scheduled_post_id = :id AND leased_by = :by
        """),
        {
            "id": one.id,
            "by": by,
            "due": one.due_at,
            "version": one.version_id,
            "stage": one.stage,
            "problems": json.dumps(problems),
            "any": bool(problems),
            "pause": settings.readiness_again_minutes * 60 if problems else 0.0,
        },
    ).rowcount
    if done and {bad["code"] for bad in problems} - one.known:
        _tell(conn, one, problems)
    return bool(done)


def _tell(conn: Connection, one: Claimed, problems: list[dict[str, Any]]) -> None:
    row = conn.execute(
        text("""
            SELECT s.post_id, s.status, s.api_url, a.platform || ':' || a.name AS account
              FROM scheduled_posts s JOIN accounts a ON a.id = s.account_id WHERE s.id = :id
        """),
        {"id": one.id},
    ).one()
    tell(
        conn,
        EVENT,
        {
            "scheduled_post_id": one.id,
            "post_id": row.post_id,
            "account": row.account,
            "platform": one.platform,
            "status": row.status,
            "due_at": one.due_at.isoformat(),
            "api_url": row.api_url,
            "problems": problems,
        },
    )
    log.warning(
        "readiness.not_ready",
        scheduled_post_id=one.id,
        account=row.account,
        due_at=one.due_at.isoformat(),
        problems=[f"{bad['code']}: {bad['message']}" for bad in problems],
    )


def postpone(conn: Connection, claimed: Sequence[Claimed], *, by: str) -> None:
    """A look came to no answer: again in a while."""
    conn.execute(
        text("""
            UPDATE readiness SET tries = tries + 1, leased_by = NULL, lease_expires_at = NULL,
                   available_at = clock_timestamp() + make_interval(secs => :later)
             WHERE scheduled_post_id = ANY(:ids) AND leased_by = :by
        """),
        {"ids": [one.id for one in claimed], "by": by, "later": LATER_S},
    )


def release(conn: Connection, claimed: Sequence[Claimed], *, by: str) -> None:
    """Gives back what was claimed and not looked at."""
    conn.execute(
        text("""
            UPDATE readiness SET leased_by = NULL, lease_expires_at = NULL
             WHERE scheduled_post_id = ANY(:ids) AND leased_by = :by
        """),
        {"ids": [one.id for one in claimed], "by": by},
    )


# --- What is wrong now ------------------------------------------------------------------------------------------

OPEN = f"""
    SELECT s.id, s.post_id, s.due_at, a.platform || ':' || a.name AS account, r.problems, r.since,
           s.due_at <= clock_timestamp() + make_interval(secs => :soon) AS soon
      FROM readiness r
      JOIN scheduled_posts s ON s.id = r.scheduled_post_id
      JOIN accounts a ON a.id = s.account_id
     WHERE r.since IS NOT NULL AND {LOOKED_AT} AND NOT s.paused AND s.due_at > clock_timestamp()
       AND r.due_at = s.due_at AND r.version_id = s.version_id
"""  # noqa: S608 - LOOKED_AT is a constant of this module
"""Posts still to come whose last look found something wrong with what they are now."""


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong with one account's posts."""

    account: str
    code: str
    message: str
    posts: tuple[int, ...]
    """Numbers of the posts, the soonest due first."""
    due_at: datetime
    """Of the soonest."""
    soon: bool
    """Whether that one is past the last of the times to look."""


def troubles(conn: Connection, settings: Settings) -> Iterator[Trouble]:
    """What is wrong, together for each account and reason, the soonest due first."""
    leads = settings.readiness_leads() or [0.0]
    rows = conn.execute(text(OPEN + " ORDER BY s.due_at, s.id"), {"soon": leads[-1]}).all()
    found: dict[tuple[str, str], list[tuple[Any, str]]] = {}
    for row in rows:
        for bad in row.problems:
            found.setdefault((row.account, bad["code"]), []).append((row, bad["message"]))
    for (account, code), those in found.items():
        first, message = those[0]
        numbers = tuple(dict.fromkeys(row.post_id for row, _ in those))
        yield Trouble(account, code, message, numbers, first.due_at, any(row.soon for row, _ in those))


def prune(conn: Connection, *, days: int) -> int:
    """Removes what was found about posts that were due more than ``days`` ago; how many."""
    return conn.execute(
        text("""
            DELETE FROM readiness WHERE due_at < clock_timestamp() - make_interval(days => :days)
               AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
        """),
        {"days": days},
    ).rowcount
