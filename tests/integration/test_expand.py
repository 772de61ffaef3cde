"""A schema upgrade takes nothing from workers of the release before, which still run: it only adds, with defaults.

What a later release removes (contract) is listed in ``CONTRACTED`` with the release that stopped using it.
"""

from __future__ import annotations

import uuid

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from db import migrate
from db.session import normalized

CONTRACTED: frozenset[tuple[str, str]] = frozenset()
"""(table, column) that an upgrade may remove, since no supported release uses them any more."""


@pytest.fixture
def old_url(database_url):
    """An empty database of its own."""
    name = f"old_{uuid.uuid4().hex[:8]}"
    server = create_engine(normalized(database_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    yield database_url.rsplit("/", 1)[0] + "/" + name
    with server.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def columns(url):
    """(table, column) -> (its type, whether an insert may leave it out)."""
    found = inspect(create_engine(normalized(url), poolclass=NullPool))
    return {
        (table, one["name"]): (str(one["type"]), one["nullable"] or one["default"] is not None)
        for table in found.get_table_names()
        for one in found.get_columns(table)
    }


def test_each_upgrade_only_adds_and_what_it_adds_may_be_left_out(old_url):
    revisions = [one.revision for one in ScriptDirectory.from_config(migrate.config(old_url)).walk_revisions()][::-1]
    migrate.upgrade(old_url, revisions[0])
    before = columns(old_url)
    assert len(revisions) > 1
    for revision in revisions[1:]:
        migrate.upgrade(old_url, revision)
        after = columns(old_url)
        assert set(before) - set(after) <= CONTRACTED, f"{revision} removes what old workers read"
        old_tables = {table for table, _ in before}
        for (table, column), (kind, optional) in after.items():
            if (table, column) in before:
                assert before[table, column][0] == kind, f"{revision} changes {table}.{column}"
                assert optional >= before[table, column][1], f"{revision}: old workers leave {table}.{column} out"
            elif table in old_tables:
                assert optional, f"{revision}: old workers cannot insert into {table} without {column}"
        before = after
