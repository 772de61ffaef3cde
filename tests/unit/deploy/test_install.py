"""The installer: one at a time, and nothing left to wait for when one was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "install.sh"
# Stands for both: Python itself, and the environment's own, whose pip takes a while and says when it works.
PYTHON = """#!/bin/sh
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip"*) echo "pip begins" >> log; sleep "$PIP_S"; echo "pip ends" >> log ;;
  *) exec {real} "$@" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder to install in."""
    (tmp_path / "python").write_text(PYTHON.format(real=sys.executable))
    (tmp_path / "python").chmod(0o755)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (1, 1))
    return tmp_path


def install(project: Path, *, pip_s: float = 0.0) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHON": str(project / "python"), "PIP_S": str(pip_s)}
    return subprocess.Popen(["sh", str(SCRIPT), ".venv"], cwd=project, env=environment, start_new_session=True)


def log(project: Path) -> list[str]:
    return (project / "log").read_text().splitlines() if (project / "log").exists() else []


def wait_for(project: Path, count: int) -> None:
    end = time.monotonic() + 20
    while len(log(project)) < count:
        assert time.monotonic() < end, log(project)
        time.sleep(0.02)


def test_it_installs_once(project: Path) -> None:
    assert install(project).wait(20) == 0
    assert log(project) == ["pip begins", "pip ends"] * 2
    assert (project / ".venv" / ".installed").exists()
    assert install(project).wait(20) == 0
    assert len(log(project)) == 4


def test_two_at_once_do_it_once(project: Path) -> None:
    both = [install(project, pip_s=0.3) for _ in range(2)]
    assert [one.wait(20) for one in both] == [0, 0]
    assert log(project) == ["pip begins", "pip ends"] * 2


def test_what_a_killed_installer_left_behind_holds_up_nobody(project: Path) -> None:
    (project / ".venv.lock").mkdir()  # of an earlier version, killed before it said who it is
    first = install(project, pip_s=60)
    wait_for(project, 1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(10)
    began = time.monotonic()
    assert install(project).wait(20) == 0
    assert time.monotonic() - began < 10


def test_a_pip_that_outlives_its_installer_is_waited_for(project: Path) -> None:
    first = install(project, pip_s=1.5)
    wait_for(project, 1)
    first.kill()
    first.wait(10)
    try:
        assert install(project).wait(20) == 0
        assert log(project)[:3] == ["pip begins", "pip ends", "pip begins"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
