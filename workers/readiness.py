"""Queue ``followup``: looks at posts ahead of their time. It reads, and writes what it found; it changes no post.

The posts of one account are looked at together: one question who the account is, one for the platform's own limits.
A platform that does not answer is left alone for the rest of a pass.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Row, text

from db.crypto import Cipher, SecretKeyError
from db.session import transaction
from platforms.base import (
    AccountRef,
    AuthExpired,
    Call,
    Draft,
    Identity,
    NotSent,
    Platform,
    RateLimited,
    Rejected,
    Violation,
)
from platforms.errors import TransportError, UnknownPlatform
from platforms.readiness import ChecksReadiness, KnowsItsEnd, PaidIdentity, Waiting
from scheduler import readiness
from scheduler.logging import logger
from scheduler.readiness import TRIES, Claimed
from scheduler.readiness_quota import shortages
from scheduler.settings import Settings, current
from workers.app import task
from workers.context import running_seconds, send, worker_name
from workers.readiness_media import Looker, Seen, files_of
from workers.work import Work, load, timed

log = logger(__name__)

PASS_S = 45.0
"""How long one pass begins with further accounts, seconds; the next one goes on."""
READ_S = 30.0
"""For one request."""
SILENT = 2
"""Accounts of a platform that were not answered, after which its others are not asked in this pass."""
KNOWN_GOOD_S = 24 * 3600.0
"""A success this recent shows that the access works, where asking costs money."""

ACCOUNT = text("""
    SELECT a.*, (SELECT clock_timestamp()) AS now,
           greatest(a.checked_at, (SELECT max(t.finished_at) FROM publish_attempts t
                                    WHERE t.account_id = a.id AND t.outcome = 'accepted'
                                      AND t.started_at > clock_timestamp() - make_interval(secs => :known)))
               > (SELECT clock_timestamp()) - make_interval(secs => :known) AS known_good
      FROM accounts a WHERE a.id = :id
""")
CHECKED = text("UPDATE accounts SET checked_at = clock_timestamp() WHERE id = :id AND token_version = :version")


@task("followup.ready")
def ready_task() -> None:
    """Beat's tick of each minute."""
    look_ahead(current())


def look_ahead(settings: Settings) -> dict[str, int]:
    """One pass over what is to be looked at now; counts of posts that are ready, not ready and put off."""
    me = f"{worker_name()}:{secrets.token_hex(4)}"
    counts = {"ready": 0, "not_ready": 0, "put_off": 0}
    until = time.monotonic() + PASS_S
    with transaction(settings.database()) as conn:
        claimed = readiness.claim(conn, settings, by=me)
    looker, silent = Looker(settings), Counter[str]()
    by_account: dict[int, list[Claimed]] = {}
    for one in claimed:
        by_account.setdefault(one.account_id, []).append(one)
    for those in by_account.values():
        platform = those[0].platform
        if time.monotonic() > until:
            with transaction(settings.database()) as conn:
                readiness.release(conn, those, by=me)
            continue
        if silent[platform] >= SILENT:
            with transaction(settings.database()) as conn:
                readiness.postpone(conn, those, by=me)
            counts["put_off"] += len(those)
            continue
        silent[platform] += not _look_at(settings, those, looker, counts, by=me)
    if claimed:
        log.info("readiness.pass", **counts)
    return counts


# --- One account --------------------------------------------------------------------------------------------


@dataclass
class _Look:
    """What is known of one account and its posts."""

    account: Row[Any]
    works: dict[int, Work]
    files: dict[int, list[Row[Any]]]
    seen: dict[int, Seen]
    module: Platform
    answered: bool = True
    identity: Identity | None = None
    common: Seen = field(default_factory=Seen)
    """What is wrong with all of its posts."""
    read_at: float = 0.0

    def now(self) -> datetime:
        """The database's clock, carried on by ours."""
        return cast("datetime", self.account.now) + timedelta(seconds=running_seconds() - self.read_at)

    def reference(self) -> AccountRef:
        """The account, with what it has just said about itself."""
        work = next(iter(self.works.values()))
        if self.identity is None:
            return work.account
        return replace(work.account, facts={**work.account.facts, **self.identity.facts})


