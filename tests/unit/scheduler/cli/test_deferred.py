"""Commands that are loaded when they are wanted: the help says of each what it says of itself, and little is loaded."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from scheduler.cli.deferred import Deferred
from scheduler.cli.main import COMMANDS, app

HEAVY = ("sqlalchemy", "celery", "boto3", "PIL", "requests", "platforms.x")


def words_of(text: str) -> list[str]:
    return re.findall(r"\S+", text)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_says_what_the_command_says_of_itself(name: str) -> None:
    place, told = COMMANDS[name]
    found = Deferred(name, place, told).load()
    assert found.name == name
    assert words_of(found.help or "")[: len(words_of(told))] == words_of(told)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_own_help(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert f" {name} [OPTIONS]" in " ".join(words_of(done.output))


@pytest.mark.parametrize("words", [["--help"], ["health", "--help"], ["health", "--json"], ["--version"]])
def test_little_is_loaded_for_what_is_asked_often(words: list[str]) -> None:
    code = (
        "import sys\nfrom scheduler.cli.main import app\n"
        f"try:\n    app({words!r})\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {"SCHEDULERX_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED", done.stdout + done.stderr


def test_what_is_not_there_is_wrong_usage_with_a_guess() -> None:
    done = CliRunner().invoke(app, ["helth"])
    assert done.exit_code == 2
    assert "health" in done.output


def test_a_function_and_a_group_are_both_commands() -> None:
    assert isinstance(Deferred("posts", "scheduler.cli.posts:app", "").load(), typer.core.TyperGroup)
    assert isinstance(Deferred("post", "scheduler.cli.posts:post", "").load(), typer.core.TyperCommand)
