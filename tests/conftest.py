"""What all tests share: real services of our own, clean tables, no way out of this machine, and a pipeline
that runs in this process, step by step, without Celery and without waiting.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlatform
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

# Some environments keep Python from storing what it has compiled. Every process that a test starts would compile all
# of this project anew, which is half of the time that a worker needs to start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# --- No way out ---------------------------------------------------------------------------------------------


class BeyondLoopback(RuntimeError):
    """A test tried to reach another machine. No OSError: nobody shall mistake it for a network problem."""


def _is_here(family: int, address: Any) -> bool:
    if family == socket.AF_UNIX:
        return True
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    host = address[0]
    if host in {"localhost", ""}:
        return True
    try:
        found = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to other machines fail loudly, in every test."""
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def guarded(sock: socket.socket, address: Any, real: Callable[..., Any] = real) -> Any:
            if not _is_here(sock.family, address):
                raise BeyondLoopback(f"a test tried to connect to {address!r}")
            return real(sock, address)

        monkeypatch.setattr(socket.socket, name, guarded)


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> None:
    """Logs as a worker writes them, warnings and worse only."""
    from scheduler import logging as logs

    logs.configure(form="console", level="ERROR")


# --- Services -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder with a short name (sockets have 108 characters) that Postgres's own user can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="sx-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(short_folder: Path) -> Iterator[Any]:
    """Postgres, Valkey and an S3 store, for the whole session; where they are."""
    from stack.embedded import EmbeddedStack

    with EmbeddedStack(short_folder / "h") as info:
        yield info


