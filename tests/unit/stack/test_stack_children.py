"""One program: its output, its end, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stack.children import LONGEST_LINE_BYTES, Child, LineReader
from stack.processes import MARK, NAME, running, wait_until
from stack.programs import Program


@pytest.fixture
def started() -> Iterator[list[Child]]:
    children: list[Child] = []
    yield children
    for child in children:
        child.request_stop(1)
        assert wait_until(lambda child=child: not child.alive(), 5)
        if child.output is not None:
            child.output.close()


def launch(started: list[Child], code: str, ready_text: str | None = None, cwd: Path | None = None) -> Child:
    child = Child(Program("dummy", (sys.executable, "-c", code), ready_text=ready_text), os.environ, cwd, "m4rk")
    started.append(child)
    child.launch()
    return child


def lines_of(child: Child, count: int) -> list[str]:
    assert child.output is not None
    reader = LineReader(child, child.output)
    lines: list[str] = []
    assert wait_until(lambda: lines.extend(reader.read()) or reader.ended or len(lines) >= count, 10)
    return lines


def test_output_arrives_in_lines_even_unfinished_ones(started: list[Child]) -> None:
    code = "import sys; print('one'); print('two', file=sys.stderr); sys.stdout.write('three')"
    assert lines_of(launch(started, code), 4) == ["one", "two", "three"]


def test_an_endless_line_is_cut(started: list[Child]) -> None:
    lines = lines_of(launch(started, f"print('x' * {LONGEST_LINE_BYTES * 2})"), 10)
    assert sum(map(len, lines)) == LONGEST_LINE_BYTES * 2
    assert len(lines) > 1


def test_it_knows_where_it_runs_and_whose_it_is(started: list[Child], tmp_path: Path) -> None:
    code = (
        f"import os; print(os.getcwd()); print(os.environ[{MARK!r}], os.environ[{NAME!r}]);"
        "print(os.getsid(0) == os.getpid())"
    )
    assert lines_of(launch(started, code, cwd=tmp_path), 3) == [str(tmp_path), "m4rk dummy", "True"]


def test_how_it_ended(started: list[Child]) -> None:
    child = launch(started, "raise SystemExit(3)")
    assert wait_until(lambda: not child.alive(), 10)
    assert child.ending() == "exit code 3"
    assert not child.succeeded
    child = launch(started, "import os; os.abort()")
    assert wait_until(lambda: not child.alive(), 10)
    assert child.ending() == "signal SIGABRT"
    assert child.pid is None


def test_ready_when_it_says_so(started: list[Child]) -> None:
    child = launch(started, "import signal; print('I am ready', flush=True); signal.pause()", "am ready")
    assert not child.ready()
    for line in lines_of(child, 1):
        child.heard(line)
    assert child.ready()


def test_what_a_dead_program_started_does_not_outlive_it(started: list[Child]) -> None:
    code = (
        "import os, subprocess, sys;"
        "p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
        "print(p.pid, flush=True); os.abort()"
    )
    child = launch(started, code)
    grandchild = psutil.Process(int(lines_of(child, 1)[0]))
    assert wait_until(lambda: not child.alive(), 10)
    assert wait_until(lambda: not running(grandchild), 10)


def test_force_reaches_one_that_does_not_listen(started: list[Child]) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile 1: signal.pause()"
    child = launch(started, code)
    lines_of(child, 1)
    child.request_stop(0)
    assert not wait_until(lambda: not child.alive(), 0.1)
    child.request_stop(1)
    assert wait_until(lambda: not child.alive(), 5)
    assert child.ending() == "signal SIGKILL"


LEAVER = """
import os, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("child", os.getpid(), flush=True)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    os._exit(0)
signal.pause()
"""


def family_of(started: list[Child], file: Path, grace_s: float) -> tuple[Child, psutil.Process]:
    """A program and the child that it left behind when it was killed."""
    argv = (sys.executable, "-c", LEAVER, str(file))
    child = Child(Program("dummy", argv, orphans_grace_s=grace_s), os.environ, None, "m4rk")
    started.append(child)
    child.launch()
    orphan = psutil.Process(int(lines_of(child, 1)[0].split()[1]))
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    return child, orphan


def test_what_it_leaves_behind_may_finish_first(started: list[Child], tmp_path: Path) -> None:
    child, orphan = family_of(started, tmp_path / "done", 30)
    assert not wait_until(lambda: not child.alive(), 0.3)
    assert running(orphan)
    (tmp_path / "done").touch()
    assert wait_until(lambda: not child.alive(), 10)
    assert child.ending() == "signal SIGKILL"


def test_what_it_leaves_behind_is_asked_to_stop_as_it_would_be(started: list[Child], tmp_path: Path) -> None:
    child, orphan = family_of(started, tmp_path / "never", 30)
    assert wait_until(lambda: child.alive() and ended_unreaped_of(child), 5)
    child.request_stop(0)
    assert wait_until(lambda: not child.alive(), 10)
    assert not running(orphan)


def ended_unreaped_of(child: Child) -> bool:
    assert child.pid is not None
    return psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("grace_s", [0.0, 0.2])
def test_what_it_leaves_behind_is_ended_by_force_after_its_time(
    started: list[Child], tmp_path: Path, grace_s: float
) -> None:
    child, orphan = family_of(started, tmp_path / "never", grace_s)
    assert wait_until(lambda: not child.alive(), 10)
    assert wait_until(lambda: not running(orphan), 5)
