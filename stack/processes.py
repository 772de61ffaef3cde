"""Which processes are ours, and ending them politely.

Nothing here acts on a pid alone. A process is ours if its environment carries the mark of this home (a
random word that only our children inherit), or if it is the recorded pid with the recorded birth time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

import psutil

from .home import ProcessRecord

MARK = "SCHEDULERX_STACK_MARK"
NAME = "SCHEDULERX_STACK_PROGRAM"

# psutil derives the birth time from the boot time, which moves a little when the clock is corrected.
BIRTH_TOLERANCE_S = 2.0


def record_of(pid: int) -> ProcessRecord | None:
    """What identifies a running process, or None if it has ended."""
    try:
        return ProcessRecord(pid=pid, create_time=psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def running(process: psutil.Process) -> bool:
    """Whether it still runs. A zombie does not: only its parent, gone perhaps, has yet to notice."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def recorded(record: ProcessRecord) -> psutil.Process | None:
    """The process of this record, if the pid still belongs to the same one."""
    try:
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.create_time) > BIRTH_TOLERANCE_S:
            return None
    except psutil.Error:
        return None
    return process if running(process) else None


def mark_of(process: psutil.Process) -> tuple[str, str]:
    """The home's mark and the program's name in a process's environment ("" where it cannot be read)."""
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return "", ""
    return environment.get(MARK, ""), environment.get(NAME, "")


def marked(mark: str) -> dict[str, list[psutil.Process]]:
    """Every running process that carries this home's mark, by the name of its program."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        theirs, name = mark_of(process)
        if theirs == mark and running(process):
            found.setdefault(name, []).append(process)
    return found


def others_in_group(group: int) -> bool:
    """Whether a process other than the group's leader runs in the process group of that number."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.pid != group and os.getpgid(process.pid) == group and running(process):
                return True
    return False


def wait_until(condition: Callable[[], bool], seconds: float, *, pause: float = 0.01) -> bool:
    """Poll until the condition holds; False after that many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return True


def end(processes: Iterable[psutil.Process], steps: Iterable[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn to those still running, waiting its seconds. True once all have ended.

    psutil refuses to signal a pid that changed hands since the object was made.
    """
    left = list(processes)
    for number, seconds in steps:
        for process in left:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + seconds
        for process in left:
            wait_until(lambda process=process: not running(process), max(0.0, deadline - time.monotonic()))  # type: ignore[misc]  # mypy cannot type a lambda's default
        left = [process for process in left if running(process)]
        if not left:
            return True
    return False
