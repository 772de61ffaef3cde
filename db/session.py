"""Connections: one engine for each process and URL, made at first use (after any fork), and small.

libpq connections do not survive a fork, so nothing is connected at import and ``forget`` is called in each
new child. No session is ever held across an HTTP call.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg2
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError

from db import failpoints

T = TypeVar("T")

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 30_000
LOCK_TIMEOUT_MS = 10_000
IDLE_TIMEOUT_MS = 30_000
ASK_AFTER_S = 1.0
"""A connection that was idle for so long is asked whether it is alive before it is used."""

_engines: dict[tuple[int, str], Engine] = {}
_lock = threading.Lock()


def normalized(url: str) -> str:
    """``postgres://`` and ``postgresql://`` as SQLAlchemy with psycopg2 wants them; other URLs as they are."""
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg2://" + url.removeprefix(scheme)
    return url


def engine(url: str, *, pool_size: int = 8) -> Engine:
    """This process's engine for ``url``; made at its first use. Nothing is connected yet."""
    key = (os.getpid(), url)
    with _lock:
        found = _engines.get(key)
        if found is None:
            found = create_engine(
                normalized(url),
                pool_size=pool_size,
                max_overflow=2,
                pool_timeout=30,
                pool_recycle=1800,
                connect_args={
                    "connect_timeout": CONNECT_TIMEOUT_S,
                    "application_name": "schedulerx",
                    "keepalives_idle": 15,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                    "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS}"
                    f" -c lock_timeout={LOCK_TIMEOUT_MS} -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_MS}",
                },
            )
            event.listen(found, "checkin", _note_use)
            event.listen(found, "checkout", _ask_if_idle)
            _engines[key] = found
        return found


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _ask_if_idle(connection: Any, record: Any, _proxy: Any) -> None:
    """Whether the server is still there, asked only of a connection that was idle for a while: a round trip for
    each transaction is what a busy worker would pay most for. A busy one notices by its work, as it has to anyway.
    """
    used_at = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < ASK_AFTER_S:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise DisconnectionError from error  # the pool makes a new one, and drops all that are as old


def forget() -> None:
    """Drops engines inherited from a parent process without closing its sockets. Call after a fork."""
    # The lock may have been held by another thread at the fork; a new one is this child's own.
    global _lock  # noqa: PLW0603 - a fork copies the module's state, the state is the module's
    _lock = threading.Lock()
    for inherited in _engines.values():
        inherited.dispose(close=False)
    _engines.clear()


def close() -> None:
    """Closes this process's connections."""
    with _lock:
        for own in _engines.values():
            own.dispose()
        _engines.clear()


@contextlib.contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """A connection in a transaction that commits at the end, or rolls back on an exception."""
    with engine(url).begin() as connection:
        yield connection
        if failpoints.ARMED is not None:
            failpoints.hit("commit.before", failpoints.asker(), connection)
    if failpoints.ARMED is not None:
        failpoints.hit("commit.after", failpoints.asker())


def lost_connection(error: BaseException) -> bool:
    """Whether the server, or the way to it, went away: the statement may or may not have taken effect."""
    return isinstance(error, InterfaceError | OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def repeat_safe(
    work: Callable[[], T],
    *,
    tries: int = 3,
    seconds: float = 10.0,
    when: Callable[[BaseException], bool] = lost_connection,
) -> T:
    """Runs a transaction that carries its own identity, again if the connection was lost (or ``when`` says so).

    Only for work that a second run leaves as the first did (ids chosen before, guarded updates).

    :raises sqlalchemy.exc.DBAPIError: the last try's error.
    """
    import tenacity  # here: it brings asyncio and tornado along, and most workers never come this way

    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(tries) | tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
        retry=tenacity.retry_if_exception(when),
        reraise=True,
    )(work)
