"""Alerts: what is the matter is opened once, told together, told again when it gets worse, and told when over.

Two steps, both in Postgres, so that a crash between them loses nothing: ``watch`` compares the rules with the
open alerts and writes messages, one for each channel; ``claim`` leases a message to whoever sends it. A channel
that is down keeps its own messages waiting, for a day at most, and touches nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from db.events import tell
from db.session import transaction
from db.transitions import storable
from scheduler.alert_rules import Matter, matters
from scheduler.logging import logger, scrub
from scheduler.retry_policy import RetryPolicy
from scheduler.settings import Settings

log = logger(__name__)

PAUSES = RetryPolicy(base_s=30.0, max_s=3600.0, max_attempts=1_000_000)
LONGEST_S = 24 * 3600.0
"""A message that no channel took for so long is old news."""
LINES = 20
"""Of one message; the rest is counted."""
LEASE_S = 180.0
LOCK = 7_235_321
"""Advisory lock: one watch at a time, and one claim."""


@dataclass(frozen=True)
class AlertView:
    """An alert as listings show it. Times in UTC."""

    id: int
    rule: str
    subject: str
    severity: str
    message: str
    opened_at: datetime
    closed_at: datetime | None
    told_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Message:
    """A message for one channel."""

    id: int
    channel: str
    title: str
    body: str
    attempts: int
    age_s: float


def channel_names(settings: Settings) -> list[str]:
    """The channels by place and scheme, such as ``1 mailto``: all that may be said of their URLs."""
    return [f"{place} {_scheme(url)}" for place, url in enumerate(settings.channels(), 1)]


def channel_url(settings: Settings, name: str) -> str | None:
    """The URL of a channel; None: it was taken out of the settings meanwhile."""
    return dict(zip(channel_names(settings), settings.channels(), strict=True)).get(name)


def _scheme(url: str) -> str:
    found = re.match(r"([a-z][a-z0-9+-]*)://", url.lower())
    return found[1] if found else "?"


# --- Watch --------------------------------------------------------------------------------------------------


def watch(conn: Connection, settings: Settings) -> dict[str, int]:
    """One look: opens, closes, and writes what is to be told; how many of each."""
    if not conn.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK}).scalar_one():
        return {"opened": 0, "closed": 0, "messages": 0}
    found = {(one.rule, one.subject): one for one in matters(conn, settings)}
    known = {
        (row.rule, row.subject): row
        for row in conn.execute(text("SELECT id, rule, subject FROM alerts WHERE closed_at IS NULL FOR UPDATE"))
    }
    opened = 0
    for key, matter in found.items():
        if key in known:
            _seen(conn, known[key].id, matter)
        else:
            _open(conn, matter)
            opened += 1
    closed = _close(conn, settings, [row.id for key, row in known.items() if key not in found])
    done = {"opened": opened, "closed": closed, "messages": compose(conn, settings)}
    if any(done.values()):
        log.info("alerts.watched", **done)
    return done


def _open(conn: Connection, matter: Matter) -> None:
    message = _words(matter.message)
    conn.execute(
        text("""
            INSERT INTO alerts (rule, subject, severity, message, mark)
            VALUES (:rule, :subject, :severity, :message, :mark)
        """),
        {
            "rule": matter.rule,
            "subject": matter.subject,
            "severity": matter.severity,
            "message": message,
            "mark": matter.mark,
        },
    )
    told = {"rule": matter.rule, "subject": matter.subject, "severity": matter.severity, "message": message}
    tell(conn, "alert.opened", told)


def _seen(conn: Connection, number: int, matter: Matter) -> None:
    conn.execute(
        text("""
            UPDATE alerts SET message = :message, mark = greatest(mark, :mark), gone_at = NULL, severity = :severity
             WHERE id = :id AND (message <> :message OR mark < :mark OR gone_at IS NOT NULL OR severity <> :severity)
        """),
        {"id": number, "message": _words(matter.message), "mark": matter.mark, "severity": matter.severity},
    )


def _close(conn: Connection, settings: Settings, ids: Sequence[int]) -> int:
    """Marks what is not seen any more, and closes what has not been seen for a while."""
    conn.execute(
        text("UPDATE alerts SET gone_at = clock_timestamp() WHERE id = ANY(:ids) AND gone_at IS NULL"),
        {"ids": list(ids)},
    )
    rows = conn.execute(
        text("""
            UPDATE alerts SET closed_at = clock_timestamp()
             WHERE id = ANY(:ids) AND gone_at <= clock_timestamp() - make_interval(secs => :quiet)
            RETURNING rule, subject, severity, message
        """),
        {"ids": list(ids), "quiet": settings.alert_recovery_seconds},
    ).all()
    for row in rows:
        tell(conn, "alert.closed", dict(row._mapping))
    return len(rows)


def compose(conn: Connection, settings: Settings) -> int:
    """Writes one message, for each channel, of everything that is to be told now; how many.

    Told are: what is new, what got worse, what is over (if its beginning was told), and each day what is not.
    """
    channels = channel_names(settings)
    if not channels:
        return 0
    rows = conn.execute(
        text("""
            SELECT *, closed_at IS NOT NULL AS over,
                   told_at IS NOT NULL AND (told_mark >= mark OR mark = 0) AS reminder
              FROM alerts
             WHERE (closed_at IS NULL AND gone_at IS NULL
                    AND (told_at IS NULL OR mark > told_mark
                         OR told_at < clock_timestamp() - make_interval(secs => :remind)))
                OR (closed_at IS NOT NULL AND told_at IS NOT NULL AND end_told_at IS NULL)
             ORDER BY over, severity, opened_at, id
        """),
        {"remind": settings.alert_remind_hours * 3600},
    ).all()
    if not rows or _too_soon(conn, settings):
        return 0
    title, body = words(rows)
    for channel in channels:
        conn.execute(
            text("INSERT INTO alert_messages (channel, title, body) VALUES (:channel, :title, :body)"),
            {"channel": channel, "title": title, "body": body},
        )
    conn.execute(
        text("""
            UPDATE alerts SET told_at = CASE WHEN closed_at IS NULL THEN clock_timestamp() ELSE told_at END,
                   told_mark = mark, end_told_at = CASE WHEN closed_at IS NOT NULL THEN clock_timestamp() END
             WHERE id = ANY(:ids)
        """),
        {"ids": [row.id for row in rows]},
    )
    return len(channels)


def _too_soon(conn: Connection, settings: Settings) -> bool:
    return bool(
        conn.execute(
            text("""
                SELECT count(*) FROM (SELECT 1 FROM alert_messages
                 WHERE created_at > clock_timestamp() - make_interval(secs => :every) LIMIT 1) AS recent
            """),
            {"every": settings.alert_every_seconds},
        ).scalar_one()
    )


def words(rows: Sequence[Row[Any]]) -> tuple[str, str]:
    """A title and a body for alerts, the worst first."""
    over = [row for row in rows if row.over]
    still = [row for row in rows if not row.over]
    parts = []
    if still:
        critical = sum(1 for row in still if row.severity == "critical")
        parts.append(
            f"{len(still)} need{'s' if len(still) == 1 else ''} you" + (f", {critical} critical" * bool(critical))
        )
    if over:
        parts.append(f"{len(over)} {'is' if len(over) == 1 else 'are'} well again")
    lines = []
    for row in rows[:LINES]:
        if row.over:
            lines.append(f"[over] {row.rule}: {row.subject} (since {row.opened_at:%Y-%m-%d %H:%M} UTC)")
        else:
            again = "still, " if row.reminder else ""
            lines.append(f"[{again}{row.severity}] {row.message}")
    if len(rows) > LINES:
        lines.append(f"... and {len(rows) - LINES} more: schedulerx alerts list")
    return "SchedulerX: " + "; ".join(parts), "\n\n".join(lines)


def _words(message: str) -> str:
    """A platform's words may be in it: as clean as a log line."""
    return storable(str(scrub(message)))[:1000]


