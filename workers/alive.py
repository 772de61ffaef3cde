"""Signs of life: written by a worker as it does a task from its queue, so that they prove consumption."""

from __future__ import annotations

import threading
import time

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import transaction
from scheduler.logging import logger
from scheduler.settings import Settings, current
from workers.app import task
from workers.context import role, worker_name

log = logger(__name__)

EVERY_S = 10.0
"""A busy worker also reports by itself, this often at most, seconds."""

_state = {"slots": 1, "reported": 0.0}
_lock = threading.Lock()


@task("alive.pulse")
def pulse(queue: str) -> None:
    """Writes that this worker consumes ``queue``."""
    mark(current(), queue=queue, worker=worker_name(), slots=slots())


def slots() -> int:
    """How many tasks this worker does at once."""
    return int(_state["slots"])


def set_slots(count: int) -> None:
    """Remembers the worker's concurrency; called once, before any fork."""
    _state["slots"] = count


def mark(settings: Settings, *, queue: str, worker: str, slots: int) -> None:
    """One row for each worker and queue, with the database's time."""
    host = worker.rsplit(":", 1)[0]  # children of one prefork worker are one worker
    with transaction(settings.database()) as conn:
        conn.execute(
            text("""
                INSERT INTO worker_beats (worker, queue, slots) VALUES (:worker, :queue, :slots)
                ON CONFLICT (worker, queue) DO UPDATE SET slots = excluded.slots, seen_at = clock_timestamp()
            """),
            {"worker": host, "queue": queue, "slots": slots},
        )


def report() -> None:
    """Called around tasks: a worker that is busy is alive, though its pulse may wait behind others."""
    now = time.monotonic()
    with _lock:
        if now - _state["reported"] < EVERY_S:
            return
        _state["reported"] = now
    try:
        mark(current(), queue=role["queue"], worker=worker_name(), slots=slots())
    except DBAPIError as error:
        log.warning("alive.not_written", error=type(error).__name__)
