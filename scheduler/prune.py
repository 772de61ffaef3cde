"""Prune: what nobody needs any more goes, in small batches, and never what a waiting post needs.

Media is marked first, kept for a day, then deleted: a post that is scheduled meanwhile with the same file
clears the mark (``touched_at``, ``delete_after``), and the row is locked while its object is deleted.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db.object_lock import take_turn
from db.session import transaction
from media.errors import StoreUnavailable
from media.storage import Store, StoredObject, Unfinished
from scheduler import readiness
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
        if not dry_run:
            readiness.prune(conn, days=settings.transitions_retention_days)
    stale_spool(settings, dry_run=dry_run)
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
    with transaction(settings.database()) as conn:
        candidates = conn.execute(text(f"SELECT t.id, t.storage_key {due} ORDER BY t.id LIMIT {BATCH}"), values).all()
    for candidate in candidates:
        with transaction(settings.database()) as conn:
            # One object under its name's lock and its row's: a post that wants it now waits, then finds it pending
            # and stores it anew. What a post has asked for since the candidates were read is left.
            take_turn(conn, candidate.storage_key)
            row = conn.execute(
                text(f"SELECT t.id, t.storage_key {due} AND t.id = :id FOR UPDATE OF t SKIP LOCKED"),
                {**values, "id": candidate.id},
            ).one_or_none()
            if row is None:
                continue
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


# --- What no row knows ----------------------------------------------------------------------------------------

OLD = timedelta(hours=24)
"""Younger things may belong to work that is under way: no rendition takes longer than a few hours."""
SPOOLED = ("render-", "fetch-", "rendition-")
KNOWN = text("""
    SELECT storage_key FROM media_assets WHERE storage_key = ANY(:keys)
     UNION SELECT storage_key FROM renditions WHERE storage_key = ANY(:keys)
     UNION SELECT k FROM unnest(CAST(:keys AS text[])) AS k
             JOIN renditions r ON r.sha256 = substring(k FROM '/([0-9a-f]{64})[^/]*$')
""")
"""The last line: a rendition that waits for its upload has its bytes' hash already, but no name in the store."""


def orphans(settings: Settings) -> Iterator[StoredObject]:
    """Objects of ours in the bucket that are a day old and that no row knows.

    :raises NotConfigured: there is no store.
    :raises StoreUnavailable: it does not answer.
    """
    store = Store(settings.store())
    before = datetime.now(UTC) - OLD
    for prefix in (store.config.public_prefix, store.config.originals_prefix):
        found = (one for one in store.list(prefix) if one.modified < before)
        while batch := list(islice(found, BATCH)):
            with transaction(settings.database()) as conn:
                known = set(conn.execute(KNOWN, {"keys": [one.key for one in batch]}).scalars())
            yield from (one for one in batch if one.key not in known)


def delete_orphans(settings: Settings) -> int:
    """Deletes them; how many. Raises as ``orphans``."""
    store = Store(settings.store())
    done = 0
    for one in orphans(settings):
        with transaction(settings.database()) as conn:
            # Whoever stores the same file just now waits here, and then finds it gone.
            take_turn(conn, one.key)
            if conn.execute(KNOWN, {"keys": [one.key]}).first() is not None:
                continue
            store.delete(one.key)
        log.info("prune.orphan", key=one.key, size=one.size)
        done += 1
    return done


def unfinished_uploads(settings: Settings) -> Iterator[Unfinished]:
    """Uploads in parts of ours that were begun a day ago and never ended: their processes were killed.

    :raises NotConfigured: there is no store.
    :raises StoreUnavailable: it does not answer.
    """
    store = Store(settings.store())
    before = datetime.now(UTC) - OLD
    for prefix in (store.config.public_prefix, store.config.originals_prefix):
        yield from (one for one in store.unfinished(prefix) if one.started < before)


def give_up_uploads(settings: Settings) -> int:
    """Gives them up; how many. Raises as ``unfinished_uploads``."""
    store = Store(settings.store())
    found = list(unfinished_uploads(settings))
    for one in found:
        store.give_up(one)
        log.info("prune.upload", key=one.key)
    return len(found)


def stale_spool(settings: Settings, *, dry_run: bool = False) -> list[Path]:
    """Folders that dead runs left in this machine's spool folder a day ago; removed, unless ``dry_run``."""
    found = []
    for folder in sorted(settings.spool().iterdir()):
        try:
            old = time.time() - folder.stat().st_mtime > OLD.total_seconds()
        except FileNotFoundError:
            # Its owner was quicker.
            continue
        if old and folder.is_dir() and folder.name.startswith(SPOOLED):
            found.append(folder)
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
                log.info("prune.spool", folder=folder.name)
    return found
