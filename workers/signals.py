"""What happens around tasks and processes: logging, engines after a fork, signs of life, left-over answers."""

from __future__ import annotations

import gc
import os
import threading
import time
from typing import Any

import structlog
from celery import signals

from db import session
from scheduler import logging as logs
from scheduler.logging import logger
from scheduler.settings import current
from workers.context import role

log = logger(__name__)
TICKS = ("dispatch.", "alive.", "notify.")
_began = threading.local()
"""When the task of this thread began."""


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # celery ships no types
def set_up_logging(**_: Any) -> None:
    """Being connected keeps Celery's hands off logging."""
    settings = current()
    logs.configure(form=settings.log_format, level=settings.log_level)


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]  # celery ships no types
def know_yourself(sender: str, instance: Any, **_: Any) -> None:
    """Remembers what this worker is for and how much it does at once, before any fork."""
    from workers import alive

    role["queue"] = sender.split("@", 1)[0]
    alive.set_slots(int(instance.concurrency or os.cpu_count() or 1))


@signals.worker_before_create_process.connect  # type: ignore[untyped-decorator]  # celery ships no types
def about_to_fork(**_: Any) -> None:
    """What is there now stays shared with the children: a collection there would copy it page by page."""
    gc.collect()
    gc.freeze()


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def forked(**_: Any) -> None:
    """libpq connections do not survive a fork."""
    session.forget()


def delivers() -> bool:
    """Whether this worker may send posts: publish; followup (which may share a worker with upload) sends last steps
    and the parts of threads.
    """
    return role["queue"] in {"publish", "followup", "upload"}


@signals.worker_ready.connect  # type: ignore[untyped-decorator]  # celery ships no types
def ready(**_: Any) -> None:
    """Stores what an earlier worker of this machine could not, and says that we are here."""
    from sqlalchemy.exc import DBAPIError

    from workers import alive, outcomes, tokens

    try:
        if tokens.replay(current()):
            log.info("tokens.replayed")
        if delivers():
            found = outcomes.replay(current())
            if found:
                log.info("outcomes.replayed", count=found)
        alive.report()
    except DBAPIError as error:
        log.warning("start.database", error=type(error).__name__)
    log.info("worker.ready", worker=role["queue"], slots=alive.slots())


@signals.task_prerun.connect  # type: ignore[untyped-decorator]  # celery ships no types
def before(task_id: str, task: Any, **_: Any) -> None:
    """Every line that a task logs says which task it was."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)
    _began.at = time.monotonic()


@signals.task_postrun.connect  # type: ignore[untyped-decorator]  # celery ships no types
def after(task: Any = None, state: str | None = None, **_: Any) -> None:
    """How long it took; and nothing of one task is said of the next."""
    from workers import alive, outcomes

    # The ticks of beat would fill the log with one line a second that says nothing.
    if task is not None and not task.name.startswith(TICKS):
        began = getattr(_began, "at", None)
        log.info("performance.task", seconds=None if began is None else round(time.monotonic() - began, 3), state=state)
    structlog.contextvars.clear_contextvars()
    alive.report()
    if delivers():
        outcomes.replay_now_and_then(current())


@signals.task_failure.connect  # type: ignore[untyped-decorator]  # celery ships no types
def failed(sender: Any, task_id: str, exception: BaseException, einfo: Any, **_: Any) -> None:
    """An unexpected exception is logged; the lease heals the row. Celery retries nothing."""
    log.error(
        "task.failed",
        task=sender.name,
        task_id=task_id,
        error=type(exception).__name__,
        trace=str(getattr(einfo, "traceback", ""))[-4000:],
    )
