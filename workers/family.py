"""A worker of several processes: a parent that has everything loaded forks them, so that they share its memory.

The threads of one process share one interpreter lock, so a single worker cannot publish with more than one core. A
second one that is started by itself costs 70 MB; a forked one shares what its parent has loaded.

The parent works on nothing. It has no connection and no thread, so it may fork at any time. It hands on signals,
starts again what died, and ends when all have ended. Should it be killed, its children notice (the end of a pipe),
finish the calls that they have under way, and end.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from scheduler.logging import logger
from stack.backoff import STEADY_AFTER_S, backoff

log = logger(__name__)

ORPHANED_GRACE_S = 100.0
"""How long a child whose parent is gone may take for its calls: the longest call budget and what is written after."""
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
TICK_S = 30.0
"""Nothing needs it; a parent that looks now and then heals what nobody has thought of."""


@dataclass
class Member:
    """One place in the family, whoever fills it."""

    number: int
    pid: int | None = None
    forked_at: float = 0.0
    deaths: int = 0
    fork_at: float | None = 0.0
    """When to fork it, by the monotonic clock; None: it runs, or is not wanted any more."""
    ready: bool = False


class Family:
    """Keeps ``count`` processes at work.

    :param work: what a process does, given its number (from 1) and a function to call when it is ready; its exit
        code. It stops on SIGTERM, finishing what it has in hand, and at once on SIGQUIT.
    :param name: for the log.
    """

    def __init__(self, work: Callable[[int, Callable[[], None]], int], count: int, name: str) -> None:
        self._work = work
        self._name = name
        self._members = [Member(number) for number in range(1, count + 1)]
        self._asked: list[signal.Signals] = []
        self._failed = False
        self._announced = False

    def run(self) -> int:
        """Until told to stop. 0: all ended as asked.

        :raises RuntimeError: this process has threads, whose locks a child would inherit as they are.
        """
        if threading.active_count() != 1:
            raise RuntimeError("a process with threads must not fork")
        # What is there now stays shared: a collection in a child would copy it page by page.
        gc.collect()
        gc.freeze()
        with self._pipes(), self._signals():
            handed_on = 0
            while not (self._asked and all(one.pid is None for one in self._members)):
                if not self._asked:
                    self._fork_due()
                self._listen()
                self._reap()
                for number in self._asked[handed_on:]:
                    self._tell(signal.SIGQUIT if number == signal.SIGQUIT or self._impatient() else signal.SIGTERM)
                handed_on = len(self._asked)
        return 1 if self._failed else 0

    # --- The parent ---------------------------------------------------------------------------------------

    def _fork_due(self) -> None:
        for one in self._members:
            if one.fork_at is not None and one.fork_at <= time.monotonic():
                self._fork(one)

    def _fork(self, one: Member) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the child's own handlers would be answered by ours, in the wrong process.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            one.forked_at, one.fork_at, one.ready = time.monotonic(), None, False
            pid = os.fork()
            if pid == 0:
                self._become(one)
            one.pid = pid
        except OSError as error:
            self._again(one, error.strerror or "cannot be forked")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def _again(self, one: Member, how: str) -> None:
        """Plans the next fork of one that ended although nobody had asked."""
        now = time.monotonic()
        if now - one.forked_at >= STEADY_AFTER_S:
            one.deaths = 0
        pause = backoff(one.deaths)
        one.deaths += 1
        one.fork_at = now + pause
        log.error("worker.process_ended", worker=self._name, number=one.number, how=how, again_in_s=pause)

    def _listen(self) -> None:
        """Waits for a signal, for a child that is ready or has ended, or until one is to be forked."""
        due = [one.fork_at for one in self._members if one.fork_at is not None and not self._asked]
        patience = min(TICK_S, max(min(due) - time.monotonic(), 0.0)) if due else TICK_S
        found, _, _ = select.select([self._woken, self._told], [], [], patience)
        if self._woken in found:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 1024)
        if self._told in found:
            for number in os.read(self._told, 1024):
                self._members[number - 1].ready = True
        if not self._announced and all(one.ready for one in self._members):
            self._announced = True
            log.info("worker.all_ready", told=f"{self._name} ready", processes=len(self._members))

    def _reap(self) -> None:
        for one in self._members:
            if one.pid is None:
                continue
            pid, status = os.waitpid(one.pid, os.WNOHANG)
            if pid == 0:
                continue
            one.pid = None
            code = os.waitstatus_to_exitcode(status)
            how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
            if not self._asked:
                self._again(one, how)
                continue
            # TERM itself ends one that was not at work yet.
            self._failed |= code not in (0, -signal.SIGTERM)
            log.info("worker.process_stopped", worker=self._name, number=one.number, how=how)

    def _impatient(self) -> bool:
        """A second Ctrl-C hurries; a process manager that repeats its TERM does not."""
        return self._asked.count(signal.SIGINT) > 1

    def _tell(self, number: signal.Signals) -> None:
        log.info("worker.stopping", worker=self._name, signal=number.name)
        for one in self._members:
            one.fork_at = None
            if one.pid is not None:
                # Nobody else gets its pid before we have waited for it.
                os.kill(one.pid, number)

    # --- A child ------------------------------------------------------------------------------------------

    def _become(self, one: Member) -> NoReturn:
        """The rest of the child's life."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (signal.SIGTERM, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            ignore_terminal()
            # Its copies; the parent keeps its own. The last one to hold ``_alive`` shall be the parent.
            for end in (self._woken, self._wakes, self._told, self._alive):
                os.close(end)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            threading.Thread(target=self._outlive, name="parent-watch", daemon=True).start()
            code = self._work(one.number, lambda: _say(self._tells, one.number))
        except SystemExit as end_:
            code = end_.code if isinstance(end_.code, int) else 1
        except BaseException:  # noqa: BLE001 - a child must not return into what its parent was doing
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _outlive(self) -> None:
        """Waits for the parent's end; then finishes what is under way, and ends."""
        os.read(self._dies, 1)
        log.warning("worker.orphaned", worker=self._name)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHANED_GRACE_S)
        os.kill(os.getpid(), signal.SIGKILL)

    # --- What they speak by -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _pipes(self) -> Iterator[None]:
        """``wakes`` to ``woken``: a signal came. ``tells`` to ``told``: who is ready. ``alive``: held by the parent
        alone, so that ``dies`` ends with it, however it ends."""
        self._woken, self._wakes = os.pipe()
        self._told, self._tells = os.pipe()
        self._dies, self._alive = os.pipe()
        ends = (self._woken, self._wakes, self._told, self._tells, self._dies, self._alive)
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wakes, False)
        try:
            yield
        finally:
            for end in ends:
                os.close(end)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def asked(number: int, _frame: FrameType | None) -> None:
            self._asked.append(signal.Signals(number))

        def woken(_number: int, _frame: FrameType | None) -> None:
            """A handler must exist for the signal to reach the pipe."""

        handlers: dict[signal.Signals, Any] = {**dict.fromkeys(STOPPING, asked), signal.SIGCHLD: woken}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            del handlers[signal.SIGHUP]  # started with nohup: it is meant to outlive its terminal
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        previous = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)


def ignore_terminal() -> None:
    """A terminal's Ctrl-C and its end reach every process in it; a child hears of them from its parent, once."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _say(pipe: int, number: int) -> None:
    # A parent that is gone hears nothing; its child learns of that elsewhere.
    with contextlib.suppress(OSError):
        os.write(pipe, bytes([number]))
