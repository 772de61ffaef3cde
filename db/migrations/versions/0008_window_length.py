"""How long a post's window is, apart from where it is now: retries move it, and must not stretch it.

No backfill: rewriting every waiting row would hold up the claims of those that are due. A row without the length
has a window of (window_ends_at - due_at), and is given its length by the first change that a person makes to it.
Workers of an older release leave it out.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scheduled_posts", sa.Column("window_seconds", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("scheduled_posts", "window_seconds")
