"""The command, as people and machines meet it: exit codes, JSON, and nothing stored where it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from platforms.sandbox import Sandbox
from scheduler.cli.main import app

BOARDS = {"boards": [{"id": "549755885175", "name": "Recipes", "privacy": "PUBLIC"}]}
TABLES = ("posts", "post_versions", "scheduled_posts", "idempotency_keys", "media_assets", "renditions")


@pytest.fixture
def run(settings: Any) -> Callable[..., Result]:
    """Runs the command in this process."""

    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)

    return call


@pytest.fixture
def accounts(account: Callable[..., int], database: Any) -> None:
    """x:acme, and pinterest:acme with one board."""
    account("x:acme")
    account("pinterest:acme")
    database.run(
        "UPDATE accounts SET facts = CAST(:facts AS jsonb) WHERE platform = 'pinterest'", facts=json.dumps(BOARDS)
    )


def counts(database: Any) -> dict[str, int]:
    return {name: database.one(f"SELECT count(*) FROM {name}") for name in TABLES}  # noqa: S608 - names of our own


def test_a_post_is_accepted_listed_shown_edited_moved_and_canceled(run: Any, accounts: None) -> None:
    made = run("post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00", "--tz", "Europe/Berlin", "--json")
    assert made.exit_code == 0
    post = json.loads(made.stdout)
    assert post["scheduled"][0]["account"] == "x:acme"
    assert post["scheduled"][0]["status"] == "scheduled"
    assert post["scheduled"][0]["due_at"] == "2031-01-01T09:00:00+00:00"
    rows = json.loads(run("posts", "list", "--json").stdout)
    wanted = {
        "id",
        "post_id",
        "account",
        "platform",
        "status",
        "due_at",
        "lateness_s",
        "attempts",
        "remote_id",
        "url",
        "error_code",
        "error_message",
    }
    assert wanted <= set(rows[0])
    number = str(rows[0]["id"])
    assert run("posts", "edit", number, "--text", "Hello again").exit_code == 0
    assert run("posts", "reschedule", number, "--at", "2031-01-02T10:00Z").exit_code == 0
    shown = json.loads(run("posts", "show", str(post["id"]), "--json").stdout)
    assert shown["text"] == "Hello again"
    assert shown["scheduled"][0]["due_at"] == "2031-01-02T10:00:00+00:00"
    assert [row["why"] for row in shown["history"]] == ["edited", "rescheduled to 2031-01-02T10:00:00+00:00"]
    assert run("posts", "cancel", str(post["id"])).exit_code == 0
    assert json.loads(run("posts", "list", "--status", "canceled", "--json").stdout)[0]["id"] == rows[0]["id"]
    assert run("posts", "retry", number, "--json").exit_code == 0
    assert run("posts", "cancel", "4711").exit_code == 2


def test_a_thread_is_checked_scheduled_shown_and_edited(run: Any, accounts: None) -> None:
    checked = run("check", "one", "--part", "two", "--for", "x", "--for", "pinterest:acme", "--json")
    assert checked.exit_code == 2
    found = {one["platform"]: one for one in json.loads(checked.stdout)["targets"]}
    assert found["x"]["parts"] == [3, 3]
    assert "no_threads" in {one["code"] for one in found["pinterest"]["violations"]}
    parts = ("--part", "two", "--part", "three")
    done = run("post", "one", *parts, "--to", "x:acme", "--at", "2031-01-01T10:00Z", "--json")
    made = json.loads(done.stdout)
    assert (done.exit_code, made["thread"], made["scheduled"][0]["parts"]) == (0, ["two", "three"], 3)
    number = str(made["id"])
    assert "two" in run("posts", "show", number).stdout
    edited = json.loads(run("posts", "edit", number, "--text", "uno", "--part", "due", "--json").stdout)
    assert (edited["post"]["thread"], edited["post"]["scheduled"][0]["parts"]) == (["due"], 2)
    assert run("posts", "edit", number, "--part", "tre").exit_code == 2


def test_the_same_key_makes_one_post(run: Any, accounts: None) -> None:
    first = run("post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00Z", "--key", "k", "--json")
    again = run("post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00Z", "--key", "k", "--json")
    other = run("post", "Other", "--to", "x:acme", "--at", "2031-01-01T10:00Z", "--key", "k", "--json")
    assert json.loads(first.stdout)["id"] == json.loads(again.stdout)["id"]
    assert (other.exit_code, json.loads(other.stdout)["error"]["code"]) == (2, "key_reused")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["post", "Hello", "--to", "myspace:acme"], "unknown_account"),
        (["post", "Hello", "--to", "x:nobody"], "unknown_account"),
        (["post", "Hello", "--to", "acme"], "unknown_account"),
        (["post", "Hello", "--to", "x:acme", "--to", "x:acme"], "account_twice"),
        (["post", "a" * 281, "--to", "x:acme"], "text_too_long"),
        (["post", "", "--to", "x:acme"], "empty"),
        (["post", "Hello", "--to", "x:acme", "--media", "{folder}/none.jpg"], "missing"),
        (["post", "Hello", "--to", "x:acme", "--media", "{folder}/zero.jpg"], "empty"),
        (["post", "Hello", "--to", "x:acme", "--media", "{folder}/page.jpg"], "not_media"),
        (["post", "Hello", "--to", "x:acme", "--media", "{folder}"], "unreadable"),
        (["post", "Hello", "--to", "x:acme", "--media", "http://127.0.0.1/a.jpg"], "private_address"),
        (["post", "Hello", "--to", "x:acme", "--media", "http://169.254.169.254/latest"], "private_address"),
        (["post", "Hello", "--to", "x:acme", "--at", "2020-01-01T10:00Z"], "invalid_time"),
        (["post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00"], "invalid_time"),
        (["post", "Hello", "--to", "x:acme", "--at", "2031-03-30T02:30", "--tz", "Europe/Berlin"], "invalid_time"),
        (["post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00", "--tz", "Mars/Olympus"], "invalid_time"),
        (["post", "Hello", "--to", "x:acme", "--at", "tomorrow"], "invalid_time"),
        (["post", "Pin", "--to", "pinterest:acme", "--media", "{picture}"], "option_required"),
        (
            ["post", "Pin", "--to", "pinterest:acme", "--media", "{picture}", "--option", "pinterest.board=Nope"],
            "unknown_board",
        ),
        (
            ["post", "Pin", "--to", "pinterest:acme", "--media", "{picture}", "--option", "pinterest.board=Recipes",
             "--option", "pinterest.media=url"],
            "store_not_public",
        ),
        (["post", "Hello", "--to", "x:acme", "--option", "x.colour=blue"], "unknown_option"),
        (["post", "Hello", "--to", "x:acme", "--option", "pinterest.board=Recipes"], "unknown_option"),
        (["post", "Hello", "--to", "x:acme", "--option", "nonsense"], "refused"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why_with_exit_2_and_stores_nothing(
    run: Any, accounts: None, database: Any, pictures: dict[str, Path], tmp_path: Path, words: list[str], code: str
) -> None:
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html><body>not found</body></html>")
    before = counts(database)
    filled = [word.format(folder=tmp_path, picture=pictures["jpeg"]) for word in words]
    result = run(*filled, "--json")
    assert result.exit_code == 2, result.output
    error = json.loads(result.stdout)["error"]
    found = {error["code"], *(one["code"] for one in error.get("violations", []))}
    assert any(one.startswith(code) for one in found), found
    assert error["message"]
    assert counts(database) == before
    spoken = run(*filled)
    assert (spoken.exit_code, spoken.stdout) == (2, "")
    assert "Refused" in spoken.stderr


def test_every_violation_of_every_target_is_told_at_once(run: Any, accounts: None, pictures: dict[str, Path]) -> None:
    result = run(
        "post", "a" * 900, "--to", "x:acme", "--to", "pinterest:acme", "--media", str(pictures["jpeg"]), "--json"
    )
    told = {(one["platform"], one["code"]) for one in json.loads(result.stdout)["error"]["violations"]}
    assert {platform for platform, _ in told} == {"x", "pinterest"}
    assert len(told) >= 3


def test_check_speaks_of_each_target_and_stores_nothing(
    run: Any, accounts: None, database: Any, pictures: dict[str, Path]
) -> None:
    before = counts(database)
    good = run("check", "Hello", "--for", "x", "--for", "pinterest:acme", "--media", str(pictures["jpeg"]),
               "--option", "pinterest.board=Recipes", "--json")  # fmt: skip
    assert good.exit_code == 0
    said = json.loads(good.stdout)
    assert said["ok"] is True
    assert [(one["platform"], one["length"], one["limit"]) for one in said["targets"]] == [
        ("x", 5, 280),
        ("pinterest", 5, 800),
    ]
    bad = run("check", "b" * 300, "--for", "x", "--json")
    assert bad.exit_code == 2
    [target] = json.loads(bad.stdout)["targets"]
    assert target["length"] == 300
    assert set(target["violations"][0]) == {"code", "message", "field", "file"}
    assert run("check", "Hello", "--for", "myspace", "--json").exit_code == 2
    assert counts(database) == before


def test_credentials_come_from_stdin_are_checked_and_never_shown(run: Any, environment: Any, database: Any) -> None:
    with Sandbox() as box:
        environment.change(SCHEDULERX_X_API_URL=box.url)
        added = run("accounts", "add", "x", "acme", "--json", stdin='{"access_token": "sandbox-x-acme"}')
        assert added.exit_code == 0, added.output
        assert "sandbox-x-acme" not in added.output
        listed = json.loads(run("accounts", "list", "--json").stdout)
        assert (listed[0]["account"], listed[0]["handle"], listed[0]["api_url"]) == ("x:acme", "acme", box.url)
        assert run("accounts", "check", "x:acme").exit_code == 0
        refused = run("accounts", "add", "x", "bad", "--json", stdin='{"access_token": "wrong-secret-token"}')
        assert refused.exit_code == 1
        assert "wrong-secret-token" not in refused.output
    shape = run("accounts", "add", "x", "worse", "--json", stdin='{"pass": "hidden-value"}')
    assert (shape.exit_code, "hidden-value" in shape.output) == (2, False)
    assert b"sandbox-x-acme" not in bytes(database.one("SELECT credentials FROM accounts WHERE name = 'acme'"))


def test_without_a_key_no_credentials_are_stored(run: Any, environment: Any, database: Any) -> None:
    environment.change(secret_key=None)
    result = run("accounts", "add", "x", "acme", "--json", stdin='{"access_token": "t"}')
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, "not_configured")
    assert database.one("SELECT count(*) FROM accounts") == 0


def test_a_database_that_is_away_or_empty_is_said_within_seconds_with_what_mends_it(run: Any, environment: Any) -> None:
    environment.change(DATABASE_URL="postgresql://nobody:secretpw@127.0.0.1:9/none")
    result = run("post", "Hello", "--to", "x:acme", "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"]) == (2, "unavailable")
    assert "schedulerx up" in error["message"]
    assert "secretpw" not in result.output


def test_an_unmigrated_database_names_the_command(run: Any, environment: Any, stack: Any) -> None:
    from sqlalchemy import create_engine, text

    from db.session import normalized

    engine = create_engine(normalized(stack.database_url), isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS unmigrated"))
        conn.execute(text("CREATE DATABASE unmigrated"))
    engine.dispose()
    environment.change(DATABASE_URL=stack.database_url.rsplit("/", 1)[0] + "/unmigrated")
    result = run("posts", "list", "--json")
    assert (result.exit_code, "schedulerx migrate" in json.loads(result.stdout)["error"]["message"]) == (2, True)
    assert run("migrate").exit_code == 0
    environment.change()
    assert json.loads(run("posts", "list", "--json").stdout) == []


def test_the_stop_button_is_pressed_and_released(run: Any, accounts: None, database: Any) -> None:
    run("post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00Z")
    assert json.loads(run("pause", "x:acme", "--json").stdout) == {"paused": "x:acme", "posts": 1}
    assert database.one("SELECT paused FROM scheduled_posts") is True
    assert run("resume", "x:acme").exit_code == 0
    assert database.one("SELECT paused FROM scheduled_posts") is False
    assert run("pause").exit_code == 0
    assert database.one("SELECT count(*) FROM switches") == 1
    assert run("resume").exit_code == 0
    assert run("pause", "x:nobody").exit_code == 2


def test_doctor_is_red_without_workers_and_says_what_to_do(run: Any, settings: Any) -> None:
    result = run("doctor", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["ok"]) == (1, False)
    found = {one["name"]: one for one in said["findings"]}
    assert found["database"]["ok"]
    assert found["schema"]["ok"]
    assert found["broker"]["ok"]
    assert found["object store"]["ok"]
    assert not found["queue publish"]["ok"]
    assert "schedulerx up" in found["queue publish"]["message"]


def test_dead_letters_are_listed_replayed_and_discarded(run: Any, accounts: None, database: Any) -> None:
    made = json.loads(run("post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00Z", "--json").stdout)
    number = made["scheduled"][0]["id"]
    database.run(
        "UPDATE scheduled_posts SET status = 'missed', finalized_at = now(), generation = 2, error_code = 'missed'"
        " WHERE id = :id",
        id=number,
    )
    database.run("INSERT INTO dead_letters (scheduled_post_id, generation, status, code, message)"
                 " VALUES (:id, 2, 'missed', 'missed', 'too late')", id=number)  # fmt: skip
    [letter] = json.loads(run("dead-letters", "list", "--json").stdout)
    assert letter["code"] == "missed"
    assert letter["next_action"]
    assert json.loads(run("dead-letters", "show", str(letter["id"]), "--json").stdout)["attempts"] == []
    assert run("dead-letters", "mark-published", str(letter["id"])).exit_code == 2
    assert run("dead-letters", "replay", "--all", "--code", "missed").exit_code == 0
    assert run("dead-letters", "replay", str(letter["id"])).exit_code == 2
    assert json.loads(run("dead-letters", "list", "--json").stdout) == []
    assert run("dead-letters", "discard", "4711").exit_code == 2
    assert run("dead-letters", "replay").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], ["post", "--help"], ["posts", "--help"], ["accounts", "add", "--help"], ["doctor", "--help"],
     ["dead-letters", "replay", "--help"], ["media", "inspect", "--help"], ["up", "--help"], ["demo", "--help"]],
)  # fmt: skip
def test_help_explains_and_gives_an_example(run: Any, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code in {0, 2}
    text = result.output
    assert "Usage" in text
    if len(words) > 1 and words[0] != "posts":
        assert "Example" in text


def test_media_inspect_says_what_a_file_is_and_what_would_be_done(
    run: Any, pictures: dict[str, Path], tmp_path: Path
) -> None:
    good = run("media", "inspect", str(pictures["png"]), "--for", "pinterest", "--out", str(tmp_path / "out"), "--json")
    assert good.exit_code == 0, good.output
    [one] = json.loads(good.stdout)
    assert (one["ok"], one["probe"]["mime"], Path(one["output"]).is_file()) == (True, "image/png", True)
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    bad = run("media", "inspect", str(tmp_path / "bad.png"), "--json")
    assert bad.exit_code == 2
    assert json.loads(bad.stdout)[0]["reason"]["code"]
