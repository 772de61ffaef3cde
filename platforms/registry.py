"""Which platform modules there are: ours and third parties', by the entry point ``schedulerx.platforms``."""

from __future__ import annotations

import functools
import threading
from importlib.metadata import entry_points

from platforms.base import Platform
from platforms.errors import UnknownPlatform

GROUP = "schedulerx.platforms"
_one_at_a_time = threading.RLock()
"""Modules share parts of one another. Where two threads import such modules at once, Python breaks the deadlock by
giving one of them a module that is half done, and that thread's import fails."""


@functools.cache
def names() -> tuple[str, ...]:
    """The names of all registered platforms, sorted. No module is imported for it."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


@functools.cache
def get(name: str) -> Platform:
    """The module of that name, imported at its first use.

    :raises UnknownPlatform: none is registered, or what is registered is no platform module.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UnknownPlatform(f"There is no platform {name!r}; there are: {', '.join(names())}.")
    with _one_at_a_time:
        module = next(iter(found)).load()
    if not isinstance(module, Platform):
        raise UnknownPlatform(f"What is registered for {name!r} does not have the face of a platform module.")
    return module
