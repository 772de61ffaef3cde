"""Beat goes on when the clock is set back (with real processes: tests/crash/test_adversity.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery.beat import PersistentScheduler

from workers.beat import AHEAD, Scheduler

NOW = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "reset"),
    [(timedelta(hours=1), True), (AHEAD / 2, False), (timedelta(seconds=-5), False)],
    ids=["set-back", "slewed", "as-usual"],
)
def test_a_run_in_the_future_was_just_now(monkeypatch: pytest.MonkeyPatch, ahead: timedelta, reset: bool) -> None:
    monkeypatch.setattr(PersistentScheduler, "tick", lambda _self: 0.5)
    scheduler = Scheduler.__new__(Scheduler)
    scheduler.app = SimpleNamespace(now=lambda: NOW)
    entry, never = SimpleNamespace(last_run_at=NOW + ahead), SimpleNamespace(last_run_at=None)
    scheduler._store = {"entries": {"second": entry, "never": never}}
    scheduler._heap = ["by times of the clock before"]
    assert scheduler.tick() == 0.5
    assert entry.last_run_at == (NOW if reset else NOW + ahead)
    assert never.last_run_at is None
    assert (scheduler._heap is None) is reset
