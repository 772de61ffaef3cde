"""Schema versions: ``python -m db.migrate upgrade|downgrade|current|check`` and the same from Python.

Alembic is imported where it is used: every script asks for ``head()``, which reads file names only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from db.session import CONNECT_TIMEOUT_S, normalized

if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE_LOCK = 7_235_311
"""Advisory lock: two machines that start at once migrate one after the other."""
TURN_POLL_S = 0.2
"""How often a machine that waits for its turn asks. It must not wait within a statement: an index that is built
while others write waits for every statement that began before."""
LOCK_TIMEOUT_S = 5.0
"""The longest wait for a table. Behind whoever waits to change a table every reader of it waits, too: better to step
back, let them through, and come again."""
LOCK_TRIES = 30
LOCK_PAUSE_S = 2.0
IN_THE_WAY = frozenset({"55P03", "40P01"})
"""SQLSTATE of a lock that was not to be had in time, and of a deadlock."""


def config(url: str) -> Config:
    """Alembic's configuration, without an ini file."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.attributes["url"] = normalized(url)
    made.attributes["connect_args"] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": f"-c lock_timeout={int(LOCK_TIMEOUT_S * 1000)}",
    }
    return made


def head() -> str:
    """The newest schema version this code knows: migrations are named by their number, which is their revision."""
    files = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*_*.py")
    found = max((file.name.partition("_")[0] for file in files), default=None)
    if found is None:
        raise RuntimeError("the package has no migrations: it was not built right")
    return found


def current(url: str) -> str | None:
    """The schema version of the database; None: it is empty."""
    from alembic.migration import MigrationContext

    engine = create_engine(normalized(url), poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    with engine.connect() as conn:
        return MigrationContext.configure(conn).get_current_revision()


def upgrade(url: str, revision: str = "head") -> None:
    """Brings the schema to ``revision``; safe to run from many machines at once, and while others work.

    :raises sqlalchemy.exc.OperationalError: some transaction kept a table to itself for minutes. What was done until
        then stays; the same again goes on from there.
    """
    from alembic import command

    engine = create_engine(
        normalized(url),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )
    with engine.connect() as guard:
        while not guard.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": UPGRADE_LOCK}).scalar_one():
            time.sleep(TURN_POLL_S)
        try:
            _stepping_back(lambda: command.upgrade(config(url), revision))
        finally:
            guard.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": UPGRADE_LOCK})


def downgrade(url: str, revision: str) -> None:
    """Takes the schema back to ``revision``."""
    from alembic import command

    _stepping_back(lambda: command.downgrade(config(url), revision))


def _stepping_back(work: Callable[[], None]) -> None:
    """Runs migrations, again after a pause where a table was not to be had: each is a transaction of its own, so that
    those that are done are not done twice.
    """
    for left in reversed(range(LOCK_TRIES)):
        try:
            work()
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) not in IN_THE_WAY or left == 0:
                raise
            time.sleep(LOCK_PAUSE_S)
        else:
            return


def drift(url: str) -> list[object]:
    """Differences between the models and the database; empty: they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from db.models import Base

    engine = create_engine(normalized(url), poolclass=NullPool)
    with engine.connect() as conn:
        return list(compare_metadata(MigrationContext.configure(conn), Base.metadata))


def main(argv: list[str]) -> int:
    """The command; exit 0 fine, 1 the schema is behind, 2 wrong usage."""
    url = os.environ.get("DATABASE_URL", "")
    if not url or len(argv) not in {1, 2}:
        sys.stderr.write("usage: DATABASE_URL=... python -m db.migrate upgrade|downgrade REV|current|check\n")
        return 2
    match argv[0]:
        case "upgrade":
            upgrade(url, *argv[1:])
        case "downgrade" if len(argv) == 2:
            downgrade(url, argv[1])
        case "current":
            sys.stdout.write(f"{current(url)} (newest: {head()})\n")
        case "check":
            return 0 if current(url) == head() else 1
        case _:
            sys.stderr.write(f"unknown: {' '.join(argv)}\n")
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
