"""The loop: order, backoff, first programs, stages. Signals and real services: tests/integration."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack import supervisor as module
from stack.console import Console
from stack.home import ProcessRecord
from stack.programs import Program
from stack.supervisor import Supervisor, Watched

STEADY = "import signal, sys; print(sys.argv[1], 'is up', flush=True); signal.pause()"

DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""


class FakeService:
    """A service without a process, which notes what happens to it."""

    def __init__(self, name: str, order: int, diary: list[str]) -> None:
        self.name, self.order, self.stop_grace_s = name, order, 5.0
        self.diary = diary
        self.up = True
        self.pid: int | None = None

    def launch(self) -> None:
        self.diary.append(f"launch {self.name}")
        self.up = True

    def alive(self) -> bool:
        return self.up

    def ready(self) -> bool:
        return self.up

    def ending(self) -> str:
        return "exit code 0"

    def request_stop(self, level: int) -> None:
        self.diary.append(f"stop {self.name} {level}")
        self.up = False


class Log:
    """A console into a file, read back as lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.console = Console(self.descriptor)

    def lines(self) -> list[str]:
        return [line.split(" | ", 1)[1] for line in self.path.read_text().splitlines()]

    def text(self) -> str:
        return "\n".join(self.lines())


@pytest.fixture
def log(tmp_path: Path) -> Any:
    one = Log(tmp_path / "log")
    yield one
    os.close(one.descriptor)


def steady(name: str, order: int = 1, **more: Any) -> Program:
    more.setdefault("ready_text", "is up")
    return Program(name, (sys.executable, "-c", STEADY, name), order=order, **more)


def python(name: str, code: str, **more: Any) -> Program:
    return Program(name, (sys.executable, "-c", code), **more)


