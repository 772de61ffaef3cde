"""Claims: what takes work from the tables, as named SQL.

Each claim locks a few rows (SKIP LOCKED, so that any number of dispatchers share the work), changes them in
the same transaction, and returns what a hint needs. ``(SELECT clock_timestamp())`` is deliberate: evaluated
once, so that the index can be used; clock_timestamp() alone is volatile and would scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

CLOCK = "(SELECT clock_timestamp())"

HINT_LOST = "hint_lost"
"""What a row says whose queued lease ran out: its hint was lost, or whoever took it died before the intent."""

DISPATCH_CANDIDATES = text(f"""
    SELECT s.id, s.generation, s.status, s.account_id, s.claims,
           s.window_ends_at <= {CLOCK} AS over,
           s.checkpoint_expires_at IS NOT NULL AND s.checkpoint_expires_at <= {CLOCK} AS stale_checkpoint,
           coalesce((s.checkpoint ->> '_prepared') = 'true', false) AS prepared, s.needs_prepare,
           coalesce(s.error_code = '{HINT_LOST}', false) AS lost_before
      FROM scheduled_posts s
     WHERE s.media_ready AND NOT s.paused
       AND ((s.status = 'scheduled' AND NOT s.needs_prepare) OR s.status IN ('ready', 'retrying'))
       AND s.platform = :platform AND s.available_at <= {CLOCK}
     ORDER BY s.available_at, s.id
     LIMIT :batch
       FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - CLOCK and HINT_LOST are constants of this module

PREPARE_CANDIDATES = text(f"""
    SELECT s.id, s.generation, s.status, s.account_id, s.claims,
           s.window_ends_at <= {CLOCK} AS over, false AS stale_checkpoint, false AS prepared, s.needs_prepare,
           false AS lost_before
      FROM scheduled_posts s
     WHERE s.media_ready AND NOT s.paused AND s.status = 'scheduled' AND s.needs_prepare
       AND s.platform = :platform AND s.available_at <= {CLOCK}
     ORDER BY s.available_at, s.id
     LIMIT :batch
       FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - CLOCK is a constant of this module

ACCOUNT_FACTS = text(f"""
    SELECT id, state, paused_at IS NOT NULL AS paused, deleted_at IS NOT NULL AS deleted,
           CASE WHEN limited_until > {CLOCK} THEN limited_until END AS limited_until
      FROM accounts WHERE id = ANY(:ids)
""")  # noqa: S608 - CLOCK is a constant of this module

TAKE = text("""
    WITH taken AS (
        UPDATE scheduled_posts s
           SET status = :target, generation = s.generation + 1, leased_by = :by, updated_at = clock_timestamp(),
               lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s)
          FROM unnest(CAST(:ids AS bigint[]), CAST(:generations AS bigint[]), CAST(:sources AS text[]))
               AS c(id, generation, source)
         WHERE s.id = c.id AND s.generation = c.generation AND s.status = c.source
        RETURNING s.id, s.generation, s.account_id, c.source
    ), logged AS (
        INSERT INTO transitions (scheduled_post_id, generation, from_status, to_status, by, why)
        SELECT id, generation, source, :target, :by, :why FROM taken
    )
    SELECT id, generation FROM taken ORDER BY array_position(CAST(:ids AS bigint[]), id)
""")

MOVE_TO = text("""
    UPDATE scheduled_posts s
       -- A microsecond apart, so that they stay in due order: the claim goes by available_at, then by id.
       SET available_at = :until + c.place * interval '1 microsecond', updated_at = clock_timestamp(),
           error_code = :code, error_message = :message
      FROM (SELECT id, row_number() OVER (ORDER BY due_at, id) AS place FROM (
                SELECT id, due_at FROM scheduled_posts
                 WHERE account_id = :account_id AND status IN ('scheduled', 'ready', 'retrying')
                   AND media_ready AND NOT paused AND available_at < :until
                 FOR UPDATE SKIP LOCKED) AS free) AS c
     WHERE s.id = c.id
