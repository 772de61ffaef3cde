"""What doctor says beyond health, without services."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from scheduler.cli import doctor
from scheduler.settings import from_environment
from stack.home import HomeLock, StackInfo, save_stack
from stack.processes import record_of

KILLED = (
    "import os, signal, sys; from pathlib import Path; from stack.home import HomeLock;"
    "HomeLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
)


def test_a_supervisor_that_was_killed_is_a_note(bare_environment: Any, tmp_path: Path) -> None:
    def said() -> list[doctor.Finding]:
        return [one for one in doctor.examine(from_environment()) if one.name == "supervisor"]

    home = tmp_path / "home"
    assert said() == [], "no stack here"
    home.mkdir()
    mine = record_of(os.getpid())
    assert mine is not None
    killed = subprocess.run([sys.executable, "-c", KILLED, str(home)], check=False)
    assert killed.returncode == -9
    assert said() == [], "nothing of it is left either"
    save_stack(home, StackInfo(pids={"publish": mine}))
    (note,) = said()
    assert (note.ok, note.needed) == (False, False)
    assert "was killed; publish go on without it" in note.message
    assert "Run `schedulerx up` again" in note.message
    lock = HomeLock(home)
    lock.acquire()
    assert said() == [], "it runs"
    lock.release()
