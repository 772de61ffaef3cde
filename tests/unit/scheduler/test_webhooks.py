"""Signatures, bodies and spans of time: what needs no database."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from db.events import EVENTS, POST_EVENTS
from db.states import TERMINAL, Status
from scheduler import webhooks
from scheduler.cli.webhooks import seconds
from scheduler.errors import Refused
from scheduler.webhook_calls import Answer
from scheduler.webhooks import PAUSES, Delivery

NUMBER = UUID("00000000-0000-4000-8000-000000000001")
DELIVERY = Delivery(NUMBER, 1, "post.published", datetime(2026, 8, 1, tzinfo=UTC), 0, {"b": "ü", "a": 1})


def test_the_signature_is_hmac_sha256_over_timestamp_id_and_body() -> None:
    wanted = hmac.new(b"key", b"1800000000.an-id.{}", hashlib.sha256).hexdigest()
    assert webhooks.sign("key", "an-id", 1_800_000_000, b"{}") == f"v1={wanted}"


def test_the_body_is_the_same_bytes_at_every_try() -> None:
    again = Delivery(NUMBER, 1, "post.published", datetime(2026, 8, 1, tzinfo=UTC), 5, {"a": 1, "b": "ü"})
    assert DELIVERY.body() == again.body()
    assert json.loads(DELIVERY.body()) == {
        "id": str(NUMBER),
        "type": "post.published",
        "created_at": "2026-08-01T00:00:00+00:00",
        "data": {"a": 1, "b": "ü"},
    }


def test_every_header_is_bound_by_the_signature() -> None:
    first, later = DELIVERY.headers("key", 1), DELIVERY.headers("key", 2)
    assert first["SchedulerX-Id"] == later["SchedulerX-Id"]
    assert first["SchedulerX-Signature"] != later["SchedulerX-Signature"]
    assert first["SchedulerX-Signature"] != DELIVERY.headers("other", 1)["SchedulerX-Signature"]


def test_every_end_of_a_post_and_every_hold_is_told() -> None:
    assert set(POST_EVENTS) == TERMINAL | {Status.HELD}
    assert len(set(EVENTS)) == len(EVENTS)


def test_retries_are_spread_over_a_day_with_an_hour_at_most_between_them() -> None:
    pauses = [PAUSES.pause_s(count) for count in range(1, 40)]
    assert 5 <= pauses[0] <= 10
    assert max(pauses) <= 3600
    assert sum(pauses) > 12 * 3600


@pytest.mark.parametrize(
    ("status", "taken", "gone"),
    [
        (200, True, False),
        (204, True, False),
        (302, False, False),
        (410, False, True),
        (500, False, False),
        (None, False, False),
    ],
)
def test_only_2xx_is_taken(status: int | None, taken: bool, gone: bool) -> None:
    assert (Answer(status).taken, Answer(status).gone) == (taken, gone)


def test_spans_of_time() -> None:
    assert (seconds("90m"), seconds("24h"), seconds("7d")) == (5400, 86_400, 604_800)
    for wrong in ("", "7", "d", "-1d", "0h", "1w", "٣d", "1.5h", "999999999d"):
        with pytest.raises(Refused):
            seconds(wrong)
