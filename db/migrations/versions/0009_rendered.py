"""Rendered: the files that wait on a machine's disk for their upload are found without reading all that were made.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from db.migrations import indexes

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    indexes.build("ix_renditions_rendered", "renditions", ["available_at", "id"], "state = 'rendered'")


def downgrade() -> None:
    indexes.drop("ix_renditions_rendered", "renditions")
