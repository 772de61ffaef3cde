"""What is unknown is settled: by the ledger, by the platform, or by a person; never by sending it again and hoping."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row, func, select, text, update
from sqlalchemy.exc import IntegrityError

from db.failpoints import about, hit, naive_resend
from db.models import Account, PublishAttempt, ScheduledPost, table_of
from db.session import transaction
from db.states import HeldFor, Status
from db.transitions import move, seconds_from_now
from platforms.base import (
    Absent,
    AuthExpired,
    Doubt,
    Found,
    Inconclusive,
    Processing,
    Published,
    RateLimited,
    Reconciled,
    ReconcileKind,
    Repeatable,
)
from platforms.errors import TransportError
from scheduler.logging import logger
from scheduler.retry_policy import LOOKUPS, policy
from scheduler.settings import Settings
from workers.context import send
from workers.intents import leave_to_others
from workers.ledger import ACCOUNT_LOCK, IF_ABSENT, PROCESSING, RETRY_AFTER, accepted_before, publish
from workers.not_published import note_account, out_of_reach_pause_s
from workers.twins import before_us, nameless_twin
from workers.work import Work, client, load

log = logger(__name__)
posts = table_of(ScheduledPost)
attempts = table_of(PublishAttempt)
accounts = table_of(Account)

RESEND_BEFORE_S = 50 * 60.0
"""A keyed call is repeated only while its key is younger than this, seconds."""
LIMITED_LONGEST = timedelta(hours=24)
"""A platform that puts off our look-ups for longer than this is not waited for: a person shall look."""
ELSEWHERE = "for a day no worker was set up for the address that it was sent to"
AT_ONCE = frozenset({ReconcileKind.CLIENT_ID, ReconcileKind.TWO_STEP})
"""Asked at once: whoever may still wake and send would make the same object."""
NOW_OF = text(
    "SELECT cancel_requested, window_ends_at <= clock_timestamp() AS over FROM scheduled_posts WHERE id = :post"
)


def load_as(settings: Settings, scheduled_post_id: int, generation: int, status: Status) -> Work | None:
    """A post, if it still is what the hint speaks of; its names are in every log line from here on."""
    with transaction(settings.database()) as conn:
        work = load(conn, settings, scheduled_post_id)
        if work is None or work.row.generation != generation or work.row.status != status:
            return None
    structlog.contextvars.bind_contextvars(
        correlation_id=work.row.correlation_id,
        scheduled_post_id=work.id,
        account=f"{work.row.platform}:{work.row.name}",
    )
    return work


def reconcile(settings: Settings, scheduled_post_id: int, generation: int) -> Status | None:
    """One step towards certainty about a doubtful post; its new status, or None: not yet, or stale."""
    about(scheduled_post_id)
    hit("reconcile.start")
    work = load_as(settings, scheduled_post_id, generation, Status.UNKNOWN)
    if work is None:
        return None
    plan = work.module.publishing_call(work.draft)
    with transaction(settings.database()) as conn:
        row = conn.execute(select(posts).where(posts.c.id == work.id).with_for_update()).one()
        if row.generation != generation:
            return None
        # What the ledger knows comes before what the platform says.
        earlier = accepted_before(conn, work.id, work.part)
        if earlier is not None:
            return publish(conn, row, earlier, part=work.part, evidence="api", by="ledger")
        doubt, ripe_at = _doubt(conn, settings, work, plan.budget_s, plan.read_lag_s)
        if doubt is None:
            return _absent(conn, settings, work, generation, "no attempt is in doubt")
        if work.goes_elsewhere(settings):
            if work.row.now - (doubt.doubtful_since or doubt.started_at) > LIMITED_LONGEST:
                return hold(conn, work, generation, ELSEWHERE)
            leave_to_others(conn, work.row, Status.UNKNOWN)
            return None
        if naive_resend():  # the crash tests switch the protection off, to see that their judge sees doubles
            _settle(conn, work.id, "absent")
            return _absent(conn, settings, work, generation, "naive resend")
        if plan.reconcile is ReconcileKind.NONE and not work.checkpoint_of(work.part):
            return hold(conn, work, generation, "this platform gives no way to look; only you can tell")
        if plan.reconcile not in AT_ONCE and ripe_at > work.row.now:
            # A stopped worker might wake and send; until that is over, "absent" means nothing.
            conn.execute(
                update(posts)
                .where(posts.c.id == work.id, posts.c.generation == generation)
                .values(available_at=ripe_at)
            )
            return None
        if before_us(conn, work, doubt):
            conn.execute(update(posts).where(posts.c.id == work.id).values(available_at=seconds_from_now(2.0)))
            return None
    try:
        answer: Reconciled = work.module.reconcile(work.call(client(settings, work)), work.draft, doubt)
    except TransportError as error:
        answer = Inconclusive(error.detail, 1.0)
    except Exception as error:  # a bug in a module: counted as a look-up that could not decide
        log.exception("reconcile.broken", error=type(error).__name__)
        answer = Inconclusive(f"the platform module failed: {type(error).__name__}")
    hit("reconcile.answered")
    with transaction(settings.database()) as conn:
        status = _answered(conn, settings, work, generation, answer, doubt)
        hit("reconcile.before_commit", handle=conn)
    hit("reconcile.after_commit")
    log.info("reconcile.done", answer=type(answer).__name__, status=status or "unknown")
    if isinstance(answer, AuthExpired) and not answer.permanent:
        send("followup.refresh", (work.row.account_id, work.row.token_version))
    return status


def _doubt(
    conn: Connection, settings: Settings, work: Work, budget_s: float, read_lag_s: float
) -> tuple[Doubt | None, datetime]:
    """What is known of the doubtful attempts, and from when on a look-up may be believed.

    The platform is asked from the first try at this content on: one that was believed absent may have turned up since.
    """
    rows = conn.execute(
        select(attempts.c.started_at, attempts.c.finished_at, attempts.c.http_status)
        .where(
            attempts.c.scheduled_post_id == work.id,
            attempts.c.settled.is_(None),
            func.coalesce(attempts.c.outcome, "unknown") == "unknown",
        )
        .order_by(attempts.c.started_at)
    ).all()
    if not rows:
        return None, work.row.now
    taken = conn.scalars(
        select(posts.c.remote_id).where(
            posts.c.account_id == work.row.account_id,
            posts.c.remote_id.is_not(None),
            posts.c.id != work.id,
            posts.c.published_at > rows[0].started_at - timedelta(days=1),
        )
    ).all()
    parts = conn.scalars(PARTS_TAKEN, {"account": work.row.account_id, "began": rows[0].started_at}).all()
    known = frozenset(one for one in (*taken, *parts) if one)
    since = rows[0].started_at
    doubt = Doubt(_given_up(conn, work) or since, rows[-1].finished_at, known, since)
    budget = settings.call_budget_seconds or budget_s
    # An attempt that the platform itself answered is over. One without an answer may still take effect: its worker
    # may wake, or the platform may only now get to a request whose sender gave up (measured). So may one that was
    # answered by what stands in front of the platform and had waited for it in vain (502, 504 and their like).
    pause = timedelta(seconds=settings.quarantine_seconds)
    ends = [
        row.finished_at + (timedelta(0) if row.http_status and row.http_status < 500 else pause)
        if row.finished_at
        else row.started_at + timedelta(seconds=budget) + pause
        for row in rows
    ]
    return doubt, max(ends) + timedelta(seconds=read_lag_s)


def _given_up(conn: Connection, work: Work) -> datetime | None:
    """When the first try at this content began that was sent and has been believed absent; None: there is none."""
    found: datetime | None = conn.execute(
        select(func.min(attempts.c.started_at)).where(
            attempts.c.scheduled_post_id == work.id,
            attempts.c.version_id == work.row.version_id,
            attempts.c.part == work.part,
            attempts.c.settled == "absent",
        )
    ).scalar_one()
    return found


PARTS_TAKEN = text("""
    SELECT part ->> 'remote_id' FROM scheduled_posts s, jsonb_array_elements(s.parts_out) AS part
     WHERE s.account_id = :account AND s.parts > 1 AND s.updated_at > :began - interval '1 day'
