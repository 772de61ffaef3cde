"""Readiness: what was found, ahead of time, that would keep a post from going out.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.create_table(
        "readiness",
        sa.Column("scheduled_post_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problems", JSON, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(since IS NULL) = (problems = '[]'::jsonb)", name=op.f("ck_readiness_since")),
        sa.CheckConstraint("(lease_expires_at IS NULL) = (leased_by IS NULL)", name=op.f("ck_readiness_lease_owner")),
        sa.ForeignKeyConstraint(
            ["scheduled_post_id"],
            ["scheduled_posts.id"],
            name=op.f("fk_readiness_scheduled_post_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("scheduled_post_id", name=op.f("pk_readiness")),
    )
    op.create_index("ix_readiness_problems", "readiness", ["since"], postgresql_where=sa.text("since IS NOT NULL"))


def downgrade() -> None:
    op.drop_table("readiness")
