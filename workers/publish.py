"""Queue ``publish``: prepares what the platform needs first, and delivers: the only place with side effects.

What could go wrong, and what holds it (tests/integration/test_publish.py shows each):

- A hint comes twice, late, or for an older generation: the compare-and-set of the intent matches once.
- The worker dies before the intent: the lease ends, the post waits again. After it: the lease ends, the
  outcome is unknown, reconcile looks before anything is sent again.
- The process is stopped (a suspended laptop, a long pause) between intent and first byte: the fence compares
  a clock that counts sleep, and does not send.
- The answer comes after the lease, or while Postgres is away: it is kept and written, first onto its attempt.
- Cancel, edit, pause come meanwhile: before the intent they win; after it they are recorded.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import func, text
from sqlalchemy.exc import DBAPIError

from db.failpoints import about, hit
from db.models import ScheduledPost, table_of
from db.session import lost_connection, repeat_safe, transaction
from db.states import Status
from db.transitions import move, save_checkpoint, seconds_from_now
from media.errors import StoreUnavailable
from platforms.base import (
    AuthExpired,
    NotSent,
    PrepareOutcome,
    Processing,
    Published,
    PublishOutcome,
    RateLimited,
    Ready,
    Rejected,
    Unknown,
)
from platforms.errors import FenceExpired, TransportError
from scheduler.accounts import RENEWING, renewal_ends_at
from scheduler.logging import logger
from scheduler.retry_policy import policy
from scheduler.settings import Settings, current
from workers.app import task
from workers.context import running_seconds, send, stopping, worker_name
from workers.intents import Intent, intend, intent_committed, leave_to_others
from workers.ledger import ACCOUNT_LOCK, Report
from workers.not_published import (
    FENCE,
    STORE_UNAVAILABLE,
    decided_tries,
    hold_for_reconnect,
    needs_reconnect,
    note_account,
    out_of_reach,
    out_of_reach_pause_s,
)
from workers.outcomes import keep
from workers.work import Work, client, load

if TYPE_CHECKING:
    from platforms.http import Client

log = logger(__name__)
posts = table_of(ScheduledPost)


PREPARES = "prepares"
"""Key of ``lookups``: how often in a row preparing was tried and is to be tried again."""


class Stale(Exception):
    """The row changed hands while we worked on it."""


@task("publish.deliver")
def deliver_task(scheduled_post_id: int, generation: int, counted: bool = False) -> None:
    """Publishes one scheduled post, if the hint still holds."""
    deliver(current(), scheduled_post_id, generation, counted)


@task("publish.prepare")
def prepare_task(scheduled_post_id: int, generation: int) -> None:
    """Prepares one scheduled post on its platform, if the hint still holds."""
    prepare(current(), scheduled_post_id, generation)


def deliver(
    settings: Settings,
    scheduled_post_id: int,
    generation: int,
    counted: bool = False,
    *,
    source: Status = Status.QUEUED,
) -> Status | None:
    """Publishes a post; a thread part by part, as long as all goes well. What stops it goes on from there.

    :param counted: its last hint came to nothing. Perhaps because the post takes its worker down before the
        intent could count it: so it is counted first. A healthy post is spared that commit.
    :returns: the new status; None: nothing was sent, or decided elsewhere.
    """
    if counted and not _begin(settings, scheduled_post_id, generation, Status.QUEUED):
        return None
    status, more = _deliver_part(settings, scheduled_post_id, generation, source)
    while status is Status.PROCESSING and more and not stopping():
        following = _generation(settings, scheduled_post_id)
        if following is None:
            break
        further, more = _deliver_part(settings, scheduled_post_id, following, Status.PROCESSING)
        if further is None:
            break  # followup was first, or it has to wait
        status = further
    return status


def _generation(settings: Settings, scheduled_post_id: int) -> int | None:
    """The generation of a thread between two parts; None: it is elsewhere by now."""
    with transaction(settings.database()) as conn:
        row = conn.execute(
            text("SELECT generation FROM scheduled_posts WHERE id = :id AND status = 'processing'"),
            {"id": scheduled_post_id},
        ).one_or_none()
    return None if row is None else int(row.generation)


def _deliver_part(
    settings: Settings, scheduled_post_id: int, generation: int, source: Status
) -> tuple[Status | None, bool]:
    """Intent, fence, call, outcome, of one publishing call. :returns: the new status (as ``deliver``), and
    whether the platform took a part that others follow."""
    about(scheduled_post_id)
    hit("deliver.start")
    intent, fence_start = _intend(settings, scheduled_post_id, generation, source)
    if intent is None:
        return None, False
    hit("intent.after_commit")
    work = intent.work
    structlog.contextvars.bind_contextvars(
        correlation_id=work.row.correlation_id,
        scheduled_post_id=work.id,
        account=f"{work.row.platform}:{work.row.name}",
    )

    departed: list[float] = []

    def fence() -> None:
        now = running_seconds()
        if now - fence_start > settings.send_margin_seconds:
            raise FenceExpired
        departed.append(now)

    http = client(settings, work, fence=fence)
    outcome = _call(settings, intent, http)
    hit("publish.answered")
    report = Report(
        attempt_id=intent.attempt_id,
        scheduled_post_id=work.id,
        generation=intent.generation,
        account_id=work.row.account_id,
        token_version=work.row.token_version,
        outcome=outcome,
        # By the database's clock: lateness must not depend on how right a worker's own clock is.
        sent_at=work.database_time(departed[0]).timestamp() if departed else None,
        counts=not (isinstance(outcome, NotSent) and outcome.code == FENCE),
        part=work.part,
    )
    status = keep(settings, report)
    hit("outcome.after_commit")
    log.info(
        "publish.done",
        status=status or "decided elsewhere",
        outcome=type(outcome).__name__,
        code=getattr(outcome, "code", None),
        message=getattr(outcome, "message", None),
        seconds=round(running_seconds() - fence_start, 3),
    )
    if isinstance(outcome, AuthExpired) and not outcome.permanent:
        send("followup.refresh", (work.row.account_id, work.row.token_version))
    return status, isinstance(outcome, Published) and work.part + 1 < len(work.parts.drafts)


def _intend(settings: Settings, scheduled_post_id: int, generation: int, source: Status) -> tuple[Intent | None, float]:
    """Commits the intent. A COMMIT without an answer is looked up by the attempt's id, not repeated.

    :returns: the intent, and the fence's reading of the clock: taken before the first statement, but with a
        connection in hand, since a crowd that waits for connections has promised nothing yet.
    """
    began = running_seconds()
    attempt_id = uuid.uuid4()
    holder: list[Intent | None] = []
    try:
        with transaction(settings.database()) as conn:
            began = running_seconds()
            holder.append(
                intend(
                    conn,
                    settings,
                    scheduled_post_id,
                    generation,
                    attempt_id=attempt_id,
                    worker=worker_name(),
                    source=source,
                )
            )
            about(scheduled_post_id, holder[0].work.part if holder[0] is not None else None)
            hit("intent.before_commit", handle=conn)
    except DBAPIError as error:
        if not lost_connection(error) or not holder or holder[0] is None:
            raise

        def look() -> bool:
            with transaction(settings.database()) as conn:
                return intent_committed(conn, attempt_id)

        # If it took longer than the send margin the fence ends the attempt as not sent.
        if not repeat_safe(look):
            return None, began
    return holder[0], began


def _call(settings: Settings, intent: Intent, http: Client) -> PublishOutcome:
    """The platform's answer, or what is known without one. Whether it was sent is decided by the transport."""
    work = intent.work
    saved = saver(settings, work, intent.generation, intent.lease_s)
    try:
        return work.module.publish(work.call(http, saved), work.draft)
    except FenceExpired:
        # A module that publishes by two requests may have sent the first of them.
        return _unfinished(http, FENCE, "too much time passed before the first byte; nothing was sent")
    except TransportError as error:
        if http.publish_sent:
            return Unknown(error.code, error.detail)
        return NotSent(error.code, error.detail)
    except Stale:
        return _unfinished(http, "stale", "another worker took the post over")
    except StoreUnavailable as error:
        return _unfinished(http, STORE_UNAVAILABLE, str(error))
    except Exception as error:  # a bug in a module: what was sent decides, nothing is repeated blindly
        log.exception("publish.broken", error=type(error).__name__)
        return _unfinished(http, "module_error", f"the platform module failed: {type(error).__name__}")