@pytest.fixture(scope="session")
def database_url(stack: Any) -> str:
    """The migrated database."""
    from db import migrate

    migrate.upgrade(stack.database_url)
    # No test here pulls the plug of the whole machine: what commits wait for the disk for would only be time.
    engine = create_engine(_driver(stack.database_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            conn.execute(text(f"ALTER SYSTEM SET {name} = off"))
        conn.execute(text("SELECT pg_reload_conf()"))
    return str(stack.database_url)


@pytest.fixture(scope="session")
def secret_key() -> str:
    """One key for all tests."""
    from db.crypto import new_key

    return new_key()


@pytest.fixture
def empty_database(database_url: str) -> str:
    """The database with no rows, and every sequence at its start."""
    from db.models import Base

    engine = create_engine(_driver(database_url), poolclass=NullPool)
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with engine.begin() as conn:
        conn.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        conn.execute(text("ALTER SEQUENCE post_ids RESTART"))
    engine.dispose()
    return database_url


def _driver(url: str) -> str:
    from db.session import normalized

    return normalized(url)


# --- Settings -----------------------------------------------------------------------------------------------


def forget_settings() -> None:
    """Drops everything that a process remembers of its settings."""
    from db import session
    from scheduler import api
    from scheduler.settings import current
    from workers import context

    current.cache_clear()
    context.store.cache_clear()
    session.close()
    api._ready.clear()


@dataclass
class Environment:
    """The settings of one test. ``change`` sets variables and answers with the settings as they are then."""

    monkeypatch: pytest.MonkeyPatch

    def change(self, **variables: str | float | None) -> Any:
        """Sets (or with None removes) environment variables; ``burst_count=3`` means SCHEDULERX_BURST_COUNT."""
        from scheduler.settings import current

        for name, value in variables.items():
            plain = name if name.isupper() else f"SCHEDULERX_{name.upper()}"
            if value is None:
                self.monkeypatch.delenv(plain, raising=False)
            else:
                self.monkeypatch.setenv(plain, str(value))
        forget_settings()
        return current()


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Environment]:
    """An environment that says nothing of ours, with a home of its own."""
    for name in list(os.environ):
        if name.startswith(("SCHEDULERX_", "R2_")) or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("SCHEDULERX_HOME", str(tmp_path / "home"))
    forget_settings()
    yield Environment(monkeypatch)
    forget_settings()


@pytest.fixture
def environment(bare_environment: Environment, stack: Any, empty_database: str, secret_key: str) -> Environment:
    """Everything set, on the session's services and an empty database."""
    bare_environment.change(
        DATABASE_URL=empty_database,
        REDIS_URL=stack.redis_url,
        R2_ENDPOINT_URL=stack.r2.endpoint_url,
        R2_ACCESS_KEY_ID=stack.r2.access_key_id,
        R2_SECRET_ACCESS_KEY=stack.r2.secret_access_key,
        R2_BUCKET=stack.r2.bucket,
        secret_key=secret_key,
        spool_id="here",
        burst_count=100_000,
    )
    return bare_environment


@pytest.fixture
def settings(environment: Environment) -> Any:
    """The settings, as every part of the program reads them."""
    from scheduler.settings import current

    return current()


# --- The database, from outside -----------------------------------------------------------------------------


@dataclass
class Database:
    """Looks into the tables and, where a test has to, changes them."""

    url: str

    def __post_init__(self) -> None:
        self.engine = create_engine(_driver(self.url), pool_size=4, max_overflow=16)

    def connect(self) -> Connection:
        """A connection of its own, for tests of who comes first."""
        return self.engine.connect()

    def run(self, query: str, **values: Any) -> int:
        """Changes rows; how many."""
        with self.engine.begin() as conn:
            return conn.execute(text(query), values).rowcount

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows."""
        with self.engine.begin() as conn:
            return list(conn.execute(text(query), values).all())

    def one(self, query: str, **values: Any) -> Any:
        """One value."""
        with self.engine.begin() as conn:
            return conn.execute(text(query), values).scalar_one()

    def post(self, number: int) -> Any:
        """A row of scheduled_posts."""
        with self.engine.begin() as conn:
            return conn.execute(text("SELECT * FROM scheduled_posts WHERE id = :id"), {"id": number}).one()

    def attempts(self, number: int) -> list[Any]:
        """The attempts of a scheduled post, oldest first."""
        return self.rows("SELECT * FROM publish_attempts WHERE scheduled_post_id = :id ORDER BY started_at", id=number)

    def letters(self, number: int) -> list[Any]:
        """The dead letters of a scheduled post, oldest first."""
        return self.rows("SELECT * FROM dead_letters WHERE scheduled_post_id = :id ORDER BY id", id=number)

    def counts(self) -> dict[str, int]:
        """Rows of each table: what "nothing was stored" is held against."""
        from db.models import Base

        names = [table.name for table in Base.metadata.sorted_tables]
        return {name: self.one(f"SELECT count(*) FROM {name}") for name in names}  # noqa: S608 - our own names

    def pass_time(self, seconds: float) -> None:
        """Makes everything in the tables older, so that it looks as if ``seconds`` had gone by."""
        from sqlalchemy import DateTime

        from db.models import Base

        with self.engine.begin() as conn:
            for table in Base.metadata.sorted_tables:
                if table.name == "audit_log":
                    continue  # append-only: Postgres refuses
                columns = [one.name for one in table.columns if isinstance(one.type, DateTime)]
                moved = ", ".join(f"{name} = {name} - make_interval(secs => :s)" for name in columns)
                if moved:
                    conn.execute(text(f"UPDATE {table.name} SET {moved}"), {"s": seconds})  # noqa: S608 - our own names
            conn.execute(
                text("""
                    UPDATE scheduled_posts SET lookups = jsonb_set(lookups, '{absent_at}', to_jsonb(
                           CAST(lookups ->> 'absent_at' AS timestamptz) - make_interval(secs => :s)))
                     WHERE lookups ? 'absent_at'
                """),
                {"s": seconds},
            )


@pytest.fixture
def database(settings: Any) -> Iterator[Database]:
    """The tables."""
    found = Database(settings.database())
    yield found
    found.engine.dispose()


# --- The pipeline in this process ---------------------------------------------------------------------------


@dataclass
class Hints:
    """Every hint that was sent, in order; what has not been run yet waits in ``waiting``."""

    sent: list[tuple[str, tuple[Any, ...], str | None]] = field(default_factory=list)
    waiting: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, task: str, args: Sequence[Any], queue: str | None = None) -> bool:
        """Takes a hint, in both forms in which the program sends them."""
        with self.lock:
            self.sent.append((task, tuple(args), queue))
            self.waiting.append((task, tuple(args)))
        return True

    def names(self) -> list[str]:
        """The tasks that were hinted at."""
        return [task for task, _, _ in self.sent]

    def forget(self) -> None:
        """What waits is lost, as when a broker is flushed."""
        self.waiting.clear()


@pytest.fixture
def hints(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Hints:
    """Takes the broker's place for everything that runs in this process."""
    from workers import context, dispatch, followup, media, publish, upload

    taken = Hints()
    for module in (context, dispatch, followup, media, publish, upload):
        monkeypatch.setattr(module, "send", taken)
    return taken


@dataclass
class Pipeline:
    """All workers and beat in one thread: deterministic, and never waiting."""

    settings: Any
    hints: Hints
    database: Database

    def run_hints(self) -> int:
        """Does what was hinted at, and what that hints at; how many tasks."""
        from workers import followup, media, publish, upload

        tasks: dict[str, Callable[..., Any]] = {
            "media.fetch": media.fetch,
            "media.normalize": media.render,
            "upload.rendition": upload.upload,
            "publish.prepare": publish.prepare,
            "publish.deliver": publish.deliver,
            "followup.poll": followup.poll,
            "followup.reconcile": followup.reconcile,
        }
        done = 0
        while self.hints.waiting:
            task, args = self.hints.waiting.pop(0)
            if task == "followup.refresh":
                followup.refresh(self.settings, args[0], args[1], refused=args[2] if len(args) > 2 else True)
            elif task in tasks:
                tasks[task](self.settings, *args)
            done += 1
        return done

    def claim(self) -> int:
        """What a tick claims; the hints are left waiting."""
        from scheduler import dispatch

        return dispatch.visit(self.settings, self.hints, by="dispatch:test")

    def sweep(self) -> dict[str, int]:
        """What rescue finds; the hints are left waiting."""
        from scheduler import rescue

        return rescue.sweep(self.settings, self.hints)

    def cycle(self) -> int:
        """One tick, and all work it leads to; how many tasks."""
        self.sweep()
        self.claim()
        return self.run_hints()

    def until_quiet(self, *, rounds: int = 30) -> None:
        """Cycles until there is nothing to do now."""
        for _ in range(rounds):
            if self.cycle() == 0:
                return
        raise AssertionError(f"still busy after {rounds} rounds: {self.hints.names()[-10:]}")

    def until(self, number: int, *statuses: str, rounds: int = 60) -> Any:
        """Cycles and lets time pass until a scheduled post has one of these statuses; its row."""
        for _ in range(rounds):
            self.until_quiet()
            row = self.database.post(number)
            if row.status in statuses:
                return row
            self.database.pass_time(
                max(
                    self.database.one(
                        """
                SELECT CAST(extract(epoch FROM greatest(available_at, lease_expires_at) - clock_timestamp()) AS float)
                  FROM scheduled_posts WHERE id = :id""",
                        id=number,
                    )
                    + 0.001,
                    1.0,
                )
            )
        raise AssertionError(f"{number} is {self.database.post(number).status}, not one of {statuses}")


@pytest.fixture
def pipeline(settings: Any, hints: Hints, database: Database) -> Pipeline:
    """Drives everything in this process."""
    return Pipeline(settings, hints, database)


# --- Platforms and accounts ---------------------------------------------------------------------------------


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FakePlatform], FakePlatform]]:
    """Makes platform modules known as a third party's package would, for one test."""
    from importlib.metadata import entry_points

    from platforms import registry

    added: dict[str, FakePlatform] = {}

    class Entry:
        """An entry point whose module is an object of the test."""

        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> FakePlatform:
            return added[self.name]

    def found(**wanted: Any) -> Sequence[EntryPoint | Entry]:
        real = list(entry_points(**wanted))
        if wanted.get("group") != registry.GROUP:
            return real
        return real + [Entry(name) for name in added if wanted.get("name") in {None, name}]

    def forget() -> None:
        registry.names.cache_clear()
        registry.get.cache_clear()

    def add(platform: FakePlatform) -> FakePlatform:
        added[platform.name] = platform
        forget()
        return platform

    monkeypatch.setattr(registry, "entry_points", found)
    forget()
    yield add
    forget()


