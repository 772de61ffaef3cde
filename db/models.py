"""The tables. Constraints hold the invariants of the state machine, so that no bug of ours can break them.

All times are ``timestamptz`` in UTC and are written by the database's clock (``clock_timestamp()``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.states import DEAD, LEASED, TERMINAL, HeldFor, Status

NOW = text("clock_timestamp()")

# A queue table churns: the defaults (20 % of all rows) would vacuum a table of ten million waiting posts only
# after two million dead rows.
CHURN = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "5000",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "5000",
    "fillfactor": "85",
}


def one_of(column: str, values: Any) -> str:
    """SQL: the column holds one of these words."""
    words = ", ".join(f"'{value}'" for value in sorted(values))
    return f"{column} IN ({words})"


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own way of declaring it
        datetime: DateTime(timezone=True),
        str: Text,
        int: BigInteger,
        bool: Boolean,
        float: Float,
        bytes: LargeBinary,
        UUID: Uuid,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def table_of(model: type[Base]) -> Table:
    """The Core table of a model, for statements that need no objects."""
    found = model.__table__
    if not isinstance(found, Table):
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return found


IDS = Sequence("post_ids", metadata=Base.metadata)
"""Posts and scheduled posts share one sequence, so that a number means one thing wherever a person types it."""


class Account(Base):
    """A connected profile. ``platform:name`` is how people call it."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    platform: Mapped[str]
    name: Mapped[str]
    handle: Mapped[str] = mapped_column(server_default="")
    remote_id: Mapped[str] = mapped_column(server_default="")
    credentials: Mapped[bytes]
    """Fernet token of the JSON object; see ``db.crypto``."""
    token_version: Mapped[int] = mapped_column(server_default="1")
    token_expires_at: Mapped[datetime | None]
    refresh_leased_by: Mapped[str | None]
    refresh_lease_expires_at: Mapped[datetime | None]
    refresh_after: Mapped[datetime | None]
    """Not before, after a refresh that failed for a while."""
    state: Mapped[str] = mapped_column(server_default="active")
    state_reason: Mapped[str | None]
    paused_at: Mapped[datetime | None]
    limited_until: Mapped[datetime | None]
    """The platform told this account to wait until then."""
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    scopes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    app: Mapped[str] = mapped_column(server_default="")
    """Which app of ours the credentials belong to (a hash): its accounts share the app's limits."""
    api_url: Mapped[str | None]
    """The override of the platform's origin in force when it was added: marks test accounts in listings."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    checked_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('active', 'needs_reconnect')", name="state"),
        Index(
            "uq_accounts_platform_name",
            "platform",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )


class Post(Base):
    """What the author wrote; its content is in the versions."""

    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(IDS, server_default=IDS.next_value(), primary_key=True)
    correlation_id: Mapped[str]
    """Binds every log line from the script to the platform call."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class PostVersion(Base):
    """The immutable content of a post. An edit makes a new one."""

    __tablename__ = "post_versions"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    text: Mapped[str]
    media: Mapped[list[Any]]
    """[{"asset_id": 1, "name": "a.jpg", "alt": "..."}] in order."""
    options: Mapped[dict[str, Any]]
    """Per platform or account: {"pinterest": {"board": "..."}, "x:acme": {...}}."""
    sha256: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (UniqueConstraint("post_id", "number"),)