def _unfinished(http: Client, code: str, message: str) -> PublishOutcome:
    return Unknown(code, message) if http.publish_sent else NotSent(code, message)


def saver(settings: Settings, work: Work, generation: int, lease_s: float | None) -> Any:
    """Commits what the platform gave us at once, so that a retry resumes there.

    :param lease_s: also renews the lease; None where the state has none.
    """

    def save(values: Mapping[str, Any]) -> None:
        def write() -> bool:
            with transaction(settings.database()) as conn:
                saved = save_checkpoint(conn, work.id, generation=generation, values=dict(values), lease_s=lease_s)
                hit("checkpoint.before_commit", handle=conn)
                return saved

        if not repeat_safe(write):
            raise Stale
        hit("checkpoint.after_commit")

    return save


# --- Prepare ------------------------------------------------------------------------------------------------


def prepare(settings: Settings, scheduled_post_id: int, generation: int) -> Status | None:
    """Uploads and the like, ahead of time; the new status, or None: stale."""
    about(scheduled_post_id)
    hit("prepare.start")
    if not _begin(settings, scheduled_post_id, generation, Status.PREPARING):
        return None
    hit("prepare.begun")
    with transaction(settings.database()) as conn:
        work = load(conn, settings, scheduled_post_id)
        if work is None:
            return None
        if work.goes_elsewhere(settings):
            leave_to_others(conn, work.row, Status.PREPARING)
            return None
    structlog.contextvars.bind_contextvars(
        correlation_id=work.row.correlation_id,
        scheduled_post_id=work.id,
        account=f"{work.row.platform}:{work.row.name}",
    )
    started = running_seconds()
    outcome = _prepare_call(settings, work, generation)
    hit("prepare.answered")
    with transaction(settings.database()) as conn:
        status = settle_prepare(conn, settings, work, generation, outcome)
        hit("prepare.before_commit", handle=conn)
    hit("prepare.after_commit")
    log.info(
        "prepare.done",
        status=status or "stale",
        outcome=type(outcome).__name__,
        code=getattr(outcome, "code", None),
        message=getattr(outcome, "message", None),
        seconds=round(running_seconds() - started, 3),
    )
    if isinstance(outcome, AuthExpired) and not outcome.permanent:
        send("followup.refresh", (work.row.account_id, work.row.token_version))
    if status is Status.READY and work.row.due_at <= work.row.now:
        send("dispatch.nudge", ())
    return status


