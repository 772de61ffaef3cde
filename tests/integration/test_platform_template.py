"""The template for a new platform, as its author uses it: installed, listed, conforming, and published to for real."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platforms import registry
from platforms.base import Identity
from scheduler import Media, accounts, schedule
from scheduler.api import database as transaction

TEMPLATE = Path(__file__).resolve().parents[2] / "examples" / "platform_template"
ENDS = ("published", "failed", "held", "missed", "canceled")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as pip puts it on disk, with its entry point."""
    source, folder = tmp_path_factory.mktemp("source") / "template", tmp_path_factory.mktemp("installed")
    shutil.copytree(TEMPLATE, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--no-index", "--target", str(folder), str(source)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return folder


@pytest.fixture
def noticeboard(template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The template's sandbox, with its module found by its entry point in this process."""
    monkeypatch.syspath_prepend(str(template))
    _forget()
    yield importlib.import_module("schedulerx_noticeboard.sandbox")
    for name in [name for name in sys.modules if name.startswith("schedulerx_noticeboard")]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    registry.names.cache_clear()
    registry.get.cache_clear()


def test_it_is_listed_and_conforms(template: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(template)}

    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-W", "error", *arguments], cwd=template, env=env, capture_output=True,
                              text=True, timeout=100, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = json.loads(run("-m", "scheduler.cli.main", "platforms", "show", "noticeboard", "--json"))
    assert shown["title"] == "Noticeboard"
    assert [kind["name"] for kind in shown["kinds"]] == ["text", "notice of pictures"]
    assert [option["help"] for option in shown["options"]] == [
        "Keeps the notice on top of the board.",
        "The heading that it stands under.",
    ]
    assert [field["secret"] for field in shown["credentials"]] == [True]
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(TEMPLATE / "tests"))
    assert " passed" in told
    assert "failed" not in told


def test_posts_are_on_the_board_once_although_answers_are_lost(
    noticeboard: Any, environment: Any, pipeline: Any, database: Any, pictures: dict[str, Path]
) -> None:
    board = noticeboard.Board(lose_answers=2)
    with noticeboard.serve(board) as address:
        settings = environment.change(SCHEDULERX_NOTICEBOARD_API_URL=address, quarantine_seconds=1)
        pipeline.settings = settings
        with transaction(settings) as conn:
            accounts.add(conn, settings, "noticeboard", "me", {"access_token": "demo"})
        with transaction(settings) as conn:
            row = accounts.find(conn, "noticeboard:me")
        identity = accounts.identify(settings, row)
        assert isinstance(identity, Identity), identity
        with transaction(settings) as conn:
            accounts.keep_identity(conn, row.id, identity)
        made = [
            schedule("Tea at five", to="noticeboard:me", at="now", options={"noticeboard": {"pinned": True}}),
            schedule("A picture", to="noticeboard:me", at="now", media=[Media(pictures["jpeg"], alt="a square")]),
        ]
        for post in made:
            row = pipeline.until(post.scheduled[0].id, *ENDS)
            assert (row.status, row.evidence) == ("published", "reconciled"), row
    assert sorted(notice["text"] for notice in board.notices.values()) == ["A picture", "Tea at five"]
    assert [len(notice["files"]) for notice in board.notices.values()] == [0, 1]
    assert set(database.rows("SELECT remote_url FROM scheduled_posts")) == {
        (notice["url"],) for notice in board.notices.values()
    }
