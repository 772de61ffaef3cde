"""What tasks share: names, clocks, and hints that may be lost without harm."""

from __future__ import annotations

import os
import time

import pytest
from kombu.exceptions import OperationalError as BrokerError

from workers import context


def test_a_worker_is_named_by_queue_host_and_process(monkeypatch):
    monkeypatch.setitem(context.role, "queue", "publish")
    assert context.worker_name().startswith("publish@")
    assert context.worker_name().endswith(f":{os.getpid()}")


def test_the_fences_clock_counts_on_and_never_back():
    first = context.running_seconds()
    assert 0 <= context.running_seconds() - first < 5
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(first - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


@pytest.mark.parametrize("error", [BrokerError("away"), ConnectionRefusedError(), TimeoutError()])
def test_a_broker_that_is_away_costs_the_hint_and_nothing_else(environment, monkeypatch, error):
    from workers.app import app

    def refused(*_args, **_more):
        raise error

    monkeypatch.setattr(app, "send_task", refused)
    assert context.send("publish.deliver", (1, 1)) is False


def test_the_store_is_one_for_each_process(settings):
    assert context.store() is context.store()