# --- Sending, as far as Postgres is concerned ---------------------------------------------------------------


def claim(conn: Connection, *, by: str) -> Message | None:
    """Leases the oldest message that is due, while no other is being sent: alerts take one thread at most."""
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK + 1})
    row = conn.execute(
        text("""
            UPDATE alert_messages SET leased_by = :by,
                   lease_expires_at = clock_timestamp() + make_interval(secs => :lease)
             WHERE id = (SELECT id FROM alert_messages
                          WHERE state = 'waiting' AND available_at <= clock_timestamp()
                          ORDER BY available_at, id LIMIT 1)
               AND NOT EXISTS (SELECT 1 FROM alert_messages
                                WHERE state = 'waiting' AND lease_expires_at > clock_timestamp())
            RETURNING *, extract(epoch FROM clock_timestamp() - created_at) AS age
        """),
        {"by": by, "lease": LEASE_S},
    ).one_or_none()
    return None if row is None else Message(row.id, row.channel, row.title, row.body, row.attempts, float(row.age))


def settle(conn: Connection, message: Message, error: str, *, by: str) -> None:
    """Writes what came of a message; with an error it is tried again, for a day. Empty: it was taken."""
    pause = PAUSES.pause_s(message.attempts + 1)
    state = "sent" if not error else "failed" if message.age_s + pause > LONGEST_S else "waiting"
    conn.execute(
        text("""
            UPDATE alert_messages SET attempts = attempts + 1, leased_by = NULL, lease_expires_at = NULL,
                   state = :state, error = nullif(:error, ''),
                   available_at = clock_timestamp() + make_interval(secs => :pause),
                   finished_at = CASE WHEN :state <> 'waiting' THEN clock_timestamp() END
             WHERE id = :id AND state = 'waiting' AND leased_by = :by
        """),
        {"id": message.id, "state": state, "error": error[:500], "pause": pause, "by": by},
    )


def send_all(settings: Settings, *, by: str) -> int:
    """Sends what waits for channels, one message after the other; how many arrived."""
    from scheduler import alert_channel

    sent = 0
    while True:
        with transaction(settings.database()) as conn:
            message = claim(conn, by=by)
        if message is None:
            return sent
        url = channel_url(settings, message.channel)
        error = (
            "this channel is no longer in SCHEDULERX_ALERT_URLS"
            if url is None
            else alert_channel.send(url, message.title, message.body)
        )
        with transaction(settings.database()) as conn:
            settle(conn, message, error, by=by)
        sent += not error
        if error:
            log.warning("alerts.not_sent", channel=message.channel, error=error, attempts=message.attempts + 1)


def listing(conn: Connection, *, everything: bool = False, limit: int = 50) -> list[AlertView]:
    """Open alerts (or all), the newest first."""
    rows = conn.execute(
        text("""
            SELECT id, rule, subject, severity, message, opened_at, closed_at, told_at FROM alerts
             WHERE :everything OR closed_at IS NULL ORDER BY id DESC LIMIT :limit
        """),
        {"everything": everything, "limit": limit},
    )
    return [AlertView(*row) for row in rows]


def prune(conn: Connection, *, days: int) -> int:
    """Removes alerts and messages that ended more than ``days`` ago; how many."""
    gone = 0
    for table, column in (("alerts", "closed_at"), ("alert_messages", "finished_at")):
        gone += conn.execute(
            text(f"DELETE FROM {table} WHERE {column} < clock_timestamp() - make_interval(days => :days)"),  # noqa: S608 - words of ours
            {"days": days},
        ).rowcount
    return gone
