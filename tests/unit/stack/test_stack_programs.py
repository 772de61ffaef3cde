"""The list of programs, and the Procfile that says the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from platforms import registry
from platforms.kinds import kinds_of
from platforms.pinterest.module import LONGEST_BUDGET_S
from stack.programs import BEAT, WATCHERS, WORKERS, default_programs, default_publishers, migration, procfile

ROOT = Path(__file__).parents[3]


def test_the_procfile_is_what_the_code_says() -> None:
    assert (ROOT / "Procfile").read_text() == procfile(), "write it again: python -m stack.programs > Procfile"


def test_every_queue_has_a_worker() -> None:
    programs = default_programs(beat_schedule="/h/beat", spool_id="box", cores="2", flower_port="5555", python="py")
    commands = {program.name: " ".join(program.argv) for program in programs}
    assert list(commands) == ["beat", "dispatch", "media", "upload", "publish", "followup", "monitor", "flower"]
    assert "-Q upload,upload.box " in commands["upload"]
    assert commands["media"].endswith("-P prefork -c 2")
    assert commands["publish"].endswith(f"-P threads -c 64 --processes {default_publishers()}")
    assert commands.pop("flower").startswith("py -m workers flower --address=127.0.0.1 --port=5555")
    commands.pop("monitor")
    assert commands.pop("beat") == "py -m workers beat --schedule /h/beat"
    assert all(command.startswith(f"py -m workers worker -n {name}@%h ") for name, command in commands.items())


def test_the_order_of_the_end() -> None:
    order = {program.name: program.order for program in default_programs(beat_schedule="s", spool_id="s")}
    assert order.pop("beat") == BEAT
    assert order.pop("flower") == order.pop("monitor") == WATCHERS
    assert set(order.values()) == {WORKERS}
    assert BEAT < WORKERS < WATCHERS < 10  # the services come last


def test_a_call_under_way_is_given_its_time() -> None:
    grace = {program.name: program.stop_grace_s for program in default_programs(beat_schedule="s", spool_id="s")}
    # The longest call of any module, and ten seconds for its outcome to be written.
    modules = [registry.get(name) for name in registry.names()]
    calls = [module.publishing_call(kind.example) for module in modules for kind in kinds_of(module)]
    longest = max(*(call.budget_s for call in calls), LONGEST_BUDGET_S)
    assert grace["publish"] >= longest + 10


def test_the_children_of_a_killed_publish_worker_are_given_their_time_too() -> None:
    programs = {program.name: program for program in default_programs(beat_schedule="s", spool_id="s", publishers="3")}
    assert programs["publish"].orphans_grace_s == programs["publish"].stop_grace_s
    assert programs["publish"].argv[-2:] == ("--processes", "3")
    assert programs["dispatch"].orphans_grace_s == 0


def test_flower_can_be_left_out() -> None:
    names = [p.name for p in default_programs(beat_schedule="s", spool_id="s", flower_port=None)]
    assert "flower" not in names


def test_migrations_run_once() -> None:
    assert migration("py").once
    assert migration("py").argv == ("py", "-m", "db.migrate", "upgrade")


@pytest.mark.parametrize("line", [line for line in procfile().splitlines() if not line.startswith("#")])
def test_a_shell_understands_each_line(line: str, tmp_path: Path) -> None:
    """Run with a `python` that only prints its arguments: what a process manager would start."""
    name, command = line.split(": ", 1)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    done = subprocess.run(
        [shell, "-c", command],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "SCHEDULERX_SPOOL_ID": "box",
            "SCHEDULERX_CORES": "3",
            "SCHEDULERX_PUBLISH_PROCESSES": "4",
        },
        check=True,
        capture_output=True,
        text=True,
    )
    expected = default_programs(
        beat_schedule="celerybeat-schedule",
        spool_id="box",
        cores="3",
        publishers="4",
        flower_port="5555",
        python="python",
    )
    argv = next(program.argv for program in expected if program.name == name)
    assert done.stdout.splitlines() == list(argv[1:])
