"""What a person should be told of: rules over committed rows, looked at each minute.

Nothing here waits for an event that could be lost: a rule says what is the matter now. A matter is known by
its rule and its subject; its ``mark`` grows when it gets worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from platforms import registry
from platforms.errors import UnknownPlatform
from scheduler import readiness
from scheduler.dead_letters import OTHERWISE, PLAIN
from scheduler.settings import Settings

WARNING, CRITICAL = "warning", "critical"
SHOWN = 1000
"""Due posts are counted up to here."""


@dataclass(frozen=True)
class Matter:
    """Something that is the matter."""

    rule: str
    subject: str
    severity: str
    message: str
    mark: int = 0


def matters(conn: Connection, settings: Settings) -> list[Matter]:
    """Everything that is the matter now."""
    return [
        *dead_letters(conn),
        *growing(conn, settings),
        *reconnects(conn),
        *not_ready(conn, settings),
        *quotas(conn, settings),
        *late(conn, settings),
        *success(conn, settings),
        *webhooks(conn),
    ]


def dead_letters(conn: Connection) -> Iterator[Matter]:
    """Posts that failed, were missed, or are held, together for each account and reason."""
    rows = conn.execute(
        text("""
            SELECT d.status, d.code, a.platform || ':' || a.name AS account, count(*) AS many, max(d.id) AS newest,
                   bool_or(d.operator) AS operator,
                   (array_agg(d.message ORDER BY d.id DESC))[1] AS message,
                   (array_agg(s.post_id ORDER BY d.id DESC))[1:5] AS posts
              FROM dead_letters d
              JOIN scheduled_posts s ON s.id = d.scheduled_post_id
              JOIN accounts a ON a.id = s.account_id
             WHERE d.resolved_at IS NULL
               -- The account itself is told of (reconnects), and an approval is nobody's failure.
               AND NOT (d.status = 'held' AND d.code IN ('reconnect', 'approval'))
             GROUP BY d.status, d.code, account ORDER BY newest
        """)
    )
    for row in rows:
        unknown = row.code == "outcome_unknown"
        what, todo = PLAIN.get(row.code, OTHERWISE)
        rule = "post_unknown" if unknown else f"post_{row.status}"
        numbers = ", ".join(map(str, row.posts)) + (" ..." if row.many > len(row.posts) else "")
        if row.operator:
            todo += ". Until then no post of this account can go out"
        yield Matter(
            rule,
            f"{row.account} {row.code}",
            CRITICAL if unknown or row.operator else WARNING,
            f"{row.account}: {row.many} {'post is' if row.many == 1 else 'posts are'} {row.status}"
            f" ({row.code}: {what}; post {numbers}). {row.message[:300]} To do: {todo}.",
            mark=row.newest,
        )


def growing(conn: Connection, settings: Settings) -> Iterator[Matter]:
    """More dead letters in an hour than a person can look at."""
    row = conn.execute(
        text("""
            SELECT count(*) AS new, (SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL) AS open
              FROM dead_letters WHERE resolved_at IS NULL AND created_at > clock_timestamp() - interval '1 hour'
        """)
    ).one()
    if row.new >= settings.alert_dead_letters_per_hour:
        yield Matter(
            "dead_letters_growing",
            "all",
            CRITICAL,
            f"{row.new} new dead letters within an hour, {row.open} are open. Look for one cause: schedulerx"
            " dead-letters list; when it is mended: schedulerx dead-letters replay --all.",
        )


def reconnects(conn: Connection) -> Iterator[Matter]:
    """Accounts that the platform no longer lets us use."""
    rows = conn.execute(
        text("""
            SELECT a.id, a.platform || ':' || a.name AS account, a.state_reason, a.token_version,
                   (SELECT count(*) FROM scheduled_posts s
                     WHERE s.account_id = a.id AND s.finalized_at IS NULL) AS posts
              FROM accounts a WHERE a.deleted_at IS NULL AND a.state = 'needs_reconnect' ORDER BY account
        """)
    )
    for row in rows:
        platform, name = row.account.split(":", 1)
        yield Matter(
            "account_reconnect",
            row.account,
            CRITICAL,
            f"{row.account} has to be connected again ({row.state_reason or 'no reason given'}); {row.posts} posts wait"
            f" for it. To do: schedulerx accounts add {platform} {name}.",
            mark=row.token_version,
        )


def not_ready(conn: Connection, settings: Settings) -> Iterator[Matter]:
    """Posts that would not go out as things are, found ahead of their time; together for each account and reason."""
    for one in readiness.troubles(conn, settings):
        if one.code == "reconnect":
            continue  # the account itself is told of
        many = len(one.posts)
        numbers = ", ".join(map(str, one.posts[:5])) + (" ..." if many > 5 else "")
        yield Matter(
            "post_not_ready",
            f"{one.account} {one.code}",
            CRITICAL if one.soon else WARNING,
            f"{one.account}: {many} {'post' if many == 1 else 'posts'} would not go out ({one.code}; post {numbers},"
            f" the first is due at {one.due_at:%Y-%m-%d %H:%M} UTC). {one.message[:300]} To do: mend it by then; it is"
            f" looked at again every {settings.readiness_again_minutes:g} minutes.",
            # Told once when it is found, and once more when the first of them is due soon.
            mark=2 if one.soon else 1,
        )


def quotas(conn: Connection, settings: Settings) -> Iterator[Matter]:
    """Accounts that have nearly used what their platform allows them."""
    names = conn.execute(text("SELECT DISTINCT platform FROM accounts WHERE deleted_at IS NULL")).scalars().all()
    for platform in sorted(names):
        try:
            declared = [one for one in registry.get(platform).capabilities.quotas if one.scope == "account"]
        except UnknownPlatform:
            continue
        for quota in declared:
            least = max(1, round(quota.count * settings.alert_quota_percent / 100))
            rows = conn.execute(
                text("""
                    SELECT a.platform || ':' || a.name AS account, count(*) AS used
                      FROM publish_attempts t JOIN accounts a ON a.id = t.account_id
                     WHERE a.platform = :platform AND a.deleted_at IS NULL
                       AND t.started_at > clock_timestamp() - make_interval(secs => :span)
                       AND coalesce(t.outcome, 'unknown') IN ('accepted', 'unknown')
                       AND t.settled IS DISTINCT FROM 'absent' AND CAST(:call AS text) IN ('', t.call)
                     GROUP BY account HAVING count(*) >= :least ORDER BY account
                """),
                {"platform": platform, "span": quota.per_s, "least": least, "call": quota.call},
            )
            for row in rows:
                yield Matter(
                    "quota",
                    f"{row.account} {quota.name}",
                    WARNING,
                    f"{row.account} has used {row.used} of {quota.count} posts in {_span(quota.per_s)} ({quota.name});"
                    " what is above it waits until there is a place again.",
                )


def late(conn: Connection, settings: Settings) -> Iterator[Matter]:
    """Posts that are due and do not go out, though nothing is paused."""
    if conn.execute(text("SELECT count(*) FROM switches WHERE name = 'all'")).scalar_one():
        return
    found: list[Any] = []
    for platform in conn.execute(text("SELECT DISTINCT platform FROM accounts")).scalars().all():
        # The indexes of the claims serve these, so that ten million future posts cost nothing.
        found += conn.execute(LATE, {"platform": platform, "late": settings.alert_due_seconds, "limit": SHOWN}).all()
    found += conn.execute(LATE_MEDIA, {"late": settings.alert_due_seconds, "limit": SHOWN}).all()
    if found:
        oldest = max(row.age for row in found)
        many = f"{len(found)}" if len(found) < SHOWN else f"more than {SHOWN}"
        waiting = sum(not row.media_ready for row in found)
        yield Matter(
            "due_not_going_out",
            "all",
            CRITICAL,
            f"{many} due posts do not go out; the oldest is {_span(int(oldest))} over its time"
            f"{f'; {waiting} of them wait for their media' if waiting else ''}. To do: schedulerx health.",
        )


LATE = text("""
    SELECT extract(epoch FROM clock_timestamp() - available_at) AS age, media_ready FROM scheduled_posts
     WHERE platform = :platform AND media_ready AND NOT paused
       AND ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))
       AND available_at < (SELECT clock_timestamp()) - make_interval(secs => :late)
     ORDER BY available_at LIMIT :limit
