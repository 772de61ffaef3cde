"""Webhooks out: who is told, how a delivery is signed, and how it is claimed, retried and replayed.

Deliveries are written by ``db.events`` in the transaction in which something happens. A signature is the
HMAC-SHA256, under the webhook's own key, over ``timestamp.id.body``: the id is the same at every retry and
replay (so a receiver can drop repetitions), the timestamp is of this very request (so a receiver can refuse an
old one). docs/webhooks.md tells receivers what to do; examples/webhook_receiver.py does it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, insert, text

from db.crypto import Cipher
from db.events import EVENTS, TEST_EVENT
from db.models import Webhook, table_of
from db.transitions import storable
from scheduler import audit
from scheduler.errors import NotFound, Refused
from scheduler.logging import logger
from scheduler.retry_policy import RetryPolicy
from scheduler.settings import Settings

log = logger(__name__)
webhooks = table_of(Webhook)

ID_HEADER = "SchedulerX-Id"
TIMESTAMP_HEADER = "SchedulerX-Timestamp"
SIGNATURE_HEADER = "SchedulerX-Signature"
EVENT_HEADER = "SchedulerX-Event"

PAUSES = RetryPolicy(base_s=10.0, max_s=3600.0, max_attempts=1_000_000)
"""10 s, doubled up to an hour; when to stop is told by a setting."""
AT_ONCE = 2
"""Webhooks that are served at the same time: the rest of the followup worker's threads stay free."""
BATCH = 20
LOCK = 7_235_320
"""Advisory lock: two pumps count what is under way one after the other."""


@dataclass(frozen=True)
class WebhookView:
    """A webhook as listings show it: neither its key nor its whole URL. Counts are of the last 24 hours."""

    id: int
    origin: str
    events: tuple[str, ...]
    created_at: datetime
    failing_since: datetime | None
    last_error: str | None
    delivered: int
    waiting: int
    failed: int

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            **vars(self),
            "events": list(self.events) or ["*"],
            "created_at": self.created_at.isoformat(),
            "failing_since": self.failing_since.isoformat() if self.failing_since else None,
        }


@dataclass(frozen=True)
class Delivery:
    """One event for one webhook, ready to be sent."""

    id: UUID
    webhook_id: int
    event: str
    created_at: datetime
    attempts: int
    data: dict[str, Any]

    def body(self) -> bytes:
        """What is sent and signed; the same bytes at every try."""
        said = {
            "id": str(self.id),
            "type": self.event,
            "created_at": self.created_at.isoformat(),
            "data": self.data,
        }
        return json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    def headers(self, key: str, timestamp: int) -> dict[str, str]:
        """The headers of a request at ``timestamp`` (seconds since 1970)."""
        return {
            "Content-Type": "application/json",
            ID_HEADER: str(self.id),
            TIMESTAMP_HEADER: str(timestamp),
            EVENT_HEADER: self.event,
            SIGNATURE_HEADER: sign(key, str(self.id), timestamp, self.body()),
        }