class IdempotencyKey(Base):
    """A caller's key and what it was first used for. Kept for ever: a key never makes a second post."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    post_id: Mapped[int | None]
    """No foreign key: the key outlives a pruned post."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ScheduledPost(Base):
    """The post on one account at one time: the unit of work and of status."""

    __tablename__ = "scheduled_posts"

    id: Mapped[int] = mapped_column(IDS, server_default=IDS.next_value(), primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("post_versions.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    platform: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=Status.SCHEDULED.value)
    held_for: Mapped[str | None]
    due_at: Mapped[datetime]
    available_at: Mapped[datetime]
    """When we may try (or look) next. For a post that is prepared first: when preparing may begin."""
    window_ends_at: Mapped[datetime]
    window_seconds: Mapped[int | None] = mapped_column(Integer)
    """How long its window is, wherever it begins: at ``due_at``, or at a later retry. None: written by a release that
    did not note it; then it is as long as the row's present one."""
    media_ready: Mapped[bool]
    needs_prepare: Mapped[bool]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    """Its account is paused. Kept here so that a claim never wades through rows that cannot go."""
    generation: Mapped[int] = mapped_column(server_default="1")
    """Row version and fencing token: every change of status adds 1."""
    claims: Mapped[int] = mapped_column(Integer, server_default="0")
    """Claims since the last outcome; a post that kills its worker each time ends as ``worker_crash``."""
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_expires_at: Mapped[datetime | None]
    leased_by: Mapped[str | None]
    checkpoint: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    checkpoint_expires_at: Mapped[datetime | None]
    lookups: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """What reconcile has seen so far: {"count": 1, "absent_at": "..."}."""
    parts: Mapped[int] = mapped_column(Integer, server_default="1")
    """How many publishing calls make it whole: a thread has one for each part."""
    parts_out: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """The parts of a thread that are public, in order: [{"remote_id": "1", "url": "https://..."}]."""
    remote_id: Mapped[str | None]
    remote_url: Mapped[str | None]
    first_sent_at: Mapped[datetime | None]
    """When the first byte of the publishing call left; lateness is counted to here."""
    published_at: Mapped[datetime | None]
    evidence: Mapped[str | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    finalized_at: Mapped[datetime | None]
    api_url: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint(one_of("status", Status), name="status"),
        CheckConstraint(f"({one_of('status', TERMINAL)}) = (finalized_at IS NOT NULL)", name="finalized"),
        CheckConstraint(f"({one_of('status', LEASED)}) = (lease_expires_at IS NOT NULL)", name="lease"),
        CheckConstraint("(lease_expires_at IS NULL) = (leased_by IS NULL)", name="lease_owner"),
        CheckConstraint("(status = 'held') = (held_for IS NOT NULL)", name="held"),
        CheckConstraint(f"held_for IS NULL OR {one_of('held_for', HeldFor)}", name="held_for"),
        CheckConstraint(
            "status <> 'published' OR (published_at IS NOT NULL AND evidence IS NOT NULL)", name="published"
        ),
        CheckConstraint("remote_id IS NULL OR status = 'published'", name="remote_id"),
        CheckConstraint("evidence IS NULL OR evidence IN ('api', 'reconciled', 'person')", name="evidence"),
        CheckConstraint("window_ends_at >= due_at", name="window"),
        CheckConstraint("parts >= 1 AND jsonb_array_length(parts_out) <= parts", name="parts"),
        # Also against workers of a release that knew no threads: they must not call one whole after its first part.
        CheckConstraint("status <> 'published' OR parts = 1 OR jsonb_array_length(parts_out) = parts", name="whole"),
        UniqueConstraint("post_id", "account_id"),
        Index(
            "uq_scheduled_posts_remote",
            "account_id",
            "remote_id",
            unique=True,
            postgresql_where=text("remote_id IS NOT NULL"),
        ),
        # What dispatch claims, per platform in order of time: a claim costs the same whatever waits behind it,
        # and a platform that is slow cannot stand in front of another.
        Index(
            "ix_scheduled_posts_dispatch",
            "platform",
            "available_at",
            "id",
            postgresql_where=text(
                "media_ready AND NOT paused AND"
                " ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))"
            ),
        ),
        Index(
            "ix_scheduled_posts_prepare",
            "platform",
            "available_at",
            "id",
            postgresql_where=text("media_ready AND NOT paused AND status = 'scheduled' AND needs_prepare"),
        ),
        Index(
            "ix_scheduled_posts_follow",
            "available_at",
            "id",
            postgresql_where=text("status IN ('processing', 'unknown')"),
        ),
        Index(
            "ix_scheduled_posts_lease",
            "lease_expires_at",
            postgresql_where=text("lease_expires_at IS NOT NULL"),
        ),
        Index(
            "ix_scheduled_posts_window",
            "window_ends_at",
            "id",
            postgresql_where=text(
                "status IN ('scheduled', 'preparing', 'ready', 'queued', 'retrying')"
                " OR (status = 'held' AND held_for <> 'outcome_unknown')"
            ),
        ),
        Index(
            "ix_scheduled_posts_unready",
            "id",
            postgresql_where=text("NOT media_ready AND status = 'scheduled'"),
        ),
        Index("ix_scheduled_posts_account", "account_id", "due_at"),
        Index("ix_scheduled_posts_paused", "account_id", postgresql_where=text("paused")),
        Index(
            "ix_scheduled_posts_reconnect",
            "account_id",
            postgresql_where=text("status = 'held' AND held_for = 'reconnect'"),
        ),
        {"postgresql_with": CHURN},
    )


class PublishAttempt(Base):
    """One committed intent to make a scheduled post public, and what came of it. The outcome is set once."""

    __tablename__ = "publish_attempts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """Chosen before the transaction, so that a COMMIT whose answer was lost can be looked up."""
    scheduled_post_id: Mapped[int] = mapped_column(ForeignKey("scheduled_posts.id", ondelete="CASCADE"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("post_versions.id"))
    generation: Mapped[int]
    call: Mapped[str]
    platform_key: Mapped[str]
    payload_sha256: Mapped[str]
    worker: Mapped[str]
    app: Mapped[str] = mapped_column(server_default="")
    part: Mapped[int] = mapped_column(Integer, server_default="0")
    """Which part of a thread it was to make public, from 0."""
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    sent_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    http_status: Mapped[int | None] = mapped_column(Integer)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    remote_id: Mapped[str | None]
    remote_url: Mapped[str | None]
    settled: Mapped[str | None]
    """How doubt about it ended: found, absent or person. An unknown outcome without it is still doubtful."""

    __table_args__ = (
        CheckConstraint("settled IS NULL OR settled IN ('found', 'absent', 'person')", name="settled"),
        CheckConstraint(
            "outcome IS NULL OR outcome IN ('accepted', 'rejected', 'not_sent', 'unknown')", name="outcome"
        ),
        CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="finished"),
        Index("ix_publish_attempts_scheduled_post", "scheduled_post_id", "started_at"),
        Index("ix_publish_attempts_account", "account_id", "started_at"),
        Index("ix_publish_attempts_app", "app", "started_at"),
        {"postgresql_with": CHURN},
    )


class Transition(Base):
    """One change of status: who, when, why. Pruned after its retention."""

    __tablename__ = "transitions"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    scheduled_post_id: Mapped[int]
    """No foreign key: history may be written faster and outlive what it speaks of."""
    generation: Mapped[int]
    from_status: Mapped[str]
    to_status: Mapped[str]
    by: Mapped[str]
    why: Mapped[str] = mapped_column(server_default="")
    at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        Index("ix_transitions_scheduled_post", "scheduled_post_id", "id"),
        Index("ix_transitions_at", "at", postgresql_using="brin"),
    )


class DeadLetter(Base):
    """A scheduled post that needs a person."""

    __tablename__ = "dead_letters"

    id: Mapped[int] = mapped_column(IDS, server_default=IDS.next_value(), primary_key=True)
    """From the posts' sequence: people name a dead letter by its own number or by its scheduled post's."""
    scheduled_post_id: Mapped[int] = mapped_column(ForeignKey("scheduled_posts.id", ondelete="CASCADE"))
    generation: Mapped[int]
    status: Mapped[str]
    code: Mapped[str]
    message: Mapped[str]
    operator: Mapped[bool] = mapped_column(server_default=text("false"))
    """No author can mend it (no credits left, the app is not approved): the account's other posts will fail, too."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    resolved_by: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(one_of("status", DEAD), name="status"),
        CheckConstraint("(resolved_at IS NULL) = (resolution IS NULL)", name="resolved"),
        # At most one open dead letter for a scheduled post.
        Index(
            "uq_dead_letters_open",
            "scheduled_post_id",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )


class MediaAsset(Base):
    """An original file, stored privately by its hash."""

    __tablename__ = "media_assets"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    sha256: Mapped[str | None]
    """None until a remote file was fetched."""
    source_url: Mapped[str | None]
    name: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default="pending")
    """pending (to be fetched or stored), stored, failed."""
    progress: Mapped[float] = mapped_column(server_default="0")
    size: Mapped[int | None]
    mime: Mapped[str | None]
    probe: Mapped[dict[str, Any] | None]
    storage_key: Mapped[str | None]
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_expires_at: Mapped[datetime | None]
    claims: Mapped[int] = mapped_column(Integer, server_default="0")
    generation: Mapped[int] = mapped_column(server_default="1")
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    touched_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """When it was last asked for; what a waiting post needs is never pruned."""
    delete_after: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'stored', 'failed')", name="state"),
        CheckConstraint(
            "state <> 'stored' OR (sha256 IS NOT NULL AND storage_key IS NOT NULL AND probe IS NOT NULL)",
            name="stored",
        ),
        Index("uq_media_assets_sha256", "sha256", unique=True, postgresql_where=text("source_url IS NULL")),
        Index("ix_media_assets_pending", "available_at", "id", postgresql_where=text("state = 'pending'")),
    )


