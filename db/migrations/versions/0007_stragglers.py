"""Stragglers: posts that say paused, or held for a reconnect, are found without reading the whole table.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_scheduled_posts_paused", "scheduled_posts", ["account_id"], postgresql_where=sa.text("paused"))
    op.create_index(
        "ix_scheduled_posts_reconnect",
        "scheduled_posts",
        ["account_id"],
        postgresql_where=sa.text("status = 'held' AND held_for = 'reconnect'"),
    )


def downgrade() -> None:
    op.drop_index("ix_scheduled_posts_reconnect", table_name="scheduled_posts")
    op.drop_index("ix_scheduled_posts_paused", table_name="scheduled_posts")
