"""Only what is provably ours is ever signalled."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from stack.home import ProcessRecord
from stack.processes import MARK, NAME, end, mark_of, marked, record_of, recorded, running, wait_until

MINE = secrets.token_hex(8)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"],
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: MINE, NAME: "sleeper"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


def test_a_record_finds_its_process(sleeper: subprocess.Popen[bytes]) -> None:
    record = record_of(sleeper.pid)
    assert record is not None
    found = recorded(record)
    assert found is not None
    assert found.pid == sleeper.pid


def test_a_reused_pid_is_a_stranger(sleeper: subprocess.Popen[bytes]) -> None:
    record = record_of(sleeper.pid)
    assert record is not None
    assert recorded(replace(record, create_time=record.create_time - 60)) is None


def test_a_zombie_does_not_run(sleeper: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(sleeper.pid)
    sleeper.kill()
    assert wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE, 5)
    assert not running(process)
    sleeper.wait()
    assert not running(process)
    assert record_of(sleeper.pid) is None
    assert recorded(ProcessRecord(sleeper.pid, 0.0)) is None


def test_the_mark_finds_what_was_never_recorded(sleeper: subprocess.Popen[bytes]) -> None:
    assert {name: [one.pid for one in found] for name, found in marked(MINE).items()} == {"sleeper": [sleeper.pid]}
    assert marked("another mark") == {}


def test_a_process_that_has_gone_has_no_mark(sleeper: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(sleeper.pid)
    assert mark_of(process) == (MINE, "sleeper")
    sleeper.kill()
    sleeper.wait()
    assert mark_of(process) == ("", "")


def test_end_goes_from_polite_to_firm() -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        one = psutil.Process(process.pid)
        assert not end([one], [(signal.SIGTERM, 0.1)])
        assert end([one], [(signal.SIGTERM, 0.1), (signal.SIGKILL, 5)])
        assert end([one], [(signal.SIGTERM, 0.1)])  # nothing left to do
        assert process.wait() == -signal.SIGKILL


def test_waiting_has_an_end() -> None:
    assert not wait_until(lambda: False, 0.05)