class Rendition(Base):
    """What is made from an asset for a rule: at most once for each recipe, whoever needs it."""

    __tablename__ = "renditions"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    asset_id: Mapped[int] = mapped_column(ForeignKey("media_assets.id"))
    recipe_hash: Mapped[str]
    recipe: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(server_default="pending")
    """pending -> rendered (in a spool folder) -> ready (in the store); or failed."""
    progress: Mapped[float] = mapped_column(server_default="0")
    actions: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    spool: Mapped[str | None]
    """Which machine's spool folder holds the rendered file."""
    sha256: Mapped[str | None]
    size: Mapped[int | None]
    mime: Mapped[str | None]
    kind: Mapped[str | None]
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    duration_s: Mapped[float | None]
    storage_key: Mapped[str | None]
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_expires_at: Mapped[datetime | None]
    claims: Mapped[int] = mapped_column(Integer, server_default="0")
    generation: Mapped[int] = mapped_column(server_default="1")
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    touched_at: Mapped[datetime] = mapped_column(server_default=NOW)
    delete_after: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("asset_id", "recipe_hash"),
        CheckConstraint("state IN ('pending', 'rendered', 'ready', 'failed')", name="state"),
        CheckConstraint(
            "state <> 'ready' OR (sha256 IS NOT NULL AND storage_key IS NOT NULL AND size IS NOT NULL)",
            name="ready",
        ),
        Index(
            "ix_renditions_work",
            "available_at",
            "id",
            postgresql_where=text("state IN ('pending', 'rendered')"),
        ),
        Index("ix_renditions_rendered", "available_at", "id", postgresql_where=text("state = 'rendered'")),
    )


