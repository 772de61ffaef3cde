"""Indexes on tables that are in use: built and dropped without keeping anybody from writing meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

UNFINISHED = sa.text("""
    SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE c.relname = :name AND pg_table_is_visible(c.oid) AND NOT i.indisvalid
""")
"""What a build that was broken off leaves behind: it has the name, costs every write, and serves no query."""


def build(name: str, table: str, columns: Sequence[str], where: str) -> None:
    """Makes a partial index, whatever an earlier try has left. What came before it in the migration is committed."""
    with op.get_context().autocommit_block():
        # It waits for older transactions, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        if op.get_bind().execute(UNFINISHED, {"name": name}).scalar_one():
            op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)
        op.create_index(
            name,
            table,
            list(columns),
            postgresql_where=sa.text(where),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.execute("RESET lock_timeout")


def drop(name: str, table: str) -> None:
    """Removes an index, if it is there."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)
        op.execute("RESET lock_timeout")
