"""The tick: claims what is due and sends hints. Any number of ticks and dispatchers may run at once.

The claim commits before the hint is sent; a hint that is lost costs a lease, never a post. What cannot go
now (a limited account, a reconnect) is moved out of the way by its ``available_at``, so that the next claim
does not wade through it. Only as many as there are slots are handed on (``Room``): the order stays in Postgres.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, text, update

from db import claims
from db.claims import Claimed, InHand
from db.failpoints import hit
from db.models import ScheduledPost, table_of
from db.session import transaction
from db.states import HeldFor, Status
from db.transitions import doubtful_attempts, move
from platforms import registry
from scheduler import accounts
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)
posts = table_of(ScheduledPost)

Send = Callable[[str, tuple[Any, ...], str | None], None]
"""Sends a hint: (task, arguments, queue or None for the task's own)."""

DELIVER = "publish.deliver"
PREPARE = "publish.prepare"
ROUNDS = 8
"""Claims of one visit at most, so that a tick ends even if all it meets has to be moved."""
POLL_S = 0.05
"""Within a tick, how often a platform whose slots are full is looked at again."""


def tick(settings: Settings, send: Send, *, by: str, until_s: float = 0.0) -> int:
    """One visit: everything that is due, then (until ``until_s`` seconds from now) what becomes due.

    Staying for the rest of the second lets a post go out at its second rather than at the next tick.

    :returns: hints sent.
    """
    deadline = time.monotonic() + until_s
    sent = visit(settings, send, by=by)
    while (left := deadline - time.monotonic()) > 0:
        wait = _pause(settings, left)
        if wait is None:
            break
        time.sleep(wait)
        sent += visit(settings, send, by=by)
    return sent


def visit(settings: Settings, send: Send, *, by: str) -> int:
    """Claims for every platform what is due and has room; hints sent."""
    url = settings.database()
    with transaction(url) as conn:
        if accounts.everything_paused(conn):
            return 0
        names = _platforms(conn)
        room = Room(slots(conn, settings), claims.in_hand(conn), alone=claims.one_platform(conn))
    sent = 0
    for platform in names:
        for prepare in (False, True):
            for _ in range(ROUNDS):
                free = room.free(platform, prepare=prepare)
                if free <= 0:
                    break
                with transaction(url) as conn:
                    taken, seen = claim(conn, settings, platform, prepare=prepare, room=free, by=by)
                    hit("claim.before_commit", platform, conn)
                hit("claim.after_commit", platform)
                for one in taken:
                    hit("claim.before_hint", one.id)
                    counted = (True,) if one.lost_before else ()
                    send(PREPARE if prepare else DELIVER, (one.id, one.generation, *counted), None)
                sent += len(taken)
                room.take(platform, len(taken), prepare=prepare)
                if seen == 0 or len(taken) == seen:
                    break
    return sent


class Room:
    """How many more posts may be handed to the publish workers.

    One platform that is slow must not fill every slot, nor preparing keep what is due waiting. So a platform has three
    quarters at most of the slots that the others leave it: however many of them hang, there is room for the next, and
    what is idle costs nothing. Preparing has half of the slots, shared out in the same way. Where one platform alone
    has accounts it may have twice the slots in hand, so that no slot ever waits for dispatch.

    :param hand: what the workers have in hand, by platform.
    :param alone: whether there is one platform only.
    """

    def __init__(self, slots: int, hand: dict[str, InHand], *, alone: bool) -> None:
        self._slots = slots
        self._alone = alone
        self._total = {name: one.total for name, one in hand.items()}
        self._preparing = {name: one.preparing for name, one in hand.items()}

    def free(self, platform: str, *, prepare: bool) -> int:
        """How many more of this platform."""
        if self._alone:
            free = 2 * self._slots - self._total.get(platform, 0)
        else:
            free = _part(self._slots, self._total, platform)
        if not prepare:
            return free
        half = max(1, self._slots // 2)
        return min(
            free, half - sum(self._preparing.values()) if self._alone else _part(half, self._preparing, platform)
        )

    def take(self, platform: str, count: int, *, prepare: bool) -> None:
        """So many were handed on."""
        self._total[platform] = self._total.get(platform, 0) + count
        if prepare:
            self._preparing[platform] = self._preparing.get(platform, 0) + count


def _part(places: int, taken: dict[str, int], platform: str) -> int:
    """How many more of ``places`` a platform may take; the first of its own always, if need be behind the others."""
    own = taken.get(platform, 0)
    left = places - sum(taken.values()) + own
    return max(left * 3 // 4, 1) - own


def claim(
    conn: Connection, settings: Settings, platform: str, *, prepare: bool, room: int, by: str
) -> tuple[list[Claimed], int]:
    """Leases up to ``room`` posts of a platform, and settles what cannot go; (leased, rows looked at)."""
    rows = claims.candidates(conn, platform=platform, prepare=prepare, batch=min(room, settings.claim_batch))
    facts = claims.account_facts(conn, sorted({row.account_id for row in rows}))
    fit = [row for row in rows if not _settled(conn, settings, row, facts[row.account_id])]
    for account_id in {row.account_id for row in rows if facts[row.account_id].limited_until}:
        claims.move_account(
            conn,
            account_id,
            until=facts[account_id].limited_until,
            code="rate_limited",
            message="the platform asked this account to wait",
        )
    taken = claims.take(
        conn,
        fit,
        by=by,
        target=Status.PREPARING if prepare else Status.QUEUED,
        lease_s=settings.prepare_lease_seconds if prepare else settings.queued_lease_seconds,
        why="due" if not prepare else "to be prepared",
    )
    return taken, len(rows)


def _settled(conn: Connection, settings: Settings, row: Row[Any], account: Row[Any]) -> bool:
    """Whether a row cannot go now and was moved out of the way."""
    source = Status(row.status)
    if row.over:
        miss(conn, row.id, row.generation, source)
    elif account.deleted:
        move(
            conn,
            row.id,
            generation=row.generation,
            source=source,
            target=Status.CANCELED,
            by="dispatch",
            why="its account was deleted",
        )
    elif account.paused:
        conn.execute(update(posts).where(posts.c.id == row.id).values(paused=True))
    elif account.state == "needs_reconnect":
        move(
            conn,
            row.id,
            generation=row.generation,
            source=source,
            target=Status.HELD,
            by="dispatch",
            held_for=HeldFor.RECONNECT.value,
            claims=0,
            error_code="reconnect",
            error_message="the platform no longer accepts our access; connect the account again",
        )
    elif account.limited_until is not None:
        return True  # moved with all of its account
    elif row.claims >= settings.max_claims:
        fail_as_crash(conn, row.id, row.generation, source, row.claims)
    elif row.needs_prepare and source in {Status.READY, Status.RETRYING} and (row.stale_checkpoint or not row.prepared):
        if doubtful_attempts(conn, row.id):
            # Repeating would have made the same object; preparing anew makes another.
            move(
                conn,
                row.id,
                generation=row.generation,
                source=source,
                target=Status.HELD,
                by="dispatch",
                held_for=HeldFor.OUTCOME_UNKNOWN.value,
                error_code="outcome_unknown",
                error_message="It may be public or not: what could have been repeated has expired on the platform",
            )
            return True
        move(
            conn,
            row.id,
            generation=row.generation,
            source=source,
            target=Status.SCHEDULED,
            by="dispatch",
            why="what was prepared on the platform has expired",
            checkpoint={},
            checkpoint_expires_at=None,
            available_at=func.clock_timestamp(),
        )
    else:
        return False
    return True


def miss(conn: Connection, scheduled_post_id: int, generation: int, source: Status) -> None:
    """Ends a post whose window is over, with a dead letter."""
    move(
        conn,
        scheduled_post_id,
        generation=generation,
        source=source,
        target=Status.MISSED,
        by="window",
        why="its window ended before it could go out",
        error_code="missed",
        error_message="it could not go out inside its window; nothing was published",
    )


def fail_as_crash(conn: Connection, scheduled_post_id: int, generation: int, source: Status, count: int) -> None:
    """Ends a post that took its worker down each time, with a dead letter."""
    move(
        conn,
        scheduled_post_id,
        generation=generation,
        source=source,
        target=Status.FAILED,
        by="rescue",
        why="worker crash",
        error_code="worker_crash",
        error_message=f"its worker ended without an outcome {count} times",
    )


def slots(conn: Connection, settings: Settings) -> int:
    """How many posts the publish workers can have in hand at once; the setting where none has been seen."""
    seen = conn.execute(
        text("""
            SELECT sum(slots) FROM worker_beats
             WHERE queue = 'publish' AND seen_at > clock_timestamp() - interval '2 minutes'
        """)
    ).scalar_one()
    return int(seen or settings.publish_slots)


def _platforms(conn: Connection) -> Sequence[str]:
    present = conn.execute(select(text("DISTINCT platform")).select_from(text("accounts"))).scalars().all()
    known = set(registry.names())
    return [name for name in sorted(present) if name in known]


def _pause(settings: Settings, left: float) -> float | None:
    """How long to sleep before the next visit, seconds; None: nothing becomes due within ``left``."""
    with transaction(settings.database()) as conn:
        if accounts.everything_paused(conn):
            return None
        waits = [wait for name in _platforms(conn) if (wait := claims.seconds_to_next(conn, name)) is not None]
    soonest = min(waits, default=None)
    if soonest is None or soonest >= left:
        return None
    # Something is due but was not taken: slots are full, or another dispatcher has it.
    return max(soonest, POLL_S)
