"""The heartbeat's hops on each sign of life, and tallies: counters that outlive history and restarts.

Revision ID: 0003
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

HOPS = ("beat_at", "dispatched_at", "pulse_at")


def upgrade() -> None:
    for name in HOPS:
        op.add_column("worker_beats", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "tallies",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_tallies")),
    )
    op.create_table(
        "tally_marks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("counted_to", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tally_marks")),
    )


def downgrade() -> None:
    op.drop_table("tally_marks")
    op.drop_table("tallies")
    for name in reversed(HOPS):
        op.drop_column("worker_beats", name)
