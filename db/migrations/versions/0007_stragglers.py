"""Stragglers: posts that say paused, or held for a reconnect, are found without reading the whole table.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from db.migrations import indexes

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    indexes.build("ix_scheduled_posts_paused", "scheduled_posts", ["account_id"], "paused")
    indexes.build(
        "ix_scheduled_posts_reconnect",
        "scheduled_posts",
        ["account_id"],
        "status = 'held' AND held_for = 'reconnect'",
    )


def downgrade() -> None:
    indexes.drop("ix_scheduled_posts_reconnect", "scheduled_posts")
    indexes.drop("ix_scheduled_posts_paused", "scheduled_posts")
