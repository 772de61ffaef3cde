"""Bringing back what ended or is held: for ``retry`` and for the desk of dead letters."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy import text as sql

from db.states import HeldFor, Status
from db.transitions import database_now, doubtful_attempts, move
from scheduler.changed import ENDED, NO_ACCOUNT, Change, lead_of, window_of

NOTHING_TO_ANSWER = (
    "a part of it is public and the platform's id of that part is not known: there is nothing for the rest to"
    " answer; schedule the rest as a new post"
)
RENDITIONS = sql("""
    UPDATE renditions SET touched_at = clock_timestamp(), delete_after = NULL,
           state = CASE WHEN state = 'failed' THEN 'pending' ELSE state END,
           claims = CASE WHEN state = 'failed' THEN 0 ELSE claims END,
           available_at = CASE WHEN state = 'failed' OR available_at = 'infinity'
                               THEN clock_timestamp() ELSE available_at END,
           error_code = CASE WHEN state <> 'failed' THEN error_code END,
           error_message = CASE WHEN state <> 'failed' THEN error_message END
     WHERE id IN (SELECT id FROM renditions
                   WHERE id IN (SELECT rendition_id FROM scheduled_post_media WHERE scheduled_post_id = :id)
                   ORDER BY id FOR UPDATE)
""")
ORIGINALS = sql("""
    UPDATE media_assets SET touched_at = clock_timestamp(), delete_after = NULL,
           state = CASE WHEN state = 'failed' THEN 'pending' ELSE state END,
           claims = CASE WHEN state = 'failed' THEN 0 ELSE claims END,
           available_at = CASE WHEN state = 'failed' OR available_at = 'infinity'
                               THEN clock_timestamp() ELSE available_at END
     WHERE id IN (SELECT id FROM media_assets
                   WHERE id IN (SELECT asset_id FROM scheduled_post_media WHERE scheduled_post_id = :id)
                   ORDER BY id FOR UPDATE)
""")
UNMADE = sql("""
    SELECT EXISTS (SELECT FROM scheduled_post_media m LEFT JOIN renditions r ON r.id = m.rendition_id
                    WHERE m.scheduled_post_id = :id AND r.state IS DISTINCT FROM 'ready')
""")


def retry_row(conn: Connection, row: Row[Any], *, by: str) -> Change:
    """Brings back one (locked) row, where that is safe."""
    told = _not_retried(conn, row)
    if told:
        return Change(row.id, row.account, False, row.status, told)
    again(conn, row, by=by, why="retried")
    told = f"scheduled again, from part {len(row.parts_out) + 1} on" if row.parts_out else "scheduled again"
    return Change(row.id, row.account, True, "scheduled", told)


def _not_retried(conn: Connection, row: Row[Any]) -> str:
    status = Status(row.status)
    if row.held_for == HeldFor.OUTCOME_UNKNOWN or status is Status.UNKNOWN:
        return "whether it is public is not known; use dead-letters replay --resend or mark-published"
    if status in ENDED and row.account_deleted:
        return NO_ACCOUNT
    if status in ENDED | {Status.HELD, Status.RETRYING} and doubtful_attempts(conn, row.id):
        return "an earlier attempt may have published it; use dead-letters replay --resend or mark-published"
    if status not in ENDED:
        return f"it is {status.value}"
    if row.parts_out and row.parts_out[-1]["remote_id"] is None:
        return NOTHING_TO_ANSWER
    return ""


def again(conn: Connection, row: Row[Any], *, by: str, why: str) -> None:
    """Puts an ended or held row back on its way with a fresh window, budget and checkpoint.

    Never before its time: a person who brings a post back has not said another time, only ``reschedule`` does. Nor is
    the time it was due at forgotten, so lateness says how late it is after all; that of a thread, as ever, by the part
    that went first.
    """
    # All of its files are touched, not only those that failed: prune may be about to delete one that nobody needed
    # until now, and whoever comes second sees what the first has done. What was pruned is made again.
    conn.execute(RENDITIONS, {"id": row.id})
    conn.execute(ORIGINALS, {"id": row.id})
    now = database_now(conn)
    window = window_of(row)
    sent: dict[str, Any] = {} if row.parts_out else {"first_sent_at": None}
    move(
        conn,
        row.id,
        generation=row.generation,
        source=Status(row.status),
        target=Status.SCHEDULED,
        by=by,
        why=why,
        resolution="replayed",
        available_at=max(now, row.due_at - lead_of(row)),
        window_ends_at=max(now, row.due_at) + window,
        window_seconds=int(window.total_seconds()),
        media_ready=not conn.execute(UNMADE, {"id": row.id}).scalar_one(),
        claims=0,
        attempts=0,
        checkpoint={},
        checkpoint_expires_at=None,
        lookups={},
        error_code=None,
        error_message=None,
        cancel_requested=False,
        **sent,
    )
