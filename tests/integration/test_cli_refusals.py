"""What the command says where something around it is wrong: settings, the key, the stack, the line itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner, Result

from db import session
from db.crypto import new_key
from db.session import normalized
from platforms.sandbox import Sandbox
from scheduler import logging as logs
from scheduler.cli.main import app
from scheduler.errors import NotConfigured


@pytest.fixture
def run() -> Callable[..., Result]:
    """Runs the command in this process."""

    def call(*words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)

    return call


def error_of(result: Result) -> dict[str, Any]:
    return dict(json.loads(result.stdout)["error"])


# --- Where it cannot begin ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["post", "Hello", "--to", "x:acme"],
        ["posts", "list"],
        ["posts", "show", "1"],
        ["accounts", "list"],
        ["dead-letters", "list"],
        ["media", "list"],
        ["media", "prune"],
        ["prune"],
        ["pause"],
        ["report"],
        ["audit"],
        ["alerts", "list"],
        ["webhooks", "list"],
    ],
)
def test_every_command_is_refused_without_its_database(run: Any, environment: Any, words: list[str]) -> None:
    environment.change(DATABASE_URL="postgresql://nobody:secretpw@127.0.0.1:9/none")
    result = run(*words, "--json")
    assert (result.exit_code, error_of(result)["code"]) == (2, "unavailable")
    assert "secretpw" not in result.output
    with pytest.raises(NotConfigured):
        environment.change(DATABASE_URL="mysql://nobody:secretpw@127.0.0.1:9/none")
    result = run(*words, "--json")
    assert (result.exit_code, error_of(result)["code"]) == (2, "not_configured")
    assert "secretpw" not in result.output


@pytest.mark.parametrize("words", [["report", "--html"], ["export", "--copy"]], ids=["report", "export"])
def test_a_file_that_cannot_be_written_is_refused(run: Any, settings: Any, tmp_path: Path, words: list[str]) -> None:
    assert settings
    for file, reason in ((tmp_path / "none" / "file", "No such file or directory"), (tmp_path, "Is a directory")):
        result = run(*words, str(file))
        assert result.exit_code == 2
        assert f"Refused: {file} cannot be written: {reason}" in result.stderr
    # Nothing of it happened: an export is on record only where there is one.
    assert "data.exported" not in run("audit", "--json").stdout


def test_a_passphrase_file_that_is_not_there_is_refused(run: Any, settings: Any, tmp_path: Path) -> None:
    assert settings
    export = tmp_path / "export.jsonl"
    assert run("export", "--copy", "--with-credentials", str(export), stdin="a long enough passphrase\n").exit_code == 0
    result = run("import", str(export), "--replace", "--passphrase-file", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "cannot be read: No such file or directory" in result.stderr


@pytest.fixture
def closed_to_writes(settings: Any) -> Iterator[None]:
    """The database takes no writes, as a standby, or one that was set so."""
    admin = create_engine(normalized(settings.database()), poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def set_to(word: str) -> None:
        with admin.connect() as conn:
            conn.execute(text("SET default_transaction_read_only = off"))
            name = conn.execute(text("SELECT current_database()")).scalar_one()
            conn.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {word}'))
        session.close()  # it holds for new connections

    set_to("on")
    yield
    set_to("off")


@pytest.mark.usefixtures("closed_to_writes")
@pytest.mark.parametrize(
    "words",
    [["pause"], ["resume"], ["export", "--copy"], ["prune"]],
    ids=lambda words: words[0],
)
def test_a_database_that_takes_no_writes_is_told_in_words(run: Any, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert "takes no writes" in result.stderr
    assert "read-only transaction" in result.stderr
    # Reading goes on.
    assert run("posts", "list").exit_code == 0


def test_migrate_says_what_mends_it(run: Any, environment: Any) -> None:
    environment.change(DATABASE_URL="postgresql://nobody:secretpw@127.0.0.1:9/none")
    result = run("migrate")
    assert (result.exit_code, "check DATABASE_URL" in result.stderr) == (2, True)
    assert "schedulerx up" not in result.stderr


def test_a_damaged_description_of_the_stack_is_told(run: Any, bare_environment: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "stack.json").write_text("{")
    result = run("posts", "list", "--json")
    assert (result.exit_code, error_of(result)["code"]) == (2, "not_configured")
    assert "schedulerx up" in error_of(result)["message"]
    assert run("doctor").exit_code == 1


def test_up_does_not_need_what_an_earlier_stack_wrote(
    run: Any, bare_environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, argv: started.append(argv))
    home = tmp_path / "home"
    home.mkdir()
    (home / "stack.json").write_text("{")
    assert run("up").exit_code == 0
    assert str(home) in started[0]
    for name, value in (
        ("DATABASE_URL", "mysql://h/d"),
        ("REDIS_URL", "nonsense"),
        ("DATABASE_URL", "postgresql://h/d"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert run("up").exit_code == 2, "wrong, or without a key of its own"
    assert len(started) == 1


# --- The key ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["half", None])
def test_a_wrong_key_is_told_by_every_command_that_needs_it(
    run: Any, environment: Any, account: Any, key: str | None
) -> None:
    account("x:acme")
    environment.change(secret_key=key or new_key())
    for words in (["accounts", "check"], ["accounts", "rotate-key"]):
        result = run(*words, "--json")
        assert (result.exit_code, error_of(result)["code"]) == (2, "not_configured"), words
        assert "SCHEDULERX_SECRET_KEY" in error_of(result)["message"] or "not given" in error_of(result)["message"]
    added = run("accounts", "add", "x", "other", "--no-check", stdin='{"access_token": "t"}')
    assert added.exit_code == (2 if key else 0)
    assert "Traceback" not in added.output


def test_doctor_tries_the_key_on_what_is_stored(run: Any, environment: Any, account: Any) -> None:
    account("x:acme")

    def found() -> dict[str, Any]:
        return {one["name"]: one for one in json.loads(run("doctor", "--json").stdout)["findings"]}

    assert found()["credentials"]["ok"]
    assert found()["accounts"]["message"] == "1 of 1 can publish"
    environment.change(secret_key=new_key())
    wrong = found()
    assert wrong["secret key"]["ok"], "it is a key"
    assert (wrong["credentials"]["ok"], wrong["credentials"]["needed"]) == (False, True)
    assert (wrong["accounts"]["ok"], wrong["accounts"]["needed"]) == (False, True)
    assert run("accounts", "add", "x", "new", "--no-check", stdin='{"access_token": "t"}').exit_code == 0
    mixed = found()
    assert (mixed["credentials"]["ok"], mixed["credentials"]["needed"]) == (False, False)
    assert "x:acme" in mixed["credentials"]["message"]
    assert "1 of 2 can publish" in mixed["accounts"]["message"]


def test_doctor_counts_accounts_that_can_publish(run: Any, settings: Any, account: Any, database: Any) -> None:
    def accounts() -> dict[str, Any]:
        found = json.loads(run("doctor", "--json").stdout)["findings"]
        return next(one for one in found if one["name"] == "accounts")

    assert (accounts()["ok"], accounts()["needed"]) == (False, False), "none yet: a note"
    account("x:acme")
    account("x:second")
    run("pause", "x:second")
    assert accounts()["ok"]
    database.run("UPDATE accounts SET state = 'needs_reconnect' WHERE name = 'acme'")
    assert (accounts()["ok"], accounts()["needed"]) == (False, True)
    assert "0 of 2 can publish" in accounts()["message"]


def test_doctor_warns_of_posts_for_another_address(run: Any, environment: Any, account: Any) -> None:
    environment.change(SCHEDULERX_X_API_URL="http://127.0.0.1:9")
    account("x:acme")
    assert run("post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00Z").exit_code == 0

    def names() -> dict[str, str]:
        return {one["name"]: one["message"] for one in json.loads(run("doctor", "--json").stdout)["findings"]}

    assert "posts of x" not in names()
    environment.change(SCHEDULERX_X_API_URL=None)
    message = names()["posts of x"]
    assert "1 waiting posts" in message
    assert "SCHEDULERX_X_API_URL" in message
    assert "other_origin" in message


def test_doctor_speaks_in_whole_lines(run: Any, environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = run("doctor").stdout
    assert "its clock has never moved; no new work begins. Start it with: schedulerx up, or as your machines" in said
    environment.change(DATABASE_URL="postgresql://nobody:secretpw@127.0.0.1:9/none")
    line = next(line for line in run("doctor").stdout.splitlines() if " database " in line)
    assert "check DATABASE_URL" in line
    assert "schedulerx up" not in line


# --- Accounts -----------------------------------------------------------------------------------------------


def test_wrong_credentials_name_both_ways_and_what_is_missing(run: Any, settings: Any) -> None:
    given = '{"consumer_key": "hidden-one", "consumer_secret": "hidden-two", "api_key": "hidden-three"}'
    result = run("accounts", "add", "x", "acme", "--json", stdin=given)
    message = error_of(result)["message"]
    assert result.exit_code == 2
    assert "no field api_key" in message
    assert "OAuth 2" in message
    assert "OAuth 1.0a" in message
    assert "not given: access_token, token, token_secret" in message
    assert "hidden" not in result.output


def test_what_could_not_be_checked_is_stored_all_the_same(run: Any, environment: Any) -> None:
    environment.change(SCHEDULERX_X_API_URL="http://127.0.0.1:9")
    result = run("accounts", "add", "x", "acme", stdin='{"access_token": "t"}')
    assert (result.exit_code, "stored, not checked" in result.stdout) == (0, True)
    result = run("accounts", "add", "x", "acme", "--json", stdin='{"access_token": "t"}')
    assert (result.exit_code, json.loads(result.stdout)["checked"]["asked"]) == (0, False)
    assert run("accounts", "check", "x:acme").exit_code == 1
    with Sandbox() as box:
        environment.change(SCHEDULERX_X_API_URL=box.url)
        assert run("accounts", "add", "x", "acme", stdin='{"access_token": "wrong"}').exit_code == 1


@pytest.mark.parametrize("words", [["posts", "list"], ["dead-letters", "list"], ["dead-letters", "replay", "--all"]])
def test_an_account_that_is_not_there_is_a_slip(run: Any, settings: Any, account: Any, words: list[str]) -> None:
    account("x:acme")
    result = run(*words, "--account", "x:nobody", "--json")
    assert (result.exit_code, error_of(result)["code"]) == (2, "unknown_account")
    assert "x:acme" in error_of(result)["message"]
    assert run(*words, "--account", "x:acme").exit_code == 0
    run("accounts", "remove", "x:acme")
    assert run(*words, "--account", "x:acme").exit_code == 0, "its posts can still be asked for"


def test_dead_letters_of_a_test_are_marked(run: Any, environment: Any, account: Any, database: Any) -> None:
    environment.change(SCHEDULERX_X_API_URL="http://127.0.0.1:9")
    account("x:acme")
    made = json.loads(run("post", "Hello", "--to", "x:acme", "--at", "2031-01-01T10:00Z", "--json").stdout)
    number = made["scheduled"][0]["id"]
    database.run("INSERT INTO dead_letters (scheduled_post_id, generation, status, code, message)"
                 " VALUES (:id, 2, 'missed', 'missed', 'too [late]')", id=number)  # fmt: skip
    listed, shown = run("dead-letters", "list").stdout, run("dead-letters", "show", str(number)).stdout
    assert "x:acme (test)" in listed
    assert "too [late]" in listed
    assert "x:acme (test)" in shown
    assert json.loads(run("dead-letters", "list", "--json").stdout)[0]["test_api_url"] == "http://127.0.0.1:9"


# --- The line itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["posts", "show", "x"], "ID"),
        (["posts", "nonsense"], "nonsense"),
        (["nonsense"], "nonsense"),
        (["post", "Hello"], "--to"),
        (["posts", "list", "--limit", "0"], "limit"),
        (["health", "--worker", "nobody"], "nobody"),
        (["media", "inspect"], "FILE"),
    ],
)
def test_wrong_usage_is_json_for_who_asked_for_json(run: Any, settings: Any, words: list[str], part: str) -> None:
    result = run(*words, "--json")
    assert result.exit_code == 2
    assert error_of(result)["code"] in {"usage", "refused"}
    assert part in error_of(result)["message"]
    assert result.stderr == ""
    plain = run(*words)
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert part in plain.stderr


def test_json_does_not_change_what_else_a_command_ends_with(run: Any, settings: Any) -> None:
    assert run("posts", "list", "--json").exit_code == 0
    assert run("doctor", "--json").exit_code == 1
    assert run("posts", "list", "--help", "--json").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["post", "caf\udce9", "--to", "x:acme"],
        ["post", "Hello", "--to", "x:caf\udce9"],
        ["post", "Hello", "--to", "x:acme", "--key", "caf\udce9"],
        ["post", "Hello", "--to", "x:acme", "--media", "a.jpg", "--alt", "caf\udce9"],
        ["post", "Hello", "--to", "x:acme", "--media", "caf\udce9.jpg"],
        ["media", "inspect", "caf\udce9.jpg"],
    ],
)
def test_bytes_that_are_no_text_are_refused(run: Any, settings: Any, account: Any, words: list[str]) -> None:
    account("x:acme")
    result = run(*words, "--json")
    assert (result.exit_code, "UTF-8" in error_of(result)["message"]) == (2, True)
    assert "caf\\xe9" in error_of(result)["message"]
    assert (run(*words).exit_code, run(*words).stdout) == (2, "")


def test_input_that_is_no_text_is_refused(run: Any, settings: Any, account: Any) -> None:
    account("x:acme")
    for words in (["post", "-", "--to", "x:acme"], ["accounts", "add", "x", "b"], ["webhooks", "add", "-"]):
        result = run(*words, "--json", stdin=b"caf\xe9\n")
        assert (result.exit_code, "UTF-8" in error_of(result)["message"]) == (2, True), words


def test_the_real_command_meets_such_bytes_without_a_traceback(settings: Any) -> None:
    line = [os.fsencode(sys.executable), b"-m", b"scheduler.cli.main", b"post", b"caf\xe9", b"--to", b"x:acme"]
    done = subprocess.run(line, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_refusal_says_it_once_and_no_log_line_repeats_it(
    settings: Any, account: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    account("x:acme")
    try:
        with pytest.raises(SystemExit) as ended:
            app(["post", "Hello", "--to", "x:acme", "--media", "http://127.0.0.1/a.jpg"])
    finally:
        logs.configure(form="console", level="ERROR")
    captured = capfd.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert captured.err.startswith("Refused")
    assert "security" not in captured.err


def test_messages_keep_their_brackets_and_colons(run: Any, settings: Any, account: Any, pictures: Any) -> None:
    account("pinterest:acme")
    words = ["post", "Pin", "--to", "pinterest:acme", "--media", str(pictures["jpeg"])]
    told = run(*words, "--option", "pinterest.board=[a] :smile: [/b]").stderr
    assert "[a] :smile: [/b]" in told
