"""``schedulerx platforms``: tables for people, JSON for machines, 2 for a name that is none."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from scheduler import capabilities
from scheduler.cli import platform_words as words
from scheduler.cli.main import app
from scheduler.errors import Refused

NAMES = ["bluesky", "instagram", "mastodon", "pinterest", "tiktok", "x"]


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["platforms", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_the_list_names_all_with_kinds_and_promises() -> None:
    out = run("list")
    assert all(name in out for name in NAMES)
    assert "never doubled: the record's id is ours" in out
    assert "carousel" in out
    assert "\x1b[" not in out


def test_the_list_as_json_is_all_that_show_tells() -> None:
    rows = json.loads(run("list", "--json"))
    assert [row["name"] for row in rows] == NAMES
    assert rows[0] == json.loads(run("show", "bluesky", "--json"))


@pytest.mark.parametrize("name", NAMES)
def test_show_tells_limits_sources_options_and_credentials(name: str) -> None:
    out = run("show", name)
    found = capabilities.describe(capabilities.find(name))
    flat = " ".join(out.split())
    for told in (found["source"], found["title"], str(found["text"]["limit"]), "What is promised about doubles"):
        assert told in flat
    for field in [*found["options"], *found["credentials"]]:
        assert field["name"] in flat
    assert "\x1b[" not in out


def test_show_tells_every_price_and_not_the_least_alone() -> None:
    flat = " ".join(run("show", "x").split())
    assert "cost: $0.015 (a post); $0.200 (a post with a link) (X API pay-per-use price list" in flat
    assert "cost:" not in run("show", "bluesky")


def test_a_price_keeps_what_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    describe = capabilities.describe
    prices = [
        {"amount": "1.10", "currency": "EUR", "words": "a post 1.00, 2 alt texts at 0.05", "source": "list A"},
        {"amount": "2", "currency": "EUR", "words": "a film 2", "source": "list B"},
    ]
    monkeypatch.setattr(capabilities, "describe", lambda module: {**describe(module), "prices": prices})
    flat = " ".join(run("show", "x").split())
    assert "cost: 1.10 EUR (a post 1.00, 2 alt texts at 0.05); 2 EUR (a film) (list A; list B)" in flat


@pytest.mark.parametrize("name", NAMES)
def test_show_tells_where_options_come_from(name: str) -> None:
    found = capabilities.describe(capabilities.find(name))
    assert found["options_source"]
    assert f"options from: {found['options_source']}" in " ".join(run("show", name).split())


def test_an_option_with_a_source_of_its_own_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = capabilities.describe(capabilities.find("x"))
    for option in found["options"]:
        if option["name"] == "poll":
            option["source"] = "Polls, 2026"
    found["options_source"] = ""
    monkeypatch.setattr(capabilities, "describe", lambda _module: found)
    out = run("show", "x")
    assert "Polls, 2026" in out
    assert "options from" not in out


def test_an_unknown_name_ends_with_2_and_the_names() -> None:
    assert ", ".join(NAMES) in run("show", "myspace", code=2)
    told = json.loads(run("show", "myspace", "--json", code=2))
    assert told["ok"] is False
    assert ", ".join(NAMES) in told["error"]["message"]


def test_a_broken_package_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    find = capabilities.find

    def broken(name: str) -> object:
        if name == "tiktok":
            raise Refused("no face")
        return find(name)

    monkeypatch.setattr(capabilities, "find", broken)
    rows = {row["name"]: row for row in json.loads(run("list", "--json"))}
    assert rows["tiktok"] == {"name": "tiktok", "error": "cannot be used: no face"}
    assert rows["x"]["title"] == "X"
    assert "cannot be used: no face" in run("list")


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.5, "0.5 s"), (59, "59 s"), (90, "1.5 min"), (3600, "1 h"), (86400 * 60, "60 d")]
)
def test_durations(seconds: float, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(("count", "told"), [(999, "999 B"), (2_000_000, "2 MB"), (1_000_000_000, "1 GB")])
def test_sizes(count: int, told: str) -> None:
    assert words.size(count) == told
