"""The first schema.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.text("CREATE SEQUENCE post_ids"))
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("handle", sa.Text(), server_default="", nullable=False),
        sa.Column("remote_id", sa.Text(), server_default="", nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=False),
        sa.Column("token_version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("token_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refresh_leased_by", sa.Text(), nullable=True),
        sa.Column("refresh_lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refresh_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("limited_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("scopes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("app", sa.Text(), server_default="", nullable=False),
        sa.Column("api_url", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('active', 'needs_reconnect')", name=op.f("ck_accounts_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_index(
        "uq_accounts_platform_name",
        "accounts",
        ["platform", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "media_assets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("source_url", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("progress", sa.Float(), server_default="0", nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("mime", sa.Text(), nullable=True),
        sa.Column("probe", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("storage_key", sa.Text(), nullable=True),
        sa.Column(
            "available_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "touched_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("delete_after", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'stored' OR (sha256 IS NOT NULL AND storage_key IS NOT NULL AND probe IS NOT NULL)",
            name=op.f("ck_media_assets_stored"),
        ),
        sa.CheckConstraint("state IN ('pending', 'stored', 'failed')", name=op.f("ck_media_assets_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media_assets")),
    )
    op.create_index(
        "ix_media_assets_pending",
        "media_assets",
        ["available_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "uq_media_assets_sha256",
        "media_assets",
        ["sha256"],
        unique=True,
        postgresql_where=sa.text("source_url IS NULL"),
    )
    op.create_table(
        "posts",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('post_ids')"), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_switches")),
    )
    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("scheduled_post_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=False),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index("ix_transitions_at", "transitions", ["at"], unique=False, postgresql_using="brin")
    op.create_index("ix_transitions_scheduled_post", "transitions", ["scheduled_post_id", "id"], unique=False)
    op.create_table(
        "worker_beats",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("worker", "queue", name=op.f("pk_worker_beats")),
    )
    op.create_table(
        "post_versions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("media", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name=op.f("fk_post_versions_post_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_versions")),
        sa.UniqueConstraint("post_id", "number", name=op.f("uq_post_versions_post_id_number")),
    )
    op.create_table(
        "renditions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("recipe_hash", sa.Text(), nullable=False),
        sa.Column("recipe", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("progress", sa.Float(), server_default="0", nullable=False),
        sa.Column("actions", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("spool", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("mime", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("storage_key", sa.Text(), nullable=True),
        sa.Column(
            "available_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "touched_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("delete_after", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'ready' OR (sha256 IS NOT NULL AND storage_key IS NOT NULL AND size IS NOT NULL)",
            name=op.f("ck_renditions_ready"),
        ),
        sa.CheckConstraint("state IN ('pending', 'rendered', 'ready', 'failed')", name=op.f("ck_renditions_state")),
        sa.ForeignKeyConstraint(["asset_id"], ["media_assets.id"], name=op.f("fk_renditions_asset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_renditions")),
        sa.UniqueConstraint("asset_id", "recipe_hash", name=op.f("uq_renditions_asset_id_recipe_hash")),
    )
    op.create_index(
        "ix_renditions_work",
        "renditions",
        ["available_at", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'rendered')"),
    )
    op.create_table(
        "scheduled_posts",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('post_ids')"), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="scheduled", nullable=False),
        sa.Column("held_for", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("media_ready", sa.Boolean(), nullable=False),
        sa.Column("needs_prepare", sa.Boolean(), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column(
            "checkpoint",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("checkpoint_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lookups", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("remote_url", sa.Text(), nullable=True),
        sa.Column("first_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("finalized_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("api_url", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("(status = 'held') = (held_for IS NOT NULL)", name=op.f("ck_scheduled_posts_held")),
        sa.CheckConstraint(
            "(status IN ('canceled', 'failed', 'missed', 'published')) = (finalized_at IS NOT NULL)",
            name=op.f("ck_scheduled_posts_finalized"),
        ),
        sa.CheckConstraint(
            "(status IN ('preparing', 'publishing', 'queued')) = (lease_expires_at IS NOT NULL)",
            name=op.f("ck_scheduled_posts_lease"),
        ),
        sa.CheckConstraint(
            "evidence IS NULL OR evidence IN ('api', 'reconciled', 'person')",
            name=op.f("ck_scheduled_posts_evidence"),
        ),
        sa.CheckConstraint(
            "held_for IS NULL OR held_for IN ('approval', 'outcome_unknown', 'reconnect')",
            name=op.f("ck_scheduled_posts_held_for"),
        ),
        sa.CheckConstraint("remote_id IS NULL OR status = 'published'", name=op.f("ck_scheduled_posts_remote_id")),
        sa.CheckConstraint(
            "status <> 'published' OR (published_at IS NOT NULL AND evidence IS NOT NULL)",
            name=op.f("ck_scheduled_posts_published"),
        ),
        sa.CheckConstraint(
            "status IN ('canceled', 'failed', 'held', 'missed', 'preparing', 'processing', 'published', 'publishing', 'queued', 'ready', 'retrying', 'scheduled', 'unknown')",
            name=op.f("ck_scheduled_posts_status"),
        ),
        sa.CheckConstraint(
            "(lease_expires_at IS NULL) = (leased_by IS NULL)", name=op.f("ck_scheduled_posts_lease_owner")
        ),
        sa.CheckConstraint("window_ends_at >= due_at", name=op.f("ck_scheduled_posts_window")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_scheduled_posts_account_id")),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name=op.f("fk_scheduled_posts_post_id")),
        sa.ForeignKeyConstraint(["version_id"], ["post_versions.id"], name=op.f("fk_scheduled_posts_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduled_posts")),
        sa.UniqueConstraint("post_id", "account_id", name=op.f("uq_scheduled_posts_post_id_account_id")),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0",
            "autovacuum_vacuum_threshold": "5000",
            "autovacuum_analyze_scale_factor": "0",
            "autovacuum_analyze_threshold": "5000",
            "fillfactor": "85",
        },
    )
    op.create_index("ix_scheduled_posts_account", "scheduled_posts", ["account_id", "due_at"], unique=False)
    op.create_index(
        "ix_scheduled_posts_dispatch",
        "scheduled_posts",
        ["platform", "available_at", "id"],
        unique=False,
        postgresql_where=sa.text(
            "media_ready AND NOT paused AND ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))"
        ),
    )
    op.create_index(
        "ix_scheduled_posts_follow",
        "scheduled_posts",
        ["available_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('processing', 'unknown')"),
    )
    op.create_index(
        "ix_scheduled_posts_lease",
        "scheduled_posts",
        ["lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("lease_expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_scheduled_posts_prepare",
        "scheduled_posts",
        ["platform", "available_at", "id"],
        unique=False,
        postgresql_where=sa.text("media_ready AND NOT paused AND status = 'scheduled' AND needs_prepare"),
    )
    op.create_index(
        "ix_scheduled_posts_unready",
        "scheduled_posts",
        ["id"],
        unique=False,
        postgresql_where=sa.text("NOT media_ready AND status = 'scheduled'"),
    )
    op.create_index(
        "ix_scheduled_posts_window",
        "scheduled_posts",
        ["window_ends_at", "id"],
        unique=False,
        postgresql_where=sa.text(
            "status IN ('scheduled', 'preparing', 'ready', 'queued', 'retrying') OR (status = 'held' AND held_for <> 'outcome_unknown')"
        ),
    )
    op.create_index(
        "uq_scheduled_posts_remote",
        "scheduled_posts",
        ["account_id", "remote_id"],
        unique=True,
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('post_ids')"), nullable=False),
        sa.Column("scheduled_post_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('failed', 'held', 'missed')", name=op.f("ck_dead_letters_status")),
        sa.CheckConstraint("(resolved_at IS NULL) = (resolution IS NULL)", name=op.f("ck_dead_letters_resolved")),
        sa.ForeignKeyConstraint(
            ["scheduled_post_id"],
            ["scheduled_posts.id"],
            name=op.f("fk_dead_letters_scheduled_post_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index(
        "uq_dead_letters_open",
        "dead_letters",
        ["scheduled_post_id"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "publish_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scheduled_post_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("platform_key", sa.Text(), nullable=False),
        sa.Column("payload_sha256", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("remote_url", sa.Text(), nullable=True),
        sa.Column("settled", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('accepted', 'rejected', 'not_sent', 'unknown')",
            name=op.f("ck_publish_attempts_outcome"),
        ),
        sa.CheckConstraint(
            "settled IS NULL OR settled IN ('found', 'absent', 'person')",
            name=op.f("ck_publish_attempts_settled"),
        ),
        sa.CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name=op.f("ck_publish_attempts_finished")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_publish_attempts_account_id")),
        sa.ForeignKeyConstraint(
            ["scheduled_post_id"],
            ["scheduled_posts.id"],
            name=op.f("fk_publish_attempts_scheduled_post_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["version_id"], ["post_versions.id"], name=op.f("fk_publish_attempts_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publish_attempts")),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0",
            "autovacuum_vacuum_threshold": "5000",
            "autovacuum_analyze_scale_factor": "0",
            "autovacuum_analyze_threshold": "5000",
            "fillfactor": "85",
        },
    )
    op.create_index("ix_publish_attempts_app", "publish_attempts", ["app", "started_at"], unique=False)
    op.create_index("ix_publish_attempts_account", "publish_attempts", ["account_id", "started_at"], unique=False)
    op.create_index(
        "ix_publish_attempts_scheduled_post",
        "publish_attempts",
        ["scheduled_post_id", "started_at"],
        unique=False,
    )
    op.create_table(
        "scheduled_post_media",
        sa.Column("scheduled_post_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("rendition_id", sa.BigInteger(), nullable=True),
        sa.Column("alt", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["media_assets.id"], name=op.f("fk_scheduled_post_media_asset_id")),
        sa.ForeignKeyConstraint(["rendition_id"], ["renditions.id"], name=op.f("fk_scheduled_post_media_rendition_id")),
        sa.ForeignKeyConstraint(
            ["scheduled_post_id"],
            ["scheduled_posts.id"],
            name=op.f("fk_scheduled_post_media_scheduled_post_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("scheduled_post_id", "position", name=op.f("pk_scheduled_post_media")),
    )
    op.create_index("ix_scheduled_post_media_asset", "scheduled_post_media", ["asset_id"], unique=False)
    op.create_index("ix_scheduled_post_media_rendition", "scheduled_post_media", ["rendition_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_scheduled_post_media_rendition", table_name="scheduled_post_media")
    op.drop_index("ix_scheduled_post_media_asset", table_name="scheduled_post_media")
    op.drop_table("scheduled_post_media")
    op.drop_index("ix_publish_attempts_scheduled_post", table_name="publish_attempts")
    op.drop_index("ix_publish_attempts_app", table_name="publish_attempts")
    op.drop_index("ix_publish_attempts_account", table_name="publish_attempts")
    op.drop_table("publish_attempts")
    op.drop_index("uq_dead_letters_open", table_name="dead_letters", postgresql_where=sa.text("resolved_at IS NULL"))
    op.drop_table("dead_letters")
    op.drop_index(
        "uq_scheduled_posts_remote",
        table_name="scheduled_posts",
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_scheduled_posts_window",
        table_name="scheduled_posts",
        postgresql_where=sa.text(
            "status IN ('scheduled', 'preparing', 'ready', 'queued', 'retrying') OR (status = 'held' AND held_for <> 'outcome_unknown')"
        ),
    )
    op.drop_index(
        "ix_scheduled_posts_unready",
        table_name="scheduled_posts",
        postgresql_where=sa.text("NOT media_ready AND status = 'scheduled'"),
    )
    op.drop_index(
        "ix_scheduled_posts_prepare",
        table_name="scheduled_posts",
        postgresql_where=sa.text("media_ready AND NOT paused AND status = 'scheduled' AND needs_prepare"),
    )
    op.drop_index(
        "ix_scheduled_posts_lease",
        table_name="scheduled_posts",
        postgresql_where=sa.text("lease_expires_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_scheduled_posts_follow",
        table_name="scheduled_posts",
        postgresql_where=sa.text("status IN ('processing', 'unknown')"),
    )
    op.drop_index(
        "ix_scheduled_posts_dispatch",
        table_name="scheduled_posts",
        postgresql_where=sa.text(
            "media_ready AND NOT paused AND ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))"
        ),
    )
    op.drop_index("ix_scheduled_posts_account", table_name="scheduled_posts")
    op.drop_table("scheduled_posts")
    op.drop_index(
        "ix_renditions_work",
        table_name="renditions",
        postgresql_where=sa.text("state IN ('pending', 'rendered')"),
    )
    op.drop_table("renditions")
    op.drop_table("post_versions")
    op.drop_table("worker_beats")
    op.drop_index("ix_transitions_scheduled_post", table_name="transitions")
    op.drop_index("ix_transitions_at", table_name="transitions", postgresql_using="brin")
    op.drop_table("transitions")
    op.drop_table("switches")
    op.drop_table("posts")
    op.drop_index("uq_media_assets_sha256", table_name="media_assets", postgresql_where=sa.text("source_url IS NULL"))
    op.drop_index("ix_media_assets_pending", table_name="media_assets", postgresql_where=sa.text("state = 'pending'"))
    op.drop_table("media_assets")
    op.drop_table("idempotency_keys")
    op.drop_index("uq_accounts_platform_name", table_name="accounts", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_table("accounts")
    op.execute(sa.text("DROP SEQUENCE post_ids"))
