"""Threads: one post in several parts, each with attempts of its own. Dead letters that an operator has to mend.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    # With defaults that hold for every older row and every older worker: one part, none of them out.
    op.add_column("scheduled_posts", sa.Column("parts", sa.Integer(), server_default="1", nullable=False))
    op.add_column("scheduled_posts", sa.Column("parts_out", JSON, server_default=sa.text("'[]'"), nullable=False))
    op.create_check_constraint(
        op.f("ck_scheduled_posts_parts"), "scheduled_posts", "parts >= 1 AND jsonb_array_length(parts_out) <= parts"
    )
    # A worker of an older release that meets a thread must not call it whole after its first part.
    op.create_check_constraint(
        op.f("ck_scheduled_posts_whole"),
        "scheduled_posts",
        "status <> 'published' OR parts = 1 OR jsonb_array_length(parts_out) = parts",
    )
    op.add_column("dead_letters", sa.Column("operator", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("publish_attempts", sa.Column("part", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("publish_attempts", "part")
    op.drop_column("dead_letters", "operator")
    op.drop_constraint(op.f("ck_scheduled_posts_whole"), "scheduled_posts", type_="check")
    op.drop_constraint(op.f("ck_scheduled_posts_parts"), "scheduled_posts", type_="check")
    op.drop_column("scheduled_posts", "parts_out")
    op.drop_column("scheduled_posts", "parts")
