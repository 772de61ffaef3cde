"""What `up` tells its programs, and what it takes for a leftover."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stack.__main__ import main
from stack.console import Console
from stack.credentials import free_port, why_not_listen
from stack.embedded import EmbeddedStack
from stack.home import ObjectStore, ProcessRecord, StackError, StackInfo, ensure_secret_key, save_stack
from stack.processes import MARK, NAME, record_of
from stack.programs import Program
from stack.up import end_leftovers, exports, leaders, run_up, usual_programs

INFO = StackInfo(
    database_url="postgresql+psycopg2://127.0.0.1/d",
    redis_url="redis://127.0.0.1/0",
    r2=ObjectStore("http://127.0.0.1:3", "key", "secret", "bucket"),
)


def test_programs_are_told_where_everything_is(tmp_path: Path) -> None:
    key = ensure_secret_key(tmp_path)
    assert exports(tmp_path, INFO, {}) == {
        "SCHEDULERX_HOME": str(tmp_path),
        "SCHEDULERX_SPOOL_ID": socket.gethostname(),
        "SCHEDULERX_LOG_FORMAT": "console",
        "SCHEDULERX_SECRET_KEY": key,
        "DATABASE_URL": INFO.database_url,
        "REDIS_URL": INFO.redis_url,
        "R2_ENDPOINT_URL": "http://127.0.0.1:3",
        "R2_ACCESS_KEY_ID": "key",
        "R2_SECRET_ACCESS_KEY": "secret",
        "R2_BUCKET": "bucket",
    }


def test_what_the_user_brought_is_left_alone(tmp_path: Path) -> None:
    ensure_secret_key(tmp_path)
    told = exports(tmp_path, StackInfo(), {"SCHEDULERX_SPOOL_ID": "box", "SCHEDULERX_LOG_FORMAT": "json"})
    assert told == {"SCHEDULERX_HOME": str(tmp_path), "SCHEDULERX_SPOOL_ID": "box"}
    assert "SCHEDULERX_SECRET_KEY" not in exports(tmp_path, INFO, {"SCHEDULERX_SECRET_KEY": "theirs"})


def test_a_blank_variable_is_nothing_that_the_user_brought(tmp_path: Path) -> None:
    key = ensure_secret_key(tmp_path)
    told = exports(tmp_path, INFO, {"SCHEDULERX_SECRET_KEY": " ", "SCHEDULERX_SPOOL_ID": "", "DATABASE_URL": ""})
    assert (told["SCHEDULERX_SECRET_KEY"], told["SCHEDULERX_SPOOL_ID"]) == (key, socket.gethostname())


def test_migrations_come_with_the_usual_programs(tmp_path: Path) -> None:
    programs = usual_programs(tmp_path, {"SCHEDULERX_CORES": "3", "SCHEDULERX_PUBLISH_PROCESSES": "1"}, 5556)
    assert programs[0].name == "migrate"
    assert programs[0].once
    commands = {program.name: program.argv for program in programs}
    assert "--port=5556" in commands["flower"]
    assert str(tmp_path / "beat" / "schedule") in commands["beat"]
    assert "3" in commands["media"]
    assert commands["publish"][-4:-1] == ("--processes", "1", "--beside")
    assert re.fullmatch(r"upload:16:upload,upload\.\S+,followup", commands["publish"][-1])
    assert {"upload", "followup"}.isdisjoint(commands), "they are forked from the publish workers' parent"
    assert "flower" not in {program.name for program in usual_programs(tmp_path, {}, None)}


@pytest.mark.parametrize("name", ["file", "file/inner", ""])
def test_a_home_that_cannot_be_used_is_one_line_and_exit_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file").write_text("")
    assert run_up(tmp_path / name, programs=[]) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("schedulerx up: the data folder")
    assert captured.err.count("\n") == 1


def test_a_folder_of_nobody_is_one_line_and_exit_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["~no-such-user-here/x"]) == 2
    assert capfd.readouterr().err.startswith("schedulerx up: SCHEDULERX_HOME: '~no-such-user-here/x' names a user")


@pytest.mark.parametrize("name", ["SCHEDULERX_MONITOR_PORT", "FLOWER_PORT"])
def test_a_port_that_was_asked_for_and_is_taken_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("SCHEDULERX_MONITOR_PORT", "SCHEDULERX_MONITOR_HOST", "FLOWER_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_up(tmp_path / "home", extra_env={name: str(port)}) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith(f"schedulerx up: {name} asks for port {port}, and")
    assert f"127.0.0.1:{port} (Address already in use)" in captured.err
    assert captured.out == "", "nothing was started"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"FLOWER_PORT": "many"}, "FLOWER_PORT: 'many' is no port"),
        ({"SCHEDULERX_MONITOR_PORT": "65536"}, "SCHEDULERX_MONITOR_PORT: '65536' is no port"),
        ({"FLOWER_PORT": "9000", "SCHEDULERX_MONITOR_PORT": "9000"}, "ask for the same port 9000"),
    ],
)
def test_a_port_that_is_none_is_refused_before_anything_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], environment: dict[str, str], words: str
) -> None:
    assert run_up(tmp_path / "home", extra_env=environment) == 2
    assert words in capfd.readouterr().err
    assert not (tmp_path / "home").exists()


def test_free_ports_that_were_asked_for_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the programs are chosen: with a service that cannot start, nothing runs."""
    told: list[tuple[int | None, int]] = []

    def chosen(_home: Path, _environment: object, flower_port: int | None, monitor_port: int = 0) -> list[Program]:
        told.append((flower_port, monitor_port))
        return []

    def start(_stack: EmbeddedStack, _only: object) -> StackInfo:
        raise StackError("far enough")

    monkeypatch.setattr("stack.up.usual_programs", chosen)
    monkeypatch.setattr(EmbeddedStack, "start", start)
    flower, monitor = free_port(), free_port()
    ports = {"FLOWER_PORT": str(flower), "SCHEDULERX_MONITOR_PORT": str(monitor), "SCHEDULERX_MONITOR_HOST": "::1"}
    if why_not_listen("::1", monitor):
        del ports["SCHEDULERX_MONITOR_HOST"]
    assert run_up(tmp_path / "home", extra_env=ports) == 1, "it was tried"
    assert told[-1] == (flower, monitor)


def test_leftovers_are_ended_beat_first_and_strangers_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import signal; print('up', flush=True); signal.pause()"
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, mark in {"beat": "mine", "publish": "mine", "old": "mine", "stranger": "other"}.items():
            started[name] = subprocess.Popen(
                [sys.executable, "-c", code],
                stdout=subprocess.PIPE,
                env={**os.environ, MARK: mark, NAME: name},
            )
            output = started[name].stdout
            assert output is not None
            assert output.readline() == b"up\n"
        record = record_of(started["stranger"].pid)
        assert record is not None
        # A record alone is not believed where the environment says otherwise, a stale one never.
        save_stack(tmp_path, StackInfo(pids={"beat": record, "flower": ProcessRecord(os.getpid(), 1.0)}))
        programs = [Program("beat", (), order=0), Program("publish", (), order=1)]
        end_leftovers(tmp_path, "mine", programs, Console())
        assert [started[name].wait(timeout=5) for name in ("beat", "publish", "old")] == [-15, -15, -15]
        assert started["stranger"].poll() is None
        said = capfd.readouterr().out
        assert said.index("left behind: beat") < said.index("left behind: old, publish")
    finally:
        for process in started.values():
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def test_only_the_head_of_a_family_is_asked() -> None:
    family = [psutil.Process(), psutil.Process().parent()]
    assert all(family)
    assert leaders([one for one in family if one]) == [family[1]]