def _look_at(settings: Settings, those: Sequence[Claimed], looker: Looker, counts: dict[str, int], *, by: str) -> bool:
    """Looks at the claimed posts of one account and writes what is found; whether the platform answered."""
    leads = len(settings.readiness_leads())
    try:
        with transaction(settings.database()) as conn:
            look, current_ones, gone = _load(conn, settings, those)
            readiness.release(conn, gone, by=by)
    except (SecretKeyError, UnknownPlatform) as error:
        code = "credentials_unreadable" if isinstance(error, SecretKeyError) else "unknown_platform"
        with transaction(settings.database()) as conn:
            for one in those:
                counts["not_ready"] += readiness.settle(
                    conn, settings, one, [Violation(code, str(error), "account", platform=one.platform)], by=by
                )
        return True
    if look is None:
        return True
    structlog.contextvars.bind_contextvars(account=f"{look.account.platform}:{look.account.name}")
    _ask(settings, look, current_ones)
    for one in current_ones:
        _rules(look, one)
        media = looker.look(look.works[one.id], look.files.get(one.id, []), last=one.stage >= leads)
        seen = look.seen[one.id]
        wrong = [*look.common.wrong, *seen.wrong, *media.wrong]
        unanswered = [*look.common.unanswered, *seen.unanswered, *media.unanswered]
        with transaction(settings.database()) as conn:
            if unanswered and one.tries + 1 < TRIES:
                readiness.postpone(conn, [one], by=by)
                counts["put_off"] += 1
                continue
            found = wrong + unanswered
            if readiness.settle(conn, settings, one, found, by=by):
                counts["not_ready" if found else "ready"] += 1
    return look.answered


def _load(
    conn: Connection, settings: Settings, those: Sequence[Claimed]
) -> tuple[_Look | None, list[Claimed], list[Claimed]]:
    """What there is to look at, the posts that still are what they were when claimed, and those that are not."""
    account = conn.execute(ACCOUNT, {"id": those[0].account_id, "known": KNOWN_GOOD_S}).one()
    read_at = running_seconds()
    works: dict[int, Work] = {}
    same: list[Claimed] = []
    gone: list[Claimed] = []
    for one in those:
        work = load(conn, settings, one.id)
        if work is None or (work.row.due_at, work.row.version_id) != (one.due_at, one.version_id):
            gone.append(one)
        else:
            works[one.id] = work
            same.append(one)
    if not same:
        return None, [], gone
    module = next(iter(works.values())).module
    look = _Look(account, works, files_of(conn, list(works)), {one.id: Seen() for one in same}, module, read_at=read_at)
    for short in shortages(
        conn,
        list(works),
        account_id=account.id,
        app=account.app,
        platform=module.name,
        quotas=module.capabilities.quotas,
        calls_of=lambda number: _calls(conn, settings, works, number),
    ):
        look.seen[short.scheduled_post_id].wrong.append(short.violation)
    return look, same, gone


def _calls(conn: Connection, settings: Settings, works: Mapping[int, Work], number: int) -> Counter[str]:
    """The publishing calls that a post has still to send, by name."""
    try:
        work = works.get(number) or load(conn, settings, number)
    except SecretKeyError:
        return Counter()  # of another account of the same app: its own look says so
    if work is None or work.parts.violations:
        return Counter()
    return Counter(work.module.publishing_call(draft).name for draft in work.parts.drafts[len(work.row.parts_out) :])


def _ask(settings: Settings, look: _Look, those: Sequence[Claimed]) -> None:
    """The account: its state, when its access ends, who it is, what its platform says of its posts."""
    account, module = look.account, look.module
    if account.state != "active":
        told = account.state_reason or "no reason given"
        look.common.wrong.append(_of_account(module, "reconnect", f"the account has to be connected again ({told})"))
        return
    _limited(look, those, account.limited_until, "the platform asked this account to wait")
    credentials = Cipher(settings.secret()).open(account.credentials)
    ends = _access_ends(module, credentials, account.token_expires_at)
    for one in those:
        if ends is not None and ends <= one.due_at:
            message = f"the access ends at {ends:%Y-%m-%d %H:%M} UTC, before the post is due, and nothing renews it"
            look.seen[one.id].wrong.append(_of_account(module, "access_ends", message))
    call = _call(settings, look, credentials)
    paid = isinstance(module, PaidIdentity) and module.identify_is_paid
    if not (paid and account.known_good) and not _identify(settings, look, those, call):
        return
    if isinstance(module, ChecksReadiness):
        call.account = look.reference()
        waiting = [Waiting(_draft(look, look.works[one.id]), one.due_at) for one in those]
        answer = _safely(look, lambda: module.ready_check(call, waiting))
        if isinstance(answer, AuthExpired | RateLimited | NotSent | Rejected):
            _refused(look, those, answer)
        elif answer is not None:
            for one, wrong in zip(those, answer, strict=True):
                look.seen[one.id].wrong += wrong


