"""Provably not published: whether the post waits and is tried again, or ends, or is put in front of a person."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, text, update

from db.models import Account, table_of
from db.states import HeldFor, Status
from db.transitions import doubtful_attempts, move, sayable, seconds_from_now
from platforms.base import AuthExpired, NotSent, RateLimited, Rejected
from scheduler.accounts import RENEWING, renewal_ends_at
from scheduler.retry_policy import RetryPolicy, policy
from scheduler.settings import Settings

NOT_READY = "media_not_ready"
"""What a module says where the media it had prepared are not on the platform any more."""
FENCE = "fence"
"""Too much time had passed before the first byte, and nothing was sent."""
FENCE_PAUSE_S = 30.0
"""The longest pause after an expired fence, seconds."""

STORE_UNAVAILABLE = "store_unavailable"
"""Our own store did not give the media."""
OUT_OF_REACH = frozenset({"network", "dns", "tls", "timeout", STORE_UNAVAILABLE})
"""Codes of what went wrong on the way (``platforms.http``)."""
OUT_OF_REACH_PAUSE_S = 300.0
"""The longest pause between tries while the platform is out of reach, seconds."""

accounts = table_of(Account)

LIMITED = text("UPDATE accounts SET limited_until = greatest(limited_until, :until) WHERE id = :account")
APP_LIMITED = text("""
    UPDATE accounts SET limited_until = greatest(limited_until, :until)
     WHERE id IN (SELECT o.id FROM accounts o JOIN accounts a ON a.platform = o.platform AND a.app = o.app
                   WHERE a.id = :account AND o.id <> a.id ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED)
