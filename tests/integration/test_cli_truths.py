"""The command tells what is so: nothing done is not told as done, what waits says for what, and no filter hides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlatform, sent
from typer.testing import CliRunner, Result

from db.session import transaction
from platforms.base import Rejected
from scheduler import audit, report
from scheduler.cli.main import app

LATER = "2031-01-01T00:00Z"


@pytest.fixture
def run(settings: Any) -> Callable[..., Result]:
    """Runs the command in this process."""

    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)

    return call


def shown(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.fixture
def published(scheduled: Any, pipeline: Any) -> int:
    """A post that is public."""
    number: int = scheduled("Soup is ready")
    pipeline.until(number, "published")
    return number


# --- The audit trail ----------------------------------------------------------------------------------------


def trail(settings: Any, action: str) -> list[audit.Entry]:
    with transaction(settings.database()) as conn:
        return audit.listing(conn, action=action)


@pytest.mark.parametrize(
    ("words", "action"),
    [
        (["cancel"], "post.canceled"),
        (["edit", "--text", "Other"], "post.edited"),
        (["reschedule", "--at", LATER], "post.rescheduled"),
        (["retry"], "post.retried"),
    ],
)
def test_what_was_not_done_is_not_in_the_audit_trail(
    run: Any, published: int, settings: Any, words: list[str], action: str
) -> None:
    assert run("posts", words[0], str(published), *words[1:]).exit_code == 1
    assert trail(settings, action) == []


def test_the_audit_trail_names_the_targets_that_were_changed(
    run: Any, account: Any, pipeline: Any, fake: FakePlatform, settings: Any, database: Any
) -> None:
    from scheduler import schedule

    account("fake:acme")
    account("fake:other")
    post = schedule("Hello", to=["fake:acme", "fake:other"], at="now")
    gone, waits = (one.id for one in post.scheduled)
    database.run("UPDATE scheduled_posts SET available_at = 'infinity' WHERE id = :id", id=waits)
    pipeline.until(gone, "published")
    assert run("posts", "cancel", str(post.id)).exit_code == 1
    [entry] = trail(settings, "post.canceled")
    assert (set(entry.before), set(entry.after)) == ({str(waits)}, {str(waits)})
    assert entry.after[str(waits)]["status"] == "canceled"
    # Once more: it is as it was asked to be, but nobody did anything.
    assert run("posts", "cancel", str(waits)).exit_code == 0
    assert len(trail(settings, "post.canceled")) == 1


def test_a_cancel_that_is_noted_for_later_is_in_the_audit_trail(
    run: Any, scheduled: Any, settings: Any, database: Any
) -> None:
    number = scheduled("Hello")
    database.run("UPDATE scheduled_posts SET status = 'unknown' WHERE id = :id", id=number)
    assert run("posts", "cancel", str(number)).exit_code == 1
    [entry] = trail(settings, "post.canceled")
    assert "cancel_requested" not in entry.before[str(number)]
    assert entry.after[str(number)]["cancel_requested"] is True


# --- Import -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_picture_is_no_export_and_leaves_the_database_alone(
    run: Any, published: int, pictures: dict[str, Path], database: Any, extra: list[str]
) -> None:
    done = run("import", str(pictures["jpeg"]), "--replace", *extra)
    assert done.exit_code == 2
    assert "not text in UTF-8" in done.output
    assert database.post(published).status == "published"


def test_a_file_is_judged_before_the_database(run: Any, environment: Any, tmp_path: Path) -> None:
    environment.change(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    (tmp_path / "soup.json").write_text('{"soup": true}\n')
    done = run("import", str(tmp_path / "soup.json"))
    assert done.exit_code == 2
    assert "no export" in done.output


def test_bytes_further_on_are_refused_too(run: Any, settings: Any, tmp_path: Path, database: Any) -> None:
    from scheduler import transfer

    with transaction(settings.database()) as conn:
        lines = list(transfer.export(conn, settings, copy=True))
    (tmp_path / "half").write_bytes("\n".join([*lines[:1], ""]).encode() + b"\n" * 100_000 + b"\xff\xfe\n")
    done = run("import", str(tmp_path / "half"), "--replace")
    assert done.exit_code == 2
    assert "UTF-8" in done.output


# --- The stop button ----------------------------------------------------------------------------------------


def test_resume_names_what_is_still_paused(run: Any, account: Any, fake: FakePlatform) -> None:
    account("fake:acme")
    account("fake:other")
    run("pause")
    run("pause", "fake:acme")
    half = run("resume", "fake:acme")
    assert "everything still is" in half.stdout
    run("pause", "fake:acme")
    told = run("resume")
    assert "schedulerx resume fake:acme" in told.stdout
    assert "Everything goes on" not in told.stdout
    assert "fake:other" not in told.stdout
    assert shown(run("resume", "--json"))["still_paused"] == ["fake:acme"]
    assert "fake:acme goes on" in run("resume", "fake:acme").stdout
    assert "Everything goes on" in run("resume").stdout


# --- The report ---------------------------------------------------------------------------------------------


def test_a_healthy_thread_was_not_retried(scheduled: Any, pipeline: Any, settings: Any) -> None:
    number = scheduled(["one", "two", "three"])
    pipeline.until(number, "published")
    with transaction(settings.database()) as conn:
        total = report.make(conn, since_s=86_400.0).total
    assert (total.attempts, total.retries) == (3, 0)


# --- What waits, and what was accepted before ---------------------------------------------------------------


def test_a_post_that_everything_waits_for_says_so(run: Any, account: Any, fake: FakePlatform) -> None:
    account("fake:acme")
    run("pause")
    made = run("post", "Hello", "--to", "fake:acme", "--at", LATER)
    assert "is accepted" in made.stdout
    assert "schedulerx resume" in made.stdout
    assert "scheduled (everything is paused)" in run("posts", "list").stdout
    [row] = shown(run("posts", "list", "--json"))
    assert (row["status"], row["paused"], row["everything_paused"]) == ("scheduled", True, True)
    assert "everything is paused" in run("posts", "show", str(row["id"])).stdout
    run("resume")
    [row] = shown(run("posts", "list", "--json"))
    assert (row["paused"], row["everything_paused"]) == (False, False)
    run("pause", "fake:acme")
    again = run("post", "Hello", "--to", "fake:acme", "--at", LATER)
    assert "schedulerx resume fake:acme" in again.stdout


def test_a_key_that_was_used_before_is_told(run: Any, account: Any, fake: FakePlatform) -> None:
    account("fake:acme")
    words = ("post", "Hello", "--to", "fake:acme", "--at", LATER, "--key", "k1")
    first = run(*words, "--json")
    assert shown(first)["repeated"] is False
    assert shown(run(*words, "--json"))["repeated"] is True
    again = run(*words)
    assert "was accepted before" in again.stdout
    assert "is accepted" not in again.stdout


# --- Lists --------------------------------------------------------------------------------------------------


def test_lists_show_how_a_post_begins(
    run: Any, scheduled: Any, pipeline: Any, fake: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.will("publish", sent(Rejected("duplicate", "said before", 403)))
    number = scheduled("Soup [b]is\nready[/b] for all who wait in the long line outside")
    pipeline.until(number, "failed")
    scheduled("Everybody", at=LATER, options={"fake": {"text": "Those on fake"}})
    begins = "Soup [b]is ready[/b] for all…"
    for width in ("80", "200"):
        monkeypatch.setenv("COLUMNS", width)
        table = run("posts", "list").stdout
        assert max(map(len, table.splitlines())) <= int(width)
        assert begins[:8] in table
        # Nothing is squeezed: what tells posts apart stands there whole, a line each.
        assert all(word in table for word in ("fake:acme", "scheduled", "failed", "Those on fake"))
        assert sum("│" in line for line in table.splitlines()) == 2
        assert "2031-01-01 00:00" in table
        assert ("said before" in table) is (width == "200")
    assert begins in table
    assert begins in run("dead-letters", "list").stdout
    texts = [row["text"] for row in shown(run("posts", "list", "--json"))]
    assert texts == ["Those on fake", "Soup [b]is\nready[/b] for all who wait in the long line outside"]
    assert shown(run("dead-letters", "list", "--json"))[0]["text"] == texts[1]


def test_a_filter_that_hides_all_is_told(run: Any, published: int) -> None:
    for words in (
        ("posts", "list", "--status", "missed"),
        ("dead-letters", "list", "--code", "nosuch"),
        ("audit", "nosense"),
    ):
        done = run(*words)
        assert done.exit_code == 0
        assert "matches" in done.stdout
        assert shown(run(*words, "--json")) == []
    assert "Nothing needs you" in run("dead-letters", "list").stdout


def test_a_settled_letter_says_by_whom_and_when(run: Any, scheduled: Any, pipeline: Any, fake: FakePlatform) -> None:
    fake.will("publish", sent(Rejected("duplicate", "said before", 403)))
    number = scheduled("Hello")
    pipeline.until(number, "failed")
    assert "what to do: mend" in run("dead-letters", "show", str(number)).stdout
    assert run("dead-letters", "discard", str(number)).exit_code == 0
    told = run("dead-letters", "show", str(number)).stdout
    assert "settled: discarded by person:" in told
    assert "UTC; the post is failed now" in told
    assert "mend" not in told
    letter = shown(run("dead-letters", "show", str(number), "--json"))
    assert letter["resolved_by"].startswith("person:")
    assert "T" in letter["resolved_at"]
    assert "mend" not in letter["next_action"]


# --- Words and times ----------------------------------------------------------------------------------------


def test_check_reads_standard_input_as_post_does(run: Any, fake: FakePlatform) -> None:
    done = run("check", "-", "--for", "fake", "--json", stdin="Hello")
    assert shown(done)["targets"][0]["length"] == 5


def test_what_was_not_done_has_an_error_in_json(run: Any, published: int) -> None:
    done = run("posts", "retry", str(published), "--json")
    assert (done.exit_code, shown(done)["ok"]) == (1, False)
    assert shown(done)["error"] == {"code": "not_allowed", "message": f"{published} fake:acme: it is published"}


@pytest.mark.parametrize(("words", "part"), [([], "--text"), (["--alt", "a bowl"], "--media")])
def test_an_edit_of_nothing_names_the_options(run: Any, published: int, words: list[str], part: str) -> None:
    done = run("posts", "edit", str(published), *words)
    assert done.exit_code == 2
    assert part in done.output
    assert "edit()" not in done.output


def test_times_of_a_post_have_a_date_and_one_form(run: Any, published: int) -> None:
    told = run("posts", "show", str(published))
    post = shown(run("posts", "show", str(published), "--json"))
    at = post["history"][0]["at"]
    assert at[10] == "T"
    assert post["attempts"][0]["started_at"][10] == "T"
    assert f"{at[:10]} {at[11:19]}" in told.stdout
    assert " UTC " in told.stdout
