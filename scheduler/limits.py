"""What protects an account: declared quotas and the burst guard, counted from attempts in Postgres.

Counted under the account's row lock by the transaction that writes the intent, so that two workers cannot
both take the last place, and a flushed Redis forgets nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from platforms.base import Quota
from scheduler.settings import Settings

BURST_GUARD = "burst_guard"
COUNT = text("""
    SELECT q.name, q.n, q.per_s, count(a.started_at) AS used,
           -- When the oldest of the last n leaves the span, there is a place again.
           (array_agg(a.started_at ORDER BY a.started_at DESC))[q.n] + make_interval(secs => q.per_s) AS free_at
      FROM unnest(CAST(:names AS text[]), CAST(:counts AS int[]), CAST(:spans AS int[]), CAST(:calls AS text[]))
           AS q(name, n, per_s, call)
      LEFT JOIN publish_attempts a
        ON a.account_id = :account AND a.started_at > (SELECT clock_timestamp()) - make_interval(secs => q.per_s)
       AND coalesce(a.outcome, 'unknown') IN ('accepted', 'unknown') AND a.settled IS DISTINCT FROM 'absent'
       -- The platform works on what was only made ready for the call: that has not been sent yet.
       AND (a.outcome = 'accepted' AND a.error_code = 'processing' AND a.sent_at IS NULL) IS NOT TRUE
       AND (a.part = 0 OR q.name <> 'burst_guard')  -- a thread is one post
       AND q.call IN ('', a.call)
     GROUP BY q.name, q.n, q.per_s
    HAVING count(a.started_at) >= q.n
""")


APP_COUNT = text("""
    SELECT q.name, q.n, q.per_s,
           (SELECT a.started_at + make_interval(secs => q.per_s) FROM publish_attempts a
             WHERE a.app = :app AND a.started_at > (SELECT clock_timestamp()) - make_interval(secs => q.per_s)
               AND coalesce(a.outcome, 'unknown') IN ('accepted', 'unknown') AND a.settled IS DISTINCT FROM 'absent'
               AND (a.outcome = 'accepted' AND a.error_code = 'processing' AND a.sent_at IS NULL) IS NOT TRUE
               AND q.call IN ('', a.call)
             ORDER BY a.started_at DESC OFFSET q.n - 1 LIMIT 1) AS free_at
      FROM unnest(CAST(:names AS text[]), CAST(:counts AS int[]), CAST(:spans AS int[]), CAST(:calls AS text[]))
           AS q(name, n, per_s, call)
""")


@dataclass(frozen=True)
class Full:
    """A limit that has no place now. ``until`` in UTC."""

    name: str
    count: int
    per_s: int
    until: datetime

    @property
    def message(self) -> str:
        """In words."""
        free = self.until.isoformat(timespec="seconds")
        return f"{self.name}: at most {self.count} in {self.per_s} s; there is a place again at {free}"


def guards(settings: Settings, quotas: Sequence[Quota]) -> list[Quota]:
    """The platform's quotas for an account, and our burst guard."""
    burst = Quota(BURST_GUARD, settings.burst_count, settings.burst_seconds, source="settings")
    return [burst, *(quota for quota in quotas if quota.scope == "account")]


def app_full(conn: Connection, app: str, quotas: Sequence[Quota]) -> Full | None:
    """The limit of an app, shared by all of its accounts, that is used up; takes the app's lock.

    Accounts whose app is not known count as one app of their platform: rather too careful than blocked.
    """
    shared = [quota for quota in quotas if quota.scope == "app"]
    if not shared:
        return None
    # Two accounts of one app hold different row locks: this one is the app's own, until the transaction ends.
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:app, 0))"), {"app": app})
    rows = conn.execute(
        APP_COUNT,
        {
            "names": [quota.name for quota in shared],
            "counts": [quota.count for quota in shared],
            "spans": [quota.per_s for quota in shared],
            "calls": [quota.call for quota in shared],
            "app": app,
        },
    ).all()
    waits = [Full(row.name, row.n, row.per_s, row.free_at) for row in rows if row.free_at is not None]
    return max(waits, key=lambda one: one.until, default=None)


def full(conn: Connection, account_id: int, quotas: Sequence[Quota]) -> Full | None:
    """The limit that makes this account wait longest, if any. Call it under the account's lock."""
    rows = conn.execute(
        COUNT,
        {
            "names": [quota.name for quota in quotas],
            "counts": [quota.count for quota in quotas],
            "spans": [quota.per_s for quota in quotas],
            "calls": [quota.call for quota in quotas],
            "account": account_id,
        },
    ).all()
    waits = [Full(row.name, row.n, row.per_s, row.free_at) for row in rows]
    return max(waits, key=lambda one: one.until, default=None)
