"""Whose credentials these are: asked before they are stored, and held against whose the account's name is.

Posts that are under way as one profile must not go on as another: a look-up on the other one would not find what is
public already, and send it again. So credentials take a name over only where that is safe, however they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, select, update

from db.crypto import Cipher, SecretKeyError
from db.models import Account, PublishAttempt, ScheduledPost, table_of
from platforms import registry
from platforms.base import AccountRef, AuthExpired, Identity, NotSent, RateLimited
from platforms.connect import Connectable
from platforms.errors import TransportError
from platforms.readiness import KnowsItsEnd
from scheduler import accounts
from scheduler.accounts import AccountView
from scheduler.api import database
from scheduler.errors import NotAllowed
from scheduler.settings import Settings

stored = table_of(Account)
posts = table_of(ScheduledPost)
attempts = table_of(PublishAttempt)

UNDER_WAY = ("preparing", "ready", "queued", "publishing", "processing", "retrying", "unknown")
"""Posts in these states have something on the platform, or may have: under another profile it would be lost, or a
look-up would not find it and send it again."""
PROOFS = ("access_token", "refresh_token", "token", "access_token_secret", "did")
"""Fields of credentials that no two profiles have in common."""


@dataclass(frozen=True)
class Checked:
    """What a platform says of credentials."""

    account: str
    ok: bool
    asked: bool
    """False: it could not be asked just now, which says nothing about them."""
    code: str | None
    message: str
    identity: Identity | None = None

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        plain: dict[str, Any] = {
            "account": self.account,
            "ok": self.ok,
            "asked": self.asked,
            "code": self.code,
            "message": self.message,
        }
        if self.identity is not None:
            plain |= {
                "handle": self.identity.handle,
                "remote_id": self.identity.remote_id,
                "facts": dict(self.identity.facts),
            }
        return plain


# --- Asking -------------------------------------------------------------------------------------------------


def check(settings: Settings, target: str) -> Checked:
    """Asks the platform whose the stored credentials of an account are, and keeps what it says.

    :raises UnknownAccount: there is no such account.
    :raises db.crypto.SecretKeyError: its credentials cannot be opened.
    """
    with database(settings) as conn:
        row = accounts.find(conn, target)
        now = conn.execute(select(func.clock_timestamp())).scalar_one()
    credentials = Cipher(settings.secret()).open(row.credentials)
    found = _ask(settings, accounts.reference(row), credentials, row.token_expires_at, now)
    if found.identity is not None:
        with database(settings) as conn:
            if not accounts.keep_identity(conn, row.id, found.identity):
                return _another(target, row, found.identity)
    return found


def _ask(
    settings: Settings, account: AccountRef, credentials: Mapping[str, Any], expires_at: datetime | None, now: datetime
) -> Checked:
    target = f"{account.platform}:{account.name}"
    try:
        answer = accounts.ask(settings, account, credentials)
    except TransportError as error:
        return Checked(target, False, False, error.code, f"could not be asked: {error.detail}")
    if isinstance(answer, Identity):
        missing = f"; missing scopes: {', '.join(answer.missing_scopes)}" if answer.missing_scopes else ""
        # What a module wants a person to know about the account (Pinterest: pins that nobody else sees).
        notice = f". {answer.facts['notice']}" if answer.facts.get("notice") else ""
        code = "missing_scopes" if missing else None
        return Checked(target, not missing, True, code, f"works as {answer.handle}{missing}{notice}", answer)
    if isinstance(answer, AuthExpired) and not answer.permanent and expires_at is not None and expires_at <= now:
        ends = _access_ends(account.platform, credentials, expires_at)
        if ends is None or ends > now:
            # Renewing is the workers' business: it is theirs to keep a new refresh token safe if this machine stops.
            message = (
                f"its access token ended at {expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC; workers renew it as soon"
                " as they run (schedulerx up), and whether that works is seen then"
            )
            return Checked(target, True, True, "access_ended", message)
    # A limit, or a server that is not well, is no answer about the credentials.
    asked = not isinstance(answer, RateLimited | NotSent)
    code = "rate_limited" if isinstance(answer, RateLimited) else answer.code
    mend = f". {_mend(account)}" if isinstance(answer, AuthExpired) else ""
    return Checked(target, False, asked, code, (answer.message.rstrip(".") if mend else answer.message) + mend)


def _mend(account: AccountRef) -> str:
    """What to do about credentials that a platform does not take."""
    words = f"Store others: schedulerx accounts add {account.platform} {account.name}"
    if isinstance(registry.get(account.platform), Connectable):
        words += f", or sign in: schedulerx accounts connect {account.platform} {account.name}"
    return words


def _access_ends(platform: str, credentials: Mapping[str, Any], expires_at: datetime) -> datetime | None:
    """When nothing renews the access any more, as far as can be seen."""
    module = registry.get(platform)
    if isinstance(module, KnowsItsEnd):
        return module.access_ends_at(credentials)
    return None if credentials.get("refresh_token") else expires_at


def _another(target: str, row: Row[Any], identity: Identity) -> Checked:
    now, before = identity.handle or identity.remote_id, row.handle or row.remote_id
    platform, _, name = target.partition(":")
    message = (
        f"these are credentials of {now}, but {target} is the profile {before}: its posts would go out as {now}."
        f" Store those of {before}, or say that {now} takes the name over:"
        f" schedulerx accounts add {platform} {name} --replace"
    )
    return Checked(target, False, True, "another_profile", message)


# --- Storing ------------------------------------------------------------------------------------------------


def store(
    settings: Settings, platform: str, name: str, credentials: Mapping[str, Any], *, ask: bool, replace: bool
) -> tuple[AccountView, Checked | None]:
    """Stores credentials under a name, once it is known whose they are; with what the platform said of them.

    :param ask: False: the platform is not asked.
    :param replace: another profile may take over a name that is in use.
    :raises Refused: they are no credentials for that platform, or that is no name.
    :raises NotAllowed: the name belongs to another profile, or may, and posts hang on that.
    """
    module = accounts.fitting(platform, name, credentials)
    with database(settings) as conn:
        known = _named(conn, platform, name)
        now = conn.execute(select(func.clock_timestamp())).scalar_one()
    found = None
    if ask:
        account = accounts.reference(known) if known is not None else AccountRef(platform, name)
        found = _ask(settings, account, credentials, module.expires_at(credentials), now)
    identity = found.identity if found else None
    with database(settings) as conn:
        row = _named(conn, platform, name, lock=True)
        may_take(conn, settings, row, credentials, identity, allowed=replace)
        made = accounts.add(conn, settings, platform, name, credentials)
        if identity is not None:
            conn.execute(update(stored).where(stored.c.id == made.id).values(remote_id=identity.remote_id))
            accounts.keep_identity(conn, made.id, identity)
        elif replace and row is not None and not _is_same(settings, row, credentials):
            # Nobody knows yet whose it is now; that it was another's must not be held against it.
            conn.execute(update(stored).where(stored.c.id == made.id).values(remote_id="", handle="", facts={}))
        made = next(one for one in accounts.listing(conn) if one.id == made.id)
        others = accounts.same_profile(conn, made)
    if found is not None and others:
        found = changed(found, message=f"{found.message}; {also(others)}")
    return made, found


def also(others: Sequence[str]) -> str:
    """What to know of an account that is there under other names."""
    return f"the same profile as {', '.join(others)}: a post to both is refused"


def may_take(
    conn: Connection,
    settings: Settings,
    row: Row[Any] | None,
    credentials: Mapping[str, Any],
    identity: Identity | None,
    *,
    allowed: bool,
) -> None:
    """Whether credentials may be stored under a name; call it under the account's lock.

    :param row: the account as it is; None: the name is free.
    :param identity: whose the credentials are; None: nobody could tell.
    :param allowed: another profile may take the name over.
    :raises NotAllowed: it belongs to another profile, or may, and that was not meant or would lose or double posts.
    """
    if row is None:
        return
    if identity is not None and row.remote_id:
        if identity.remote_id != row.remote_id:
            _take_over(conn, row, identity, allowed=allowed)
        return
    if _is_same(settings, row, credentials):
        return
    target = f"{row.platform}:{row.name}"
    begun, held = _count(conn, row.id, _begun()), _count(conn, row.id, posts.c.status == "held")
    if not begun and (allowed or not held):
        return
    if identity is None:
        unknown = "it is not known whose these credentials are, as the platform was not asked or did not say"
        mend = "Try again when it does (without --no-check)"
    else:
        unknown = f"it is not known whose {target} was, as its platform was never asked"
        mend = "See to those posts first"
    raise NotAllowed(
        f"{begun} posts of {target} are under way and {held} are held, and {unknown}: as another profile they could go"
        f" out twice. Nothing was changed. {mend}, or cancel them"
        + ("" if begun else "; or say --replace, and what is held goes out by these credentials")
    )


def _named(conn: Connection, platform: str, name: str, *, lock: bool = False) -> Row[Any] | None:
    wanted = select(stored).where(stored.c.platform == platform, stored.c.name == name, stored.c.deleted_at.is_(None))
    return conn.execute(wanted.with_for_update() if lock else wanted).one_or_none()


def _count(conn: Connection, account_id: int, *more: ColumnElement[bool]) -> int:
    """How many posts of an account wait or are under way, of those that all of ``more`` is true of."""
    counted = select(func.count()).where(posts.c.account_id == account_id, posts.c.finalized_at.is_(None), *more)
    return int(conn.execute(counted).scalar_one())


def _begun() -> ColumnElement[bool]:
    """A post has something on the platform, or may have: an upload, parts of a thread, a try in doubt."""
    doubtful = exists().where(
        attempts.c.scheduled_post_id == posts.c.id,
        attempts.c.settled.is_(None),
        func.coalesce(attempts.c.outcome, "unknown") == "unknown",
    )
    return posts.c.status.in_(UNDER_WAY) | (func.jsonb_array_length(posts.c.parts_out) > 0) | doubtful


def _is_same(settings: Settings, row: Row[Any], credentials: Mapping[str, Any]) -> bool:
    """Whether credentials show by themselves that they are those of the profile that is stored."""
    if row.remote_id and credentials.get("did") == row.remote_id:
        return True
    try:
        before = Cipher(settings.secret()).open(row.credentials)
    except SecretKeyError:
        return False
    if any(credentials.get(name) and credentials.get(name) == before.get(name) for name in PROOFS):
        return True
    # A name to sign in with belongs to one profile of a server.
    same_name = credentials.get("identifier") and credentials.get("identifier") == before.get("identifier")
    return bool(same_name) and credentials.get("server") == before.get("server")


def _take_over(conn: Connection, row: Row[Any], identity: Identity, *, allowed: bool) -> None:
    """:raises NotAllowed: another profile was not meant to take the name over, or that would lose posts."""
    target = f"{row.platform}:{row.name}"
    who, now = row.handle or row.remote_id, identity.handle or identity.remote_id
    if not allowed:
        raise NotAllowed(
            f"{target} is the profile {who}, but {now} was signed in. Nothing was changed. Sign in (or store the"
            f" credentials) as {who}; or give the new profile a name of its own; or say --replace, and what waits"
            f" for {target} ({_count(conn, row.id)} posts) goes out as {now}"
        )
    begun = _count(conn, row.id, _begun())
    if begun:
        raise NotAllowed(
            f"{begun} posts of {target} are under way as {who}, or may be public already; wait for them, resolve them"
            f" (schedulerx dead-letters list) or cancel them, before {now} takes the name over"
        )
