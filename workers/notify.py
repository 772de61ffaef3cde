"""Alerts and webhooks: written down elsewhere, sent here, on the followup worker and never on many of its threads.

Publishing never waits for any of this. What is to be sent is a row; a lease and a pause in Postgres decide when
it is tried; a receiver that hangs costs its own time-out on one of at most three threads.
"""

from __future__ import annotations

import time

from db.crypto import SecretKeyError
from db.session import transaction
from scheduler import alerts, audit, webhooks
from scheduler.errors import NotConfigured, NotFound
from scheduler.logging import logger
from scheduler.settings import Settings, current
from workers.app import task
from workers.context import worker_name

log = logger(__name__)

STAY_S = 45.0
"""How long one pump goes on while there is something to send, seconds."""


@task("notify.pump")
def pump_task() -> None:
    """Beat's tick of each five seconds: sends what is due."""
    pump(current())


@task("notify.watch")
def watch_task() -> None:
    """Beat's tick of each minute: sees what is the matter."""
    settings = current()
    with transaction(settings.database()) as conn:
        alerts.watch(conn, settings)
    alerts.send_all(settings, by=worker_name())


@task("notify.prune")
def prune_task() -> None:
    """Beat's daily cleaning of what was told, and of the audit trail."""
    prune(current())


def pump(settings: Settings) -> int:
    """Sends alerts and deliveries until nothing is due or its time is over; how many arrived."""
    until = time.monotonic() + STAY_S
    sent = alerts.send_all(settings, by=worker_name())
    while time.monotonic() < until:
        with transaction(settings.database()) as conn:
            batch = webhooks.claim(conn, settings, by=worker_name())
        if not batch:
            break
        sent += deliver(settings, batch)
    return sent


def deliver(settings: Settings, batch: list[webhooks.Delivery]) -> int:
    """Sends a batch of one webhook in its order; how many arrived. No answer at all ends the batch."""
    from scheduler.webhook_calls import call

    me, sent = worker_name(), 0
    try:
        with transaction(settings.database()) as conn:
            url, key = webhooks.target(conn, settings, batch[0].webhook_id)
    except (NotFound, SecretKeyError, NotConfigured) as error:
        log.warning("security.webhook_unusable", webhook_id=batch[0].webhook_id, error=type(error).__name__)
        with transaction(settings.database()) as conn:
            for one in batch:
                webhooks.not_delivered(
                    conn,
                    settings,
                    one,
                    f"it cannot be read ({type(error).__name__})",
                    by=me,
                    final=isinstance(error, NotFound),
                )
        return 0
    for place, one in enumerate(batch):
        began = time.monotonic()
        answer = call(settings, url, key, one)
        log.info(
            "performance.webhook",
            webhook_id=one.webhook_id,
            delivery_id=str(one.id),
            status=answer.status,
            seconds=round(time.monotonic() - began, 3),
        )
        with transaction(settings.database()) as conn:
            if answer.taken:
                webhooks.delivered(conn, one, answer.status or 0, by=me)
                sent += 1
                continue
            webhooks.not_delivered(conn, settings, one, answer.error, by=me, status=answer.status, final=answer.gone)
            if answer.status is None:
                # The others of the batch would only wait for the same time-out.
                webhooks.release(conn, batch[place + 1 :], by=me, pause_s=webhooks.PAUSES.pause_s(one.attempts + 1))
                break
    return sent


def prune(settings: Settings) -> dict[str, int]:
    """Removes what is older than its retention; counts by kind."""
    with transaction(settings.database()) as conn:
        gone = {
            "deliveries": webhooks.prune(conn, days=settings.notification_retention_days),
            "alerts": alerts.prune(conn, days=settings.notification_retention_days),
            "audit": audit.prune(conn, days=settings.audit_retention_days),
        }
    log.info("notify.pruned", **gone)
    return gone
