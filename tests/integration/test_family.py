"""A worker of several processes: what dies comes back, what is told to stop finishes, and no orphan stays."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from scheduler import dispatch, health
from scheduler.health import State
from stack.processes import running, wait_until

MEMBERS = '''
import os, signal, sys, time
from pathlib import Path
from scheduler import logging as logs
from stack import backoff
from workers import family

logs.configure(form="json")
backoff.FIRST_S = 0.05
here = Path(sys.argv[1])

def work(number, ready):
    """As a worker: one call after the other; told to stop, it ends after the one under way."""
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    signal.signal(signal.SIGQUIT, lambda *_: os._exit(7))
    (here / f"pid-{number}-{os.getpid()}").touch()
    ready()
    while not told:
        (here / f"busy-{number}").touch()
        while (here / "long call").exists():
            (here / f"calling-{number}").touch()
            time.sleep(0.01)
        time.sleep(0.01)
    print(f"{number} finished", flush=True)
    return 0

one = family.Family(work, 2, "publish@here")
code = one.run()
print("parent ends", flush=True)
sys.exit(code)
'''


class Running:
    """A family in a process of its own, and what it has said."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.process = subprocess.Popen(
            [sys.executable, "-c", MEMBERS, str(where)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def pids(self, number: int) -> list[int]:
        """Who has ever filled that place."""
        return [int(file.name.rsplit("-", 1)[1]) for file in self.where.glob(f"pid-{number}-*")]

    def begun(self) -> tuple[psutil.Process, psutil.Process]:
        """Both members, once they work."""
        self._both("busy")
        return psutil.Process(self.pids(1)[0]), psutil.Process(self.pids(2)[0])

    def long_call(self) -> Path:
        """Both are in a call from now on, until the file is removed."""
        file = self.where / "long call"
        file.touch()
        self._both("calling")
        return file

    def _both(self, what: str) -> None:
        assert wait_until(lambda: all((self.where / f"{what}-{number}").exists() for number in (1, 2)), 20), self.text

    def ended(self) -> int:
        code = self.process.wait(20)
        self._reader.join(10)
        return code


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Running]:
    one = Running(tmp_path)
    yield one
    (tmp_path / "long call").unlink(missing_ok=True)
    if one.process.poll() is None:
        os.killpg(one.process.pid, signal.SIGKILL)
    one.ended()
    left = [pid for number in (1, 2) for pid in one.pids(number) if psutil.pid_exists(pid)]
    assert wait_until(lambda: not any(map(alive, left)), 10)


