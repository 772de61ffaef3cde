"""Keeps programs and services running, shows what they say, and ends them in order.

One thread and one `selectors` loop: it is resident for as long as the machine is on, so it stays small,
and nothing in it waits for a single child.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from .backoff import STEADY_AFTER_S, backoff
from .children import Child, LineReader
from .console import Console
from .home import ProcessRecord, StackError
from .processes import record_of
from .programs import Program
from .service import Unit

READY_PATIENCE_S = 60.0
"""A program that never says that it is ready, but runs, counts as ready after this."""
HURRIED_GRACE_S = 5.0
TICK_S = 0.5


class Watched:
    """One unit, and what the supervisor knows about its past."""

    def __init__(self, unit: Unit, *, running: bool = False) -> None:
        self.unit = unit
        self.running = running
        self.launched_at = time.monotonic()
        self.deaths = 0
        self.launch_at: float | None = None
        self.level = -1  # how firmly it was asked to stop; -1: not at all
        self.firmer_at = 0.0

    def note_death(self) -> float:
        """Plan the next launch and return the pause before it."""
        now = time.monotonic()
        if now - self.launched_at >= STEADY_AFTER_S:
            self.deaths = 0
        pause = backoff(self.deaths)
        self.deaths += 1
        self.running = False
        self.launch_at = now + pause
        return pause


class Supervisor:
    """Runs programs beside services that are already up, until a signal says stop."""

    def __init__(
        self,
        programs: Sequence[Program],
        services: Sequence[Unit] = (),
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        mark: str = "",
        console: Console | None = None,
        on_ready: Callable[[], Any] | None = None,
        on_pids: Callable[[dict[str, ProcessRecord]], Any] | None = None,
    ) -> None:
        widest = max((len(program.name) for program in programs), default=8)
        self.console = console or Console(width=widest)
        given = os.environ if environment is None else environment

        def child(program: Program) -> Child:
            return Child(program, given, cwd, mark)

        self._first = [child(program) for program in programs if program.once]
        lasting = sorted((program for program in programs if not program.once), key=lambda one: -one.order)
        self._watched = [Watched(service, running=True) for service in services]
        self._watched += [Watched(child(program)) for program in lasting]
        self._on_ready = on_ready
        self._on_pids = on_pids
        self._selector = selectors.DefaultSelector()
        self._stops = 0
        self._stop_reason = ""
        self._announced = False
        self._stage: int | None = None

    # ---------------------------------------------------------------- the loop

    def run(self) -> int:
        """Run until told to stop. 0: ended as asked; 1: a program that had to succeed first did not."""
        with self._signals():
            try:
                failed = not self._run_first()
                while not failed and not self._stopping():
                    self._turn(TICK_S)
                self._stop_all()
            finally:
                self._end_by_force()
                self._drain()
                self._selector.close()
                self.console.flush(1.0)
        return 1 if failed else 0

    def _stopping(self) -> bool:
        """Whether somebody asked us to stop (a method: it changes behind the type checker's back)."""
        return self._stops > 0

    def request_stop(self, reason: str = "asked to stop") -> None:
        """What a signal does; also for a caller in the same process (from a callback)."""
        self._stops += 1
        self._stop_reason = self._stop_reason or reason

    def _turn(self, patience: float) -> None:
        """One turn: read what was said, notice who died, start who is due."""
        if self.console.waiting:
            patience = min(patience, 0.05)
        due = [one.launch_at for one in self._watched if one.launch_at is not None and self._wanted(one)]
        if due:
            patience = min(patience, max(0.0, min(due) - time.monotonic()))
        self._read(patience)
        self.console.flush()
        self._notice_deaths()
        self._launch_due()
        self._announce()

    def _read(self, patience: float) -> None:
        for key, _ in self._selector.select(patience):
            if isinstance(key.data, LineReader):
                self._hear(key.data)
            else:  # the signal pipe: being woken was all
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 1024)

    def _hear(self, reader: LineReader) -> bool:
        """Show the lines that are there. Says whether there may be more at once."""
        for line in reader.read():
            reader.unit.heard(line)
            self.console.line(reader.unit.name, line)
        if reader.ended:
            self._selector.unregister(reader.pipe)
            reader.pipe.close()
        return not reader.ended and not reader.empty

    def _drain(self, only: Child | None = None) -> None:
        """The last words of those who have ended."""
        for key in list(self._selector.get_map().values()):
            reader = key.data
            if not isinstance(reader, LineReader) or (only is not None and reader.unit is not only):
                continue
            while self._hear(reader):
                pass
            if not reader.ended:  # held open by something that it started and that outlived it
                self._selector.unregister(reader.pipe)
                reader.pipe.close()

    # ------------------------------------------------------------- life and death

    def _launch(self, unit: Unit) -> bool:
        try:
            unit.launch()
        except (OSError, StackError) as error:
            self.console.say(f"{unit.name} cannot be started: {error}")
            return False
        if isinstance(unit, Child) and unit.output is not None:
            self._selector.register(unit.output, selectors.EVENT_READ, LineReader(unit, unit.output))
        return True

    def _wanted(self, one: Watched) -> bool:
        """Whether it is still to be kept running: while workers end, they need their database."""
        return self._stage is None or one.unit.order > self._stage

    def _notice_deaths(self) -> None:
        changed = False
        for one in self._watched:
            if one.running and not one.unit.alive():
                changed = True
                if self._wanted(one) and one.level < 0:
                    pause = one.note_death()
                    self.console.say(f"{one.unit.name} ended ({one.unit.ending()}); starting it again in {pause:.0f} s")
                else:
                    one.running, one.launch_at = False, None
                    self.console.say(f"{one.unit.name} has stopped ({one.unit.ending()})")
        if changed:
            self._record_pids()

    def _launch_due(self) -> None:
        now = time.monotonic()
        launched: list[Watched] = []
        for one in self._watched:
            if one.launch_at is None or now < one.launch_at or not self._wanted(one):
                continue
            one.launched_at, one.launch_at = now, None
            if self._launch(one.unit):
                one.running = True
                launched.append(one)
            else:
                one.note_death()
        if launched:
            self._record_pids()  # first: whoever reads that it runs may look for it
        for one in launched:
            how = "runs again" if one.deaths else "started"
            self.console.say(f"{one.unit.name} {how} (process {one.unit.pid})")

    def _record_pids(self) -> None:
        if self._on_pids is None:
            return
        running = [(one.unit.name, one.unit.pid) for one in self._watched if one.running]
        records = {name: record_of(pid) for name, pid in running if pid is not None}
        self._on_pids({name: record for name, record in records.items() if record is not None})

    def _announce(self) -> None:
        """Tell once that everything is up."""
        if self._announced or self._stopping():
            return
        now = time.monotonic()
        for one in self._watched:
            settled = one.running and now - one.launched_at > READY_PATIENCE_S
            if not (one.running and (settled or one.unit.ready())):
                return
        self._announced = True
        self.console.say("everything runs; Ctrl-C ends it in order")
        if self._on_ready is not None:
            self._on_ready()

    def _run_first(self) -> bool:
        """Those that must have succeeded before the rest starts, one after the other."""
        for child in self._first:
            one = Watched(child, running=True)
            if self._stopping() or not self._launch(child):
                return self._stopping()
            try:
                while child.alive():
                    self._turn(0.1)
                    if self._stopping():
                        self._press(one)
            finally:
                if child.alive():
                    child.request_stop(1)
            self._drain(child)
            if not child.succeeded:
                if not self._stopping():
                    self.console.say(f"{child.name} failed ({child.ending()}); nothing else is started")
                return self._stopping()
        for one in self._watched:
            if not one.running and one.deaths == 0:
                one.launch_at = 0.0
        return True

    # ---------------------------------------------------------------- the end

    def _stop_all(self) -> None:
        """Stage after stage; whoever outstays its grace, or a second signal, makes it firmer."""
        self.console.say(f"stopping ({self._stop_reason or 'a first program failed'}); a second Ctrl-C hurries")
        for stage in sorted({one.unit.order for one in self._watched}):
            self._stage = stage
            members = [one for one in self._watched if one.unit.order == stage]
            for one in members:
                one.launch_at = None
            names = [one.unit.name for one in members if one.running]
            if names:
                self.console.say(f"stopping {', '.join(names)}")
            while any(one.running for one in members):
                for one in members:
                    if one.running:
                        self._press(one)
                self._turn(0.1)
        self.console.say("everything has stopped")

    def _press(self, one: Watched) -> None:
        """Ask it to stop if it was not asked yet, more firmly if it has had its time: its grace, after a
        second signal a few seconds, after a third none."""
        now = time.monotonic()
        hurry = self._stops > 1
        if hurry:
            one.firmer_at = min(one.firmer_at, now + HURRIED_GRACE_S)
        if now < one.firmer_at and self._stops < 3:
            return
        one.level += 1
        if one.level > 0:
            self.console.say(f"{one.unit.name} did not stop in time; ending it by force")
        one.unit.request_stop(one.level)
        one.firmer_at = now + (HURRIED_GRACE_S if hurry or one.level > 0 else one.unit.stop_grace_s)

    def _end_by_force(self) -> None:
        """After an error of our own: leave nothing behind."""
        for one in self._watched:
            for level in (0, 1, 2):
                if not one.unit.alive():
                    break
                one.unit.request_stop(level)
                deadline = time.monotonic() + HURRIED_GRACE_S
                while one.unit.alive() and time.monotonic() < deadline:
                    time.sleep(0.02)

    # -------------------------------------------------------------- signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP ask to stop; a child's end wakes the loop."""
        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)
        self._selector.register(reading, selectors.EVENT_READ, None)

        def stop(number: int, _frame: FrameType | None) -> None:
            self.request_stop(signal.Signals(number).name)

        def woken(_number: int, _frame: FrameType | None) -> None:
            """A handler must exist for the signal to reach the pipe."""

        handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stop) | {signal.SIGCHLD: woken}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            del handlers[signal.SIGHUP]  # started with nohup: it is meant to outlive its terminal
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)
