"""Export and import: a round trip into another database, without a secret in clear, and never a double."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlatform, sent
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner

from db import migrate
from db.crypto import Cipher, new_key
from db.session import normalized, transaction
from platforms.base import Rejected
from scheduler import accounts, schedule, transfer, webhooks
from scheduler.errors import KeyReused, NotAllowed, Refused

PASSPHRASE = "a long enough passphrase"


@pytest.fixture
def other_url(database_url: str) -> Iterator[str]:
    """Another, fresh database."""
    admin = create_engine(normalized(database_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS other WITH (FORCE)"))
        conn.execute(text("CREATE DATABASE other"))
    url = (
        database_url.rsplit("/", 1)[0] + "/other" + ("?" + database_url.split("?", 1)[1] if "?" in database_url else "")
    )
    migrate.upgrade(url)
    yield url
    from db import session

    session.close()
    with admin.connect() as conn:
        conn.execute(text("DROP DATABASE other WITH (FORCE)"))


@pytest.fixture
def full(settings: Any, scheduled: Any, pipeline: Any, fake: FakePlatform, pictures: Any, database: Any) -> Any:
    """An installation with posts in many states, a webhook and media, all paused."""
    scheduled("published")
    fake.will("publish", sent(Rejected("duplicate", "said before", 403)))
    scheduled("failed")
    pipeline.until_quiet()
    scheduled("later", at="2031-01-01T00:00Z", idempotency_key="a-key", options={"fake": {"colour": "blue"}})
    scheduled("with a picture ☀", at="2031-01-01T00:00Z", media=[pictures["jpeg"]])
    with transaction(settings.database()) as conn:
        webhooks.add(
            conn,
            settings,
            "https://example.com/secret-hook-path",
            origin="https://example.com",
            events=[],
            by="person:test",
        )
        database.run("UPDATE media_assets SET available_at = 'infinity'")
        accounts.pause(conn, None, by="person:test")
    return settings


def exported(settings: Any, **more: Any) -> list[str]:
    with transaction(settings.database()) as conn:
        return list(transfer.export(conn, settings, **more))


def put(settings: Any, lines: list[str], passphrase: str = PASSPHRASE, **more: Any) -> transfer.Moved:
    with transaction(settings.database()) as conn:
        return transfer.import_(conn, settings, transfer.opened(lines, lambda: passphrase), **more)


def contents(url: str, table: str) -> list[Any]:
    secret = transfer.SEALED.get(table)
    engine = create_engine(normalized(url), poolclass=NullPool)
    with engine.connect() as conn:
        plain = f"to_jsonb(t) - '{secret}'" if secret else "to_jsonb(t)"
        query = f"SELECT {plain} FROM {table} t ORDER BY t::text"  # noqa: S608 - our tables
        return [row[0] for row in conn.execute(text(query))]


def test_everything_comes_back_as_it_was_with_credentials_under_the_other_key(
    full: Any, other_url: str, environment: Any, database: Any, secret_key: str
) -> None:
    before = {table.name: contents(full.database(), table.name) for table in transfer.tables()}
    lines = exported(full, passphrase=PASSPHRASE)
    other = environment.change(DATABASE_URL=other_url, secret_key=new_key())
    moved = put(other, lines)
    assert moved.credentials
    assert moved.posts == 4
    after = {table.name: contents(other_url, table.name) for table in transfer.tables()}
    for name, rows in before.items():
        if name == "audit_log":
            assert [row["action"] for row in sorted(after[name], key=lambda row: row["id"])][-2:] == [
                "data.exported",
                "data.imported",
            ]
            continue
        assert after[name] == rows, name
    assert {row["status"] for row in after["scheduled_posts"]} == {"published", "failed", "scheduled"}
    assert "infinity" in {row["available_at"] for row in after["media_assets"]}
    with transaction(other_url) as conn:
        sealed = accounts.find(conn, "fake:acme").credentials
        assert Cipher(other.secret()).open(sealed) == {"token": "t0"}
        assert webhooks.target(conn, other, 1)[0] == "https://example.com/secret-hook-path"


def test_keys_stay_used_and_numbers_go_on_behind(full: Any, other_url: str, environment: Any) -> None:
    lines = exported(full, passphrase=PASSPHRASE)
    ids = {row["id"] for row in contents(full.database(), "scheduled_posts")}
    put(environment.change(DATABASE_URL=other_url, secret_key=new_key()), lines)
    again = schedule(
        "later", to="fake:acme", at="2031-01-01T00:00Z", idempotency_key="a-key", options={"fake": {"colour": "blue"}}
    )
    assert again.scheduled[0].id in ids
    with pytest.raises(KeyReused):
        schedule("other words", to="fake:acme", at="2031-01-01T00:00Z", idempotency_key="a-key")
    fresh = schedule("new", to="fake:acme", at="2031-01-01T00:00Z")
    assert fresh.scheduled[0].id > max(ids)


def test_without_a_passphrase_secrets_stay_behind(
    full: Any, other_url: str, environment: Any, scheduled: Any, database: Any
) -> None:
    lines = exported(full)
    whole = "\n".join(lines)
    assert "secret-hook-path" not in whole
    rows = [json.loads(line) for line in lines[1:-1]]
    assert not {"credentials", "sealed", "_sealed"} & {name for one in rows for name in one["row"]}
    other = environment.change(DATABASE_URL=other_url, secret_key=new_key())
    put(other, lines)
    [account] = contents(other_url, "accounts")
    assert (account["state"], account["state_reason"]) == ("needs_reconnect", "imported without its credentials")
    assert contents(other_url, "webhooks")[0]["removed_at"] is not None


def test_what_was_imported_waits_until_a_person_releases_it(
    full: Any, other_url: str, environment: Any, hints: Any, fake: FakePlatform
) -> None:
    from scheduler import dispatch

    lines = exported(full, passphrase=PASSPHRASE)
    other = environment.change(DATABASE_URL=other_url, secret_key=new_key())
    put(other, lines)
    with transaction(other_url) as conn:
        conn.execute(
            text(
                "UPDATE scheduled_posts SET due_at = clock_timestamp(), available_at = clock_timestamp()"
                " WHERE status = 'scheduled'"
            )
        )
        assert accounts.everything_paused(conn)
    assert dispatch.visit(other, hints, by="dispatch:test") == 0
    with transaction(other_url) as conn:
        accounts.resume(conn, None, by="person:test")
    assert dispatch.visit(other, hints, by="dispatch:test") == 1


def test_an_export_wants_everything_to_be_paused(full: Any) -> None:
    with transaction(full.database()) as conn:
        accounts.resume(conn, None, by="person:test")
    with pytest.raises(NotAllowed, match="schedulerx pause"):
        exported(full)
    assert exported(full, copy=True)
    with pytest.raises(Refused, match="12 characters"):
        exported(full, copy=True, passphrase="short")


def test_a_database_that_is_not_empty_is_refused_unless_told(full: Any, other_url: str, environment: Any) -> None:
    lines = exported(full, passphrase=PASSPHRASE)
    with pytest.raises(NotAllowed, match="not empty"):
        put(full, lines)
    other = environment.change(DATABASE_URL=other_url, secret_key=new_key())
    put(other, lines)
    with pytest.raises(NotAllowed, match="not empty"):
        put(other, lines)
    assert put(other, lines, replace=True).posts == 4


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda lines: lines[:-1], "broke off"),
        (lambda lines: [*lines[:-2], lines[-1]], "broke off"),
        (lambda lines: [*lines[:-1], lines[-1][:10]], "not JSON"),
        (lambda lines: [lines[0].replace('"schema": "', '"schema": "9'), *lines[1:]], "same version"),
        (lambda lines: lines[1:], "no export"),
        (lambda lines: lines[:0], "no export"),
        (lambda lines: [lines[0], '{"table": "pg_authid", "row": {}}', lines[-1]], "no row of ours"),
        (lambda lines: [*lines, lines[1]], "after its end"),
    ],
)
def test_a_file_that_is_not_whole_imports_nothing(
    full: Any, other_url: str, environment: Any, change: Callable[[list[str]], list[str]], why: str
) -> None:
    lines = exported(full, passphrase=PASSPHRASE)
    other = environment.change(DATABASE_URL=other_url, secret_key=new_key())
    with pytest.raises(Refused, match=why):
        put(other, change(lines))
    assert contents(other_url, "posts") == contents(other_url, "accounts") == []


def test_a_wrong_passphrase_is_told_at_once(full: Any, other_url: str, environment: Any) -> None:
    lines = exported(full, passphrase=PASSPHRASE)
    other = environment.change(DATABASE_URL=other_url, secret_key=new_key())
    with pytest.raises(Refused, match="passphrase"):
        put(other, lines, passphrase="another long passphrase")


def test_the_commands_make_the_round_trip(full: Any, other_url: str, environment: Any, tmp_path: Path) -> None:
    from scheduler.cli.main import app

    file = tmp_path / "everything.jsonl"
    run = CliRunner()
    done = run.invoke(app, ["export", str(file), "--with-credentials"], input=PASSPHRASE + "\n", catch_exceptions=False)
    assert done.exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert "t0" not in [json.loads(line).get("row", {}).get("_sealed") for line in file.read_text().splitlines()]
    environment.change(DATABASE_URL=other_url, secret_key=new_key())
    done = run.invoke(app, ["import", str(file), "--json"], input=PASSPHRASE + "\n", catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rows"]["scheduled_posts"] == 4
    assert run.invoke(app, ["import", str(tmp_path / "none")], catch_exceptions=False).exit_code == 2


def test_every_column_that_may_hold_a_secret_is_known() -> None:
    assert transfer.secrets_are_known()