def test_a_long_life_forgives_the_deaths_before(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Watched(FakeService("s", 10, []))
    assert [one.note_death(), one.note_death(), one.note_death()] == [1, 2, 4]
    one.launched_at = time.monotonic() - module.STEADY_AFTER_S - 1
    assert one.note_death() == 1


def test_stages_end_in_order_and_services_last(log: Log) -> None:
    diary: list[str] = []
    services = [
        FakeService("broker", 12, diary),
        FakeService("store", 10, diary),
        FakeService("database", 11, diary),
    ]
    programs = [steady("worker-b"), steady("beat", 0), steady("flower", 2), steady("worker-a")]
    pids: list[dict[str, ProcessRecord]] = []
    one = Supervisor(programs, services, console=log.console, on_pids=pids.append)
    one._on_ready = lambda: one.request_stop("the test")
    assert one.run() == 0
    assert diary == ["stop store 0", "stop database 0", "stop broker 0"]
    started = [line.split()[1] for line in log.lines() if " started (" in line]
    assert started == ["flower", "worker-b", "worker-a", "beat"]
    stages = [line.split("stopping ")[1] for line in log.lines() if " stopping " in line][1:]
    assert stages == ["beat", "worker-b, worker-a", "flower", "store", "database", "broker"]
    assert any(set(records) == {"worker-a", "worker-b", "beat", "flower"} for records in pids)
    assert pids[-1] == {}


def test_what_dies_comes_back(log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stack.backoff.FIRST_S", 0.01)
    code = (
        "import os, signal, sys\n"
        f"path = {str(tmp_path / 'lives')!r}\n"
        "lives = os.path.exists(path) and os.path.getsize(path) or 0\n"
        "open(path, 'a').write('x')\n"
        "if lives == 0: sys.exit(3)\n"
        "if lives == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "print('at last', flush=True); signal.pause()\n"
    )
    one = Supervisor([python("mortal", code, ready_text="at last")], console=log.console)
    one._on_ready = one.request_stop
    assert one.run() == 0
    assert "mortal ended (exit code 3); starting it again" in log.text()
    assert "mortal ended (signal SIGKILL); starting it again" in log.text()
    assert log.text().count("mortal runs again") == 2


def test_a_dead_service_comes_back_too(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.backoff.FIRST_S", 0.01)
    diary: list[str] = []
    service = FakeService("database", 11, diary)
    service.up = False
    one = Supervisor([steady("worker")], [service], console=log.console)
    one._on_ready = one.request_stop
    assert one.run() == 0
    assert diary == ["launch database", "stop database 0"]


def test_the_database_comes_back_while_workers_still_end(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.backoff.FIRST_S", 0.01)
    diary: list[str] = []
    service = FakeService("database", 11, diary)
    slow = (
        "import signal, sys, time\n"
        "def end(*_):\n time.sleep(0.5); print('done', flush=True); sys.exit(0)\n"
        "signal.signal(15, end); print('up', flush=True)\nwhile True: signal.pause()\n"
    )
    one = Supervisor([python("worker", slow, ready_text="up")], [service], console=log.console)

    def stop() -> None:
        service.up = False
        one.request_stop()

    one._on_ready = stop
    assert one.run() == 0
    assert diary == ["launch database", "stop database 0"]
    assert log.text().index("database runs again") < log.text().index("worker has stopped")


def test_first_programs_run_one_after_the_other_before_the_rest(log: Log) -> None:
    programs = [
        steady("worker"),
        python("one", "print('first')", once=True),
        python("two", "print('second')", once=True),
    ]
    one = Supervisor(programs, console=log.console)
    one._on_ready = one.request_stop
    assert one.run() == 0
    said = [line for line in log.lines() if line in {"first", "second"} or "worker started" in line]
    assert said[:2] == ["first", "second"]
    assert "worker started" in said[2]


def test_a_failed_first_program_ends_it_all(log: Log) -> None:
    diary: list[str] = []
    programs = [python("migrate", "raise SystemExit('no such table')", once=True), steady("worker")]
    assert Supervisor(programs, [FakeService("database", 11, diary)], console=log.console).run() == 1
    assert "no such table" in log.text()
    assert "migrate failed (exit code 1); nothing else is started" in log.text()
    assert "worker started" not in log.text()
    assert diary == ["stop database 0"]


def test_a_stop_during_a_first_program_is_no_failure(log: Log) -> None:
    one = Supervisor(
        [python("migrate", f"import os; os.kill({os.getpid()}, 15); {STEADY}", once=True), steady("worker")],
        console=log.console,
    )
    before = signal.getsignal(signal.SIGTERM)
    assert one.run() == 0
    assert signal.getsignal(signal.SIGTERM) is before
    assert "worker started" not in log.text()
    assert "stopping (SIGTERM)" in log.text()


def test_who_outstays_its_grace_is_ended_by_force(log: Log) -> None:
    one = Supervisor([python("deaf", DEAF, ready_text="up", stop_grace_s=0.2)], console=log.console)
    one._on_ready = one.request_stop
    assert one.run() == 0
    assert "deaf did not stop in time; ending it by force" in log.text()
    assert "deaf has stopped (signal SIGKILL)" in log.text()


@pytest.mark.parametrize("signals", [2, 3])
def test_more_signals_hurry(log: Log, monkeypatch: pytest.MonkeyPatch, signals: int) -> None:
    """The second cuts the grace, the third leaves none."""
    monkeypatch.setattr(module, "HURRIED_GRACE_S", 0.2 if signals == 2 else 60.0)
    one = Supervisor([python("deaf", DEAF, ready_text="up", stop_grace_s=300)], console=log.console)

    def stop() -> None:
        for _ in range(signals):
            one.request_stop()

    one._on_ready = stop
    begun = time.monotonic()
    assert one.run() == 0
    assert time.monotonic() - begun < 30  # neither its own 300 s nor, after a third, the hurried 60 s


def test_a_program_that_cannot_be_started_is_tried_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.backoff.FIRST_S", 0.01)
    one = Supervisor([Program("ghost", ("/no/such/program",))], console=log.console)
    turn: Callable[[float], None] = one._turn
    turns = iter(range(1_000))

    def counted(patience: float) -> None:
        turn(patience)
        if log.text().count("ghost cannot be started") >= 2 or next(turns) == 900:
            one.request_stop()

    monkeypatch.setattr(one, "_turn", counted)
    assert one.run() == 0
    assert log.text().count("ghost cannot be started: [Errno 2]") >= 2


def test_an_error_of_our_own_leaves_nothing_behind(log: Log) -> None:
    pids: list[dict[str, ProcessRecord]] = []

    def broken() -> None:
        raise RuntimeError("a broken callback")

    one = Supervisor([steady("worker")], console=log.console, on_pids=pids.append, on_ready=broken)
    with pytest.raises(RuntimeError, match="a broken callback"):
        one.run()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[-1]["worker"].pid, 0)