""")
"""All that share the app. Whoever asks has an account locked already, so that two that waited for the accounts of each
other would wait for ever. One that somebody has at the moment learns of the limit by the answer to its own call."""


def hold_for_reconnect(conn: Connection, scheduled_post_id: int, generation: int, source: Status) -> int | None:
    """Puts a post in front of a person until its account is connected again."""
    return move(
        conn,
        scheduled_post_id,
        generation=generation,
        source=source,
        target=Status.HELD,
        by="publish",
        held_for=HeldFor.RECONNECT.value,
        claims=0,
        error_code="reconnect",
        error_message="the platform no longer accepts our access; connect the account again",
    )


def note_account(conn: Connection, account_id: int, token_version: int, outcome: AuthExpired | RateLimited) -> None:
    """What an answer says about the account itself (or, of an app's limit, about all that share the app)."""
    if isinstance(outcome, RateLimited):
        if outcome.scope == "post":
            return
        told = {"account": account_id, "until": outcome.until}
        conn.execute(LIMITED, told)
        if outcome.scope == "app":
            conn.execute(APP_LIMITED, told)
    elif outcome.permanent:
        # A stale token never marks a healthy account: only if nobody renewed it meanwhile.
        conn.execute(
            update(accounts)
            .where(accounts.c.id == account_id, accounts.c.token_version == token_version)
            .values(state="needs_reconnect", state_reason=sayable(outcome.message)[:500])
        )


def not_published(
    conn: Connection,
    settings: Settings,
    row: Row[Any],
    source: Status,
    outcome: Rejected | AuthExpired | RateLimited | NotSent,
    told: dict[str, Any],
    token_version: int,
    *,
    by: str,
) -> Status:
    """What becomes of a (locked) post whose call, or whose processing by the platform, ended without publishing it.

    :param told: error_code, error_message, and attempts: how many it has spent with this one.
    """
    common: dict[str, Any] = {"generation": row.generation, "source": source, "by": by}
    if row.cancel_requested:
        move(
            conn,
            row.id,
            target=Status.CANCELED,
            why="canceled while it was being sent; it was not published",
            **told,
            **common,
        )
        return Status.CANCELED
    if isinstance(outcome, Rejected):
        move(conn, row.id, target=Status.FAILED, claims=0, operator=outcome.operator_alert, **told, **common)
        return Status.FAILED
    if isinstance(outcome, RateLimited):
        move(conn, row.id, target=Status.RETRYING, available_at=outcome.until, claims=0, **told, **common)
        return Status.RETRYING
    if isinstance(outcome, AuthExpired) and needs_reconnect(conn, row.account_id):
        hold_for_reconnect(conn, row.id, row.generation, source)
        return Status.HELD
    if isinstance(outcome, AuthExpired) and (until := renewal_ends_at(conn, row.account_id, token_version)):
        # Asking again before that would only spend its tries. New tokens bring it forward.
        told |= {"error_code": RENEWING, "attempts": row.attempts}
        move(conn, row.id, target=Status.RETRYING, available_at=until, claims=0, **told, **common)
        return Status.RETRYING
    return _again_or_fail(conn, settings, row, source, outcome, told, int(told["attempts"]), by)


def _again_or_fail(
    conn: Connection,
    settings: Settings,
    row: Row[Any],
    source: Status,
    outcome: NotSent | AuthExpired,
    told: dict[str, Any],
    spent: int,
    by: str,
) -> Status:
    """Another try after a pause, while the budget lasts."""
    rules = policy(settings)
    common: dict[str, Any] = {"generation": row.generation, "source": source, "by": by}
    ill = isinstance(outcome, NotSent) and out_of_reach(outcome)
    if not ill and rules.spent(spent) and rules.spent(decided_tries(conn, row.id, spent)):
        move(
            conn,
            row.id,
            target=Status.FAILED,
            **common,
            **{
                **told,
                "error_code": "attempts_spent",
                "error_message": f"{told['error_message']} (after {spent} tries)",
            },
        )
        return Status.FAILED
    if told["error_code"] == FENCE:
        pause = fence_pause_s(_fences_in_a_row(conn, row.id))
    elif isinstance(outcome, AuthExpired):
        pause = 3.0  # the refresh is under way
    elif ill:
        pause = out_of_reach_pause_s(rules, spent, outcome.retry_after_s)
    else:
        pause = rules.pause_s(max(spent, 1), outcome.retry_after_s)
    # What was prepared on the platform is gone: without its checkpoint, dispatch sends the post to prepare again.
    # Not while an attempt is in doubt: what it may have published hangs on that checkpoint.
    anew = told["error_code"] == NOT_READY and doubtful_attempts(conn, row.id) == 0
    lost: dict[str, Any] = {"checkpoint": {}, "checkpoint_expires_at": None} if anew else {}
    move(conn, row.id, target=Status.RETRYING, available_at=seconds_from_now(pause), claims=0, **lost, **told, **common)
    return Status.RETRYING


def out_of_reach(outcome: NotSent) -> bool:
    """Whether it says nothing of the post: the platform, or our own store, could not be reached or was ill.

    Such tries are bounded by the post's window alone: an outage shorter than that must not end it.
    """
    return outcome.code in OUT_OF_REACH or (outcome.http_status or 0) >= 500


def out_of_reach_pause_s(rules: RetryPolicy, tries: int, asked_s: float | None) -> float:
    """Seconds to the next try while the platform is out of reach: it may be back at any time."""
    return max(min(rules.pause_s(max(tries, 1)), OUT_OF_REACH_PAUSE_S), asked_s or 0.0)


def decided_tries(conn: Connection, scheduled_post_id: int, spent: int) -> int:
    """How many of the ``spent`` tries were answered by the platform as a healthy one answers."""
    values = {"post": scheduled_post_id, "spent": spent, "codes": sorted(OUT_OF_REACH)}
    return spent - int(conn.execute(OUTAGES, values).scalar_one())


OUTAGES = text("""
    SELECT count(*) FROM (
        SELECT outcome, error_code, http_status FROM publish_attempts
         WHERE scheduled_post_id = :post AND error_code IS DISTINCT FROM 'fence' ORDER BY started_at DESC LIMIT :spent
    ) AS a WHERE outcome = 'unknown'
              OR (outcome = 'not_sent' AND (error_code = ANY(:codes) OR coalesce(http_status, 0) >= 500))
""")


def fence_pause_s(in_a_row: int) -> float:
    """Seconds to wait after so many expired fences: none after a single one (the machine slept, and is awake), then
    more and more: something else is slow, and trying at once would keep it slow.
    """
    return min(2.0 ** (in_a_row - 2), FENCE_PAUSE_S) if in_a_row > 1 else 0.0


def _fences_in_a_row(conn: Connection, scheduled_post_id: int) -> int:
    """How many of the post's last attempts ended at the fence."""
    return int(conn.execute(FENCES, {"post": scheduled_post_id}).scalar_one())


FENCES = text("""
    SELECT count(*) FROM publish_attempts a
     WHERE a.scheduled_post_id = :post AND a.outcome = 'not_sent' AND a.error_code = 'fence'
       AND a.started_at > coalesce((SELECT max(b.started_at) FROM publish_attempts b
             WHERE b.scheduled_post_id = :post AND (b.outcome, b.error_code) IS DISTINCT FROM ('not_sent', 'fence')),
             '-infinity')
""")


def needs_reconnect(conn: Connection, account_id: int) -> bool:
    """Whether the account itself is known to be refused: a permanent refusal of tokens that were renewed meanwhile
    says nothing of it.
    """
    return bool(
        conn.execute(select(accounts.c.state == "needs_reconnect").where(accounts.c.id == account_id)).scalar_one()
    )
