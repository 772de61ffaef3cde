"""Rescue: what dead workers left behind goes on. Missed: what could not go out in time is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, text
from sqlalchemy.exc import DBAPIError

from db import claims
from db.claims import CLOCK
from db.failpoints import hit
from db.session import transaction
from db.states import Status
from db.transitions import move
from scheduler.accounts import release_held
from scheduler.dispatch import Send, fail_as_crash, miss
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)

BATCH = 500


def sweep(settings: Settings, send: Send) -> dict[str, int]:
    """One pass over leases, windows, media and what followup has to look at; counts by kind.

    A step that Postgres refuses (it took too long, or met another one) is told of, and done by a later pass: what
    comes behind it must not wait for somebody to mend it.

    :raises sqlalchemy.exc.DBAPIError: Postgres is away.
    """
    steps: tuple[tuple[str, Callable[[Settings, Send], int]], ...] = (
        ("rescued", _rescue_all),
        ("missed", _miss_all),
        ("freed", _unpause_all),
        ("freed", _reconnected_all),
        ("readied", _ready_all),
        ("followed", _follow_all),
        ("media", media),
    )
    counts = dict.fromkeys((name for name, _ in steps), 0)
    for name, step in steps:
        counts[name] += _done(name, step, settings, send)
    if any(counts.values()):
        log.info("sweep", **counts)
    return counts


def _done(name: str, step: Callable[[Settings, Send], int], settings: Settings, send: Send) -> int:
    """How many a step did; none where Postgres refused it. :raises DBAPIError: Postgres is away."""
    try:
        return step(settings, send)
    except DBAPIError as error:
        code = getattr(error.orig, "pgcode", None)
        if code is None or error.connection_invalidated:
            raise  # no answer: the other steps would only wait for one, too
        log.warning("sweep.step_failed", step=name, sqlstate=code, error=type(error.orig).__name__)
        return 0


def _rescue_all(settings: Settings, _send: Send) -> int:
    with transaction(settings.database()) as conn:
        rows = claims.expired_leases(conn, batch=BATCH)
        for row in rows:
            rescue(conn, settings, row)
        hit("rescue.before_commit", handle=conn)
    hit("rescue.after_commit")
    return len(rows)


def _miss_all(settings: Settings, _send: Send) -> int:
    with transaction(settings.database()) as conn:
        rows = claims.overdue(conn, batch=BATCH)
        for row in rows:
            miss(conn, row.id, row.generation, Status(row.status))
    return len(rows)


def _unpause_all(settings: Settings, _send: Send) -> int:
    with transaction(settings.database()) as conn:
        return unpause(conn)


def _reconnected_all(settings: Settings, _send: Send) -> int:
    # Apart from unpause, which locks posts: here accounts come first, as wherever both are locked.
    with transaction(settings.database()) as conn:
        return reconnected(conn)


def _ready_all(settings: Settings, _send: Send) -> int:
    with transaction(settings.database()) as conn:
        return ready_media(conn)


def _follow_all(settings: Settings, send: Send) -> int:
    with transaction(settings.database()) as conn:
        followed = claims.follow(conn, batch=BATCH, lease_s=settings.follow_lease_seconds)
    hit("follow.after_commit")
    for row in followed:
        send(
            "followup.poll" if row.status == Status.PROCESSING else "followup.reconcile",
            (row.id, row.generation),
            None,
        )
    return len(followed)


def rescue(conn: Connection, settings: Settings, row: Row[Any]) -> None:
    """Decides about one (locked) row whose lease is over."""
    status = Status(row.status)
    if status is Status.PUBLISHING:
        # It may have been sent. Reconcile looks first; never straight to a resend.
        move(
            conn,
            row.id,
            generation=row.generation,
            source=status,
            target=Status.UNKNOWN,
            by="rescue",
            why=f"the worker {row.leased_by} did not report in time",
            available_at=func.clock_timestamp(),
            lookups={},
            error_code="worker_lost",
            error_message="the worker ended while the post was being sent",
        )
    elif _begun(row) and row.claims >= settings.max_claims:
        fail_as_crash(conn, row.id, row.generation, status, row.claims)
    elif status is Status.QUEUED:
        # From outside both look the same. The next hint is counted before anything else is done with the post,
        # so a post that takes its worker down each time ends, and an emptied broker costs no post its life.
        move(
            conn,
            row.id,
            generation=row.generation,
            source=status,
            target=Status.READY if row.prepared else Status.SCHEDULED,
            by="rescue",
            why=f"the worker {row.leased_by} ended" if _begun(row) else "the hint or its worker was lost",
            available_at=func.clock_timestamp(),
            error_code=claims.HINT_LOST,
            error_message="its hint or its worker was lost before anything was sent; it is tried again",
        )
    else:
        move(
            conn,
            row.id,
            generation=row.generation,
            source=status,
            target=Status.SCHEDULED,
            by="rescue",
            why="the hint or its worker was lost; nothing was published",
            available_at=func.clock_timestamp(),
        )


def _begun(row: Row[Any]) -> bool:
    """Whether a worker is known to have begun with it: the lease is not dispatch's any more."""
    return row.status in {Status.QUEUED, Status.PREPARING} and not str(row.leased_by).startswith("dispatch")


