"""Tokens are renewed once, whoever else wants to, and never lost once the platform gave them."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, text, update

from db.crypto import Cipher
from db.failpoints import hit
from db.models import Account, PublishAttempt, ScheduledPost, table_of
from db.session import repeat_safe, transaction
from db.states import Status
from db.transitions import sayable, seconds_from_now
from platforms import registry
from platforms.base import (
    AuthExpired,
    Call,
    NotSent,
    RateLimited,
    Refreshed,
    Rejected,
)
from platforms.errors import FenceExpired, TransportError
from scheduler import accounts as profiles
from scheduler.logging import logger
from scheduler.settings import Settings
from workers import token_spool
from workers.context import running_seconds, worker_name
from workers.not_published import FENCE, hold_for_reconnect
from workers.outcomes import waits

log = logger(__name__)
posts = table_of(ScheduledPost)
attempts = table_of(PublishAttempt)
accounts = table_of(Account)

REFRESH_LEASE_S = 60.0
ASK_WITHIN_S = 20.0
"""How long after it took the lease a worker may still send a request for new tokens, seconds. With the deadline of a
request, and what comes after it, well inside the lease: nobody else asks meanwhile with the same refresh token."""
ASK_DEADLINE_S = 20.0
TAKE_OVER_S = 300.0
"""How much longer than its lease a refresh is left to the machine that began it, seconds: should it have had the
answer, that is in its spool folder (or in the hands of a worker that waits for Postgres), and asking again with a
spent refresh token can cost the account its access."""
REFRESH_PAUSE_S = 60.0
STORE_TOKENS_S = 24 * 3600.0
"""How long Postgres may be away while new tokens wait to be stored, seconds."""


def refresh(settings: Settings, account_id: int, token_version: int, *, refused: bool = True) -> bool:
    """Renews an account's tokens, once, whoever else wants to; whether new ones were stored.

    :param refused: the platform has refused the present ones (False: they only end soon).

    One holder at a time by a committed lease; no transaction is open during the call; what the platform gave
    is stored by compare-and-set and kept trying until it is.
    """
    with transaction(settings.database()) as conn:
        known = conn.execute(
            select(accounts.c.platform, accounts.c.name, accounts.c.api_url).where(accounts.c.id == account_id)
        ).one_or_none()
    if known is None:
        return False
    if settings.elsewhere(known.platform, known.api_url):
        # A real refresh token is nothing for a stand-in, and a stand-in's would make the platform call this account
        # over. It is left to machines that are set up like the one that connected it.
        log.warning("token.other_origin", account=f"{known.platform}:{known.name}", connected_at=known.api_url)
        return False
    began = running_seconds()
    with transaction(settings.database()) as conn:
        row = conn.execute(
            text("""
                UPDATE accounts SET refresh_leased_by = :me,
                       refresh_lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s)
                 WHERE id = :id AND token_version = :version AND deleted_at IS NULL AND state = 'active'
                   AND (refresh_lease_expires_at IS NULL
                        OR refresh_lease_expires_at + make_interval(secs => CASE WHEN refresh_leased_by LIKE :here
                           THEN 0 ELSE :take_over_s END) < clock_timestamp())
                   AND (refresh_after IS NULL OR refresh_after < clock_timestamp())
                RETURNING *
            """),
            {
                "id": account_id,
                "version": token_version,
                "me": f"{worker_name()} {settings.spool_id}",
                "here": f"% {settings.spool_id}",
                "lease_s": REFRESH_LEASE_S,
                "take_over_s": TAKE_OVER_S,
            },
        ).one_or_none()
    hit("refresh.leased", account_id)
    if row is None:
        return False  # somebody is at it, it was done already, or it must wait
    cipher = Cipher(settings.secret())
    # A worker that died may have used the refresh token: asking again with it could cost the account its access.
    answer: Any = token_spool.take(settings, cipher, account_id, token_version)
    if answer is None:
        answer = _ask(settings, row, cipher, began)
        hit("refresh.answered", account_id)
        if isinstance(answer, Refreshed):
            token_spool.put(settings, cipher, account_id, token_version, answer)

    def write() -> bool:
        with transaction(settings.database()) as conn:
            stored = _refreshed(conn, cipher, account_id, token_version, answer, refused=refused)
            hit("refresh.before_commit", account_id, conn)
            return stored

    # New tokens exist only here until they are stored: a rotated refresh token must not be lost to an outage.
    stored = repeat_safe(write, tries=100_000, seconds=STORE_TOKENS_S, when=waits)
    token_spool.drop(settings, account_id, token_version)
    log.info("token.refresh", account=f"{row.platform}:{row.name}", answer=type(answer).__name__, stored=stored)
    return stored


def _ask(settings: Settings, row: Row[Any], cipher: Cipher, began: float) -> Any:
    """The platform's answer.

    :param began: when the lease was asked for, on the clock that counts sleep. A worker that was stopped meanwhile
        does not ask: somebody else may have, and the platform takes the second use of a refresh token for theft.
    """
    module = registry.get(row.platform)
    log.info(
        "security.credentials_used",
        purpose="refresh",
        account=f"{row.platform}:{row.name}",
        token_version=row.token_version,
    )
    with transaction(settings.database()) as conn:
        at = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    read_at = running_seconds()
    from platforms.http import Client  # here: only refreshing builds its own, and requests needs 6 MB

    def in_time() -> None:
        if running_seconds() - began > ASK_WITHIN_S:
            raise FenceExpired

    http = Client(
        api_hosts=module.api_hosts,
        override=settings.api_url(row.platform),
        deadline_s=ASK_DEADLINE_S,
        gate=in_time,
    )
    call = Call(
        http=http,
        account=profiles.reference(row),
        credentials=cipher.open(row.credentials),
        now=lambda: at + timedelta(seconds=running_seconds() - read_at),
    )
    try:
        return module.refresh(call)
    except FenceExpired:
        return NotSent(FENCE, "too much time passed before the platform was asked; nothing was sent")
    except TransportError as error:
        return NotSent(error.code, error.detail)


def replay(settings: Settings) -> int:
    """Stores new tokens that an earlier worker of this machine could not; how many."""
    return token_spool.replay(settings, functools.partial(_refreshed, refused=True))


def _refreshed(
    conn: Connection, cipher: Cipher, account_id: int, token_version: int, answer: Any, *, refused: bool
) -> bool:
    this = (accounts.c.id == account_id) & (accounts.c.token_version == token_version)
    free: dict[str, Any] = {"refresh_leased_by": None, "refresh_lease_expires_at": None}
    if isinstance(answer, Refreshed):
        done = conn.execute(
            update(accounts)
            .where(this)
            .values(
                credentials=cipher.seal(answer.credentials),
                token_version=token_version + 1,
                token_expires_at=answer.expires_at,
                refresh_after=None,
                state="active",
                state_reason=None,
                **free,
            )
        ).rowcount
        if done:
            profiles.release_held(conn, account_id, by="refresh")
            conn.execute(
                update(posts)
                .where(
                    posts.c.account_id == account_id,
                    posts.c.status.in_([Status.RETRYING.value, Status.SCHEDULED.value]),
                    posts.c.error_code == profiles.RENEWING,
                )
                .values(available_at=func.clock_timestamp())
            )
        return bool(done)
    if answer is None and not refused:
        # It does not renew, but still works: the platform will say when it is over.
        conn.execute(update(accounts).where(this).values(refresh_after=seconds_from_now(REFRESH_PAUSE_S * 60), **free))
        return False
    if answer is None or (isinstance(answer, AuthExpired) and answer.permanent) or isinstance(answer, Rejected):
        message = getattr(answer, "message", "its token does not renew, and the platform refuses it")
        marked = conn.execute(
            update(accounts).where(this).values(state="needs_reconnect", state_reason=sayable(message)[:500], **free)
        ).rowcount
        if not marked:
            return False  # it was connected again, or renewed, meanwhile: this answer is about tokens of the past
        for row in conn.execute(
            select(posts.c.id, posts.c.generation).where(
                posts.c.account_id == account_id, posts.c.status == Status.RETRYING.value
            )
        ):
            hold_for_reconnect(conn, row.id, row.generation, Status.RETRYING)
        return False
    later = answer.until if isinstance(answer, RateLimited) else seconds_from_now(REFRESH_PAUSE_S)
    conn.execute(update(accounts).where(this).values(refresh_after=later, **free))
    return False


def due_for_refresh(conn: Connection) -> list[tuple[int, int]]:
    """Accounts whose tokens end soon, as each platform understands it: (id, token version)."""
    known = set(registry.names())
    present = conn.scalars(
        select(accounts.c.platform)
        .where(accounts.c.deleted_at.is_(None), accounts.c.token_expires_at.is_not(None))
        .distinct()
    ).all()
    aheads = {name: registry.get(name).capabilities.refresh_ahead_s for name in present if name in known}
    rows = conn.execute(
        text("""
            SELECT a.id, a.token_version FROM accounts a
              JOIN unnest(CAST(:platforms AS text[]), CAST(:aheads AS float8[])) AS p(platform, ahead)
                ON p.platform = a.platform
             WHERE deleted_at IS NULL AND state = 'active'
               AND token_expires_at < clock_timestamp() + make_interval(secs => p.ahead)
               AND (refresh_lease_expires_at IS NULL OR refresh_lease_expires_at < clock_timestamp())
               AND (refresh_after IS NULL OR refresh_after < clock_timestamp())
        """),
        {"platforms": list(aheads), "aheads": list(aheads.values())},
    ).all()
    return [(row.id, row.token_version) for row in rows]