""")

FOLLOW = text(f"""
    UPDATE scheduled_posts s
       SET available_at = clock_timestamp() + make_interval(secs => :lease_s)
      FROM (SELECT id FROM scheduled_posts
             WHERE status IN ('processing', 'unknown') AND available_at <= {CLOCK}
             ORDER BY available_at, id LIMIT :batch FOR UPDATE SKIP LOCKED) AS c
     WHERE s.id = c.id
    RETURNING s.id, s.generation, s.status
""")  # noqa: S608 - CLOCK is a constant of this module

EXPIRED_LEASES = text(f"""
    SELECT id, generation, status, claims, leased_by, needs_prepare, attempts, checkpoint_expires_at,
           (checkpoint ->> '_prepared') = 'true'
               AND (checkpoint_expires_at IS NULL OR checkpoint_expires_at > {CLOCK}) AS prepared
      FROM scheduled_posts
     WHERE lease_expires_at IS NOT NULL AND lease_expires_at <= {CLOCK}
     ORDER BY lease_expires_at LIMIT :batch FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - CLOCK is a constant of this module

OVERDUE = text(f"""
    SELECT id, generation, status, held_for, due_at, window_ends_at, error_message
      FROM scheduled_posts
     WHERE (status IN ('scheduled', 'preparing', 'ready', 'queued', 'retrying')
            OR (status = 'held' AND held_for <> 'outcome_unknown'))
       AND window_ends_at <= {CLOCK}
     ORDER BY window_ends_at, id LIMIT :batch FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - CLOCK is a constant of this module

IN_HAND = text("""
    SELECT platform, count(*) AS n, count(*) FILTER (WHERE status = 'preparing') AS preparing FROM scheduled_posts
     WHERE lease_expires_at IS NOT NULL GROUP BY platform
""")

LIVE_PLATFORMS = text("SELECT DISTINCT platform FROM accounts WHERE deleted_at IS NULL LIMIT 2")

UNPAUSE = text("""
    UPDATE scheduled_posts s SET paused = false, updated_at = clock_timestamp()
      -- By account, and not by post: those of an account that is paused may be many, and are not looked at.
      FROM (SELECT p.id FROM accounts a CROSS JOIN LATERAL (
                SELECT id FROM scheduled_posts
                 WHERE paused AND account_id = a.id LIMIT :batch FOR UPDATE SKIP LOCKED) AS p
             WHERE a.paused_at IS NULL LIMIT :batch) AS c
     WHERE s.id = c.id
""")

HELD_FOR_NOTHING = text("""
    SELECT DISTINCT p.account_id FROM scheduled_posts p JOIN accounts a ON a.id = p.account_id
     WHERE p.status = 'held' AND p.held_for = 'reconnect' AND a.state = 'active' AND a.deleted_at IS NULL
""")

NEXT_WAITING = text(f"""
    SELECT EXTRACT(EPOCH FROM min(t) - {CLOCK}) FROM unnest(ARRAY[
        (SELECT min(available_at) FROM scheduled_posts
          WHERE media_ready AND NOT paused AND platform = :platform
            AND ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))),
        (SELECT min(available_at) FROM scheduled_posts
          WHERE media_ready AND NOT paused AND platform = :platform AND status = 'scheduled' AND needs_prepare)
    ]) AS t
