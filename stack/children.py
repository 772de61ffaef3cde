"""A supervised program: launched with its output captured, watched, and ended with all it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from . import processes
from .programs import Program
from .service import words_for

LONGEST_LINE_BYTES = 64_000


class Child:
    """A `Unit` around one `Program`.

    It gets a session of its own: a Ctrl-C in the terminal reaches the supervisor alone, which then ends
    everything in order; and what the program leaves behind when it dies can be found by its group.
    """

    def __init__(self, program: Program, environment: Mapping[str, str], cwd: Path | None, mark: str) -> None:
        self.program = program
        self.name = program.name
        self.order = program.order
        self.stop_grace_s = program.stop_grace_s
        self.output: IO[bytes] | None = None
        self._environment = {
            **environment,
            "PYTHONUNBUFFERED": "1",  # a line appears when it is said
            **program.env,
            processes.MARK: mark,
            processes.NAME: program.name,
        }
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._said_ready = False
        self._forced = False
        self._orphans_until: float | None = None

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._process.pid if self._process is not None and self.alive() else None

    def launch(self) -> None:
        """Start it. The output is a new pipe each time: the last one may still hold unread lines."""
        self._said_ready = self._forced = False
        self._orphans_until = None
        self._process = subprocess.Popen(
            list(self.program.argv),
            env=self._environment,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.output = self._process.stdout

    def alive(self) -> bool:
        """Whether the program itself runs. What it left behind is ended before its pid is given back."""
        process = self._process
        if process is None or process.returncode is not None:
            return False
        if not ended_unreaped(process) or self._orphans_may_go_on(process.pid):
            return True
        # The pid, and with it the group's number, cannot be used again before wait(): this is our group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False

    def _orphans_may_go_on(self, group: int) -> bool:
        """Whether it has left something running that is given time to finish (calls that are under way)."""
        if self._forced or not self.program.orphans_grace_s:
            return False
        now = time.monotonic()
        if self._orphans_until is None:
            self._orphans_until = now + self.program.orphans_grace_s
        return now < self._orphans_until and processes.others_in_group(group)

    @property
    def succeeded(self) -> bool:
        """Whether it ended with exit code 0."""
        return self._process is not None and self._process.returncode == 0

    def ending(self) -> str:
        """How it ended."""
        return words_for(self._process.returncode if self._process else None)

    def heard(self, line: str) -> None:
        """Takes note of a line of its output."""
        if self.program.ready_text is not None and self.program.ready_text in line:
            self._said_ready = True

    def ready(self) -> bool:
        """Whether it said that it is ready (or runs, if it is not known to say anything)."""
        return self.alive() and (self.program.ready_text is None or self._said_ready)

    def request_stop(self, level: int) -> None:
        """Politely to the program itself, which ends its own children; then by force to all of them."""
        process = self._process
        if process is None or not self.alive():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if level == 0 and self._orphans_until is None:
                process.send_signal(self.program.stop_signal)
            elif level == 0:  # it has ended, and only what it left behind goes on
                os.killpg(process.pid, self.program.stop_signal)
            else:
                self._forced = True
                os.killpg(process.pid, signal.SIGKILL)


def ended_unreaped(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, without giving its pid back to the system where that can be avoided."""
    if hasattr(os, "waitid"):  # not on macOS before Python 3.13
        try:
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True
    return process.poll() is not None


class LineReader:
    """Turns what arrives in a pipe into lines."""

    def __init__(self, unit: Child, pipe: IO[bytes]) -> None:
        self.unit = unit
        self.pipe = pipe
        self.ended = False
        self.empty = False
        """Whether the last look found nothing."""
        self._rest = b""
        os.set_blocking(pipe.fileno(), False)

    def read(self) -> list[str]:
        """The complete lines that are there now; at the end also an incomplete one."""
        try:
            data = os.read(self.pipe.fileno(), 65_536)
        except BlockingIOError:
            self.empty = True
            return []
        self.empty, self.ended = False, not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (self.ended or len(self._rest) > LONGEST_LINE_BYTES):
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]
