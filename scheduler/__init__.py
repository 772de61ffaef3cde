"""What a script imports::

from scheduler import schedule

schedule("Hello", to=["x:acme"], at="2026-12-24T18:00", tz="Europe/Berlin")
"""

from __future__ import annotations

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
