"""The Celery application. ``celery -A workers.app worker -Q publish -P threads -c 64``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery
from celery.platforms import SecurityWarning

from workers import broker

# Celery warns of root because pickled messages could run code. Ours are JSON only (celeryconfig).
warnings.filterwarnings("ignore", category=SecurityWarning)

F = TypeVar("F", bound=Callable[..., Any])

# Before anything connects: an entry that is no message must not end a worker.
broker.install()

app = Celery("schedulerx")
app.config_from_object("celeryconfig")


def task(name: str, **options: Any) -> Callable[[F], F]:
    """Registers a function as a task of that name. Celery ships no types; this keeps the function's.

    :param options: Celery's own, where a task differs from celeryconfig (``time_limit``).
    """
    registered: Callable[[F], F] = app.task(name=name, **options)
    return registered


# Signals are connected by importing them; tasks are imported by the worker itself (celeryconfig.imports).
from workers import signals  # noqa: E402, F401 - needs the app, and connects itself
