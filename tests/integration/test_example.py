"""The example, as a newcomer runs it: a plain script in another folder, with nothing but the installed package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOARDS = json.dumps({"boards": [{"id": "549755885175", "name": "Recipes", "privacy": "PUBLIC"}]})


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a wheel puts it on disk: what is missing from the wheel is missing here."""
    source = tmp_path_factory.mktemp("source")
    for name in ("scheduler", "workers", "platforms", "media", "db", "stack"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "celeryconfig.py"):
        shutil.copy(ROOT / name, source / name)
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--no-index", "--target", str(folder), str(source)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return folder


def test_the_wheel_has_everything_and_nothing_else(installed: Path) -> None:
    names = {entry.name for entry in installed.iterdir() if not entry.name.endswith(".dist-info")} - {
        "bin",
        "__pycache__",
    }
    assert names == {"scheduler", "workers", "platforms", "media", "db", "stack", "celeryconfig.py"}
    assert (installed / "db" / "migrations" / "versions" / "0001_the_first_schema.py").is_file()
    assert (installed / "db" / "migrations" / "script.py.mako").is_file()


def test_the_example_is_short_and_schedules_once_however_often_it_runs(
    installed: Path,
    environment: Any,
    account: Callable[..., int],
    database: Any,
    pictures: dict[str, Path],
    tmp_path: Path,
) -> None:
    code = (ROOT / "examples" / "enqueue.py").read_text()
    assert len([line for line in code.splitlines() if line.strip()]) <= 18
    account("x:acme")
    account("pinterest:acme")
    database.run("UPDATE accounts SET facts = CAST(:facts AS jsonb) WHERE platform = 'pinterest'", facts=BOARDS)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(pictures["jpeg"], folder / "soup.jpg")
    # As it is shipped.
    shutil.copy(ROOT / "examples" / "enqueue.py", folder)
    env = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    env.pop("REDIS_URL")  # a script needs no broker
    said = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-W", "error", "enqueue.py"], cwd=folder, env=env, capture_output=True,
                              text=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
    assert "('x:acme', 'scheduled'), ('pinterest:acme', 'scheduled')" in said[0]
    assert database.one("SELECT count(*) FROM posts") == 1