""")  # noqa: S608 - CLOCK is a constant of this module


@dataclass(frozen=True)
class Claimed:
    """What a hint carries."""

    id: int
    generation: int
    lost_before: bool = False
    """Its last hint came to nothing: whoever takes this one shall count it before doing anything else."""


def candidates(conn: Connection, *, platform: str, prepare: bool, batch: int) -> Sequence[Row[Any]]:
    """Locks up to ``batch`` waiting rows of a platform whose time has come, in due order."""
    query = PREPARE_CANDIDATES if prepare else DISPATCH_CANDIDATES
    return conn.execute(query, {"platform": platform, "batch": batch}).all()


def take(
    conn: Connection, rows: Sequence[Row[Any]], *, target: str, by: str, lease_s: float, why: str
) -> list[Claimed]:
    """Leases the given (locked) rows into ``target``; what was leased, in the order of ``rows``."""
    if not rows:
        return []
    taken = conn.execute(
        TAKE,
        {
            "ids": [row.id for row in rows],
            "generations": [row.generation for row in rows],
            "sources": [row.status for row in rows],
            "target": target,
            "by": by,
            "lease_s": lease_s,
            "why": why,
        },
    )
    lost = {row.id for row in rows if row.lost_before}
    return [Claimed(row.id, row.generation, row.id in lost) for row in taken]


def account_facts(conn: Connection, ids: Sequence[int]) -> dict[int, Row[Any]]:
    """State, pause and limit of these accounts, by id."""
    return {row.id: row for row in conn.execute(ACCOUNT_FACTS, {"ids": list(ids)})} if ids else {}


def move_account(conn: Connection, account_id: int, *, until: Any, code: str, message: str) -> int:
    """Moves everything an account has waiting to ``until``: what cannot go is moved, not filtered; how many."""
    return conn.execute(
        MOVE_TO, {"account_id": account_id, "until": until, "code": code, "message": message[:2000]}
    ).rowcount


def follow(conn: Connection, *, batch: int, lease_s: float) -> Sequence[Row[Any]]:
    """Posts that are processing or unknown and whose next look has come; each is looked at again after ``lease_s``."""
    return conn.execute(FOLLOW, {"batch": batch, "lease_s": lease_s}).all()


def expired_leases(conn: Connection, *, batch: int) -> Sequence[Row[Any]]:
    """Locks rows whose lease is over: their worker died, sleeps, or never got the hint."""
    return conn.execute(EXPIRED_LEASES, {"batch": batch}).all()


def overdue(conn: Connection, *, batch: int) -> Sequence[Row[Any]]:
    """Locks rows whose window is over and that have not gone out."""
    return conn.execute(OVERDUE, {"batch": batch}).all()


@dataclass(frozen=True)
class InHand:
    """How many posts of a platform the publish workers have: hinted, being prepared, being sent."""

    total: int = 0
    preparing: int = 0


def in_hand(conn: Connection) -> dict[str, InHand]:
    """What the publish workers have in hand, by platform."""
    return {row.platform: InHand(row.n, row.preparing) for row in conn.execute(IN_HAND)}


def one_platform(conn: Connection) -> bool:
    """Whether all accounts that there are belong to one platform."""
    return len(conn.execute(LIVE_PLATFORMS).all()) == 1


def unpause(conn: Connection, *, batch: int) -> int:
    """Posts that say "paused" of an account that is not, any more: they were written, or looked at, by a transaction
    that had read the account before it was resumed; how many.
    """
    return conn.execute(UNPAUSE, {"batch": batch}).rowcount


def held_for_nothing(conn: Connection) -> Sequence[int]:
    """Accounts that are well and have posts held for a reconnect, by whom had read the account before."""
    return conn.scalars(HELD_FOR_NOTHING).all()


def seconds_to_next(conn: Connection, platform: str) -> float | None:
    """Seconds until a waiting row's time comes (negative: it has come); None: nothing waits."""
    found = conn.execute(NEXT_WAITING, {"platform": platform}).scalar_one()
    return None if found is None else float(found)


MEDIA_WORK = {
    "media_assets": "'pending'",
    "renditions": "'pending', 'rendered'",
}


def media_work(conn: Connection, table: str, *, batch: int, lease_s: float) -> Sequence[Row[Any]]:
    """Files to fetch (``media_assets``) or to make and upload (``renditions``), leased for ``lease_s`` seconds.

    An asset that ``schedule()`` is storing right now holds a lease of its own and is left alone.
    """
    spool = "w.spool" if table == "renditions" else "NULL"
    source = "w.source_url IS NOT NULL" if table == "media_assets" else "true"
    query = f"""
        UPDATE {table} w
           SET available_at = clock_timestamp() + make_interval(secs => :lease_s), generation = w.generation + 1
          FROM (SELECT id FROM {table} w
                 WHERE state IN ({MEDIA_WORK[table]}) AND available_at <= {CLOCK} AND {source}
                 ORDER BY available_at, id LIMIT :batch FOR UPDATE SKIP LOCKED) AS c
         WHERE w.id = c.id
        RETURNING w.id, w.generation, w.state, {spool} AS spool
    """  # noqa: S608 - all parts are constants of this module
    return conn.execute(text(query), {"batch": batch, "lease_s": lease_s}).all()
