"""Prune: what nobody needs any more goes, in small batches, and never what a waiting post needs.

Media is marked first, kept for a day, then deleted: a post that is scheduled meanwhile with the same file
clears the mark (``touched_at``, ``delete_after``), and the row is locked while its object is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from db.session import transaction
from media.errors import StoreUnavailable
from media.storage import Store
from scheduler.errors import NotConfigured
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)

BATCH = 500
GRACE = "24 hours"

COUNT_OLD = text("SELECT count(*) FROM transitions WHERE at < clock_timestamp() - make_interval(days => :days)")
DELETE_OLD = text("DELETE FROM transitions WHERE at < clock_timestamp() - make_interval(days => :days)")
UNUSED = {
    "renditions": """
        NOT EXISTS (SELECT 1 FROM scheduled_post_media m JOIN scheduled_posts s ON s.id = m.scheduled_post_id
                     WHERE m.rendition_id = t.id
                       AND (s.finalized_at IS NULL
                            OR s.finalized_at > clock_timestamp() - make_interval(days => :days)))
    """,
    "media_assets": """
        NOT EXISTS (SELECT 1 FROM scheduled_post_media m JOIN scheduled_posts s ON s.id = m.scheduled_post_id
                     WHERE m.asset_id = t.id
                       AND (s.finalized_at IS NULL
                            OR s.finalized_at > clock_timestamp() - make_interval(days => :days)))
    """,
}


@dataclass(frozen=True)
class Pruned:
    """What was, or with ``dry_run`` would be, done."""

    transitions: int
    marked: int
    deleted: int
    dry_run: bool


def run(settings: Settings, *, dry_run: bool = False) -> Pruned:
    """One pass."""
    with transaction(settings.database()) as conn:
        values = {"days": settings.transitions_retention_days}
        transitions = (
            conn.execute(COUNT_OLD, values).scalar_one() if dry_run else conn.execute(DELETE_OLD, values).rowcount
        )
    marked = sum(_mark(settings, table, dry_run=dry_run) for table in UNUSED)
    deleted = sum(_delete(settings, table, dry_run=dry_run) for table in UNUSED)
    done = Pruned(transitions, marked, deleted, dry_run)
    log.info("prune.done", transitions=transitions, marked=marked, deleted=deleted, dry_run=dry_run)
    return done


def _mark(settings: Settings, table: str, *, dry_run: bool) -> int:
    unused = f"""
        FROM {table} t WHERE t.delete_after IS NULL AND t.storage_key IS NOT NULL
         AND t.touched_at < clock_timestamp() - make_interval(days => :days) AND {UNUSED[table]}
    """
    with transaction(settings.database()) as conn:
        if dry_run:
            return int(
                conn.execute(text(f"SELECT count(*) {unused}"), {"days": settings.media_retention_days}).scalar_one()
            )
        return conn.execute(
            text(f"""
                UPDATE {table} SET delete_after = clock_timestamp() + interval '{GRACE}'
                 WHERE id IN (SELECT t.id {unused} ORDER BY t.id LIMIT {BATCH})
            """),  # noqa: S608 - as above
            {"days": settings.media_retention_days},
        ).rowcount


def _delete(settings: Settings, table: str, *, dry_run: bool) -> int:
    due = f"""
        FROM {table} t WHERE t.delete_after < clock_timestamp() AND t.storage_key IS NOT NULL AND {UNUSED[table]}
    """
    values: dict[str, Any] = {"days": settings.media_retention_days}
    if dry_run:
        with transaction(settings.database()) as conn:
            return int(conn.execute(text(f"SELECT count(*) {due}"), values).scalar_one())
    try:
        store = Store(settings.store())
    except NotConfigured:
        return 0
    done = 0
    for _ in range(BATCH):
        with transaction(settings.database()) as conn:
            # One object under its row's lock: a post that wants it now waits, then finds it pending and stores it anew.
            row = conn.execute(
                text(f"SELECT t.id, t.storage_key {due} ORDER BY t.id LIMIT 1 FOR UPDATE OF t SKIP LOCKED"),
                values,
            ).one_or_none()
            if row is None:
                break
            shared = conn.execute(
                text(f"SELECT count(*) FROM {table} WHERE storage_key = :key AND id <> :id"),  # noqa: S608 - as above
                {"key": row.storage_key, "id": row.id},
            ).scalar_one()
            try:
                if not shared:
                    store.delete(row.storage_key)
            except StoreUnavailable as error:
                log.warning("prune.store", error=str(error))
                break
            conn.execute(
                text(f"""
                    UPDATE {table} SET state = 'pending', storage_key = NULL, delete_after = NULL,
                           available_at = 'infinity' WHERE id = :id
                """),  # noqa: S608 - as above
                {"id": row.id},
            )
            done += 1
    return done