def _identify(settings: Settings, look: _Look, those: Sequence[Claimed], call: Call) -> bool:
    """Asks who the account is; whether it is worth asking on."""
    log.info("security.credentials_used", purpose="readiness", token_version=look.account.token_version)
    answer = _safely(look, lambda: look.module.identify(call))
    if isinstance(answer, Identity):
        look.identity = answer
        with transaction(settings.database()) as conn:
            conn.execute(CHECKED, {"id": look.account.id, "version": look.account.token_version})
        before = look.account.remote_id
        if before and answer.remote_id != before:
            message = (
                f"its credentials are those of {answer.handle or answer.remote_id}, not of"
                f" {look.account.handle or before}, for whom it was scheduled"
            )
            look.common.wrong.append(_of_account(look.module, "another_profile", message))
        if answer.missing_scopes:
            message = f"the access lacks {', '.join(answer.missing_scopes)}; connect the account again and grant it"
            look.common.wrong.append(_of_account(look.module, "missing_scopes", message))
        return True
    if answer is not None:
        _refused(look, those, answer)
    return False


def _refused(look: _Look, those: Sequence[Claimed], answer: AuthExpired | RateLimited | NotSent | Rejected) -> None:
    """What it means for the account's posts that the platform did not say what was asked."""
    module = look.module
    if isinstance(answer, RateLimited):
        _limited(look, those, answer.until, answer.message)
    elif isinstance(answer, NotSent):
        look.answered = False
        look.common.unanswered.append(_of_account(module, "not_checked", f"{module.name}: {answer.message}"))
    elif isinstance(answer, AuthExpired) and not answer.permanent:
        # Renewing is not this task's business; whether it helps is seen at the next look.
        send("followup.refresh", (look.account.id, look.account.token_version, False))
        look.common.unanswered.append(_of_account(module, "access_refused", answer.message))
    else:
        code = "access_refused" if isinstance(answer, AuthExpired) else answer.code
        look.common.wrong.append(_of_account(module, code, answer.message))


def _limited(look: _Look, those: Sequence[Claimed], until: datetime | None, why: str) -> None:
    for one in those:
        if until is not None and until > one.due_at:
            message = f"{why}; not before {until:%Y-%m-%d %H:%M} UTC"
            look.seen[one.id].wrong.append(_of_account(look.module, "rate_limited", message))


def _safely(look: _Look, ask: Callable[[], Any]) -> Any:
    """The module's answer; None: there is none, and it was noted."""
    try:
        return ask()
    except TransportError as error:
        look.answered = False
        told = f"{look.module.name} did not answer ({error.code})"
    except Exception as error:  # a bug in a module must not keep the other accounts from being looked at
        log.exception("readiness.broken", error=type(error).__name__)
        told = f"the platform module failed ({type(error).__name__})"
    look.common.unanswered.append(_of_account(look.module, "not_checked", told))
    return None


def _rules(look: _Look, one: Claimed) -> None:
    """The rules as they are now, held against what the account has just said about itself."""
    work = look.works[one.id]
    wrong = list(work.violations)
    if look.identity is not None and not work.parts.violations:
        wrong = []
        for draft in work.parts.drafts[len(work.row.parts_out) : work.parts.threaded]:
            wrong += look.module.validate(replace(draft, account=look.reference()))
    look.seen[one.id].wrong += wrong


def _draft(look: _Look, work: Work) -> Draft:
    return replace(work.draft, account=look.reference())


def _access_ends(module: Platform, credentials: Any, expires_at: datetime | None) -> datetime | None:
    """When nothing renews the access any more, as far as can be seen."""
    if isinstance(module, KnowsItsEnd):
        return module.access_ends_at(credentials)
    return None if credentials.get("refresh_token") else expires_at


def _call(settings: Settings, look: _Look, credentials: Any) -> Call:
    """For reading: what a module would save or learn here is not kept."""
    from platforms.http import Client  # here: most passes look at nothing, and requests needs 6 MB

    http = Client(
        api_hosts=look.module.api_hosts,
        override=settings.api_url(look.module.name),
        deadline_s=READ_S,
        observe=timed,
    )
    return Call(http=http, account=look.reference(), credentials=credentials, now=look.now)


def _of_account(module: Platform, code: str, message: str) -> Violation:
    return Violation(code, message, "account", None, module.name)
