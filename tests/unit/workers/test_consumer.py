"""Events for Flower leave in batches, and none is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from workers import consumer
from workers.consumer import FLUSH_S, Consumer


class Hub:
    """Remembers what it is to do."""

    def __init__(self) -> None:
        self.soon: list[Any] = []
        self.later: list[tuple[float, Any]] = []

    def call_soon(self, what: Any) -> None:
        self.soon.append(what)

    def call_later(self, seconds: float, what: Any) -> None:
        self.later.append((seconds, what))


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Consumer.__new__(Consumer)
    made._next_flush = 0.0
    made.hub = Hub()
    made.now = 100.0
    monkeypatch.setattr(consumer.time, "monotonic", lambda: made.now)
    return made


def test_many_events_plan_one_flush(one: Any) -> None:
    for _ in range(50):
        one.on_send_event_buffered()
    assert one.hub.soon == [one._plan_flush]
    one._plan_flush()
    assert one.hub.later == [(FLUSH_S, one._flush_events)]


def test_an_event_after_the_flush_plans_another_even_if_the_first_was_lost(one: Any) -> None:
    one.on_send_event_buffered()
    one.now += FLUSH_S
    one.on_send_event_buffered()
    assert len(one.hub.soon) == 2


def test_without_a_loop_nothing_is_planned(one: Any) -> None:
    one.hub = None
    one.on_send_event_buffered()


def test_celery_takes_it(environment: Any) -> None:
    from workers.app import app

    assert app.conf.worker_consumer == "workers.consumer:Consumer"
    assert issubclass(Consumer, consumer.CelerysConsumer)
