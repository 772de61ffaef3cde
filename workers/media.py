"""Queue ``media``: fetches remote files and makes renditions. Work on a file is leased by its row's
``available_at``: a worker that dies leaves a row that is claimed again; one that dies each time ends as failed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Row, func, select, text, update

from db.failpoints import hit
from db.models import MediaAsset, Rendition, ScheduledPost, table_of
from db.object_lock import take_turn
from db.session import repeat_safe, transaction
from db.transitions import seconds_from_now
from media import room
from media.errors import MachineFailed, MediaRefused, NoRoom, RemoteUnavailable, StoreUnavailable
from media.recipe import Recipe
from media.sandbox import LONGEST_S, normalize, probe
from scheduler import prune
from scheduler.logging import logger
from scheduler.retry_policy import RetryPolicy
from scheduler.settings import Settings, current
from workers.app import task
from workers.context import send, store
from workers.media_plans import fail_post, plan_renditions

log = logger(__name__)
assets = table_of(MediaAsset)
renditions = table_of(Rendition)
posts = table_of(ScheduledPost)

PAUSES = RetryPolicy(base_s=5.0, max_s=600.0, max_attempts=12)
STORE_PAUSES = RetryPolicy(base_s=2.0, max_s=60.0, max_attempts=100_000)
"""An outage of our own store or a full disk fails no file: the windows of the posts that wait for it bound the wait."""
FETCH_LEAST_S = 120.0
SLOWEST_BYTES_PER_S = 500_000.0
"""A server that sends less is not waited for (``fetch_deadline_s``)."""
SWEEP_EVERY_S = 3600.0
_swept_at: dict[str, float] = {}
PROGRESS_EVERY_S = 3.0
GONE = "it was deleted because no post had needed it for long; schedule the post anew, with the file"

# A video may take hours; what fetches and makes it has a deadline of its own, and its row tells that it moves.
LIMITS: dict[str, Any] = {"soft_time_limit": LONGEST_S + 60, "time_limit": LONGEST_S + 120}


@task("media.fetch", **LIMITS)
def fetch_task(asset_id: int, generation: int) -> None:
    """Fetches a remote file."""
    fetch(current(), asset_id, generation)


@task("media.normalize", **LIMITS)
def normalize_task(rendition_id: int, generation: int) -> None:
    """Makes a rendition."""
    render(current(), rendition_id, generation)


def begin(
    conn: Connection, table: Any, row_id: int, generation: int, states: Sequence[str], **values: Any
) -> Row[Any] | None:
    """The row, if the hint still holds, with one more claim counted; None: stale.

    :param values: what else to write onto it.
    """
    return conn.execute(
        update(table)
        .where(table.c.id == row_id, table.c.generation == generation, table.c.state.in_(states))
        .values(claims=table.c.claims + 1, generation=table.c.generation + 1, **values)
        .returning(table)
    ).one_or_none()


def again(settings: Settings, table: Any, row: Row[Any], code: str, message: str) -> None:
    """Tries a file again later; after too many tries it fails, and so do the posts that need it."""
    pauses = STORE_PAUSES if code in {"store_unavailable", "disk_full"} else PAUSES
    if pauses.spent(row.claims):
        fail(settings, table, row, code, f"{message} (after {row.claims} tries)")
        return
    pause_s = pauses.pause_s(row.claims)
    with transaction(settings.database()) as conn:
        conn.execute(
            update(table)
            .where(table.c.id == row.id, table.c.generation == row.generation)
            .values(
                available_at=seconds_from_now(pause_s),
                lease_expires_at=seconds_from_now(pause_s + machine_lease_s(settings)),
                error_code=code,
                error_message=message[:2000],
            )
        )
    log.warning("media.again", table=table.name, id=row.id, code=code, message=message)


def machine_lease_s(settings: Settings) -> float:
    """How long a rendered file may lie on its machine without its upload worker beginning with it, seconds; then the
    machine counts as lost, and the file is made again elsewhere (``scheduler.rescue``).
    """
    return 2 * settings.media_lease_seconds


def crashes_each_time(settings: Settings, table: Any, row: Row[Any]) -> bool:
    """Whether nobody who began with this file came to any end; it has failed then."""
    if row.error_code is not None or row.claims <= settings.max_claims:
        return False
    fail(settings, table, row, "worker_crash", f"its worker ended {row.claims - 1} times while it worked on this file")
    return True


def fail(settings: Settings, table: Any, row: Row[Any], code: str, message: str) -> None:
    """The file cannot be used: its posts fail now, not at their due time."""
    column = "rendition_id" if table is renditions else "asset_id"

    def write() -> int | None:
        with transaction(settings.database()) as conn:
            lock_posts(conn, column, row.id)
            done = conn.execute(
                update(table)
                .where(table.c.id == row.id, table.c.generation == row.generation)
                .values(state="failed", error_code=code, error_message=message[:2000])
            ).rowcount
            if not done:
                return None
            # Again: a post may have come for this file while it was waited for.
            waiting = [one for one in lock_posts(conn, column, row.id) if one.status == "scheduled"]
            for one in waiting:
                fail_post(conn, one.id, one.generation, code, message)
            return len(waiting)

    failed = repeat_safe(write)
    if failed is None:
        return
    log.warning("media.failed", table=table.name, id=row.id, code=code, message=message, posts=failed)


def lock_posts(conn: Connection, column: str, number: int) -> Sequence[Row[Any]]:
    """Locks the posts that wait for a file, before the file itself is: in this order a person's change locks them, too
    (``scheduler.edits``, ``scheduler.replays``).

    :param column: of ``scheduled_post_media``: what ``number`` counts.
    """
    return conn.execute(
        text(f"""
            SELECT s.id, s.generation, s.status FROM scheduled_posts s
             WHERE NOT s.media_ready
               AND s.id IN (SELECT m.scheduled_post_id FROM scheduled_post_media m WHERE m.{column} = :id)
             ORDER BY s.id FOR UPDATE OF s
        """),  # noqa: S608 - the column is one of two words of ours
        {"id": number},
    ).all()


# --- Fetch --------------------------------------------------------------------------------------------------


def fetch(settings: Settings, asset_id: int, generation: int) -> None:
    """Downloads a remote file through the guard, keeps it as an original, and plans its renditions."""
    from media.fetch import download

    with transaction(settings.database()) as conn:
        row = begin(conn, assets, asset_id, generation, ["pending"])
    if row is None or row.source_url is None or crashes_each_time(settings, assets, row):
        return
    hit("fetch.begun", asset_id)
    structlog.contextvars.bind_contextvars(asset_id=asset_id)
    sweep_spool(settings)
    try:
        with tempfile.TemporaryDirectory(dir=settings.spool(), prefix="fetch-") as folder:
            file = Path(folder) / "original"
            download(
                row.source_url,
                file,
                max_bytes=settings.max_media_bytes,
                max_video_bytes=settings.max_video_bytes,
                deadline_s=fetch_deadline_s(settings, row.size, row.mime or ""),
                keep_free=settings.disk_free_mb * 1_000_000,
                progress=Progress(settings, assets, row, 0.0, 0.6),
            )
            found = probe(file, name=row.name)
            key = store().original_key(found.sha256)
            _note_name(settings, row, key)
            store().put_file(key, file, found.mime, found.sha256, Progress(settings, assets, row, 0.7, 1.0))
    except Lost:
        log.warning("media.lost", asset_id=asset_id)
        return
    except MediaRefused as error:
        if error.code == "private_address":
            log.warning("security.private_address", url=error.file, at="fetching", asset_id=asset_id)
        fail(settings, assets, row, error.code, error.message)
        return
    except (RemoteUnavailable, StoreUnavailable, MachineFailed) as error:
        codes = {StoreUnavailable: "store_unavailable", MachineFailed: "machine_failed", NoRoom: "disk_full"}
        again(settings, assets, row, codes.get(type(error), "not_reachable"), str(error))
        return

    def write() -> None:
        with transaction(settings.database()) as conn:
            lock_posts(conn, "asset_id", asset_id)
            done = conn.execute(
                update(assets)
                .where(assets.c.id == asset_id, assets.c.generation == row.generation)
                .values(
                    state="stored",
                    progress=1.0,
                    sha256=found.sha256,
                    size=found.size,
                    mime=found.mime,
                    probe=found.as_json(),
                    storage_key=key,
                    error_code=None,
                    error_message=None,
                    touched_at=func.clock_timestamp(),
                )
            ).rowcount
            if done:
                plan_renditions(conn, settings, asset_id)
            hit("fetch.before_commit", asset_id, conn)

    repeat_safe(write)
    hit("fetch.after_commit", asset_id)
    log.info("media.fetched", asset_id=asset_id, size=found.size, mime=found.mime)


def fetch_deadline_s(settings: Settings, size: int | None, mime: str) -> float:
    """How long fetching a file may take, seconds: at least two minutes, more for what is large.

    :param size: bytes, as its server said at scheduling; None: it did not, and the most that is taken counts.
    """
    most = settings.max_video_bytes if mime.startswith("video/") else settings.max_media_bytes
    return min(settings.fetch_longest_seconds, FETCH_LEAST_S + (size or most) / SLOWEST_BYTES_PER_S)


def _note_name(settings: Settings, row: Row[Any], key: str) -> None:
    """Commits under which name the file will be stored, before it is: prune leaves it then.

    :raises Lost: the row has moved on.
    """
    with transaction(settings.database()) as conn:
        take_turn(conn, key)
        kept = conn.execute(
            update(assets)
            .where(assets.c.id == row.id, assets.c.generation == row.generation)
            .values(storage_key=key, touched_at=func.clock_timestamp(), delete_after=None)
        ).rowcount
    if not kept:
        raise Lost


# --- Normalize ----------------------------------------------------------------------------------------------


def render(settings: Settings, rendition_id: int, generation: int) -> None:
    """Makes a rendition into the spool folder, then hands it to the upload queue of this machine."""
    with transaction(settings.database()) as conn:
        row = begin(conn, renditions, rendition_id, generation, ["pending"])
        if row is None:
            return
        asset = conn.execute(
            select(
                assets.c.storage_key, assets.c.sha256, assets.c.name, assets.c.size, assets.c.state, assets.c.source_url
            ).where(assets.c.id == row.asset_id)
        ).one()
    if crashes_each_time(settings, renditions, row):
        return
    if asset.state != "stored":
        if asset.source_url is not None:
            again(settings, renditions, row, "original_missing", f"{asset.name} is being fetched again")
        else:
            fail(settings, renditions, row, "original_missing", f"{asset.name} is no longer in our store; {GONE}")
        return
    hit("render.begun", rendition_id)
    structlog.contextvars.bind_contextvars(rendition_id=rendition_id)
    sweep_spool(settings)
    folder = spool_folder(settings, rendition_id)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tell = Progress(settings, renditions, row, 0.0, 0.8)
    try:
        # The original, and what is made of it.
        room.make_sure(settings.spool(), 2 * int(asset.size or 0), keep_free=settings.disk_free_mb * 1_000_000)
        with tempfile.TemporaryDirectory(dir=settings.spool(), prefix="render-") as scratch:
            original = Path(scratch) / "original"
            store().download(asset.storage_key, original, sha256=asset.sha256, progress=lambda _share: tell(0.0))
            made = normalize(original, Recipe.from_json(row.recipe), Path(scratch), tell)
            made.path.replace(folder / made.sha256)
    except MediaRefused as error:
        fail(settings, renditions, row, error.code, f"{asset.name}: {error.message}")
        return
    except StoreUnavailable as error:
        again(settings, renditions, row, "store_unavailable", str(error))
        return
    except MachineFailed as error:
        again(settings, renditions, row, "disk_full" if isinstance(error, NoRoom) else "machine_failed", str(error))
        return
    except Lost:
        log.warning("media.lost", rendition_id=rendition_id)
        return
    with transaction(settings.database()) as conn:
        take_turn(conn, store().rendition_key(made.sha256, made.mime))
        moved = conn.execute(
            update(renditions)
            .where(renditions.c.id == rendition_id, renditions.c.generation == row.generation)
            .values(
                state="rendered",
                progress=0.8,
                spool=settings.spool_id,
                generation=renditions.c.generation + 1,
                claims=0,
                sha256=made.sha256,
                size=made.size,
                mime=made.mime,
                width=made.width,
                height=made.height,
                kind=made.kind,
                duration_s=made.duration_s,
                error_code=None,
                error_message=None,
                actions=[{"name": one.name, "why": one.why} for one in made.actions],
                available_at=seconds_from_now(settings.media_lease_seconds),
                lease_expires_at=seconds_from_now(machine_lease_s(settings)),
            )
            .returning(renditions.c.generation)
        ).one_or_none()
        hit("render.before_commit", rendition_id, conn)
    hit("render.after_commit", rendition_id)
    if moved is not None:
        log.info(
            "media.rendered",
            rendition_id=rendition_id,
            size=made.size,
            mime=made.mime,
            actions=[one.name for one in made.actions],
            peak_bytes=made.peak_bytes,
        )
        send("upload.rendition", (rendition_id, moved.generation), f"upload.{settings.spool_id}")


def spool_folder(settings: Settings, rendition_id: int) -> Path:
    """Where a rendition waits for its upload on this machine."""
    return settings.spool() / f"rendition-{rendition_id}"


def sweep_spool(settings: Settings) -> None:
    """Removes, now and then, what dead runs left on this machine's disk: each machine that makes files does."""
    now, folder = time.monotonic(), str(settings.spool())
    if now - _swept_at.get(folder, -SWEEP_EVERY_S) >= SWEEP_EVERY_S:
        _swept_at[folder] = now
        prune.stale_spool(settings)


class Lost(Exception):
    """Somebody else has the row by now."""


class Progress:
    """Writes how far long work on a file is onto its row, which also keeps its lease from running out."""

    def __init__(self, settings: Settings, table: Any, row: Row[Any], start: float, end: float) -> None:
        """:param start: the share of the whole way at which this stretch begins; ``end``: where it ends."""
        self.settings, self.table, self.row = settings, table, row
        self.start, self.end = start, end
        self.written_at = time.monotonic()

    def __call__(self, share: float) -> None:
        """:raises Lost: the row has moved on, so that the work is for nothing."""
        if time.monotonic() - self.written_at < PROGRESS_EVERY_S:
            return
        self.written_at = time.monotonic()
        with transaction(self.settings.database()) as conn:
            kept = conn.execute(
                update(self.table)
                .where(self.table.c.id == self.row.id, self.table.c.generation == self.row.generation)
                .values(
                    progress=self.start + share * (self.end - self.start),
                    available_at=seconds_from_now(self.settings.media_lease_seconds),
                    lease_expires_at=seconds_from_now(machine_lease_s(self.settings)),
                )
            ).rowcount
        if not kept:
            raise Lost
