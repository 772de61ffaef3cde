"""Signs of life: written by a worker as it does a task from its queue, so that they prove consumption.

The heartbeat travels: beat -> queue ``dispatch`` -> ``hand_on`` -> each other queue -> ``pulse`` -> Postgres.
Each hop leaves its time: beat's own clock, when dispatch had it, when it arrived. Beat counts as alive only
while its clock *moves*: a backlog of old pulses, or one that is delivered again, does not make it look alive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery import signals
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from db.session import transaction
from scheduler import tallies
from scheduler.logging import logger
from scheduler.settings import Settings, current
from workers.app import task
from workers.context import role, worker_name

log = logger(__name__)

EVERY_S = 10.0
"""A busy worker also reports by itself, this often at most, seconds."""
MOST_COPIES = 16
"""Pulses for one queue at once, at most."""

_state = {"slots": 1, "reported": 0.0}
_lock = threading.Lock()
_began: dict[str, float] = {}
_spent: dict[str, tuple[int, float]] = {}

MARK = text("""
    INSERT INTO worker_beats AS b (worker, queue, slots, beat_at, dispatched_at, pulse_at)
    VALUES (:worker, :queue, :slots, to_timestamp(:beat_at), to_timestamp(:dispatched_at),
            CASE WHEN :pulse THEN clock_timestamp() END)
    ON CONFLICT (worker, queue) DO UPDATE SET
        slots = excluded.slots, seen_at = clock_timestamp(),
        beat_at = coalesce(excluded.beat_at, b.beat_at),
        dispatched_at = coalesce(excluded.dispatched_at, b.dispatched_at),
        pulse_at = coalesce(excluded.pulse_at, b.pulse_at)
""")
BEAT = text("""
    INSERT INTO worker_beats AS b (worker, queue, slots, beat_at, dispatched_at, pulse_at)
    VALUES ('beat', 'beat', 0, to_timestamp(:beat_at), clock_timestamp(), clock_timestamp())
    ON CONFLICT (worker, queue) DO UPDATE SET
        -- Seen only if its clock has moved. Moved back (a clock that was set right) is moved, too.
        seen_at = CASE WHEN excluded.beat_at IS NOT DISTINCT FROM b.beat_at AND excluded.beat_at IS NOT NULL
                       THEN b.seen_at ELSE clock_timestamp() END,
        beat_at = excluded.beat_at, dispatched_at = excluded.dispatched_at, pulse_at = excluded.pulse_at
    RETURNING CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS float)
""")
WORKERS = text("""
    SELECT queue, count(*) AS workers FROM worker_beats
     WHERE seen_at > clock_timestamp() - make_interval(secs => :alive) GROUP BY queue
""")
FORGET = text("DELETE FROM worker_beats WHERE seen_at < clock_timestamp() - interval '1 day'")
"""Containers have a new host name at each start; their rows would pile up."""


@task("alive.pulse")
def pulse(queue: str, beat_at: float | None = None, dispatched_at: float | None = None) -> None:
    """Writes that this worker consumes ``queue``, and how long the heartbeat took to get here."""
    mark(
        current(),
        queue=queue,
        worker=worker_name(),
        slots=slots(),
        beat_at=beat_at,
        dispatched_at=dispatched_at,
        pulse=True,
    )


def hand_on(settings: Settings, send: Callable[..., Any], beat_at: float | None, queues: Sequence[str]) -> None:
    """What a dispatch worker does with beat's heartbeat: marks beat and itself, and passes it to each queue.

    A queue with several workers gets as many pulses: its idle workers share them, and each should be seen.
    """
    with transaction(settings.database()) as conn:
        dispatched_at = float(conn.execute(BEAT, {"beat_at": beat_at}).scalar_one())
        _mark(conn, "dispatch", worker_name(), slots(), beat_at, dispatched_at, pulse=True)
        seen = {row.queue: row.workers for row in conn.execute(WORKERS, {"alive": settings.alive_seconds})}
        conn.execute(FORGET)
    for queue in queues:
        for _ in range(min(max(seen.get(queue, 1), 1), MOST_COPIES)):
            send("alive.pulse", (queue, beat_at, dispatched_at), queue)


def slots() -> int:
    """How many tasks this worker does at once."""
    return int(_state["slots"])


def set_slots(count: int) -> None:
    """Remembers the worker's concurrency; called once, before any fork."""
    _state["slots"] = count


def mark(
    settings: Settings,
    *,
    queue: str,
    worker: str,
    slots: int,
    beat_at: float | None = None,
    dispatched_at: float | None = None,
    pulse: bool = False,
) -> None:
    """One row for each worker and queue, with the database's time."""
    with transaction(settings.database()) as conn:
        _mark(conn, queue, worker, slots, beat_at, dispatched_at, pulse=pulse)


def _mark(
    conn: Connection,
    queue: str,
    worker: str,
    slots: int,
    beat_at: float | None,
    dispatched_at: float | None,
    *,
    pulse: bool,
) -> None:
    host = worker.rsplit(":", 1)[0]  # children of one prefork worker are one worker
    conn.execute(
        MARK,
        {
            "worker": host,
            "queue": queue,
            "slots": slots,
            "beat_at": beat_at,
            "dispatched_at": dispatched_at,
            "pulse": pulse,
        },
    )


def report() -> None:
    """Called around tasks: a worker that is busy is alive, though its pulse may wait behind others."""
    now = time.monotonic()
    with _lock:
        if now - _state["reported"] < EVERY_S:
            return
        _state["reported"] = now
        spent = dict(_spent)
        _spent.clear()
    try:
        with transaction(current().database()) as conn:
            _mark(conn, role["queue"], worker_name(), slots(), None, None, pulse=False)
            tallies.add_task_times(conn, spent)
    except DBAPIError as error:
        log.warning("alive.not_written", error=type(error).__name__)
        with _lock:
            for task, (count, seconds) in spent.items():
                _count(task, count, seconds)


# --- How long tasks take: kept here for some seconds, then added to the tallies --------------------------------


@signals.task_prerun.connect  # type: ignore[untyped-decorator]  # celery ships no types
def began(task_id: str, **_: Any) -> None:
    """A task begins."""
    _began[task_id] = time.monotonic()


@signals.task_postrun.connect  # type: ignore[untyped-decorator]  # celery ships no types
def ended(task_id: str, task: Any, **_: Any) -> None:
    """A task has ended, well or not."""
    start = _began.pop(task_id, None)
    if start is not None:
        with _lock:
            _count(task.name, 1, time.monotonic() - start)


def _count(task: str, count: int, seconds: float) -> None:
    before = _spent.get(task, (0, 0.0))
    _spent[task] = (before[0] + count, before[1] + seconds)
