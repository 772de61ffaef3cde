"""`schedulerx up`: the services that nobody brought, migrations, and everything that works, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from . import processes
from .console import Console
from .credentials import why_not_listen
from .embedded import EmbeddedStack
from .home import (
    HOME_VARIABLE,
    SECRET_VARIABLE,
    ProcessRecord,
    StackError,
    StackInfo,
    StackRefusedError,
    given,
    read_secret_key,
    recorded_pids,
)
from .programs import FLOWER_PORT, MONITOR_PORT, WORKERS, Program, default_programs, migration
from .supervisor import Supervisor

SPOOL_VARIABLE = "SCHEDULERX_SPOOL_ID"
LOG_VARIABLE = "SCHEDULERX_LOG_FORMAT"
FLOWER_VARIABLE, MONITOR_VARIABLE = "FLOWER_PORT", "SCHEDULERX_MONITOR_PORT"
MONITOR_HOST_VARIABLE = "SCHEDULERX_MONITOR_HOST"
LOOPBACK = "127.0.0.1"
SERVICE_BY_SETTING = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey", "R2_ENDPOINT_URL": "objects"}

# A leftover program that is unknown to this version may be a worker with a call under way.
UNKNOWN_GRACE_S = 100.0


class _StoppedEarlyError(BaseException):
    """A signal came before everything was up. Not an Exception: nothing on the way may swallow it."""


def run_up(
    home: Path,
    *,
    flower: bool = True,
    extra_env: dict[str, str] | None = None,
    programs: list[Program] | None = None,
    on_ready: Callable[[StackInfo], Any] | None = None,
) -> int:
    """Run the whole installation in the foreground. Returns the exit code: 0 ended in order, 1 failed, 2 refused.

    `programs` replaces the usual ones (migrations included). `on_ready` is called once, from the loop,
    when everything runs; it must return soon.
    """
    environment = {**os.environ, **(extra_env or {})}
    stack = EmbeddedStack(home)
    console = Console()
    try:
        with _early_signals():
            return _run(stack, console, environment, flower=flower, programs=programs, on_ready=on_ready)
    except StackError as error:
        console.flush(1.0)
        sys.stderr.write(f"schedulerx up: {error}\n")
        return 2 if isinstance(error, StackRefusedError) else 1
    except _StoppedEarlyError:
        console.say("stopped before everything was up")
        return 0
    finally:
        # The supervisor has ended the services in their turn; after an error, this does.
        stack.stop(hurry=True)
        console.flush(1.0)


def _run(
    stack: EmbeddedStack,
    console: Console,
    environment: dict[str, str],
    *,
    flower: bool,
    programs: list[Program] | None,
    on_ready: Callable[[StackInfo], Any] | None,
) -> int:
    asked_flower = asked_port(environment, FLOWER_VARIABLE) if flower else None
    asked_monitor = asked_port(environment, MONITOR_VARIABLE)
    if asked_flower and asked_flower == asked_monitor:
        raise StackRefusedError(
            f"{FLOWER_VARIABLE} and {MONITOR_VARIABLE} ask for the same port {asked_flower}; change one of them"
        )
    credentials = stack.open()
    mark = credentials.secret("mark")
    usual = programs is None
    if programs is None:
        programs = usual_programs(stack.home, environment, FLOWER_PORT)
    console.width = max((len(program.name) for program in programs), default=8)
    end_leftovers(stack.home, mark, programs, console)
    if usual:
        # Only now: until their leftovers had ended, these ports were taken.
        require_port(MONITOR_VARIABLE, given(environment, MONITOR_HOST_VARIABLE) or LOOPBACK, asked_monitor)
        require_port(FLOWER_VARIABLE, LOOPBACK, asked_flower)
        flower_port = (asked_flower or credentials.port("flower")) if flower else None
        monitor_port = credentials.port("monitor") if asked_monitor is None else asked_monitor
        programs = usual_programs(stack.home, environment, flower_port, monitor_port)
        stack.flower_url = f"http://127.0.0.1:{flower_port}" if flower_port else None
    info = stack.start({name for setting, name in SERVICE_BY_SETTING.items() if not given(environment, setting)})
    for service in stack.services:
        console.say(f"{service.name} runs on 127.0.0.1:{service.port} (process {service.pid})")

    def record_pids(records: dict[str, ProcessRecord]) -> None:
        stack.programs = records
        stack.describe()

    return Supervisor(
        programs,
        stack.services,
        environment={**environment, **exports(stack.home, info, environment)},
        cwd=stack.home,  # not where the user stands: Celery imports from there first
        mark=mark,
        console=console,
        on_ready=(lambda: on_ready(stack.info())) if on_ready is not None else None,
        on_pids=record_pids,
    ).run()


def asked_port(environment: Mapping[str, str], name: str) -> int | None:
    """The port that a variable asks for, or None. :raises StackRefusedError: it is none."""
    words = given(environment, name)
    if words is None:
        return None
    if not words.isdecimal() or int(words) > 65_535:
        raise StackRefusedError(f"{name}: {words!r} is no port; set it to a number up to 65535, or unset it")
    return int(words)


def require_port(name: str, host: str, port: int | None) -> None:
    """Refuse a port that was asked for and cannot be had: what needs it would die again and again."""
    if port and (why := why_not_listen(host, port)):
        raise StackRefusedError(
            f"{name} asks for port {port}, and nothing of ours can listen on {host}:{port} ({why}); end what listens "
            f"there, set {name} to another port, or unset it: a free one is chosen then"
        )


def usual_programs(
    home: Path, environment: Mapping[str, str], flower_port: int | None, monitor_port: int = MONITOR_PORT
) -> list[Program]:
    """Migrations first, then the default programs."""
    lasting = default_programs(
        small=True,
        beat_schedule=str(home / "beat" / "schedule"),
        spool_id=given(environment, SPOOL_VARIABLE) or socket.gethostname(),
        cores=environment.get("SCHEDULERX_CORES"),
        publishers=environment.get("SCHEDULERX_PUBLISH_PROCESSES"),
        flower_port=str(flower_port) if flower_port is not None else None,
        flower_db=str(home / "log" / "flower.db"),
        monitor_port=str(monitor_port),
    )
    return [migration(), *lasting]


def exports(home: Path, info: StackInfo, environment: Mapping[str, str]) -> dict[str, str]:
    """What the programs are told beyond the environment that they inherit."""
    told = {
        HOME_VARIABLE: str(home),
        SPOOL_VARIABLE: given(environment, SPOOL_VARIABLE) or socket.gethostname(),
    }
    if LOG_VARIABLE not in environment:
        told[LOG_VARIABLE] = "console"  # behind our prefix, JSON would be readable for nobody
    if info.database_url:
        told["DATABASE_URL"] = info.database_url
    if info.redis_url:
        told["REDIS_URL"] = info.redis_url
    if info.r2:
        # All four: keys of another store in the environment would not fit this one.
        told["R2_ENDPOINT_URL"] = info.r2.endpoint_url
        told["R2_ACCESS_KEY_ID"] = info.r2.access_key_id
        told["R2_SECRET_ACCESS_KEY"] = info.r2.secret_access_key
        told["R2_BUCKET"] = info.r2.bucket
    # The home's key belongs to the home's database. Another database may be shared with other machines,
    # whose key must be the same: that one has to be set by its owner.
    if info.database_url and not given(environment, SECRET_VARIABLE) and (key := read_secret_key(home)):
        told[SECRET_VARIABLE] = key
    return told


def end_leftovers(home: Path, mark: str, programs: list[Program], console: Console) -> None:
    """End programs that a killed supervisor left running: beat first, workers next, as ever.

    Found by the mark in their environment and by the records in stack.json; the services among them are
    ended later, by `EmbeddedStack.start`.
    """
    services = set(SERVICE_BY_SETTING.values())
    found = processes.marked(mark)
    for name, record in recorded_pids(home).items():
        process = processes.recorded(record)
        if process is not None and process not in found.setdefault(name, []) and unmarked_is_ours(process):
            found[name].append(process)
    known = {program.name: program for program in programs}
    stages: dict[int, list[tuple[str, list[psutil.Process]]]] = {}
    for name, left in found.items():
        if name not in services and left:
            stages.setdefault(known[name].order if name in known else WORKERS, []).append((name, left))
    for _, members in sorted(stages.items()):
        everyone = [process for _, left in members for process in left]
        names = ", ".join(sorted(name for name, _ in members))
        console.say(f"ending what an earlier run left behind: {names}")
        for name, left in members:
            for process in leaders(left):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(known[name].stop_signal if name in known else signal.SIGTERM)
        grace = max(known[name].stop_grace_s if name in known else UNKNOWN_GRACE_S for name, _ in members)
        if not processes.wait_until(lambda left=everyone: not any(map(processes.running, left)), grace):  # type: ignore[misc]  # mypy cannot type a lambda's default
            console.say(f"{names}: still running after {grace:.0f} s; ending by force")
            if not processes.end(everyone, [(signal.SIGKILL, 10.0)]):
                raise StackError(f"{names} of an earlier run cannot be ended; end them and try again")


def leaders(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those whose parent is not of the family too: a worker ends its own children, in its own order."""
    pids = {process.pid for process in family}
    first = []
    for process in family:
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in pids:
                first.append(process)
    return first


def unmarked_is_ours(process: psutil.Process) -> bool:
    """Whether a recorded process, whose environment does not carry our mark, may be believed in: only
    where the environment cannot be read at all. One that can be read and lacks the mark is a stranger."""
    try:
        return not process.environ()
    except psutil.Error:
        return True


@contextlib.contextmanager
def _early_signals() -> Iterator[None]:
    """Until the supervisor takes over (and after it has ended), a signal ends us in an orderly way."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _StoppedEarlyError

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