class ScheduledPostMedia(Base):
    """Which rendition a scheduled post needs at which place."""

    __tablename__ = "scheduled_post_media"

    scheduled_post_id: Mapped[int] = mapped_column(
        ForeignKey("scheduled_posts.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    asset_id: Mapped[int] = mapped_column(ForeignKey("media_assets.id"))
    rendition_id: Mapped[int | None] = mapped_column(ForeignKey("renditions.id"))
    """None while the asset is not fetched yet: what it is decides the recipe."""
    alt: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (
        Index("ix_scheduled_post_media_rendition", "rendition_id"),
        Index("ix_scheduled_post_media_asset", "asset_id"),
    )


class Readiness(Base):
    """What was found, ahead of time, that would keep a scheduled post from going out. See ``scheduler.readiness``."""

    __tablename__ = "readiness"

    scheduled_post_id: Mapped[int] = mapped_column(
        ForeignKey("scheduled_posts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    due_at: Mapped[datetime | None]
    """The due time that was looked at; with another one the post is looked at anew."""
    version_id: Mapped[int | None]
    """The content that was looked at; likewise."""
    stage: Mapped[int] = mapped_column(Integer, server_default="0")
    """How many of the times of SCHEDULERX_READINESS_HOURS have been looked at."""
    problems: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """[{"code": "...", "message": "...", "field": "...", "file": null}]"""
    since: Mapped[datetime | None]
    """Since when there has been any."""
    checked_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    """Looks in a row that came to no answer."""
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """Not looked at again before this."""
    lease_expires_at: Mapped[datetime | None]
    leased_by: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("(since IS NULL) = (problems = '[]'::jsonb)", name="since"),
        CheckConstraint("(lease_expires_at IS NULL) = (leased_by IS NULL)", name="lease_owner"),
        Index("ix_readiness_problems", "since", postgresql_where=text("since IS NOT NULL")),
    )


class Switch(Base):
    """A stop button that is pressed: ``all`` stops every publishing until it is released."""

    __tablename__ = "switches"

    name: Mapped[str] = mapped_column(primary_key=True)
    by: Mapped[str]
    why: Mapped[str] = mapped_column(server_default="")
    at: Mapped[datetime] = mapped_column(server_default=NOW)


class WorkerBeat(Base):
    """The last sign of life of a worker on a queue (or of beat); written by the worker itself."""

    __tablename__ = "worker_beats"

    worker: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    slots: Mapped[int] = mapped_column(Integer)
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    beat_at: Mapped[datetime | None]
    """Beat's own clock when the pulse that came last was sent."""
    dispatched_at: Mapped[datetime | None]
    """When a dispatch worker handed that pulse on; the database's clock, as below."""
    pulse_at: Mapped[datetime | None]
    """When it arrived here. ``seen_at`` may be younger: a busy worker also reports by itself."""


class Tally(Base):
    """A counter that only grows: what history said before it was pruned. See ``scheduler.tallies``."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(primary_key=True)
    labels: Mapped[dict[str, Any]] = mapped_column(primary_key=True)
    value: Mapped[float]


class TallyMark(Base):
    """Up to when history is in the tallies."""

    __tablename__ = "tally_marks"

    name: Mapped[str] = mapped_column(primary_key=True)
    counted_to: Mapped[datetime]


class Webhook(Base):
    """A receiver that is told what becomes of posts."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    origin: Mapped[str]
    """Scheme, host and port only: the path or the query of a URL may be a secret."""
    sealed: Mapped[bytes]
    """Encrypted like credentials: the whole URL and the key that signs."""
    events: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Which events it wants; empty: all."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    removed_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    last_error: Mapped[str | None]


class WebhookDelivery(Base):
    """One event for one webhook, written by the transaction in which the thing happened."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    """What the receiver recognises a repetition by; a retry and a replay keep it."""
    webhook_id: Mapped[int]
    """No foreign key: a webhook that is being removed must never make publishing fail."""
    event: Mapped[str]
    scheduled_post_id: Mapped[int | None]
    data: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    tried_from: Mapped[datetime] = mapped_column(server_default=NOW)
    """Since when it is tried: when it happened, or when it was replayed."""
    lease_expires_at: Mapped[datetime | None]
    leased_by: Mapped[str | None]
    finished_at: Mapped[datetime | None]
    http_status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state"),
        CheckConstraint("(state = 'waiting') = (finished_at IS NULL)", name="finished"),
        Index("ix_webhook_deliveries_waiting", "available_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_webhook_deliveries_webhook", "webhook_id", "created_at"),
    )


class Alert(Base):
    """Something that a person should know, from when it was seen until it was over."""

    __tablename__ = "alerts"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    rule: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str]
    message: Mapped[str]
    mark: Mapped[int]
    """Grows when the matter gets worse (the newest dead letter in it): then it is told again."""
    opened_at: Mapped[datetime] = mapped_column(server_default=NOW)
    gone_at: Mapped[datetime | None]
    """Since when it has not been seen any more; closed after a while, so that flapping is not told."""
    closed_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    told_mark: Mapped[int | None]
    end_told_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("severity IN ('warning', 'critical')", name="severity"),
        Index("uq_alerts_open", "rule", "subject", unique=True, postgresql_where=text("closed_at IS NULL")),
    )


class AlertMessage(Base):
    """A message on its way to one alert channel; each channel has its own, so that none waits for another."""

    __tablename__ = "alert_messages"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    channel: Mapped[str]
    """Place in SCHEDULERX_ALERT_URLS and scheme, such as ``1 mailto``: the URL itself is a secret."""
    title: Mapped[str]
    body: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    available_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_expires_at: Mapped[datetime | None]
    leased_by: Mapped[str | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'sent', 'failed')", name="state"),
        CheckConstraint("(state = 'waiting') = (finished_at IS NULL)", name="finished"),
        Index("ix_alert_messages_waiting", "available_at", postgresql_where=text("state = 'waiting'")),
    )


class AuditEntry(Base):
    """Who did what to which post or account. A trigger refuses changes; prune removes what is old enough."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    by: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    before: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    after: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (Index("ix_audit_log_subject", "subject", "id"),)
