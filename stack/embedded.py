"""The embedded services together, as one thing to start and stop.

with EmbeddedStack(Path("/tmp/x")) as info:
    connect(info.database_url)
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from . import processes
from .credentials import Credentials
from .home import (
    HOME_VARIABLE,
    HomeLock,
    ProcessRecord,
    StackError,
    StackInfo,
    StackRefusedError,
    ensure_secret_key,
    load_stack,
    prepare_home,
    recorded_pids,
    save_stack,
)
from .objects import Objects
from .postgres import Postgres
from .service import Service
from .valkey import Valkey

ALL = frozenset({"postgres", "valkey", "objects"})


class EmbeddedStack:
    """Postgres, Valkey and an S3 store in one home, held under its lock."""

    def __init__(self, home: Path, *, shared_buffers: str = "64MB") -> None:
        self.home = home.expanduser().absolute()
        self.shared_buffers = shared_buffers
        self.services: list[Service] = []
        # What the supervisor adds to the description: its programs, and where Flower is.
        self.programs: dict[str, ProcessRecord] = {}
        self.flower_url: str | None = None
        self._lock: HomeLock | None = None

    def open(self) -> Credentials:
        """Create the home and take its lock, without starting anything. May be called again.

        :raises StackRefusedError: it cannot be used, or is in use.
        """
        try:
            if self._lock is None:
                self.home = prepare_home(self.home)
                lock = HomeLock(self.home)
                lock.acquire()
                self._lock = lock
            credentials = Credentials(self.home)
            credentials.secret("mark")
        except OSError as error:
            where = error.filename or self.home
            raise StackRefusedError(
                f"{where} cannot be used ({error.strerror}); mend that, or set {HOME_VARIABLE} to another folder"
            ) from error
        return credentials

    def start(self, only: Collection[str] = ALL) -> StackInfo:
        """Start the named services and wait until they answer. Leftovers of a killed run end first."""
        if unknown := set(only) - ALL:
            raise StackError(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(sorted(ALL))}")
        try:
            self._start(self.open(), only)
        except BaseException:
            self.stop(hurry=True)
            raise
        return self.info()

    def _start(self, credentials: Credentials, only: Collection[str]) -> None:
        everything: list[Service] = [
            Valkey(self.home, credentials),
            Postgres(self.home, credentials, shared_buffers=self.shared_buffers),
            Objects(self.home, credentials),
        ]
        # Also those that are not wanted now: an earlier run may have left them.
        before = recorded_pids(self.home)
        found = processes.marked(credentials.secret("mark"))
        for service in reversed(everything):
            service.end_orphans(before.get(service.name), found.get(service.name, []))
        if "postgres" in only:
            ensure_secret_key(self.home)  # the database is ours, and so is the key of what is stored in it
        for service in everything:
            if service.name in only:
                self.services.append(service)  # before the start: stop() must know of it if that fails
                service.start()
        self.describe()

    def describe(self) -> None:
        """Write stack.json as things are now."""
        save_stack(self.home, self.info())

    def info(self) -> StackInfo:
        """Where everything is."""
        pids = {
            service.name: record
            for service in self.services
            if service.pid is not None and (record := processes.record_of(service.pid)) is not None
        }
        found = {service.name: service for service in self.services}
        objects = found.get("objects")
        return StackInfo(
            database_url=found["postgres"].url if "postgres" in found else None,
            redis_url=found["valkey"].url if "valkey" in found else None,
            r2=objects.store if isinstance(objects, Objects) else None,
            flower_url=self.flower_url,
            pids={**pids, **self.programs},
        )

    def stop(self, *, hurry: bool = False) -> None:
        """Stop all services, the broker last, and let go of the home. May be called again."""
        try:
            for service in sorted(self.services, key=lambda service: service.order):
                service.stop(hurry=hurry)
        finally:
            self.close()

    def close(self) -> None:
        """Note that nothing runs any more (addresses stay: they are kept) and release the lock."""
        if self._lock is None:
            return
        try:
            # One that cannot be read was not written by this run: nothing has started.
            with contextlib.suppress(StackError):
                info = load_stack(self.home)
                if info is not None:
                    save_stack(self.home, replace(info, pids={}))
        finally:
            self._lock.release()
            self._lock = None
            self.services.clear()
            self.programs.clear()

    def __enter__(self) -> StackInfo:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
