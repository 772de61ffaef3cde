"""Figures for Prometheus, read from Postgres (and queue lengths from the broker) as they are asked for.

Nothing is counted in this process, so a restart loses nothing and any number of monitors say the same. Counters
come from ``scheduler.tallies``; gauges are looked at now. What has to read whole tables (posts by status, media)
is remembered for longer the longer it took, so that it never costs more than a twentieth of a core.

Where Postgres does not answer, its figures are left out: absent says "not known", a stale number would lie.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg2
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from scheduler import tallies
from scheduler.figures import GAUGES, SLOW, Figure
from scheduler.health import ANSWER_S, QUEUES, Check
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SLOW_KEPT_S = 30.0
SLOW_SHARE = 0.05
"""What whole-table figures may cost, as a share of one core."""


# (tally, metric without _total, help, labels)
COUNTERS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (
        "posts",
        "schedulerx_posts",
        "Posts that ended or came in front of a person, by outcome and reason.",
        ("platform", "outcome", "reason"),
    ),
    (
        "attempts",
        "schedulerx_attempts",
        "Publishing calls that were begun, by what came of them.",
        ("platform", "outcome", "reason"),
    ),
    (
        "reconcile",
        "schedulerx_reconcile",
        "Doubts about an outcome that ended, by how.",
        ("platform", "result"),
    ),
    ("snoozes", "schedulerx_snoozes", "Times a post had to wait for a limit.", ("platform", "limit")),
    ("rescued", "schedulerx_rescued", "Posts whose worker or hint was lost.", ("platform", "from")),
    ("task_runs", "schedulerx_task_runs", "Tasks that workers did.", ("task",)),
    (
        "task_seconds",
        "schedulerx_task_seconds",
        "Seconds that they took, waiting for others included.",
        ("task",),
    ),
)


class Collector:
    """What prometheus-client asks at each scrape."""

    def __init__(self, settings: Settings, health: Callable[[], list[Check]]) -> None:
        self._settings = settings
        self._health = health
        self._slow: list[Metric] = []
        self._slow_after = 0.0

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: registering must not need a database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All figures."""
        began = time.monotonic()
        yield from self._states()
        yield from self._queues()
        database = GaugeMetricFamily("schedulerx_database_up", "1 where Postgres answered this scrape.")
        try:
            found = self._from_postgres()
        except psycopg2.Error as error:
            log.warning("metrics.database", error=type(error).__name__)
            found = []
        database.add_metric([], float(bool(found)))
        yield database
        yield from found
        took = GaugeMetricFamily("schedulerx_scrape_seconds", "How long these figures took.")
        took.add_metric([], time.monotonic() - began)
        yield took

    def _states(self) -> Iterator[Metric]:
        levels = GaugeMetricFamily(
            "schedulerx_health_level",
            "What `schedulerx health` says: 0 ok, 1 degraded, 2 down.",
            labels=["check"],
        )
        for one in self._health():
            levels.add_metric([one.name], one.state.level)
        yield levels

    def _queues(self) -> Iterator[Metric]:
        import redis

        up = GaugeMetricFamily("schedulerx_broker_up", "1 where the broker answered this scrape.")
        depth = GaugeMetricFamily("schedulerx_queue_depth", "Hints that wait in the broker.", labels=["queue"])
        memory = GaugeMetricFamily("schedulerx_broker_memory_bytes", "Memory that the broker uses.")
        limit = GaugeMetricFamily("schedulerx_broker_memory_limit_bytes", "Its maxmemory; 0: none.")
        try:
            client = redis.Redis.from_url(
                self._settings.broker(), socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
            )
            try:
                names = [*QUEUES, f"upload.{self._settings.spool_id}"]
                pipe = client.pipeline(transaction=False)
                for name in names:
                    pipe.llen(name)
                lengths: list[Any] = pipe.execute()
                info: Any = client.info("memory")
            finally:
                client.close()
        except (redis.RedisError, OSError):
            up.add_metric([], 0.0)
            yield up
            return
        up.add_metric([], 1.0)
        for name, length in zip(names, lengths, strict=True):
            depth.add_metric([name], length)
        memory.add_metric([], float(info["used_memory"]))
        limit.add_metric([], float(info.get("maxmemory", 0)))
        yield from (up, depth, memory, limit)

    def _from_postgres(self) -> list[Metric]:
        conn = tallies.connect(self._settings, statement_s=20.0)
        try:
            # One snapshot for all: the mark and what comes after it must be of one moment.
            conn.autocommit = False
            conn.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with conn, conn.cursor() as cursor:
                found = [*_counters(tallies.totals(cursor)), *(_gauge(cursor, one) for one in GAUGES)]
                if time.monotonic() >= self._slow_after:
                    began = time.monotonic()
                    self._slow = [_gauge(cursor, one) for one in SLOW]
                    cost = time.monotonic() - began
                    self._slow_after = time.monotonic() + max(SLOW_KEPT_S, cost / SLOW_SHARE)
                return found + self._slow
        finally:
            conn.close()


def _gauge(cursor: Any, figure: Figure) -> Metric:
    metric = GaugeMetricFamily(figure.name, figure.told, labels=list(figure.labels))
    cursor.execute(figure.query)
    for *values, number in cursor.fetchall():
        metric.add_metric([str(value) for value in values], float(number))
    return metric


def _counters(totals: dict[str, list[tuple[dict[str, Any], float]]]) -> Iterator[Metric]:
    for tally, name, told, labels in COUNTERS:
        metric = CounterMetricFamily(name, told, labels=list(labels))
        for found, value in totals.get(tally, []):
            metric.add_metric([str(found.get(label, "")) for label in labels], value)
        yield metric
    yield _lateness(totals)


def _lateness(totals: dict[str, list[tuple[dict[str, Any], float]]]) -> Metric:
    """From counts by bucket to Prometheus's cumulative ones."""
    metric = HistogramMetricFamily(
        "schedulerx_lateness_seconds",
        "Of published posts: first byte sent minus the time that was asked for.",
        labels=["platform"],
    )
    sums = {found["platform"]: value for found, value in totals.get("lateness_sum", [])}
    counts: dict[str, list[float]] = {}
    for found, value in totals.get("lateness", []):
        buckets = counts.setdefault(found["platform"], [0.0] * (len(tallies.LATENESS_BOUNDS) + 1))
        buckets[int(found["bucket"])] += value
    for platform, buckets in sorted(counts.items()):
        metric.add_metric([platform], _cumulative(buckets), sum_value=sums.get(platform, 0.0))
    return metric


def _cumulative(counts: Sequence[float]) -> list[tuple[str, float]]:
    bounds = [*(str(float(bound)) for bound in tallies.LATENESS_BOUNDS), "+Inf"]
    running, found = 0.0, []
    for bound, count in zip(bounds, counts, strict=True):
        running += count
        found.append((bound, running))
    return found


def names() -> set[str]:
    """Every series name that a scrape can hold; dashboards and rules are held against it."""
    gauges = {one.name for one in (*GAUGES, *SLOW)}
    counters = {f"{one[1]}_total" for one in COUNTERS}
    histogram = {f"schedulerx_lateness_seconds{end}" for end in ("_bucket", "_sum", "_count")}
    return (
        gauges
        | counters
        | histogram
        | {
            "schedulerx_database_up",
            "schedulerx_broker_up",
            "schedulerx_queue_depth",
            "schedulerx_broker_memory_bytes",
            "schedulerx_broker_memory_limit_bytes",
            "schedulerx_health_level",
            "schedulerx_scrape_seconds",
        }
    )


def exposition(collector: Collector) -> bytes:
    """The text of one scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
