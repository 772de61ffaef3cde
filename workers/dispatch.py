"""Queue ``dispatch``: the ticks of beat. All of them are idempotent; any number of beats may send them."""

from __future__ import annotations

import time

from scheduler import dispatch, prune, rescue, tallies
from scheduler.logging import logger
from scheduler.settings import current
from workers import alive
from workers.app import task
from workers.context import hint, send, worker_name

log = logger(__name__)

STAY_S = 0.9
"""How long the tick of a second stays for what becomes due within it."""
QUEUES = ("dispatch", "media", "upload", "publish", "followup")


@task("dispatch.second")
def second() -> None:
    """Beat's tick of each second: rescue, then claim what is due, then wait for what is due within it."""
    settings = current()
    began = time.monotonic()
    try:
        rescue.sweep(settings, hint)
    finally:
        # Whatever rescue came upon: what is due goes out.
        left = STAY_S - (time.monotonic() - began)
        dispatch.tick(settings, hint, by=_me(), until_s=max(left, 0.0))


@task("dispatch.nudge")
def nudge() -> None:
    """Something may have become ready just now: one claim, without staying."""
    dispatch.visit(current(), hint, by=_me())


@task("dispatch.minute")
def minute() -> None:
    """Beat's tick of each minute: the same claim, and what is not urgent."""
    settings = current()
    try:
        rescue.sweep(settings, hint)
    finally:
        dispatch.visit(settings, hint, by=_me())
    send("followup.renew", ())
    tallies.roll(settings)


@task("dispatch.prune")
def prune_task() -> None:
    """Beat's daily cleaning."""
    prune.run(current())


@task("dispatch.pulse")
def pulse(beat_at: float | None = None) -> None:
    """Beat's sign of life, handed on to each queue: only a worker that really consumes writes it down.

    :param beat_at: beat's own clock, seconds since the epoch; None from a beat of an older version.
    """
    alive.hand_on(current(), send, beat_at, QUEUES[1:])


def _me() -> str:
    return "dispatch:" + worker_name()