""")
"""Ids of the parts of threads, of this one too: two parts may say the same."""


def _answered(
    conn: Connection, settings: Settings, work: Work, generation: int, answer: Reconciled, doubt: Doubt
) -> Status | None:
    if isinstance(answer, AuthExpired | RateLimited):
        conn.execute(ACCOUNT_LOCK, {"id": work.row.account_id})  # the account first, everywhere
    row = conn.execute(select(posts).where(posts.c.id == work.id).with_for_update()).one()
    if row.generation != generation:
        return None
    if isinstance(answer, Found) and nameless_twin(conn, work, doubt):
        answer = Inconclusive(
            "another post with the same words may be public, and its id is not known: which was found?"
        )
    if isinstance(answer, Found):
        return _found(conn, settings, work, generation, row, answer)
    if work.module.publishing_call(work.draft).reconcile is ReconcileKind.NONE and (
        isinstance(answer, Absent) or (isinstance(answer, Inconclusive) and answer.retry_after_s is None)
    ):
        # Only what the platform had given us could be asked; "not there" proves nothing.
        return hold(conn, work, generation, "this platform gives no way to look; only you can tell")
    if isinstance(answer, Processing):
        return _at_work(conn, work, generation, answer)
    if isinstance(answer, Repeatable):
        return _repeat(conn, settings, work, generation, doubt)
    if isinstance(answer, Absent):
        return _seen_absent(conn, settings, work, generation, doubt)
    if isinstance(answer, AuthExpired | RateLimited):
        note_account(conn, work.row.account_id, work.row.token_version, answer)
    if isinstance(answer, RateLimited):
        if work.row.now - (doubt.doubtful_since or doubt.started_at) > LIMITED_LONGEST:
            return hold(conn, work, generation, f"for a day the platform has let nobody look ({answer.message})")
        conn.execute(update(posts).where(posts.c.id == work.id).values(available_at=answer.until))
        return None
    if isinstance(answer, AuthExpired):
        # Counted: an account that nobody connects again must not be asked for ever.
        answer = Inconclusive(answer.message)
    return _undecided(conn, settings, work, generation, answer)


def _found(
    conn: Connection, settings: Settings, work: Work, generation: int, row: Row[Any], answer: Found
) -> Status | None:
    """It is public: the (locked) post, or its part that was in doubt."""
    if row.parts > 1:
        found = Published(answer.remote_id, answer.url)
        return publish(
            conn,
            row,
            found,
            part=work.part,
            evidence="reconciled",
            by="reconcile",
            published_at=answer.published_at,
            claims=0,
        )
    try:
        with conn.begin_nested():
            done = move(
                conn,
                work.id,
                generation=generation,
                source=Status.UNKNOWN,
                target=Status.PUBLISHED,
                by="reconcile",
                why="found on the platform",
                remote_id=answer.remote_id,
                remote_url=answer.url,
                published_at=answer.published_at or func.clock_timestamp(),
                evidence="reconciled",
                error_code=None,
                error_message=None,
                claims=0,
            )
    except IntegrityError:
        return _undecided(conn, settings, work, generation, Inconclusive("what was found belongs to another post"))
    _settle(conn, work.id, "found")
    return Status.PUBLISHED if done is not None else None


def _at_work(conn: Connection, work: Work, generation: int, answer: Processing) -> Status | None:
    """The platform has it and works on it: what the answer would have said, and ``poll`` goes on from there."""
    conn.execute(
        update(attempts)
        .where(
            attempts.c.scheduled_post_id == work.id,
            attempts.c.part == work.part,
            attempts.c.settled.is_(None),
            func.coalesce(attempts.c.outcome, "unknown") == "unknown",
        )
        .values(
            outcome="accepted",
            error_code=PROCESSING,
            settled="found",
            finished_at=func.coalesce(attempts.c.finished_at, func.clock_timestamp()),
        )
    )
    done = move(
        conn,
        work.id,
        generation=generation,
        source=Status.UNKNOWN,
        target=Status.PROCESSING,
        by="reconcile",
        why="the platform has it and works on it",
        available_at=seconds_from_now(answer.poll_after_s),
        claims=0,
        lookups={},
        error_code=None,
        error_message=None,
    )
    return Status.PROCESSING if done is not None else None


def _seen_absent(conn: Connection, settings: Settings, work: Work, generation: int, doubt: Doubt) -> Status | None:
    """Believed the second time, a read lag after the first."""
    plan = work.module.publishing_call(work.draft)
    first = work.row.lookups.get("absent_at")
    lag = timedelta(seconds=max(plan.read_lag_s, 1.0))
    if first is None or work.row.now < datetime.fromisoformat(first) + lag:
        conn.execute(
            update(posts)
            .where(posts.c.id == work.id)
            .values(
                lookups={**work.row.lookups, "absent_at": first or work.row.now.isoformat()},
                available_at=seconds_from_now(lag.total_seconds()),
            )
        )
        return None
    # With a margin of a sixth: the key shall still be good when the request arrives.
    young_s = min(RESEND_BEFORE_S, (plan.key_lifetime_s or RESEND_BEFORE_S * 2) * 5 / 6)
    since = doubt.doubtful_since or doubt.started_at
    if plan.reconcile is ReconcileKind.KEYED and (work.row.now - since).total_seconds() > young_s:
        return hold(conn, work, generation, "it was not found, and its key is too old to send it again safely")
    if work.row.lookups.get(IF_ABSENT) and _given_up(conn, work) is not None:
        said = work.row.lookups[IF_ABSENT]["message"]
        told = f"the platform refuses it ({said}), perhaps because an earlier try is there after all"
        return hold(conn, work, generation, told)
    _settle(conn, work.id, "absent")
    return _absent(conn, settings, work, generation, "two look-ups did not find it", doubt)


def _undecided(
    conn: Connection, settings: Settings, work: Work, generation: int, answer: Inconclusive
) -> Status | None:
    count = int(work.row.lookups.get("count", 0)) + 1
    if count >= settings.lookup_budget:
        return hold(conn, work, generation, f"{count} look-ups could not decide ({answer.message})")
    conn.execute(
        update(posts)
        .where(posts.c.id == work.id)
        .values(
            lookups={**work.row.lookups, "count": count},
            available_at=seconds_from_now(LOOKUPS.pause_s(count, answer.retry_after_s)),
        )
    )
    return None


def _settle(conn: Connection, scheduled_post_id: int, how: str) -> None:
    conn.execute(
        update(attempts)
        .where(
            attempts.c.scheduled_post_id == scheduled_post_id,
            attempts.c.settled.is_(None),
            func.coalesce(attempts.c.outcome, "unknown") == "unknown",
        )
        .values(
            settled=how,
            outcome="unknown",
            finished_at=func.coalesce(attempts.c.finished_at, func.clock_timestamp()),
        )
    )


def _again_at(settings: Settings, work: Work, doubt: Doubt | None) -> Any:
    """When to send again what was not found: after a pause since the last try, which grows with their number. At once
    where the worker died: the platform is not to blame.
    """
    asked = work.row.lookups.get(RETRY_AFTER)
    if doubt is None or work.row.attempts == 0:
        return func.clock_timestamp()
    pause = out_of_reach_pause_s(policy(settings), work.row.attempts, asked)
    return func.greatest(func.clock_timestamp(), (doubt.ended_at or doubt.started_at) + timedelta(seconds=pause))


def _repeat(conn: Connection, settings: Settings, work: Work, generation: int, doubt: Doubt) -> Status | None:
    """Sends again what makes the same object. The doubt stays until then: nobody has looked, so an edit would
    make a second object, and "missed" or "canceled" could be said of a post that is public."""
    now = conn.execute(NOW_OF, {"post": work.id}).one()
    if now.cancel_requested or now.over:
        ended = "it was canceled" if now.cancel_requested else "its window is over"
        return hold(conn, work, generation, f"{ended}, and only sending it again would tell")
    done = move(
        conn,
        work.id,
        generation=generation,
        source=Status.UNKNOWN,
        target=Status.RETRYING,
        by="reconcile",
        why="repeating makes the same object",
        available_at=_again_at(settings, work, doubt),
        lookups={},
    )
    return Status.RETRYING if done else None


def _absent(
    conn: Connection, settings: Settings, work: Work, generation: int, why: str, doubt: Doubt | None = None
) -> Status | None:
    """Provably not published: again, or canceled or missed if that is what it has come to."""
    common: dict[str, Any] = {
        "generation": generation,
        "source": Status.UNKNOWN,
        "by": "reconcile",
        "why": why,
    }
    # Read again, under the lock that the caller holds: a cancel may have come during the look-up.
    now = conn.execute(NOW_OF, {"post": work.id}).one()
    if now.cancel_requested:
        return Status.CANCELED if move(conn, work.id, target=Status.CANCELED, **common) else None
    if now.over:
        done = move(
            conn,
            work.id,
            target=Status.MISSED,
            error_code="missed",
            error_message="it was not published, and its window is over",
            **common,
        )
        return Status.MISSED if done else None
    if final := work.row.lookups.get(IF_ABSENT):
        # It was a refusal that only might have meant this very post.
        done = move(
            conn,
            work.id,
            target=Status.FAILED,
            error_code=final["code"],
            error_message=final["message"],
            operator=final["operator_alert"],
            **common,
        )
        return Status.FAILED if done else None
    again_at = _again_at(settings, work, doubt)
    done = move(conn, work.id, target=Status.RETRYING, available_at=again_at, lookups={}, **common)
    return Status.RETRYING if done else None


def hold(conn: Connection, work: Work, generation: int, why: str, source: Status = Status.UNKNOWN) -> Status | None:
    """Puts a post whose outcome nobody can tell in front of a person."""
    done = move(
        conn,
        work.id,
        generation=generation,
        source=source,
        target=Status.HELD,
        by="reconcile",
        why=why,
        held_for=HeldFor.OUTCOME_UNKNOWN.value,
        error_code="outcome_unknown",
        error_message=f"It may be public or not: {why}",
    )
    return Status.HELD if done else None
