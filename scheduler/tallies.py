"""Counters for Prometheus, kept in Postgres: exact, for ever growing, and untouched by restarts and pruning.

History (``transitions`` and what it points at) is the source. ``roll`` adds what is older than ``SETTLED_S`` to
the table ``tallies`` and moves a mark, in one transaction; a scrape reads the tallies and counts only what came
after the mark. So a scrape costs the same after ten million posts, a counter never falls, and history may be
pruned. ``SETTLED_S`` is longer than any transaction of ours (statements end after 30 s): what is to be counted
has committed by then.

Everything here is plain SQL on a psycopg2 connection: the monitor stays small without SQLAlchemy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psycopg2

from scheduler.logging import logger
from scheduler.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logger(__name__)

SETTLED_S = 120
MARK = "history"
LOCK = 7_235_312
"""Advisory lock: one process rolls at a time."""

LATENESS_BOUNDS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600)
"""Upper bounds of the histogram's buckets, seconds. Changing them needs new names: old counts stay as they are."""

COUNTED = """
    WITH t AS MATERIALIZED (
        SELECT scheduled_post_id AS id, generation, from_status, to_status, by, why
          FROM transitions WHERE at > %(since)s AND at <= %(until)s
    ), joined AS MATERIALIZED (
        SELECT t.*, s.platform, s.error_code AS post_code,
               greatest(EXTRACT(EPOCH FROM s.first_sent_at - s.due_at), 0) AS late,
               a.outcome, a.error_code AS attempt_code, coalesce(d.code, '') AS dead_code
          FROM t JOIN scheduled_posts s ON s.id = t.id
          LEFT JOIN publish_attempts a ON t.from_status = 'publishing'
               AND a.scheduled_post_id = t.id AND a.generation = t.generation - 1
          LEFT JOIN dead_letters d ON t.to_status IN ('failed', 'missed', 'held')
               AND d.scheduled_post_id = t.id AND d.generation = t.generation
    )
    SELECT 'posts', jsonb_build_object('platform', platform, 'outcome', to_status, 'reason', dead_code), count(*)
      FROM joined WHERE to_status IN ('published', 'failed', 'missed', 'held', 'canceled') GROUP BY 2
    UNION ALL
    SELECT 'attempts', jsonb_build_object('platform', platform, 'outcome', coalesce(outcome, 'unknown'),
                                          'reason', coalesce(attempt_code, '')), count(*)
      FROM joined WHERE from_status = 'publishing' GROUP BY 2
    UNION ALL
    SELECT 'lateness', jsonb_build_object('platform', platform, 'bucket',
               (SELECT count(*) FROM unnest(CAST(%(bounds)s AS float[])) b WHERE b < late)), count(*)
      FROM joined WHERE to_status = 'published' AND late IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'lateness_sum', jsonb_build_object('platform', platform), sum(late)
      FROM joined WHERE to_status = 'published' AND late IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'reconcile', jsonb_build_object('platform', platform, 'result', CASE
               WHEN by <> 'reconcile' THEN 'late_answer'
               WHEN to_status IN ('published', 'processing') THEN 'found'
               WHEN to_status = 'held' THEN 'undecided' ELSE 'absent' END), count(*)
      FROM joined WHERE from_status = 'unknown' GROUP BY 2
    UNION ALL
    SELECT 'snoozes', jsonb_build_object('platform', platform, 'limit', CASE
               WHEN from_status = 'queued' AND why LIKE '%%: at most %%' THEN split_part(why, ':', 1)
               ELSE 'platform' END), count(*)
      FROM joined
     WHERE (from_status = 'queued' AND to_status IN ('scheduled', 'ready')
            AND (why LIKE '%%: at most %%' OR why LIKE 'the platform asked%%'))
        OR (from_status = 'publishing' AND attempt_code = 'rate_limited')
        OR (from_status = 'preparing' AND to_status = 'scheduled' AND post_code = 'rate_limited')
     GROUP BY 2
    UNION ALL
    SELECT 'rescued', jsonb_build_object('platform', platform, 'from', from_status), count(*)
      FROM joined WHERE by = 'rescue' GROUP BY 2
"""

ADD = """
    INSERT INTO tallies AS t (name, labels, value) VALUES (%s, %s, %s)
    ON CONFLICT (name, labels) DO UPDATE SET value = t.value + excluded.value
"""


