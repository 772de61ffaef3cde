"""The Celery application. ``celery -A workers.app worker -Q publish -P threads -c 64``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery
from celery.platforms import SecurityWarning

# Celery warns of root because pickled messages could run code. Ours are JSON only (celeryconfig).
warnings.filterwarnings("ignore", category=SecurityWarning)

F = TypeVar("F", bound=Callable[..., Any])

app = Celery("schedulerx")
app.config_from_object("celeryconfig")


def task(name: str) -> Callable[[F], F]:
    """Registers a function as a task of that name. Celery ships no types; this keeps the function's."""
    registered: Callable[[F], F] = app.task(name=name)
    return registered


# Signals are connected by importing them; tasks are imported by the worker itself (celeryconfig.imports).
from workers import signals  # noqa: E402, F401 - needs the app, and connects itself
