"""The schema: up, down and up again; the models say the same as the migrations."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from db import migrate
from db.models import Base
from db.session import normalized


@pytest.fixture
def fresh_url(database_url):
    """An empty database of its own."""
    server = create_engine(normalized(database_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS fresh WITH (FORCE)"))
        conn.execute(text("CREATE DATABASE fresh"))
    yield database_url.rsplit("/", 1)[0] + "/fresh"
    with server.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS fresh WITH (FORCE)"))


def tables(url):
    """What is in the database, without Alembic's own table."""
    found = inspect(create_engine(normalized(url), poolclass=NullPool))
    return set(found.get_table_names()) - {"alembic_version"}, set(found.get_sequence_names())


def test_up_down_and_up_again_leave_what_they_should(fresh_url):
    assert migrate.current(fresh_url) is None
    migrate.upgrade(fresh_url)
    assert migrate.current(fresh_url) == migrate.head()
    assert tables(fresh_url)[0] == {table.name for table in Base.metadata.sorted_tables}
    migrate.downgrade(fresh_url, "base")
    assert tables(fresh_url) == (set(), set())
    migrate.upgrade(fresh_url)
    assert migrate.drift(fresh_url) == []


def test_an_upgrade_that_is_done_changes_nothing(fresh_url):
    migrate.upgrade(fresh_url)
    migrate.upgrade(fresh_url)
    assert migrate.current(fresh_url) == migrate.head()


def test_four_machines_that_start_at_once_migrate_once(fresh_url):
    errors: list[BaseException] = []

    def machine() -> None:
        try:
            migrate.upgrade(fresh_url)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=machine) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrate.current(fresh_url) == migrate.head()


def test_a_table_that_somebody_keeps_is_left_to_its_readers_and_asked_for_again(fresh_url, monkeypatch):
    """An open report must not make every reader wait behind the migration that waits for it."""
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_S", 0.3)
    monkeypatch.setattr(migrate, "LOCK_PAUSE_S", 0.3)
    migrate.upgrade(fresh_url, "0006")
    engine = create_engine(normalized(fresh_url), poolclass=NullPool)
    waits = []
    with engine.connect() as report, engine.connect() as reader:
        report.execute(text("SELECT count(*) FROM scheduled_posts"))
        thread = threading.Thread(target=migrate.upgrade, args=(fresh_url,))
        thread.start()
        for _ in range(10):
            began = time.monotonic()
            reader.execute(text("SELECT count(*) FROM scheduled_posts"))
            reader.rollback()
            waits.append(time.monotonic() - began)
            time.sleep(0.15)
        assert thread.is_alive()
        report.rollback()
        thread.join(30)
    assert max(waits) < 1
    assert migrate.current(fresh_url) == migrate.head()
    assert migrate.drift(fresh_url) == []


def test_it_gives_up_on_a_table_that_is_kept_for_good(fresh_url, monkeypatch):
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(migrate, "LOCK_PAUSE_S", 0.0)
    monkeypatch.setattr(migrate, "LOCK_TRIES", 3)
    migrate.upgrade(fresh_url, "0007")
    with create_engine(normalized(fresh_url), poolclass=NullPool).connect() as report:
        report.execute(text("SELECT count(*) FROM scheduled_posts"))
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate.upgrade(fresh_url)
    migrate.upgrade(fresh_url)
    assert migrate.current(fresh_url) == migrate.head()


def test_an_index_whose_building_was_broken_off_is_built_again(fresh_url):
    migrate.upgrade(fresh_url, "0008")
    engine = create_engine(normalized(fresh_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text("CREATE INDEX ix_renditions_rendered ON renditions (id)"))
        conn.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_renditions_rendered'::regclass")
        )
        migrate.upgrade(fresh_url)
        told = conn.execute(
            text("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_renditions_rendered'")
        ).scalar_one()
        assert "available_at" in told
        assert conn.execute(text("SELECT bool_and(indisvalid) FROM pg_index")).scalar_one()


def test_constraints_and_partial_indexes_agree_with_the_models(fresh_url):
    """Alembic's comparison does not look at check constraints, predicates and storage settings."""
    migrate.upgrade(fresh_url)
    by_migration = catalogue(fresh_url)
    migrate.downgrade(fresh_url, "base")
    engine = create_engine(normalized(fresh_url), poolclass=NullPool)
    Base.metadata.create_all(engine)
    try:
        assert catalogue(fresh_url) == by_migration
    finally:
        Base.metadata.drop_all(engine)


CATALOGUE = {
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
         WHERE schemaname = 'public' AND tablename <> 'alembic_version'""",
    "settings": """
        SELECT relname, coalesce(array_to_string(reloptions, ','), '') FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'""",
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, coalesce(column_default, '')
          FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'""",
}


def catalogue(url):
    """What Postgres itself says of columns, constraints, indexes and settings."""
    engine = create_engine(normalized(url), poolclass=NullPool)
    with engine.connect() as conn:
        return {name: sorted(map(tuple, conn.execute(text(query)).all())) for name, query in CATALOGUE.items()}


def test_the_command_upgrades_checks_and_refuses_wrong_usage(fresh_url, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", fresh_url)
    assert migrate.main(["check"]) == 1
    assert migrate.main(["upgrade"]) == 0
    assert migrate.main(["check"]) == 0
    assert migrate.main(["current"]) == 0
    assert migrate.main(["downgrade", "base"]) == 0
    assert migrate.main(["downgrade"]) == 2
    assert migrate.main(["fly"]) == 2
    assert migrate.main([]) == 2
    monkeypatch.delenv("DATABASE_URL")
    assert migrate.main(["check"]) == 2
    assert "usage" in capsys.readouterr().err