def _begin(settings: Settings, scheduled_post_id: int, generation: int, status: Status) -> bool:
    """Takes the lease over from dispatch, and counts; a second hint of the same claim finds it taken."""
    preparing = status is Status.PREPARING
    with transaction(settings.database()) as conn:
        return (
            conn.execute(
                text("""
                    UPDATE scheduled_posts SET claims = claims + 1, leased_by = :me,
                           lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s)
                     WHERE id = :id AND generation = :generation AND status = :status AND leased_by LIKE 'dispatch%'
                """),
                {
                    "id": scheduled_post_id,
                    "generation": generation,
                    "me": worker_name(),
                    "status": status.value,
                    "lease_s": settings.prepare_lease_seconds if preparing else settings.queued_lease_seconds,
                },
            ).rowcount
            > 0
        )


def _prepare_call(settings: Settings, work: Work, generation: int) -> PrepareOutcome:
    if work.violations:
        return Rejected(work.violations[0].code, " · ".join(bad.message for bad in work.violations))
    if work.row.account_state == "needs_reconnect":
        return AuthExpired("reconnect", "the account has to be connected again", permanent=True)
    if work.row.limited_until is not None:
        return RateLimited(work.row.limited_until, "the platform asked this account to wait")
    http = client(settings, work)
    saved = saver(settings, work, generation, settings.prepare_lease_seconds)
    expires: list[datetime] = []
    try:
        for part in range(work.part, len(work.parts.drafts)):
            draft = work.parts.drafts[part]
            if not work.module.needs_prepare(draft):
                continue
            outcome = work.module.prepare(work.call(http, saved, part=part), draft)
            if not isinstance(outcome, Ready):
                return outcome
            if outcome.expires_at is not None:
                expires.append(outcome.expires_at)
        return Ready(min(expires, default=None))
    except TransportError as error:
        return NotSent(error.code, error.detail)  # preparing is safe to redo, sent or not
    except Stale:
        return NotSent("stale", "another worker took the post over")
    except StoreUnavailable as error:
        return NotSent(STORE_UNAVAILABLE, str(error))
    except Exception as error:  # a bug in a module; preparing never publishes, so another try is safe
        log.exception("prepare.broken", error=type(error).__name__)
        return NotSent("module_error", f"the platform module failed: {type(error).__name__}")


