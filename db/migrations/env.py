"""Runs migrations, each in a transaction of its own, on the URL and with the limits that ``db.migrate`` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from db.models import Base

given = context.config.attributes
with create_engine(given["url"], poolclass=NullPool, connect_args=given["connect_args"]).connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
