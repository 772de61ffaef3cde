"""What webhooks are told, written by the very transaction in which it happens: one small row for each webhook.

Where there is no webhook nothing is written. The rows have no foreign keys and are only ever inserted here, so
whatever becomes of a webhook, no change of a post can fail or wait because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CTE, Connection, and_, func, insert, literal, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from db.models import Account, ScheduledPost, Webhook, WebhookDelivery, table_of
from db.states import Status

webhooks = table_of(Webhook)
deliveries = table_of(WebhookDelivery)
accounts = table_of(Account)
posts = table_of(ScheduledPost)

POST_EVENTS: dict[Status, str] = {
    status: f"post.{status.value}"
    for status in (Status.PUBLISHED, Status.FAILED, Status.MISSED, Status.HELD, Status.CANCELED)
}
"""The changes of a post that are told: where it ends, and where it needs a person."""
OTHER_EVENTS = ("post.not_ready", "alert.opened", "alert.closed")
EVENTS = (*POST_EVENTS.values(), *OTHER_EVENTS)
TEST_EVENT = "webhook.test"

FACTS = (
    "post_id",
    "platform",
    "status",
    "held_for",
    "due_at",
    "first_sent_at",
    "published_at",
    "remote_id",
    "remote_url",
    "evidence",
    "attempts",
    "parts",
    "parts_out",
    "error_code",
    "error_message",
    "api_url",
)
"""Columns of a scheduled post that a receiver is told. Never its text: the receiver can ask for that."""


def post_told(moved: CTE, target: Status) -> CTE | None:
    """The INSERT that belongs into the statement that moves a post; None: this change is not told.

    :param moved: RETURNING of the guarded UPDATE, with ``id``, ``account_id`` and all of ``FACTS``.
    """
    event = POST_EVENTS.get(target)
    if event is None:
        return None
    pairs: list[Any] = [
        "scheduled_post_id",
        moved.c.id,
        "account",
        accounts.c.platform + ":" + accounts.c.name,
    ]
    for name in FACTS:
        pairs += [name, moved.c[name]]
    rows = (
        select(webhooks.c.id, literal(event), moved.c.id, func.jsonb_build_object(*pairs))
        .select_from(moved)
        .join(accounts, accounts.c.id == moved.c.account_id)
        .join(webhooks, _wanted(event))
    )
    return insert(deliveries).from_select(["webhook_id", "event", "scheduled_post_id", "data"], rows).cte("post_told")


def tell(conn: Connection, event: str, data: Mapping[str, Any]) -> int:
    """Tells every webhook that wants it; how many there are."""
    rows = select(webhooks.c.id, literal(event), type_coerce(dict(data), JSONB)).where(_wanted(event))
    return conn.execute(insert(deliveries).from_select(["webhook_id", "event", "data"], rows)).rowcount


def _wanted(event: str) -> Any:
    return and_(
        webhooks.c.removed_at.is_(None),
        (func.jsonb_array_length(webhooks.c.events) == 0) | webhooks.c.events.contains([event]),
    )
