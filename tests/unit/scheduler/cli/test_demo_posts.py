"""What the demo schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import scheduler
from scheduler.cli import demo_posts

LEAD = timedelta(milliseconds=20)


def test_no_post_is_due_in_the_past_however_long_scheduling_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine that was busy enough the demo refused its own last post."""
    ahead: list[timedelta] = []
    now = [datetime(2026, 1, 1, tzinfo=UTC)]

    def slowly(_text: str, *, at: datetime, **_more: Any) -> Any:
        ahead.append(at - now[0])
        now[0] += 3 * LEAD
        return SimpleNamespace(id=len(ahead))

    monkeypatch.setattr(scheduler, "schedule", slowly)
    monkeypatch.setattr(demo_posts, "datetime", SimpleNamespace(now=lambda _zone: now[0]))
    monkeypatch.setattr(demo_posts, "APART_S", 0.0)
    monkeypatch.setattr(demo_posts, "film", lambda _: "a film")
    monkeypatch.setattr(
        demo_posts, "draw", lambda folder, count: [(folder / f"{n}.png", "words") for n in range(count)]
    )
    who: Any = {"pinterest": SimpleNamespace(facts={"boards": [{"name": "Recipes"}]})}
    assert demo_posts.post_all(tmp_path, 4, LEAD, who) == [1, 2, 3, 4, 5]
    assert min(ahead) > timedelta(0)
