"""Who acts: the person at the command, or the user under whom a script runs. Light, since every command names one."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator
from contextvars import ContextVar

_actor: ContextVar[str | None] = ContextVar("actor", default=None)


def actor() -> str:
    """Who acts in this context: the person at the command, or the user under whom a script runs."""
    known = _actor.get()
    if known is not None:
        return known
    try:
        return f"script:{getpass.getuser()}"
    except (KeyError, OSError):
        return "script"


def act_as(who: str) -> None:
    """Names the actor for the rest of this context."""
    _actor.set(who)


@contextlib.contextmanager
def acting_as(who: str) -> Iterator[None]:
    """Names the actor for a while, for services that act for several people."""
    token = _actor.set(who)
    try:
        yield
    finally:
        _actor.reset(token)
