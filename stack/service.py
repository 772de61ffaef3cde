"""What the embedded services have in common: launched, watched and stopped in one way.

`Unit` is all the supervisor knows about anything it runs. `Service` is a unit that one can also start
and wait for, and that has an address.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import psutil

from . import processes
from .credentials import Credentials, port_is_free
from .home import ProcessRecord, StackError

LOG_LIMIT_BYTES = 10_000_000


class Unit(Protocol):
    """Something that runs, may die and can be told to end."""

    name: str
    order: int
    """Stopped from the lowest to the highest, those of one number together; started the other way."""
    stop_grace_s: float

    @property
    def pid(self) -> int | None: ...

    def launch(self) -> None:
        """Start it and return at once. Raises OSError or StackError if that cannot be done."""

    def alive(self) -> bool: ...

    def ready(self) -> bool: ...

    def ending(self) -> str:
        """How it ended: `exit code 3`, `signal SIGKILL`."""

    def request_stop(self, level: int) -> None:
        """Ask it to end: 0 politely, 1 and above with less and less patience."""


def words_for(code: int | None) -> str:
    """A return code of subprocess in words."""
    if code is None:
        return "unknown"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def clean_environment() -> dict[str, str]:
    """The little that a service needs from our environment. Not the rest: it holds people's secrets, and
    variables like PGPORT or RCLONE_* would change what the service does."""
    names = ("PATH", "HOME", "TMPDIR", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ} | {"LC_ALL": "C"}


def open_log(path: Path) -> int:
    """A descriptor for appending; one old file is kept, so that logs do not grow for ever."""
    try:
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".1.log"))
    except FileNotFoundError:
        pass
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Service(ABC):
    """One embedded server in a session of its own, so that a Ctrl-C on the terminal does not reach it."""

    name: str
    order: int
    stop_grace_s: float = 30.0
    start_timeout_s: float = 60.0
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, home: Path, credentials: Credentials) -> None:
        self.home = home
        self.credentials = credentials
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Its address, as the settings want it."""

    @abstractmethod
    def prepare(self) -> None:
        """What must be on disk before the first launch; safe to repeat."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments. No secret may be in it: every user can list arguments."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether our own process, and not somebody else on the same port, answers now."""

    def environment(self) -> dict[str, str]:
        """What is added to the clean environment."""
        return {}

    @property
    def folder(self) -> Path:
        """Where it keeps its data."""
        return self.home / self.name

    @property
    def log_path(self) -> Path:
        """Where it writes what it has to say."""
        return self.home / "log" / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def alive(self) -> bool:
        """Whether it still runs (and takes note of its end)."""
        return self.pid is not None

    def ending(self) -> str:
        """How it ended."""
        return words_for(self._process.returncode if self._process else None)

    def launch(self) -> None:
        """Start it on the port it has, without waiting."""
        log = open_log(self.log_path)
        try:
            self._process = self.spawn(log)
        finally:
            os.close(log)

    def spawn(self, log: int) -> subprocess.Popen[bytes]:
        """Start the program as the current user."""
        return subprocess.Popen(
            self.command(),
            env=self.marked_environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )

    def marked_environment(self) -> dict[str, str]:
        """The environment of the child, with the mark by which the next start recognises it."""
        mark = {processes.MARK: self.credentials.secret("mark"), processes.NAME: self.name}
        return {**clean_environment(), **self.environment(), **mark}

    def start(self) -> None:
        """Prepare, launch and wait until it answers. A port lost to somebody else is replaced."""
        self.prepare()
        self.port = self.credentials.port(self.name)
        for _ in range(3):
            self.launch()
            processes.wait_until(lambda: not self.alive() or self.ready(), self.start_timeout_s)
            if self.alive() and self.ready():
                return
            taken = not self.alive() and not port_is_free(self.port)
            self.stop(hurry=True)
            if not taken:
                break
            self.port = self.credentials.another_port(self.name)
        raise StackError(
            f"{self.name} did not start ({self.ending()}); the end of {self.log_path}:\n{tail(self.log_path)}"
        )

    def request_stop(self, level: int) -> None:
        """Ask it to end; each level is less patient."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.stop_signals[min(level, len(self.stop_signals) - 1)])

    def stop(self, *, hurry: bool = False) -> None:
        """End it and wait; a service that does not listen is told more firmly."""
        for level in range(len(self.stop_signals)):
            self.request_stop(level)
            if processes.wait_until(lambda: not self.alive(), 5.0 if hurry else self.stop_grace_s):
                return

    def orphans(self, record: ProcessRecord | None, found: list[psutil.Process]) -> list[psutil.Process]:
        """Processes of an earlier run of this service: by mark, and by the record if it still holds."""
        known = {process.pid: process for process in found}
        process = processes.recorded(record) if record else None
        if process is not None:
            known.setdefault(process.pid, process)
        return list(known.values())

    def end_orphans(self, record: ProcessRecord | None, found: list[psutil.Process]) -> int:
        """Stop what a killed supervisor left behind. Returns how many there were."""
        left = self.orphans(record, found)
        steps = [(number, self.stop_grace_s) for number in self.stop_signals]
        if not processes.end(left, steps):
            pids = ", ".join(str(process.pid) for process in left)
            raise StackError(f"{self.name} of an earlier run does not end (process {pids}); end it and try again")
        return len(left)


def answers(port: int) -> bool:
    """Whether anybody accepts connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
