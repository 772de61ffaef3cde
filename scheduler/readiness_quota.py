"""Whether a post will find a place in its account's quotas when its time comes: counted in Postgres alone.

What counts at its due time is what was sent in the span before it and what waits to be sent in it, the post itself
included. A quota whose span is shorter than the post's window is no reason to worry: a place comes within the window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from platforms.base import Quota, Violation

FULL = """
    SELECT s.id, q.name, q.n, q.per_s, sent.n + waiting.n AS needed
      FROM unnest(CAST(:ids AS bigint[])) AS wanted(id)
      JOIN scheduled_posts s ON s.id = wanted.id
     CROSS JOIN unnest(CAST(:names AS text[]), CAST(:counts AS int[]), CAST(:spans AS int[]), CAST(:calls AS text[]))
           AS q(name, n, per_s, call)
     CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM publish_attempts t
         WHERE {sent_by} AND t.started_at > s.due_at - make_interval(secs => q.per_s)
           AND coalesce(t.outcome, 'unknown') IN ('accepted', 'unknown') AND t.settled IS DISTINCT FROM 'absent'
           AND q.call IN ('', t.call)
     ) AS sent
     CROSS JOIN LATERAL (
        -- Each part of a thread is a call of its own. Which call that is, only the module knows.
        SELECT coalesce(sum(CASE q.call WHEN '' THEN w.parts - jsonb_array_length(w.parts_out) ELSE (
                   SELECT coalesce(sum(c.n), 0)
                     FROM unnest(CAST(:of_post AS bigint[]), CAST(:by_call AS text[]), CAST(:times AS int[]))
                          AS c(id, call, n)
                    WHERE c.id = w.id AND c.call = q.call) END), 0) AS n
          FROM scheduled_posts w
         WHERE {waiting_for} AND w.finalized_at IS NULL AND NOT w.paused AND (w.due_at, w.id) <= (s.due_at, s.id)
           AND w.due_at > s.due_at - make_interval(secs => q.per_s)
     ) AS waiting
     WHERE q.per_s > extract(epoch FROM s.window_ends_at - s.due_at) AND sent.n + waiting.n > q.n
     ORDER BY s.id, q.name
"""
WAITING = """
    SELECT w.id FROM scheduled_posts w
     CROSS JOIN (SELECT min(due_at) AS first, max(due_at) AS last FROM scheduled_posts WHERE id = ANY(:ids)) AS looked
     WHERE {waiting_for} AND w.finalized_at IS NULL AND NOT w.paused
       AND w.due_at <= looked.last AND w.due_at > looked.first - make_interval(secs => :longest)
     ORDER BY w.due_at, w.id LIMIT :most
"""
BY_ACCOUNT = {"sent_by": "t.account_id = :account", "waiting_for": "w.account_id = :account"}
BY_APP = {
    "sent_by": "t.app = :app",
    "waiting_for": "w.account_id IN (SELECT id FROM accounts WHERE app = :app AND deleted_at IS NULL)",
}
MOST = 1_000
"""Posts that are read for their calls in one look; quotas of single calls are for dozens a day."""

Calls = Callable[[int], Mapping[str, int]]
"""The publishing calls that a post that waits has still to send: name -> how many."""


@dataclass(frozen=True)
class Shortage:
    """A post that will find a quota used up."""

    scheduled_post_id: int
    violation: Violation


def shortages(
    conn: Connection,
    ids: Sequence[int],
    *,
    account_id: int,
    app: str,
    platform: str,
    quotas: Sequence[Quota],
    calls_of: Calls,
) -> list[Shortage]:
    """Which of these posts of one account will find no place, by the platform's declared quotas.

    :param calls_of: asked only where a quota counts one call alone.
    """
    found = []
    for scope, by, who in (("account", BY_ACCOUNT, account_id), ("app", BY_APP, app)):
        chosen = [quota for quota in quotas if quota.scope == scope]
        if not chosen or (scope == "app" and not app):
            continue
        named: list[tuple[int, str, int]] = []
        single = [quota for quota in chosen if quota.call]
        if single:
            longest = max(quota.per_s for quota in single)
            asked = {"ids": list(ids), scope: who, "longest": longest, "most": MOST}
            for number in conn.scalars(text(WAITING.format(**by)), asked).all():
                named += [(number, call, times) for call, times in calls_of(number).items()]
        rows = conn.execute(
            text(FULL.format(**by)),
            {
                "ids": list(ids),
                scope: who,
                "names": [quota.name for quota in chosen],
                "counts": [quota.count for quota in chosen],
                "spans": [quota.per_s for quota in chosen],
                "calls": [quota.call for quota in chosen],
                "of_post": [one[0] for one in named],
                "by_call": [one[1] for one in named],
                "times": [one[2] for one in named],
            },
        )
        for row in rows:
            message = (
                f"with what is scheduled before it, it is number {row.needed} in {row.per_s / 3600:g} hours, and"
                f" {platform} takes {row.n} ({row.name}); it will wait for a place, and may miss its window"
            )
            found.append(Shortage(row.id, Violation("quota_full", message, "account", platform=platform)))
    return found
