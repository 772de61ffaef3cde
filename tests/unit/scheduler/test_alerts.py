"""How alerts are worded, and how a channel is spoken of."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from scheduler import alert_channel, alerts

WHEN = datetime(2026, 8, 1, 12, tzinfo=UTC)


def row(**more: Any) -> Any:
    plain = {
        "over": False,
        "reminder": False,
        "severity": "warning",
        "message": "x failed",
        "rule": "post_failed",
        "subject": "x:acme duplicate",
        "opened_at": WHEN,
    }
    return SimpleNamespace(**{**plain, **more})


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([row()], "SchedulerX: 1 needs you"),
        ([row(severity="critical"), row()], "SchedulerX: 2 need you, 1 critical"),
        ([row(over=True)], "SchedulerX: 1 is well again"),
        ([row(), row(over=True), row(over=True)], "SchedulerX: 1 needs you; 2 are well again"),
    ],
)
def test_the_title_says_how_many(rows: list[Any], title: str) -> None:
    assert alerts.words(rows)[0] == title


def test_a_long_message_is_cut_and_says_so() -> None:
    _, body = alerts.words([row(message=f"number {place}") for place in range(25)])
    assert "number 19" in body
    assert "number 20" not in body
    assert body.endswith("... and 5 more: schedulerx alerts list")


def test_a_channel_is_spoken_of_by_place_and_scheme(bare_environment: Any) -> None:
    settings = bare_environment.change(alert_urls="mailtos://me:pass@example.com\n tgram://123:token/chat  nonsense")
    assert alerts.channel_names(settings) == ["1 mailtos", "2 tgram", "3 ?"]
    assert alerts.channel_url(settings, "2 tgram") == "tgram://123:token/chat"
    assert alerts.channel_url(settings, "2 mailtos") is None
    assert "pass" not in repr(settings)


def test_the_child_knows_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(argv: list[str], **more: Any) -> Any:
        seen.update(more, argv=argv)
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setenv("SCHEDULERX_SECRET_KEY", "s")
    monkeypatch.setenv("DATABASE_URL", "d")
    monkeypatch.setattr(subprocess, "run", run)
    assert alert_channel.send("json://h", "t", "b") == ""
    assert not [name for name in seen["env"] if name.startswith("SCHEDULERX_") or name == "DATABASE_URL"]
    assert seen["env"]["PATH"] == os.environ["PATH"]
    assert "json://h" not in " ".join(seen["argv"]), "a URL on the command line is seen by every user of the machine"
    assert seen["argv"][0] == sys.executable


@pytest.mark.parametrize(
    ("code", "words"), [(1, "did not take it"), (3, "no URL that apprise knows"), (-9, "did not take it")]
)
def test_what_the_child_says_is_put_into_words(monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    monkeypatch.setattr(subprocess, "run", lambda argv, **_: subprocess.CompletedProcess(argv, code))
    assert words in alert_channel.send("json://user:secret@h", "t", "b")


def test_a_channel_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(argv: list[str], **more: Any) -> Any:
        raise subprocess.TimeoutExpired(argv, more["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    assert alert_channel.send("json://h", "t", "b", timeout_s=5) == "no answer within 5 s"


def test_workers_do_not_load_apprise() -> None:
    code = "import sys, scheduler.alerts, scheduler.alert_channel; raise SystemExit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