def settle_prepare(
    conn: Any, settings: Settings, work: Work, generation: int, outcome: PrepareOutcome
) -> Status | None:
    """Moves a prepared (or not prepared) row on; the new status, or None: stale."""
    source = Status.PREPARING
    common: dict[str, Any] = {"generation": generation, "source": source, "by": worker_name()}
    if isinstance(outcome, AuthExpired | RateLimited):
        conn.execute(ACCOUNT_LOCK, {"id": work.row.account_id})
        note_account(conn, work.row.account_id, work.row.token_version, outcome)
    if isinstance(outcome, Ready):
        done = move(
            conn,
            work.id,
            target=Status.READY,
            claims=0,
            lookups={},
            error_code=None,
            error_message=None,
            available_at=func.greatest(posts.c.due_at, posts.c.available_at),
            checkpoint_expires_at=outcome.expires_at,
            **common,
        )
        if done is not None:
            save_checkpoint(conn, work.id, generation=done, values={"_prepared": True})
        return Status.READY if done is not None else None
    told: dict[str, Any] = {
        "error_code": getattr(outcome, "code", "rate_limited"),
        "error_message": getattr(outcome, "message", "")[:2000],
    }
    if isinstance(outcome, Rejected):
        done = move(conn, work.id, target=Status.FAILED, operator=outcome.operator_alert, **told, **common)
        return Status.FAILED if done is not None else None
    if isinstance(outcome, AuthExpired) and outcome.permanent and needs_reconnect(conn, work.row.account_id):
        return Status.HELD if hold_for_reconnect(conn, work.id, generation, source) else None
    if isinstance(outcome, Processing):
        done = move(
            conn,
            work.id,
            target=Status.SCHEDULED,
            why="the platform is processing",
            claims=0,
            available_at=seconds_from_now(outcome.poll_after_s),
            **common,
        )
    elif isinstance(outcome, RateLimited):
        done = move(conn, work.id, target=Status.SCHEDULED, available_at=outcome.until, claims=0, **told, **common)
    elif isinstance(outcome, AuthExpired) and (
        until := renewal_ends_at(conn, work.row.account_id, work.row.token_version)
    ):
        told["error_code"] = RENEWING
        done = move(conn, work.id, target=Status.SCHEDULED, available_at=until, claims=0, **told, **common)
    else:
        rules = policy(settings)
        ill = isinstance(outcome, NotSent) and out_of_reach(outcome)
        # While the platform, or our store, is out of reach no tries are spent: the window ends it.
        spent = work.row.attempts + (0 if ill else 1)
        tries = int(work.row.lookups.get(PREPARES, 0)) + 1
        if not ill and rules.spent(spent) and rules.spent(decided_tries(conn, work.id, spent)):
            told = {
                "error_code": "attempts_spent",
                "error_message": f"{told['error_message']} (after {spent} tries)",
            }
            return (
                Status.FAILED if move(conn, work.id, target=Status.FAILED, attempts=spent, **told, **common) else None
            )
        asked = getattr(outcome, "retry_after_s", None)
        if isinstance(outcome, AuthExpired):
            pause = 3.0
        else:
            pause = out_of_reach_pause_s(rules, tries, asked) if ill else rules.pause_s(spent, asked)
        done = move(
            conn,
            work.id,
            target=Status.SCHEDULED,
            attempts=spent,
            claims=0,
            available_at=seconds_from_now(pause),
            lookups={**work.row.lookups, PREPARES: tries},
            **told,
            **common,
        )
    return Status.SCHEDULED if done is not None else None
