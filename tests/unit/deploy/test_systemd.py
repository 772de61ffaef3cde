"""The units say what `schedulerx up` does, and systemd understands them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stack.programs import Program, default_programs, worker_shapes

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
PYTHON = "/opt/schedulerx/bin/python"
EXPOSURE = 1.6
"""`systemd-analyze security`: 0 is best, 10 worst; below 2 it says OK."""


def service(name: str) -> configparser.SectionProxy:
    """The [Service] section of a unit."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    parser.read_string((UNITS / f"schedulerx-{name}.service").read_text())
    return parser["Service"]


def programs() -> dict[str, Program]:
    made = default_programs(
        beat_schedule="${STATE_DIRECTORY}/beat-schedule",
        spool_id="${SCHEDULERX_SPOOL_ID}",
        cores="${SCHEDULERX_CORES}",
        publishers="${SCHEDULERX_PUBLISH_PROCESSES}",
        flower_port="5555",
        flower_db="${STATE_DIRECTORY}/flower.db",
        python=PYTHON,
    )
    return {program.name: program for program in made}


@pytest.mark.parametrize("name", sorted(programs()))
def test_a_unit_starts_what_up_starts(name: str) -> None:
    words = service(name)["ExecStart"].replace("%%", "%").split()
    wanted = [word for word in programs()[name].argv if name != "monitor" or not word.startswith("--port")]
    assert words == wanted
    environment = service(name).get("Environment", "")
    assert dict(one.split("=") for one in environment.split()) == dict(programs()[name].env)


@pytest.mark.parametrize("shape", worker_shapes("2", "s", "2"), ids=lambda shape: shape.name)
def test_a_call_under_way_is_given_its_time(shape) -> None:
    assert int(service(shape.name)["TimeoutStopSec"].removesuffix("s")) >= shape.grace_s


def test_there_is_a_unit_for_each_program_and_all_belong_to_the_target() -> None:
    found = {path.stem.removeprefix("schedulerx-") for path in UNITS.glob("schedulerx-*.service")}
    assert found == {*programs(), "migrate", "health"}
    for name in programs():
        text = (UNITS / f"schedulerx-{name}.service").read_text()
        assert "WantedBy=schedulerx.target" in text
        assert "PartOf=schedulerx.target" in text


def test_no_secret_is_in_a_unit() -> None:
    for path in UNITS.rglob("*"):
        if path.suffix in {".service", ".conf"}:
            assert not re.search(r"(?i)(password|secret|token)\S*=\S", path.read_text()), path.name


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with an interpreter that is there."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for path in folder.glob("*.service"):
        text = path.read_text().replace(PYTHON, sys.executable)
        path.write_text(text.replace("/opt/schedulerx/bin/schedulerx", sys.executable))
    return folder


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not here")
    return subprocess.run(
        [found, "--no-pager", *words],
        env={"SYSTEMD_UNIT_PATH": f"{folder}:"},
        check=False,
        capture_output=True,
        text=True,
    )


def test_systemd_understands_all_of_it(installed: Path) -> None:
    files = sorted(str(path) for path in installed.iterdir() if path.suffix in {".service", ".timer", ".target"})
    done = analyze(installed, "verify", *files)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_they_are_hardened(installed: Path) -> None:
    for path in sorted(installed.glob("*.service")):
        done = analyze(installed, "security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", str(path))
        assert done.returncode == 0, done.stdout + done.stderr