@pytest.fixture
def fake(register: Callable[[FakePlatform], FakePlatform]) -> FakePlatform:
    """A platform that does as it is told, under the name ``fake``."""
    return register(FakePlatform())


@pytest.fixture
def account(settings: Any) -> Callable[..., int]:
    """Adds an account; its id."""
    from scheduler import accounts
    from scheduler.api import database as transaction

    def add(target: str = "fake:acme", **credentials: Any) -> int:
        platform, name = target.split(":")
        given = credentials or (
            {"token": "t0"} if platform not in {"x", "pinterest"} else {"access_token": f"sandbox-{platform}-{name}"}
        )
        with transaction(settings) as conn:
            return accounts.add(conn, settings, platform, name, given).id

    return add


@pytest.fixture
def scheduled(fake: FakePlatform, account: Callable[..., int]) -> Callable[..., int]:
    """Schedules a text on ``fake:acme`` (added at the first use); the id of the scheduled post."""
    from scheduler import schedule

    seen: set[str] = set()

    def make(words: str = "Hello", *, to: str = "fake:acme", at: Any = "now", **more: Any) -> int:
        if to not in seen:
            account(to)
            seen.add(to)
        return schedule(words, to=to, at=at, **more).scheduled[0].id

    return make


@pytest.fixture(scope="session")
def pictures(short_folder: Path) -> dict[str, Path]:
    """Real pictures, drawn by us."""
    from PIL import Image

    folder = short_folder / "pictures"
    folder.mkdir(exist_ok=True)
    made = {"jpeg": folder / "noise.jpg", "png": folder / "green.png", "small": folder / "small.png"}
    Image.effect_noise((640, 480), 60).convert("RGB").save(made["jpeg"])
    Image.new("RGBA", (400, 600), (10, 200, 30, 128)).save(made["png"])
    Image.new("RGB", (20, 20), (1, 2, 3)).save(made["small"])
    return made
