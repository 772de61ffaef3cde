"""What a script imports::

from scheduler import schedule

schedule("Hello", to=["x:acme"], at="2026-12-24T18:00", tz="Europe/Berlin")

Each name is loaded at its first use: a worker that needs one part of this package must not carry all of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scheduler.api import get, schedule
    from scheduler.changes import cancel, edit, reschedule, retry
    from scheduler.errors import (
        InvalidPost,
        InvalidTime,
        KeyReused,
        NotAllowed,
        NotConfigured,
        NotFound,
        Refused,
        SchedulerXError,
        Unavailable,
        UnknownAccount,
    )
    from scheduler.intake import Media
    from scheduler.posts import Post, ScheduledPost

__all__ = [
    "InvalidPost",
    "InvalidTime",
    "KeyReused",
    "Media",
    "NotAllowed",
    "NotConfigured",
    "NotFound",
    "Post",
    "Refused",
    "ScheduledPost",
    "SchedulerXError",
    "Unavailable",
    "UnknownAccount",
    "cancel",
    "edit",
    "get",
    "reschedule",
    "retry",
    "schedule",
]

_WHERE = {
    "InvalidPost": "scheduler.errors",
    "InvalidTime": "scheduler.errors",
    "KeyReused": "scheduler.errors",
    "Media": "scheduler.intake",
    "NotAllowed": "scheduler.errors",
    "NotConfigured": "scheduler.errors",
    "NotFound": "scheduler.errors",
    "Post": "scheduler.posts",
    "Refused": "scheduler.errors",
    "ScheduledPost": "scheduler.posts",
    "SchedulerXError": "scheduler.errors",
    "Unavailable": "scheduler.errors",
    "UnknownAccount": "scheduler.errors",
    "cancel": "scheduler.changes",
    "edit": "scheduler.changes",
    "get": "scheduler.api",
    "reschedule": "scheduler.changes",
    "retry": "scheduler.changes",
    "schedule": "scheduler.api",
}


def __getattr__(name: str) -> Any:
    """A name of ``__all__``, from the module that has it (PEP 562)."""
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(module), name)
    return found


def __dir__() -> list[str]:
    """What there is, loaded or not."""
    return sorted({*globals(), *__all__})