def sign(key: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """``v1=`` and the hexadecimal HMAC-SHA256 over ``timestamp.id.body``."""
    signed = f"{timestamp}.{delivery_id}.".encode() + body
    return "v1=" + hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()


# --- Who is told --------------------------------------------------------------------------------------------


def check_url(settings: Settings, url: str) -> str:
    """The URL's origin. :raises Refused: not a URL that we post to; private addresses need a setting."""
    from media import fetch
    from media.errors import MediaRefused, RemoteUnavailable

    try:
        # One parser of URLs, so that the guard judges what is called.
        parts = fetch._split(url)
        if not settings.webhook_allow_private:
            if parts.scheme != "https":
                raise Refused("A webhook is called by https; http needs SCHEDULERX_WEBHOOK_ALLOW_PRIVATE=true")
            fetch.guard(url)
    except MediaRefused as error:
        if error.code == "private_address":
            log.warning("security.private_address", url=fetch.shown(url), at="webhook")
        raise Refused(f"This URL cannot be a webhook: {error.message} [{error.code}]") from None
    except RemoteUnavailable as error:
        raise Refused(f"This URL cannot be a webhook now: {error}") from None
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def add(
    conn: Connection, settings: Settings, url: str, *, origin: str, events: Sequence[str], by: str
) -> tuple[int, str]:
    """Stores a webhook (whose URL was checked); its id and its new key, which nobody is shown again.

    :raises Refused: an event that does not exist.
    """
    unknown = sorted(set(events) - set(EVENTS))
    if unknown:
        raise Refused(f"There is no event {', '.join(unknown)}; there are: {', '.join(EVENTS)}")
    key = "whsec_" + secrets.token_urlsafe(32)
    sealed = Cipher(settings.secret()).seal({"webhook_url": url, "key": key})
    number = conn.execute(
        insert(webhooks).values(origin=origin, sealed=sealed, events=sorted(set(events))).returning(webhooks.c.id)
    ).scalar_one()
    audit.record(conn, "webhook.added", f"webhook:{number}", by=by, after={"origin": origin, "events": sorted(events)})
    return int(number), key


def listing(conn: Connection) -> list[WebhookView]:
    """All webhooks that were not removed."""
    rows = conn.execute(
        text("""
            SELECT w.*, d.delivered, d.waiting, d.failed
              FROM webhooks w LEFT JOIN LATERAL (
                SELECT count(*) FILTER (WHERE state = 'delivered') AS delivered,
                       count(*) FILTER (WHERE state = 'waiting') AS waiting,
                       count(*) FILTER (WHERE state = 'failed') AS failed
                  FROM webhook_deliveries
                 WHERE webhook_id = w.id AND created_at > clock_timestamp() - interval '24 hours') d ON true
             WHERE w.removed_at IS NULL ORDER BY w.id
        """)
    )
    return [
        WebhookView(
            row.id,
            row.origin,
            tuple(row.events),
            row.created_at,
            row.failing_since,
            row.last_error,
            row.delivered,
            row.waiting,
            row.failed,
        )
        for row in rows
    ]


def remove(conn: Connection, number: int, *, by: str) -> str:
    """Stops a webhook: its key is wiped, what waits for it is dropped; its origin. :raises NotFound: none."""
    found = _find(conn, number)
    conn.execute(text("UPDATE webhooks SET removed_at = clock_timestamp(), sealed = '' WHERE id = :id"), {"id": number})
    dropped = conn.execute(
        text("""
            UPDATE webhook_deliveries SET state = 'failed', finished_at = clock_timestamp(), leased_by = NULL,
                   lease_expires_at = NULL, error = 'the webhook was removed'
             WHERE webhook_id = :id AND state = 'waiting'
        """),
        {"id": number},
    ).rowcount
    audit.record(
        conn,
        "webhook.removed",
        f"webhook:{number}",
        by=by,
        before={"origin": found.origin},
        after={"dropped": dropped},
    )
    return str(found.origin)


def replay(conn: Connection, number: int, *, since_s: float, everything: bool, by: str) -> int:
    """Sends deliveries of the last ``since_s`` seconds again, under their own ids; how many.

    :param everything: those that arrived, too; else only what failed.
    :raises NotFound: there is no such webhook.
    """
    _find(conn, number)
    count = conn.execute(
        text("""
            UPDATE webhook_deliveries SET state = 'waiting', finished_at = NULL, attempts = 0, error = NULL,
                   http_status = NULL, available_at = clock_timestamp(),
                   tried_from = clock_timestamp()
             WHERE webhook_id = :id AND created_at > clock_timestamp() - make_interval(secs => :since)
               AND (state = 'failed' OR (:everything AND state = 'delivered'))
        """),
        {"id": number, "since": since_s, "everything": everything},
    ).rowcount
    audit.record(conn, "webhook.replayed", f"webhook:{number}", by=by, after={"deliveries": count})
    return count


def make_test(conn: Connection, settings: Settings, number: int, *, by: str) -> Delivery:
    """A delivery of a test event, leased to the caller. :raises NotFound: there is no such webhook."""
    _find(conn, number)
    row = conn.execute(
        text("""
            INSERT INTO webhook_deliveries (webhook_id, event, data, leased_by, lease_expires_at)
            VALUES (:id, :event, '{"message": "this is a test"}', :by,
                    clock_timestamp() + make_interval(secs => :lease))
            RETURNING *
        """),
        {"id": number, "event": TEST_EVENT, "by": by, "lease": settings.webhook_timeout_seconds + 30},
    ).one()
    return _delivery(row)


def _find(conn: Connection, number: int) -> Row[Any]:
    row = conn.execute(
        text("SELECT * FROM webhooks WHERE id = :id AND removed_at IS NULL"), {"id": number}
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook {number}; see: schedulerx webhooks list")
    return row


# --- Sending, as far as Postgres is concerned ---------------------------------------------------------------


def target(conn: Connection, settings: Settings, number: int) -> tuple[str, str]:
    """A webhook's URL and key. :raises NotFound: it was removed. :raises db.crypto.SecretKeyError: another key."""
    opened = Cipher(settings.secret()).open(_find(conn, number).sealed)
    return str(opened["webhook_url"]), str(opened["key"])


def claim(conn: Connection, settings: Settings, *, by: str) -> list[Delivery]:
    """Leases a batch for one webhook, the oldest first; empty: nothing is due, or enough is under way.

    One batch at a time for a webhook, and few webhooks at once, whatever waits: receivers that hang hold up
    nobody but themselves.
    """
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    rows = conn.execute(
        text("""
            WITH busy AS (
                SELECT DISTINCT webhook_id FROM webhook_deliveries
                 WHERE state = 'waiting' AND lease_expires_at > clock_timestamp()
            ), next AS (
                SELECT webhook_id FROM webhook_deliveries
                 WHERE state = 'waiting' AND available_at <= clock_timestamp()
                   AND webhook_id NOT IN (SELECT webhook_id FROM busy)
                   AND (SELECT count(*) FROM busy) < :at_once
                 ORDER BY available_at LIMIT 1
            )
            UPDATE webhook_deliveries SET leased_by = :by,
                   lease_expires_at = clock_timestamp() + make_interval(secs => :lease)
             WHERE id IN (
                SELECT id FROM webhook_deliveries
                 WHERE state = 'waiting' AND available_at <= clock_timestamp()
                   AND webhook_id = (SELECT webhook_id FROM next)
                 ORDER BY created_at, id LIMIT :batch)
            RETURNING *
        """),
        {
            "by": by,
            "at_once": AT_ONCE,
            "batch": BATCH,
            "lease": BATCH * settings.webhook_timeout_seconds + 60,
        },
    ).all()
    return [_delivery(row) for row in sorted(rows, key=lambda one: (one.created_at, one.id))]


def delivered(conn: Connection, delivery: Delivery, status: int, *, by: str) -> None:
    """The receiver took it."""
    done = conn.execute(
        text("""
            UPDATE webhook_deliveries SET state = 'delivered', finished_at = clock_timestamp(), attempts = attempts + 1,
                   http_status = :status, error = NULL, leased_by = NULL, lease_expires_at = NULL
             WHERE id = :id AND state = 'waiting' AND leased_by = :by
        """),
        {"id": delivery.id, "status": status, "by": by},
    ).rowcount
    if done:
        conn.execute(
            text(
                "UPDATE webhooks SET failing_since = NULL, last_error = NULL"
                " WHERE id = :id AND failing_since IS NOT NULL"
            ),
            {"id": delivery.webhook_id},
        )


def not_delivered(
    conn: Connection,
    settings: Settings,
    delivery: Delivery,
    error: str,
    *,
    by: str,
    status: int | None = None,
    final: bool = False,
) -> None:
    """It did not arrive: again after a pause, for a day or as the setting says.

    :param final: the receiver said that it wants no more of it.
    """
    words = storable(error)[:500]
    conn.execute(
        text("""
            UPDATE webhook_deliveries SET attempts = attempts + 1, http_status = :status, error = :error,
                   leased_by = NULL, lease_expires_at = NULL,
                   available_at = clock_timestamp() + make_interval(secs => :pause),
                   state = CASE WHEN over THEN 'failed' ELSE 'waiting' END,
                   finished_at = CASE WHEN over THEN clock_timestamp() END
              FROM (SELECT :final OR tried_from + make_interval(secs => :longest)
                                     <= clock_timestamp() + make_interval(secs => :pause) AS over
                      FROM webhook_deliveries WHERE id = :id) AS judged
             WHERE id = :id AND state = 'waiting' AND leased_by = :by
        """),
        {
            "id": delivery.id,
            "status": status,
            "error": words,
            "final": final,
            "by": by,
            "pause": PAUSES.pause_s(delivery.attempts + 1),
            "longest": settings.webhook_retry_hours * 3600,
        },
    )
    conn.execute(
        text("""
            UPDATE webhooks SET failing_since = coalesce(failing_since, clock_timestamp()), last_error = :error
             WHERE id = :id
        """),
        {"id": delivery.webhook_id, "error": words},
    )


def release(conn: Connection, deliveries: Sequence[Delivery], *, by: str, pause_s: float) -> None:
    """Gives back what was claimed and not tried, because its receiver does not answer at all."""
    conn.execute(
        text("""
            UPDATE webhook_deliveries SET leased_by = NULL, lease_expires_at = NULL,
                   available_at = clock_timestamp() + make_interval(secs => :pause)
             WHERE id = ANY(:ids) AND state = 'waiting' AND leased_by = :by
        """),
        {"ids": [one.id for one in deliveries], "by": by, "pause": pause_s},
    )


def prune(conn: Connection, *, days: int) -> int:
    """Removes deliveries that ended more than ``days`` ago; how many."""
    return conn.execute(
        text("DELETE FROM webhook_deliveries WHERE finished_at < clock_timestamp() - make_interval(days => :days)"),
        {"days": days},
    ).rowcount


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(row.id, row.webhook_id, row.event, row.created_at, row.attempts, dict(row.data))
