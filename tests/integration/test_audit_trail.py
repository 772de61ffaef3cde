"""The audit trail: who did what, in the same transaction, and never changed afterwards."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import FakePlatform, sent
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from db.session import transaction
from platforms.base import Rejected
from scheduler import accounts, audit, cancel, dead_letters, edit, reschedule, retry
from workers import notify


def entries(database: Any) -> list[Any]:
    return database.rows("SELECT * FROM audit_log ORDER BY id")


def actions(database: Any) -> list[str]:
    return [row.action for row in entries(database)]


def test_what_people_do_to_posts_is_written_with_before_and_after(scheduled: Any, database: Any) -> None:
    with audit.acting_as("person:ada"):
        number = scheduled("Hello", at="2031-01-01T00:00Z")
        edit(number, text="Hello again")
        reschedule(number, "2031-02-01T00:00Z")
        cancel(number, by="person:bob")
        retry(number)
    assert actions(database) == [
        "account.added",
        "post.scheduled",
        "post.edited",
        "post.rescheduled",
        "post.canceled",
        "post.retried",
    ]
    _, made, edited, moved, canceled, retried = entries(database)
    assert {row.by for row in (made, edited, moved, retried)} == {"person:ada"}
    assert canceled.by == "person:bob"
    assert made.subject == f"post:{database.post(number).post_id}"
    assert made.after["to"] == ["fake:acme"]
    assert edited.before[str(number)]["version_id"] != edited.after[str(number)]["version_id"]
    assert moved.after[str(number)]["due_at"].startswith("2031-02-01")
    assert (canceled.before[str(number)]["status"], canceled.after[str(number)]["status"]) == ("scheduled", "canceled")
    assert "Hello" not in str([tuple(row) for row in entries(database)])


def test_what_people_do_to_accounts_is_written_without_credentials(
    settings: Any, account: Any, fake: Any, database: Any
) -> None:
    account("fake:acme", token="secret-token-1234567890")
    account("fake:acme", token="secret-token-abcdefghij")
    with transaction(settings.database()) as conn:
        accounts.pause(conn, "fake:acme", by="person:ada", why="wrong campaign")
        accounts.resume(conn, "fake:acme", by="person:ada")
        accounts.pause(conn, None, by="person:ada")
        accounts.resume(conn, None, by="person:ada")
        accounts.rotate_keys(conn, settings)
        accounts.remove(conn, "fake:acme", by="person:ada")
    assert actions(database) == [
        "account.added",
        "account.reconnected",
        "account.paused",
        "account.resumed",
        "everything.paused",
        "everything.resumed",
        "key.rotated",
        "account.removed",
    ]
    assert "secret-token" not in str([tuple(row) for row in entries(database)])
    assert entries(database)[1].after == {"test": False, "fields": ["token"], "token_version": 2}


def test_what_people_do_to_dead_letters_is_written(
    settings: Any, scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    fake.will("publish", sent(Rejected("duplicate", "said before", 403)), sent(Rejected("duplicate", "again", 403)))
    number = scheduled()
    pipeline.until_quiet()
    with transaction(settings.database()) as conn:
        dead_letters.replay(conn, number, by="person:ada")
    pipeline.until_quiet()
    with transaction(settings.database()) as conn:
        dead_letters.discard(conn, number, by="person:ada")
    assert actions(database)[-2:] == ["dead_letter.replayed", "dead_letter.discarded"]


def test_an_entry_goes_with_its_deed(settings: Any, scheduled: Any, database: Any) -> None:
    number = scheduled(at="2031-01-01T00:00Z")
    with transaction(settings.database()) as conn, conn.begin_nested() as savepoint:
        cancel(number, session=conn)
        savepoint.rollback()
    assert "post.canceled" not in actions(database)


@pytest.mark.parametrize("query", ["UPDATE audit_log SET by = 'nobody'", "DELETE FROM audit_log"])
def test_entries_cannot_be_changed_or_removed(scheduled: Any, database: Any, query: str) -> None:
    scheduled()
    with pytest.raises(DBAPIError, match="append-only"):
        database.run(query)


def test_prune_removes_by_age_only_and_never_the_last_week(settings: Any, scheduled: Any, database: Any) -> None:
    scheduled()
    for days in (400, 8, 6):
        database.run(
            "INSERT INTO audit_log (at, by, action, subject)"
            " VALUES (clock_timestamp() - make_interval(days => :days), 'x', 'y', 'z')",
            days=days,
        )
    assert notify.prune(settings)["audit"] == 1
    with transaction(settings.database()) as conn:
        assert audit.prune(conn, days=0) == 1, "the entry of eight days; those of the last week stay"
    with pytest.raises(DBAPIError, match="append-only"):
        database.run("DELETE FROM audit_log")
    assert database.one("SELECT count(*) FROM audit_log WHERE by = 'x'") == 1


def test_the_flag_alone_does_not_open_the_last_week(scheduled: Any, database: Any) -> None:
    scheduled()
    with database.connect() as conn, conn.begin():
        conn.exec_driver_sql("SET LOCAL schedulerx.audit_prune = 'on'")
        with pytest.raises(DBAPIError, match="append-only"):
            conn.exec_driver_sql("DELETE FROM audit_log")


def test_the_command_shows_it(scheduled: Any, settings: Any, database: Any) -> None:
    from scheduler.cli.main import app

    number = scheduled(at="2031-01-01T00:00Z")
    run = CliRunner()
    assert run.invoke(app, ["posts", "cancel", str(number)], catch_exceptions=False).exit_code == 0
    subject = f"post:{database.post(number).post_id}"
    found = json.loads(run.invoke(app, ["audit", subject, "--json"], catch_exceptions=False).stdout)
    assert [one["action"] for one in found] == ["post.canceled", "post.scheduled"]
    assert found[0]["by"].startswith("person:")
    assert "post.canceled" in run.invoke(app, ["audit"], catch_exceptions=False).stdout