""")
LATE_MEDIA = text("""
    SELECT extract(epoch FROM clock_timestamp() - due_at) AS age, media_ready FROM scheduled_posts
     WHERE NOT media_ready AND status = 'scheduled' AND NOT paused
       AND due_at < (SELECT clock_timestamp()) - make_interval(secs => :late)
     LIMIT :limit
""")


def success(conn: Connection, settings: Settings) -> Iterator[Matter]:
    """Fewer posts of the last hour came out than should."""
    rows = conn.execute(
        text("""
            SELECT s.platform, count(*) AS ended, count(*) FILTER (WHERE t.to_status = 'published') AS good
              FROM transitions t JOIN scheduled_posts s ON s.id = t.scheduled_post_id
             WHERE t.at > clock_timestamp() - interval '1 hour' AND t.to_status IN ('published', 'failed', 'missed')
             GROUP BY s.platform HAVING count(*) >= :least ORDER BY s.platform
        """),
        {"least": settings.alert_success_minimum},
    )
    for row in rows:
        rate = 100 * row.good / row.ended
        if rate < settings.alert_success_percent:
            yield Matter(
                "success_rate",
                row.platform,
                CRITICAL,
                f"{row.platform}: {row.good} of {row.ended} posts of the last hour were published ({rate:.0f} %)."
                " To do: schedulerx report --since 1h.",
            )


def webhooks(conn: Connection) -> Iterator[Matter]:
    """Receivers that have refused everything for an hour."""
    rows: Any = conn.execute(
        text("""
            SELECT id, origin, last_error FROM webhooks
             WHERE removed_at IS NULL AND failing_since < clock_timestamp() - interval '1 hour' ORDER BY id
        """)
    )
    for row in rows:
        yield Matter(
            "webhook_failing",
            f"webhook {row.id}",
            WARNING,
            f"The webhook {row.id} ({row.origin}) has taken nothing for an hour ({row.last_error}). When it is mended:"
            f" schedulerx webhooks replay {row.id}.",
        )


def _span(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds} s"
