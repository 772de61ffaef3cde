"""`run_up` as a process of its own, with small programs in the place of Celery: signals, deaths, the end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from stack.home import killed_holder, load_stack
from stack.processes import recorded, wait_until

UP = """
import json, os, sys
from pathlib import Path
from stack.programs import Program
from stack.up import run_up

DUMMY = '''
import os, signal, sys, time
def end(*_):
    time.sleep(float(sys.argv[2]))
    print("finished", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready with", *sorted(name for name in os.environ if name in sys.argv[3].split(",")), flush=True)
while True:
    signal.pause()
'''
SHOWN = ",".join((
    "DATABASE_URL", "REDIS_URL", "R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET",
    "SCHEDULERX_SECRET_KEY", "SCHEDULERX_HOME", "ADDED",
))

def dummy(name, order, seconds=0.0):
    argv = (sys.executable, "-c", DUMMY, name, str(seconds), SHOWN)
    return Program(name, argv, order=order, stop_grace_s=20, ready_text="ready with")

def report(info):
    import psutil
    print("PSS", round(psutil.Process().memory_full_info().pss / 1e6, 1), flush=True)

sys.exit(run_up(
    Path(sys.argv[1]),
    extra_env={"ADDED": "1"},
    programs=[
        Program("migrate", (sys.executable, "-c", "print('migrated')"), once=True),
        dummy("beat", 0), dummy("dispatch", 1, 0.3), dummy("publish", 1, 0.6), dummy("flower", 2),
    ],
    on_ready=report,
))
"""


class Up:
    """A running `run_up` and what it has said so far."""

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        # Settings of the developer's own shell would leave services out.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("R2_", "SCHEDULERX_"))}
        clean = {name: value for name, value in clean.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
        self.process = subprocess.Popen(
            [sys.executable, "-c", UP, str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**clean, **(environment or {})},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, words: str, seconds: float = 60.0) -> None:
        assert wait_until(lambda: words in self.text or self.process.poll() is not None, seconds), self.text
        if words not in self.text:
            self.finish()
        assert words in self.text, self.text

    def finish(self, seconds: float = 60.0) -> int:
        code = self.process.wait(timeout=seconds)
        self._reader.join(timeout=10)
        return code

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sx-", dir="/tmp"))
    yield folder
    left = [process for process in psutil.process_iter() if belongs(process, folder)]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    shutil.rmtree(folder)
    assert not left, "a test left processes behind"


def belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        if process.pid == os.getpid():
            return False
        return str(folder) in " ".join(process.cmdline()) or process.environ().get("SCHEDULERX_HOME") == str(folder)
    except (psutil.Error, OSError):
        return False


@pytest.fixture
def up(home: Path) -> Iterator[Up]:
    one = Up(home)
    yield one
    if one.process.poll() is None:
        one.send(signal.SIGTERM)
    one.finish()


def pid_of(home: Path, name: str) -> int:
    info = load_stack(home)
    assert info is not None
    return info.pids[name].pid


def test_from_the_first_line_to_the_last(up: Up, home: Path) -> None:
    up.wait_for("PSS")
    assert re.search(r"^migrate  ?\| migrated$", up.text, re.MULTILINE)
    ready = next(line for line in up.lines if line.startswith("publish") and "ready with" in line)
    assert ready.split("ready with ")[1].split() == [
        "ADDED",
        "DATABASE_URL",
        "R2_ACCESS_KEY_ID",
        "R2_BUCKET",
        "R2_ENDPOINT_URL",
        "R2_SECRET_ACCESS_KEY",
        "REDIS_URL",
        "SCHEDULERX_HOME",
        "SCHEDULERX_SECRET_KEY",
    ]
    info = load_stack(home)
    assert info is not None
    assert set(info.pids) == {"postgres", "valkey", "objects", "beat", "dispatch", "publish", "flower"}
    assert float(up.text.split("PSS ")[1].split()[0]) < 30
    up.send(signal.SIGINT)
    assert up.finish() == 0
    stopped = re.findall(r"(\w+) has stopped \(", up.text)
    assert stopped == ["beat", "dispatch", "publish", "flower", "objects", "postgres", "valkey"]
    assert up.text.count("finished") == 4  # nobody was cut off
    assert "by force" not in up.text
    info = load_stack(home)
    assert info is not None
    assert info.pids == {}


def test_whatever_dies_is_started_again(up: Up, home: Path) -> None:
    up.wait_for("everything runs")
    for name in ("publish", "valkey", "postgres", "objects"):
        before = pid_of(home, name)
        os.kill(before, signal.SIGKILL)
        up.wait_for(f"{name} ended (signal SIGKILL); starting it again in 1 s")
        up.wait_for(f"{name} runs again")
        assert wait_until(lambda name=name, before=before: pid_of(home, name) != before, 10)  # type: ignore[misc]  # mypy cannot type a lambda's default
    up.send(signal.SIGTERM)
    assert up.finish() == 0


def test_a_second_supervisor_is_refused_and_harms_nothing(up: Up, home: Path) -> None:
    up.wait_for("everything runs")
    second = Up(home)
    assert second.finish() == 2
    assert f"already run by process {up.process.pid}" in second.text
    info = load_stack(home)
    assert info is not None
    assert all(recorded(record) for record in info.pids.values())


def test_after_a_kill_9_the_next_start_ends_the_orphans_in_order(up: Up, home: Path) -> None:
    up.wait_for("everything runs")
    info = load_stack(home)
    assert info is not None
    up.send(signal.SIGKILL)
    up.process.wait()
    assert all(recorded(record) for record in info.pids.values()), "they outlive the supervisor"
    assert killed_holder(home) == up.process.pid
    second = Up(home)
    try:
        second.wait_for("everything runs")
        ended = re.findall(r"left behind: (.*)", second.text)
        assert ended == ["beat", "dispatch, publish", "flower"]
        assert not any(recorded(record) for record in info.pids.values())
        after = load_stack(home)
        assert after is not None
        assert after.database_url == info.database_url
    finally:
        second.send(signal.SIGTERM)
        assert second.finish() == 0


def test_a_second_signal_does_not_wait_for_long(up: Up) -> None:
    up.wait_for("everything runs")
    up.send(signal.SIGINT)
    up.wait_for("stopping beat")
    up.send(signal.SIGINT)
    up.send(signal.SIGTERM)
    assert up.finish(30) == 0
    assert "everything has stopped" in up.text


def test_services_that_the_user_brought_are_not_started(home: Path) -> None:
    one = Up(home, {"DATABASE_URL": "postgresql://elsewhere/d", "R2_ENDPOINT_URL": "https://elsewhere"})
    try:
        one.wait_for("everything runs")
        info = load_stack(home)
        assert info is not None
        assert info.database_url is None
        assert "valkey" in info.pids
        assert not (home / "postgres").exists()
        assert not (home / "objects").exists()
        ready = next(line for line in one.lines if line.startswith("publish") and "ready with" in line)
        # The key of this home belongs to this home's database, not to one shared with other machines.
        assert "SCHEDULERX_SECRET_KEY" not in ready
    finally:
        one.send(signal.SIGTERM)
        assert one.finish() == 0


def test_a_signal_while_starting_ends_in_order_too(home: Path) -> None:
    one = Up(home)
    try:
        assert wait_until((home / "valkey" / "valkey.conf").exists, 30)
        one.send(signal.SIGTERM)
        assert one.finish() == 0
        info = load_stack(home)
        assert info is None or info.pids == {}
    finally:
        one.process.kill()
        one.finish()
