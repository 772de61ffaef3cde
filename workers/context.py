"""What every task shares: this process's settings, its name, its store, and how hints are sent."""

from __future__ import annotations

import functools
import os
import secrets
import socket
import time
from typing import Any

from kombu.exceptions import OperationalError as BrokerError

from db.failpoints import hit
from media.storage import Store
from scheduler.logging import logger
from scheduler.settings import current

log = logger(__name__)

role = {"queue": "worker", "place": ""}
"""Set once at start: what this process is for (``workers.signals``), and, where several processes share it, which of
them it is ("1-", by ``workers.__main__``)."""


def worker_name() -> str:
    """Who holds a lease: queue, place among the processes of its worker, host and process."""
    return f"{role['queue']}@{role['place']}{socket.gethostname()}:{os.getpid()}"


@functools.cache
def store() -> Store:
    """This process's object store."""
    return Store(current().store())


def send(task: str, args: tuple[Any, ...], queue: str | None = None) -> bool:
    """Sends a hint; whether the broker took it. A hint that is lost costs a lease, never a post."""
    from workers.app import app

    hit("hint.before", task)
    try:
        app.send_task(task, args=args, task_id=task_id(task, args), **({"queue": queue} if queue else {}))
    except (BrokerError, OSError) as error:
        log.warning("hint.lost", task=task, error=type(error).__name__)
        return False
    hit("hint.after", task)
    return True


def task_id(task: str, args: tuple[Any, ...]) -> str:
    """An id that leads to the row: Flower's ``publish.deliver-1234-g5-9f86d081`` is `schedulerx posts show 1234`.

    The last part makes it unique: a hint may be sent twice.
    """
    numbers = [f"{prefix}{one}" for prefix, one in zip(("", "g"), args, strict=False) if isinstance(one, int)]
    return "-".join([task, *numbers, secrets.token_hex(4)])


def hint(task: str, args: tuple[Any, ...], queue: str | None) -> None:
    """``send`` in the form that the scheduler asks for."""
    send(task, args, queue)


def running_seconds() -> float:
    """Seconds on a clock that goes on while the machine sleeps: what the fence compares.

    CLOCK_BOOTTIME on Linux; macOS has it under the name CLOCK_MONOTONIC_RAW.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None) or time.CLOCK_MONOTONIC_RAW
    return time.clock_gettime(clock)


def stopping() -> bool:
    """Whether this worker was told to end: what can be left to another one is, then."""
    from celery.worker import state  # here: scripts and beat never need it

    return state.should_stop not in (None, False) or state.should_terminate not in (None, False)
