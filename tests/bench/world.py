"""What a measurement runs on: a folder of its own, emulated platforms, and a whole stack as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
STOP_S = 130.0
OURS = ("DATABASE_URL", "REDIS_URL", "R2_", "SCHEDULERX_", "FLOWER_")


class BenchBroken(Exception):
    """Something did not come up, or a post did not go out: there is no figure."""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder. Open to all, since as root Postgres runs as another user and has to pass through."""
    made = Path(tempfile.mkdtemp(prefix="sx-bench-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def wait_for(what: str, seconds: float, look: Callable[[], T], *, pause_s: float = 0.05) -> T:
    """What ``look`` returns, once it is true. :raises BenchBroken: it does not become so in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(pause_s)
    raise BenchBroken(f"{what}: not within {seconds:.0f} s")


@contextlib.contextmanager
def process(argv: list[str], log: Path, env: dict[str, str], *, stop_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C reaches us alone; ended at the end, whatever happens."""
    with log.open("wb") as stream:
        child = subprocess.Popen(argv, stdout=stream, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(stop_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def plain_environment() -> dict[str, str]:
    """The environment without anything that points at somebody's real installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


@dataclass(frozen=True)
class Sandbox:
    """The emulated platforms."""

    url: str
    process: psutil.Process

    def latency(self, milliseconds: float) -> None:
        """How long each of their calls takes from now on."""
        body = json.dumps({"ms": milliseconds}).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox/latency", body, {"Content-Type": "application/json"})  # noqa: S310 - our own sandbox on loopback
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own sandbox on loopback
            answer.read()

    def summary(self) -> dict[str, Any]:
        """What they have accepted."""
        with urllib.request.urlopen(f"{self.url}/_sandbox/summary") as answer:  # noqa: S310 - our own sandbox on loopback
            found: dict[str, Any] = json.load(answer)
        return found


@contextlib.contextmanager
def sandbox(where: Path, *, latency_ms: float = 0.0) -> Iterator[Sandbox]:
    """Emulated platforms in a process of their own, so that their work is not counted as ours."""
    ready = where / "sandbox.json"
    argv = [
        sys.executable,
        "-m",
        "platforms.sandbox",
        "--port",
        "0",
        "--ready-file",
        str(ready),
        "--latency-ms",
        str(latency_ms),
    ]
    with process(argv, where / "sandbox.log", plain_environment(), stop_s=10.0) as child:
        wait_for("the sandbox", START_S, ready.exists)
        yield Sandbox(str(json.loads(ready.read_text())["url"]), psutil.Process(child.pid))


@dataclass(frozen=True)
class Stack:
    """``schedulerx up`` as it runs; ``page`` is the sandbox that it publishes to."""

    home: Path
    log: Path
    supervisor: psutil.Process
    page: Sandbox | None

    def programs(self) -> dict[str, psutil.Process]:
        """Every program and service by name, the supervisor too."""
        from stack.home import load_stack

        info = load_stack(self.home)
        pids = {name: record.pid for name, record in (info.pids if info else {}).items()}
        return {"supervisor": self.supervisor, **{name: psutil.Process(pid) for name, pid in pids.items()}}

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])


@contextlib.contextmanager
def settings(**variables: str) -> Iterator[Any]:
    """This process's settings from these variables alone; everything is as before afterwards."""
    from db import session
    from scheduler import api
    from scheduler.settings import current

    def forget() -> None:
        current.cache_clear()
        session.close()
        api._ready.clear()

    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(variables)
    forget()
    try:
        yield current()
    finally:
        forget()
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def stack(where: Path, page: Sandbox | None = None, **variables: str) -> Iterator[Stack]:
    """The real command, ready to publish; this process's settings are those of a script beside it."""
    told = {
        "SCHEDULERX_HOME": str(where / "home"),
        "SCHEDULERX_SPOOL_ID": f"bench-{os.getpid()}",
        # Many posts of few accounts in little time is what is measured; no guard shall hold them back.
        "SCHEDULERX_BURST_COUNT": "100000",
        "SCHEDULERX_LOG_FORMAT": "json",
        **({"SCHEDULERX_X_API_URL": page.url, "SCHEDULERX_PINTEREST_API_URL": page.url} if page else {}),
        **variables,
    }
    log = where / "up.log"
    argv = [sys.executable, "-m", "scheduler.cli.main", "up"]
    with process(argv, log, {**plain_environment(), **told}, stop_s=STOP_S) as child:

        def up() -> bool:
            if child.poll() is not None:
                raise BenchBroken("schedulerx up ended:\n" + log.read_text(errors="replace")[-4000:])
            return "schedulerx is up" in log.read_text(errors="replace")

        wait_for("schedulerx up", START_S, up)
        with settings(**told):
            yield Stack(where / "home", log, psutil.Process(child.pid), page)
