"""One post, many accounts: what each gets of its own, what is wrong with all of them at once, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scheduler import Media, schedule
from scheduler.cli.main import app
from scheduler.errors import InvalidPost

SIX = ("bluesky", "instagram", "mastodon", "pinterest", "tiktok", "x")
TO = [f"{platform}:acme" for platform in SIX]
BOARDS = {"boards": [{"id": "549755885175", "name": "Recipes", "privacy": "PUBLIC"}]}
LOOPBACK = "http://127.0.0.1:1"
"""Nobody listens there; nothing is sent in these tests."""


@pytest.fixture
def six(environment: Any, account: Callable[..., int], database: Any) -> None:
    """An account on each of the six platforms. The store counts as reachable, as with a sandbox on this machine."""
    environment.change(**{f"SCHEDULERX_{platform.upper()}_API_URL": LOOPBACK for platform in SIX})
    given: dict[str, dict[str, str]] = {name: {"access_token": "t"} for name in SIX}
    given["bluesky"] = {"identifier": "acme", "password": "p"}
    given["mastodon"] = {"server": LOOPBACK, "access_token": "t"}
    for platform, credentials in given.items():
        account(f"{platform}:acme", **credentials)
    database.run(
        "UPDATE accounts SET facts = CAST(:facts AS jsonb) WHERE platform = 'pinterest'", facts=json.dumps(BOARDS)
    )


def run(*words: str, code: int = 0) -> Any:
    """The command's JSON."""
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


OWN: dict[str, Any] = {
    "bluesky": {"text": "For the sky", "thread": ["and more"]},
    "x": {"text": "For X", "files": []},
    "pinterest": {"board": "Recipes", "title": "For the board", "files": [1]},
    "tiktok": {"privacy": "SELF_ONLY", "title": "For TikTok", "files": [0, 1]},
    "mastodon:acme": {"text": "For the elephant", "spoiler_text": "soup", "files": [1]},
    "post": {"fit": "pad"},
}


def contents(database: Any) -> dict[str, tuple[int, list[str]]]:
    """Platform -> parts, and the names of the files that it gets."""
    rows = database.rows("""
        SELECT s.platform, s.parts, coalesce(array_agg(a.name ORDER BY m.position) FILTER (WHERE a.id IS NOT NULL),
               '{}') AS names
          FROM scheduled_posts s LEFT JOIN scheduled_post_media m ON m.scheduled_post_id = s.id
          LEFT JOIN media_assets a ON a.id = m.asset_id GROUP BY s.id
    """)
    return {row.platform: (row.parts, list(row.names)) for row in rows}


@pytest.mark.parametrize("way", ["python", "command"])
def test_each_account_has_its_own_text_files_thread_and_options(
    six: None, database: Any, pictures: dict[str, Path], way: str
) -> None:
    files = [pictures["jpeg"], pictures["png"]]
    if way == "python":
        schedule("For all", to=TO, at="2031-01-01T10:00Z", media=[Media(one, "alt") for one in files], options=OWN)
    else:
        words = [f"--to={to}" for to in TO]
        words += [f"--media={one}" for one in files] + ["--alt=alt", "--alt=alt"]
        for group, chosen in OWN.items():
            words += [f"--option={group}.{key}={json.dumps(value)}" for key, value in chosen.items()]
        run("post", "For all", *words, "--at", "2031-01-01T10:00Z")
    first, second = (one.name for one in files)
    assert contents(database) == {
        "bluesky": (2, [first, second]),
        "instagram": (1, [first, second]),
        "mastodon": (1, [second]),
        "pinterest": (1, [second]),
        "tiktok": (1, [first, second]),
        "x": (1, []),
    }
    assert database.one("SELECT options FROM post_versions") == OWN


def test_every_violation_of_every_target_is_told_at_once(
    six: None, database: Any, pictures: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff not a picture")
    text = "a" * 5_000
    media = [pictures["jpeg"], broken]
    with pytest.raises(InvalidPost) as refused:
        schedule(text, to=TO, at="2031-01-01T10:00Z", media=media, options={"x": {"colour": 1}, "instagram": {}})
    found = {(one.platform, one.code) for one in refused.value.violations}
    assert {
        ("bluesky", "text_too_long"),
        ("bluesky", "text_too_many_bytes"),
        ("instagram", "text_too_long"),
        ("mastodon", "text_too_long"),
        ("pinterest", "text_too_long"),
        ("pinterest", "option_required"),
        ("tiktok", "text_too_long"),
        ("tiktok", "privacy_required"),
        ("x", "text_too_long"),
        ("x", "unknown_option"),
    } <= found
    assert any(one.file and one.file.endswith("broken.jpg") for one in refused.value.violations)
    assert database.one("SELECT (SELECT count(*) FROM posts) + (SELECT count(*) FROM media_assets)") == 0
    words = [f"--to={to}" for to in TO] + [f"--media={one}" for one in media]
    told = run("post", text, *words, "--option=x.colour=1", "--at=2031-01-01T10:00Z", code=2)
    assert {(one["platform"], one["code"]) for one in told["error"]["violations"]} >= found


def test_what_x_charges_is_told_before_and_after_it_is_accepted(six: None, environment: Any) -> None:
    environment.change(SCHEDULERX_X_API_URL="")
    link = {"amount": "0.215", "currency": "USD"}
    checked = run("check", "Soup example.com", "--part", "and bread", "--for", "x:acme", "--for", "mastodon:acme")
    costs = {target["platform"]: target["cost"] for target in checked["targets"]}
    assert costs["mastodon"] is None
    assert {name: costs["x"][name] for name in link} == link
    assert "202" in costs["x"]["source"]
    made = run("post", "Soup example.com", "--part", "and bread", "--to", "x:acme", "--to", "mastodon:acme",
               "--at", "2031-01-01T10:00Z")  # fmt: skip
    shown = run("posts", "show", str(made["id"]))
    for post in (made, shown):
        told = {row["platform"]: row["cost"] for row in post["scheduled"]}
        assert told == costs
    spoken = CliRunner().invoke(app, ["posts", "show", str(made["id"])])
    assert "costs 0.215 USD" in spoken.stdout


def test_a_test_costs_nothing(six: None, environment: Any) -> None:
    assert run("check", "Soup", "--for", "x:acme")["targets"][0]["cost"] is None
    made = run("post", "Soup", "--to", "x:acme", "--at", "2031-01-01T10:00Z")
    environment.change(SCHEDULERX_X_API_URL="")
    shown = run("posts", "show", str(made["id"]))
    assert [post["scheduled"][0]["cost"] for post in (made, shown)] == [None, None]


def test_the_cost_is_of_the_newest_content_of_each_account(six: None, environment: Any) -> None:
    environment.change(SCHEDULERX_X_API_URL="")
    made = run("post", "Soup", "--to", "x:acme", "--option", "x.text=See example.com", "--at", "2031-01-01T10:00Z")
    assert made["scheduled"][0]["cost"]["amount"] == "0.200"
    number = str(made["id"])
    run("posts", "edit", number, "--text", "Plain", "--option", "x.reply_settings=following")
    assert run("posts", "show", number)["scheduled"][0]["cost"]["amount"] == "0.015"


def test_an_account_of_a_package_that_was_taken_away_costs_nothing_known(six: None, database: Any) -> None:
    made = run("post", "Soup", "--to", "x:acme", "--at", "2031-01-01T10:00Z")
    database.run("UPDATE scheduled_posts SET platform = 'gone'")
    assert run("posts", "show", str(made["id"]))["scheduled"][0]["cost"] is None