def dsn(url: str) -> str:
    """A SQLAlchemy URL as libpq wants it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def connect(settings: Settings, *, statement_s: float = 10.0) -> Any:
    """A psycopg2 connection in autocommit, with deadlines. :raises psycopg2.OperationalError: no answer."""
    made = psycopg2.connect(
        dsn(settings.database()),
        connect_timeout=3,
        application_name="schedulerx-monitor",
        keepalives_idle=15,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=15_000,
        options=f"-c timezone=UTC -c statement_timeout={int(statement_s * 1000)} -c lock_timeout=3000",
    )
    made.autocommit = True
    return made


def roll(settings: Settings) -> int:
    """Moves settled history into the tallies; how many counters grew. Never raises: figures come second.

    Called each minute by a dispatch worker. The first call after an upgrade counts all history there is.
    """
    try:
        conn = connect(settings, statement_s=600)
    except psycopg2.Error as error:
        log.warning("tallies.database", error=type(error).__name__)
        return 0
    try:
        conn.autocommit = False
        with conn, conn.cursor() as cursor:
            return _roll(cursor, settings)
    except psycopg2.Error as error:
        log.warning("tallies.not_rolled", error=type(error).__name__)
        return 0
    finally:
        conn.close()


def _roll(cursor: Any, settings: Settings) -> int:
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,))
    if not cursor.fetchone()[0]:
        return 0
    since = mark(cursor)
    cursor.execute("SELECT CAST(clock_timestamp() - make_interval(secs => %s) AS text)", (SETTLED_S,))
    until = str(cursor.fetchone()[0])
    grew = _count(cursor, since, until)
    for name, labels, value in grew:
        cursor.execute(ADD, (name, json.dumps(labels, sort_keys=True), value))
    cursor.execute(
        "INSERT INTO tally_marks (name, counted_to) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET counted_to = excluded.counted_to",
        (MARK, until),
    )
    declare_quotas(cursor, settings)
    return len(grew)


def mark(cursor: Any) -> str:
    """Up to when history is in the tallies, as text: no digit is lost on the way through Python."""
    cursor.execute(
        "SELECT coalesce((SELECT CAST(counted_to AS text) FROM tally_marks WHERE name = %s), '-infinity')",
        (MARK,),
    )
    return str(cursor.fetchone()[0])


def _count(cursor: Any, since: str, until: str) -> list[tuple[str, dict[str, Any], float]]:
    cursor.execute(COUNTED, {"since": since, "until": until, "bounds": list(LATENESS_BOUNDS)})
    return [(name, labels, float(value)) for name, labels, value in cursor.fetchall()]


def declare_quotas(cursor: Any, settings: Settings) -> None:
    """Writes down what the platform modules declare, so that the monitor need not load them.

    Only of platforms that somebody has an account on: a dispatch worker that loads all modules is 9 MB larger.
    """
    from platforms import registry
    from scheduler.limits import guards

    cursor.execute("DELETE FROM tallies WHERE name = 'quota_limit'")
    cursor.execute("SELECT DISTINCT platform FROM accounts WHERE deleted_at IS NULL")
    used = {platform for (platform,) in cursor.fetchall()}
    for platform in sorted(used & set(registry.names())):
        declared = registry.get(platform).capabilities.quotas
        # ``guards`` are those of an account; an app's are shared by all of its accounts.
        for quota in (*guards(settings, declared), *(one for one in declared if one.scope == "app")):
            labels = {
                "platform": platform,
                "quota": quota.name,
                "per_s": quota.per_s,
                "scope": quota.scope,
                "call": quota.call,
            }
            cursor.execute(ADD, ("quota_limit", json.dumps(labels, sort_keys=True), quota.count))


def totals(cursor: Any) -> dict[str, list[tuple[dict[str, Any], float]]]:
    """Every counter as of now: tallies plus what came after the mark. Call it in a REPEATABLE READ transaction.

    In one snapshot: a roll that commits between the two reads would be counted twice or not at all.
    """
    found: dict[tuple[str, str], tuple[dict[str, Any], float]] = {}
    cursor.execute("SELECT name, labels, value FROM tallies")
    rows = [(name, labels, float(value)) for name, labels, value in cursor.fetchall()]
    for name, labels, value in rows + _count(cursor, mark(cursor), "infinity"):
        key = (name, json.dumps(labels, sort_keys=True))
        found[key] = (labels, value + (found[key][1] if key in found else 0.0))
    by_name: dict[str, list[tuple[dict[str, Any], float]]] = {}
    for (name, _), one in sorted(found.items()):
        by_name.setdefault(name, []).append(one)
    return by_name


def add_task_times(conn: Connection, spent: Mapping[str, tuple[int, float]]) -> None:
    """Adds how often and how long tasks ran, {task: (times, seconds)}; in the caller's transaction."""
    from sqlalchemy import text

    # In the order of names: two workers that add at once must not wait for each other in a circle.
    for task, (count, seconds) in sorted(spent.items()):
        for name, value in (("task_runs", float(count)), ("task_seconds", seconds)):
            conn.execute(
                text("""
                    INSERT INTO tallies AS t (name, labels, value)
                    VALUES (:name, jsonb_build_object('task', CAST(:task AS text)), :value)
                    ON CONFLICT (name, labels) DO UPDATE SET value = t.value + excluded.value
                """),
                {"name": name, "task": task, "value": value},
            )
