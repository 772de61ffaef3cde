"""Queue ``upload``: puts renditions into the store and tells the posts that waited for them."""

from __future__ import annotations

import shutil
from typing import Any

import structlog
from sqlalchemy import Connection, Row, func, text, update

from db.failpoints import hit
from db.models import Rendition, table_of
from db.session import repeat_safe, transaction
from db.transitions import seconds_from_now
from media.errors import MediaRefused, RemoteUnavailable, StoreUnavailable
from scheduler.logging import logger
from scheduler.settings import Settings, current
from workers import outside
from workers.app import task
from workers.context import send, store
from workers.media import Lost, Progress, again, begin, crashes_each_time, lock_posts, machine_lease_s, spool_folder
from workers.work import load

log = logger(__name__)
renditions = table_of(Rendition)


@task("upload.rendition")
def upload_task(rendition_id: int, generation: int) -> None:
    """Uploads a rendition."""
    upload(current(), rendition_id, generation)


def upload(settings: Settings, rendition_id: int, generation: int) -> None:
    """From this machine's spool folder into the store; what is not here any more is made again."""
    with transaction(settings.database()) as conn:
        given_up = seconds_from_now(machine_lease_s(settings))
        row = begin(conn, renditions, rendition_id, generation, ["rendered"], lease_expires_at=given_up)
    if row is None or crashes_each_time(settings, renditions, row):
        return
    hit("upload.begun", rendition_id)
    structlog.contextvars.bind_contextvars(rendition_id=rendition_id)
    folder = spool_folder(settings, rendition_id)
    file = folder / str(row.sha256)
    if row.spool != settings.spool_id or not file.is_file():
        _make_again(settings, row)
        return
    key = store().rendition_key(row.sha256, row.mime)
    try:
        store().put_file(key, file, row.mime, row.sha256, Progress(settings, renditions, row, 0.8, 1.0))
    except Lost:
        log.warning("upload.lost", rendition_id=rendition_id)
        return
    except MediaRefused:
        # The file under our hands is not what was rendered: a torn write of a dead worker. Made again.
        _make_again(settings, row)
        return
    except StoreUnavailable as error:
        again(settings, renditions, row, "store_unavailable", str(error))
        return
    hit("upload.stored", rendition_id)
    try:
        _seen_from_outside(settings, row, key)
    except (MediaRefused, RemoteUnavailable) as error:
        # Usually the bucket's domain; whoever mends it need not schedule anew.
        again(settings, renditions, row, "store_not_public", f"platforms cannot fetch it from our store: {error}")
        return

    def write() -> int:
        with transaction(settings.database()) as conn:
            done = finish(conn, row, key)
            hit("upload.before_commit", rendition_id, conn)
        return done

    done = repeat_safe(write)
    hit("upload.after_commit", rendition_id)
    shutil.rmtree(folder, ignore_errors=True)
    log.info("upload.done", rendition_id=rendition_id, size=row.size, posts_ready=done)
    if done:
        send("dispatch.nudge", ())


def _seen_from_outside(settings: Settings, row: Row[Any], key: str) -> None:
    """Where a waiting post's platform will fetch the file from our store: that a stranger can, before it is due.

    :raises MediaRefused: it would be refused or get something else.
    :raises RemoteUnavailable: no answer just now.
    """
    with transaction(settings.database()) as conn:
        waiting = conn.execute(
            text("""
                SELECT s.id FROM scheduled_posts s JOIN scheduled_post_media m ON m.scheduled_post_id = s.id
                 WHERE m.rendition_id = :id AND NOT s.media_ready AND s.status = 'scheduled' ORDER BY s.id LIMIT 20
            """),
            {"id": row.id},
        ).scalars()
        works = [load(conn, settings, number) for number in waiting.all()]
    for platform in sorted({str(one.row.platform) for one in works if one and outside.pulled_places(one)}):
        outside.check(settings, platform, key, size=row.size, mime=row.mime)


def finish(conn: Connection, row: Row[Any], key: str) -> int:
    """The rendition is in the store: posts that have all they need may go; how many."""
    # The posts first: of two renditions that become ready at once, the second to lock sees the first.
    lock_posts(conn, "rendition_id", row.id)
    moved = conn.execute(
        update(renditions)
        .where(renditions.c.id == row.id, renditions.c.generation == row.generation)
        .values(
            state="ready",
            progress=1.0,
            storage_key=key,
            claims=0,
            error_code=None,
            error_message=None,
            spool=None,
            touched_at=func.clock_timestamp(),
        )
    ).rowcount
    if not moved:
        return 0
    lock_posts(conn, "rendition_id", row.id)  # again: a post may have come for it while it was waited for
    return conn.execute(
        text("""
            UPDATE scheduled_posts s SET media_ready = true, updated_at = clock_timestamp()
             WHERE s.id IN (SELECT scheduled_post_id FROM scheduled_post_media WHERE rendition_id = :id)
               AND NOT s.media_ready
               AND NOT EXISTS (
                   SELECT 1 FROM scheduled_post_media m LEFT JOIN renditions r ON r.id = m.rendition_id
                    WHERE m.scheduled_post_id = s.id AND r.state IS DISTINCT FROM 'ready')
        """),
        {"id": row.id},
    ).rowcount


def _make_again(settings: Settings, row: Row[Any]) -> None:
    """The rendered file is gone (another machine's disk, a cleaned folder): back to the start."""
    with transaction(settings.database()) as conn:
        conn.execute(
            update(renditions)
            .where(renditions.c.id == row.id, renditions.c.generation == row.generation)
            .values(state="pending", spool=None, progress=0, available_at=func.clock_timestamp())
        )
    log.warning("upload.file_gone", rendition_id=row.id, spool=row.spool)