def alive(pid: int) -> bool:
    try:
        return running(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_both_work_and_share_a_parent(family: Running) -> None:
    first, second = family.begun()
    assert first.ppid() == second.ppid() == family.process.pid
    assert wait_until(lambda: "publish@here ready" in family.text, 10), family.text


def test_what_dies_comes_back_and_the_other_goes_on(family: Running) -> None:
    first, second = family.begun()
    first.kill()
    assert wait_until(lambda: len(family.pids(1)) == 2, 10), family.text
    assert running(second)
    assert "worker.process_ended" in family.text
    assert "signal SIGKILL" in family.text
    family.process.terminate()
    assert family.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_each_finishes_its_call(family: Running, number: signal.Signals) -> None:
    members = family.begun()
    call = family.long_call()
    # As a terminal does it: everybody in the group hears of a Ctrl-C.
    (os.killpg if number is signal.SIGINT else os.kill)(family.process.pid, number)
    os.kill(family.process.pid, signal.SIGTERM)  # and a process manager may repeat itself
    assert not wait_until(lambda: family.process.poll() is not None, 0.3)
    assert all(map(running, members))
    call.unlink()
    assert family.ended() == 0, family.text
    assert sorted(re.findall(r"(\d) finished", family.text)) == ["1", "2"]
    assert family.text.rstrip().endswith("parent ends")


def test_a_second_ctrl_c_hurries(family: Running) -> None:
    family.begun()
    call = family.long_call()
    os.kill(family.process.pid, signal.SIGINT)
    assert wait_until(lambda: "worker.stopping" in family.text, 10), family.text
    os.kill(family.process.pid, signal.SIGINT)
    assert family.ended() == 1
    assert call.exists()


def test_no_child_outlives_a_killed_parent_by_more_than_its_call(family: Running) -> None:
    members = family.begun()
    call = family.long_call()
    family.process.kill()
    family.process.wait(10)
    assert wait_until(lambda: family.text.count("worker.orphaned") == 2, 10), family.text
    assert all(map(running, members)), "the calls that are under way are finished"
    call.unlink()
    assert wait_until(lambda: not any(map(running, members)), 10)
    family.ended()
    assert sorted(re.findall(r"(\d) finished", family.text)) == ["1", "2"]


def test_a_member_that_fails_to_begin_is_tried_again_with_a_pause(tmp_path: Path) -> None:
    code = MEMBERS.replace("    told = []", "    raise OSError('no luck')")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        while sum("worker.process_ended" in line for line in said) < 5:
            said.append(process.stdout.readline())
        process.terminate()
        assert process.wait(10) in (0, 1)
    pauses = [float(found) for found in re.findall(r'again_in_s": ([\d.]+)', "".join(said))]
    assert max(pauses) >= 0.2, said
    assert any("no luck" in line for line in said)


# --- With real workers ------------------------------------------------------------------------------------


@pytest.fixture
def workers(settings: Any, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Two publish processes and one beside them, as `schedulerx up` has them."""
    words = "worker -n publish@%h -Q publish -P threads -c 5 --processes 2 --beside upload:3:upload,followup"
    with redis.Redis.from_url(settings.broker()) as broker:
        broker.flushall()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", *words.split()], stdout=log, stderr=log, start_new_session=True
        )
    yield process
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


HOST = socket.gethostname()


def test_real_workers_report_each_for_itself_and_stop_in_order(
    workers: subprocess.Popen[bytes], settings: Any, database: Any, tmp_path: Path
) -> None:
    def reported() -> dict[str, int]:
        return {row.worker: row.slots for row in database.rows("SELECT worker, slots FROM worker_beats")}

    log = tmp_path / "log"
    wanted = {f"publish@1-{HOST}": 3, f"publish@2-{HOST}": 2, f"upload@{HOST}": 3}
    assert wait_until(lambda: reported() == wanted, 30), log.read_text()
    assert wait_until(lambda: f"publish@{HOST} ready" in log.read_text(), 10), log.read_text()
    # Dispatch counts the slots of both, and the check of this host's own worker knows them.
    with database.engine.begin() as conn:
        assert dispatch.slots(conn, settings) == 5
    found = health.examine_worker(settings, "publish")
    assert [(one.name, one.state) for one in found] == [
        (f"publish@1-{HOST}", State.OK),
        (f"publish@2-{HOST}", State.OK),
    ]
    database.run("UPDATE worker_beats SET seen_at = seen_at - interval '1 hour' WHERE worker LIKE 'publish@1%'")
    assert [one.state for one in health.examine_worker(settings, "publish")] == [State.OK]
    database.run("UPDATE worker_beats SET seen_at = seen_at - interval '1 hour'")
    assert [one.state for one in health.examine_worker(settings, "publish")] == [State.DOWN]
    assert [one.state for one in health.examine_worker(settings, "publish", host="lish")] == [State.DOWN]
    children = psutil.Process(workers.pid).children(recursive=True)
    assert len(children) == 3
    workers.terminate()
    assert workers.wait(20) == 0, log.read_text()
    assert not any(map(running, children))


def test_real_workers_end_with_a_parent_that_was_killed(workers: subprocess.Popen[bytes], tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert wait_until(lambda: f"publish@{HOST} ready" in log.read_text(), 30), log.read_text()
    children = psutil.Process(workers.pid).children(recursive=True)
    workers.kill()
    workers.wait(10)
    assert wait_until(lambda: not any(map(running, children)), 20), log.read_text()
    assert "worker.orphaned" in log.read_text()