def unpause(conn: Connection) -> int:
    """Frees posts that say paused of an account that is not; how many. See ``claims.unpause``."""
    return claims.unpause(conn, batch=BATCH)


def reconnected(conn: Connection) -> int:
    """Frees posts that are held for a reconnect although their account is well: whoever held them had read the
    account before it was connected again; how many.
    """
    freed = 0
    for account_id in sorted(claims.held_for_nothing(conn)):  # in one order, whoever else locks several
        # Whoever holds posts, and whoever connects the account, holds this lock.
        state = conn.execute(
            text("SELECT state FROM accounts WHERE id = :id FOR NO KEY UPDATE"), {"id": account_id}
        ).scalar_one()
        if state == "active":
            freed += release_held(conn, account_id, by="rescue")
    return freed


def ready_media(conn: Connection) -> int:
    """Marks posts whose renditions are all in the store, should a worker have died before it could; how many."""
    return conn.execute(
        text("""
            UPDATE scheduled_posts s SET media_ready = true, updated_at = clock_timestamp()
             WHERE s.id IN (
                SELECT p.id FROM scheduled_posts p
                 WHERE NOT p.media_ready AND p.status = 'scheduled'
                   AND NOT EXISTS (
                    SELECT 1 FROM scheduled_post_media m LEFT JOIN renditions r ON r.id = m.rendition_id
                     WHERE m.scheduled_post_id = p.id AND r.state IS DISTINCT FROM 'ready')
                 ORDER BY p.id LIMIT 500 FOR UPDATE SKIP LOCKED)
        """)
    ).rowcount


def fetch_again(conn: Connection) -> int:
    """Remote files that were fetched (or refused) before the post that needs them was committed; how many.

    The caller's transaction may have stayed open long after ``schedule()``: who fetched the file did not see
    the post, and planned nothing for it. While others of the post are still on their way, one that is here may be
    waiting for them.
    """
    return conn.execute(
        text("""
            UPDATE media_assets SET state = 'pending', claims = 0, available_at = clock_timestamp(),
                   error_code = NULL, error_message = NULL
             WHERE state <> 'pending' AND source_url IS NOT NULL AND id IN (
                SELECT m.asset_id FROM scheduled_posts s JOIN scheduled_post_media m ON m.scheduled_post_id = s.id
                 WHERE NOT s.media_ready AND s.status = 'scheduled' AND m.rendition_id IS NULL
                   AND NOT EXISTS (
                        SELECT 1 FROM scheduled_post_media o JOIN media_assets b ON b.id = o.asset_id
                         WHERE o.scheduled_post_id = s.id AND b.state = 'pending' AND b.source_url IS NOT NULL))
        """)
    ).rowcount


MADE_ELSEWHERE = text(f"""
    WITH busy AS MATERIALIZED (
        SELECT DISTINCT spool FROM renditions
         WHERE state = 'rendered' AND claims > 0 AND lease_expires_at > {CLOCK} AND spool IS NOT NULL
    ), lost AS MATERIALIZED (
        SELECT id FROM renditions
         WHERE state = 'rendered' AND available_at <= {CLOCK}
           AND coalesce(lease_expires_at, available_at) <= {CLOCK}
           AND (spool IS NULL OR spool NOT IN (SELECT spool FROM busy))
         ORDER BY available_at, id LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    UPDATE renditions
       SET state = 'pending', progress = 0, claims = 0, available_at = clock_timestamp(),
           lease_expires_at = NULL, error_code = NULL, error_message = NULL, generation = generation + 1
     WHERE id = ANY (ARRAY(SELECT id FROM lost))
    RETURNING id, spool
""")  # noqa: S608 - CLOCK is a constant of ours
"""By index only (``ix_renditions_rendered``, and the primary key): it runs each second, before media and dispatch."""


def made_elsewhere(conn: Connection) -> int:
    """Files on the disk of a machine whose upload worker has not come for them in time: to be made again; how many.

    One that works on others, or tries them again because the store is away, is only busy.
    """
    lost = conn.execute(MADE_ELSEWHERE, {"batch": BATCH}).all()
    for row in lost:
        log.warning("media.machine_lost", rendition_id=row.id, spool=row.spool)
    return len(lost)


def media(settings: Settings, send: Send) -> int:
    """Hints for files to fetch, to make and to upload; how many."""
    for name, step in (("fetch_again", _fetch_all_again), ("made_elsewhere", _make_all_elsewhere)):
        _done(name, step, settings, send)
    fetches = _media_work(settings, "media_assets")
    work = _media_work(settings, "renditions")
    for row in fetches:
        send("media.fetch", (row.id, row.generation), None)
    for row in work:
        if row.state == "rendered":
            send("upload.rendition", (row.id, row.generation), f"upload.{row.spool}")
        else:
            send("media.normalize", (row.id, row.generation), None)
    return len(fetches) + len(work)


def _fetch_all_again(settings: Settings, _send: Send) -> int:
    with transaction(settings.database()) as conn:
        return fetch_again(conn)


def _make_all_elsewhere(settings: Settings, _send: Send) -> int:
    with transaction(settings.database()) as conn:
        return made_elsewhere(conn)


def _media_work(settings: Settings, table: str) -> Sequence[Row[Any]]:
    with transaction(settings.database()) as conn:
        return claims.media_work(conn, table, batch=BATCH, lease_s=settings.media_lease_seconds)
