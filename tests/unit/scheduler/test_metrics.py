"""The scrape's form, without services."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from scheduler import metrics, tallies
from scheduler.health import Check, State
from workers.context import task_id


def scrape(settings: Any) -> dict[str, Any]:
    """Families by name."""
    collector = metrics.Collector(settings, lambda: [Check("database", State.DOWN, "no")])
    return {one.name: one for one in text_string_to_metric_families(metrics.exposition(collector).decode())}


def test_without_postgres_and_broker_it_says_so_and_nothing_that_is_old(bare_environment: Any) -> None:
    found = scrape(
        bare_environment.change(DATABASE_URL="postgresql://x:y@127.0.0.1:9/z", REDIS_URL="redis://127.0.0.1:9")
    )
    assert found["schedulerx_database_up"].samples[0].value == 0
    assert found["schedulerx_broker_up"].samples[0].value == 0
    assert found["schedulerx_health_level"].samples[0].value == 2
    assert set(found) == {
        "schedulerx_database_up", "schedulerx_broker_up", "schedulerx_health_level", "schedulerx_scrape_seconds",
    }  # fmt: skip


def test_names_follow_the_conventions() -> None:
    for name in metrics.names():
        assert re.fullmatch(r"schedulerx_[a-z0-9_]+", name)
        assert not re.search(r"_(ms|minutes|hours|days|mb|kb|percent|milliseconds)\b", name), "base units only"
    counters = [f"{name}_total" for _, name, _, _ in metrics.COUNTERS]
    assert set(counters) <= metrics.names()
    gauges = [one.name for one in (*metrics.GAUGES, *metrics.SLOW)]
    assert len(gauges) == len(set(gauges))
    assert not any(name.endswith("_total") for name in gauges)


def test_counts_by_bucket_become_cumulative() -> None:
    counts = [1.0] * (len(tallies.LATENESS_BOUNDS) + 1)
    found = metrics._cumulative(counts)
    assert [value for _, value in found] == [float(number) for number in range(1, len(counts) + 1)]
    assert (found[0][0], found[-1][0]) == ("0.25", "+Inf")


def test_a_task_id_leads_to_the_post() -> None:
    first, second = (task_id("publish.deliver", (1234, 5)) for _ in range(2))
    assert re.fullmatch(r"publish\.deliver-1234-g5-[0-9a-f]{8}", first)
    assert first != second
    assert re.fullmatch(r"alive\.pulse-[0-9a-f]{8}", task_id("alive.pulse", ("publish",)))
