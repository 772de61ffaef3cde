"""Accounts: connected profiles, their credentials (encrypted), and the stop button."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from sqlalchemy import Connection, Row, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from db.crypto import Cipher
from db.models import Account, ScheduledPost, Switch, Webhook, table_of
from db.transitions import close_letter
from platforms import registry
from platforms.base import AccountRef, Call, HasOwnServers, Identity, Platform, Violation
from platforms.errors import UnknownPlatform
from platforms.hosts import is_covered
from platforms.wording import words_for
from scheduler import audit
from scheduler.errors import NotConfigured, Refused, UnknownAccount
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)
accounts = table_of(Account)
posts = table_of(ScheduledPost)
switches = table_of(Switch)
STOP_LOCK = "pg_advisory_xact_lock(hashtextextended('schedulerx: stop', 0))"
STOP_LOCK_SHARED = STOP_LOCK.replace("lock(", "lock_shared(", 1)
"""SQL: whoever writes an intent shares it, whoever presses the stop button has it alone: once that is pressed, no
intent is on its way to being committed."""
ALL_STOPPED = select(switches.c.name).where(switches.c.name == "all")
webhooks = table_of(Webhook)

RENEWING = "token_expired"
"""What a post says that waits for its account's tokens to be renewed."""
RENEWAL_LOOK_S = 3.0
RENEWAL_LOOK_LONGEST_S = 60.0
"""How soon at first, and at last, a post is tried again whose account's tokens are to be renewed, seconds."""
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


@dataclass(frozen=True)
class AccountView:
    """An account as listings show it: no secret in it. Times in UTC."""

    id: int
    account: str
    platform: str
    handle: str
    state: str
    paused: bool
    token_expires_at: datetime | None
    limited_until: datetime | None
    api_url: str | None

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        plain = asdict(self)
        for key in ("token_expires_at", "limited_until"):
            plain[key] = plain[key].isoformat() if plain[key] else None
        return plain


def split(target: str) -> tuple[str, str]:
    """``x:acme`` as (platform, name). :raises UnknownAccount: it is not of that form, or no such platform."""
    platform, colon, name = target.strip().partition(":")
    if not colon or not platform or not name:
        raise UnknownAccount(f"{target!r} does not name an account; write PLATFORM:NAME, such as x:acme")
    if platform not in registry.names():
        raise UnknownAccount(f"There is no platform {platform!r}; there are: {', '.join(registry.names())}")
    if not NAME.fullmatch(name):
        raise UnknownAccount(f"{name!r} cannot be an account's name: letters, digits and . _ - only, 63 at most")
    return platform, name


def find(conn: Connection, target: str) -> Row[Any]:
    """The row of an account. :raises UnknownAccount: there is none; names the ones of that platform."""
    platform, name = split(target)
    row = conn.execute(
        select(accounts).where(
            accounts.c.platform == platform, accounts.c.name == name, accounts.c.deleted_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        others = conn.scalars(
            select(accounts.c.name).where(accounts.c.platform == platform, accounts.c.deleted_at.is_(None))
        ).all()
        known = ", ".join(f"{platform}:{other}" for other in sorted(others)) or "none yet"
        raise UnknownAccount(
            f"There is no account {target!r} (of {platform} there are: {known});"
            f" add it with: schedulerx accounts add {platform} {name}"
        )
    return row


def same_profile(conn: Connection, account: AccountView) -> list[str]:
    """Other accounts that are the profile that this one is, as far as is known, by name."""
    mine = find(conn, account.account)
    profile = _profile(mine)
    if profile is None:
        return []
    others = conn.execute(
        select(accounts).where(
            accounts.c.platform == mine.platform,
            accounts.c.remote_id == mine.remote_id,
            accounts.c.id != mine.id,
            accounts.c.deleted_at.is_(None),
        )
    )
    return sorted(f"{one.platform}:{one.name}" for one in others if _profile(one) == profile)


def twice(rows: Sequence[Row[Any]]) -> list[Violation]:
    """Accounts with different names that are one profile: a post to both would be there twice."""
    found: dict[tuple[str, ...], list[Row[Any]]] = {}
    for row in rows:
        if (profile := _profile(row)) is not None:
            found.setdefault(profile, []).append(row)
    return [
        Violation(
            "account_twice",
            f"{' and '.join(f'{one.platform}:{one.name}' for one in same)} are the same profile"
            f" ({same[0].handle or same[0].remote_id}), and the post would be there twice: name one of them",
            "to",
        )
        for same in found.values()
        if len(same) > 1
    ]


def _profile(row: Row[Any]) -> tuple[str, ...] | None:
    """What two accounts have in common that are one profile; None: whose it is is not known.

    Ids of a platform of many servers are those of one server, which its handles name.
    """
    if not row.remote_id:
        return None
    return row.platform, row.remote_id, row.handle.rpartition("@")[2] if "@" in row.handle else "", row.api_url or ""


def reference(row: Row[Any]) -> AccountRef:
    """The account as platform modules may see it."""
    return AccountRef(
        platform=row.platform,
        name=row.name,
        handle=row.handle,
        remote_id=row.remote_id,
        facts=dict(row.facts),
    )


def fitting(platform: str, name: str, credentials: Mapping[str, Any]) -> Platform:
    """The module of a platform for which credentials have the right shape.

    :raises Refused: no such platform, a name that cannot be typed, credentials of the wrong shape.
    """
    try:
        module = registry.get(platform)
    except UnknownPlatform as error:
        raise Refused(str(error)) from None
    if not NAME.fullmatch(name):
        raise Refused(f"{name!r} cannot be an account's name: letters, digits, dots, dashes and _, at most 63")
    try:
        module.credentials_model.model_validate(dict(credentials))
    except ValidationError as error:
        # pydantic's own text would repeat the input, which is secret.
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'credentials'}: {words_for(one) or one['type']}"
            for one in error.errors(include_url=False, include_input=False)
        )
        wanted = ", ".join(module.credentials_model.model_fields)
        raise Refused(f"These are not credentials for {platform}: {told} (fields: {wanted})") from None
    return module


def add(
    conn: Connection,
    settings: Settings,
    platform: str,
    name: str,
    credentials: Mapping[str, Any],
    *,
    handle: str = "",
    remote_id: str = "",
    facts: Mapping[str, Any] | None = None,
) -> AccountView:
    """Stores an account, or new credentials for one that is there (and takes it out of needs_reconnect).

    Whose they are, and whether they may take the name, is for the caller to know: ``profiles`` finds out.

    :raises Refused: no such platform, a name that cannot be typed, credentials of the wrong shape.
    :raises NotConfigured: there is no key to encrypt them with.
    """
    cipher = Cipher(settings.secret())
    module = fitting(platform, name, credentials)
    sealed = cipher.seal(credentials)
    values: dict[str, Any] = {
        "credentials": sealed,
        "token_expires_at": module.expires_at(credentials),
        "api_url": stand_in(settings, module, credentials),
        "app": app_of(platform, credentials),
        "state": "active",
        "state_reason": None,
        "limited_until": None,
    }
    if handle:
        values["handle"] = handle
    if remote_id:
        values["remote_id"] = remote_id
    if facts is not None:
        values["facts"] = dict(facts)
    try:
        with conn.begin_nested():
            row = conn.execute(
                insert(accounts).values(platform=platform, name=name, **values).returning(accounts)
            ).one()
    except IntegrityError:
        row = conn.execute(
            update(accounts)
            .where(accounts.c.platform == platform, accounts.c.name == name, accounts.c.deleted_at.is_(None))
            .values(
                token_version=accounts.c.token_version + 1,
                refresh_leased_by=None,
                refresh_lease_expires_at=None,
                refresh_after=None,
                **values,
            )
            .returning(accounts)
        ).one()
        release_held(conn, row.id, by="reconnected")
    audit.record(
        conn,
        "account.added" if row.token_version == 1 else "account.reconnected",
        f"account:{platform}:{name}",
        after={"token_version": row.token_version, "fields": sorted(credentials), "test": row.api_url is not None},
    )
    log.info("account.added", account=f"{platform}:{name}", account_id=row.id)
    return _view(row)


def stand_in(settings: Settings, module: Platform, credentials: Mapping[str, Any]) -> str | None:
    """The address that replaces the platform's for these credentials; None: theirs is a real server.

    An override leaves an account alone that names a server of its own; one on this machine is a stand-in itself.
    """
    override = settings.api_url(module.name)
    if override is None or not isinstance(module, HasOwnServers):
        return override
    host = urlsplit(module.server_of(credentials)).hostname or ""
    return override if is_covered(host, module.api_hosts, override) else None


def app_of(platform: str, credentials: Mapping[str, Any]) -> str:
    """Names the app that credentials belong to, without telling its id: accounts of one app share its limits."""
    known = str(
        next((credentials[name] for name in ("client_id", "consumer_key", "client_key") if credentials.get(name)), "")
    )
    return f"{platform}:{hashlib.sha256(known.encode()).hexdigest()[:16] if known else ''}"


def release_held(conn: Connection, account_id: int, *, by: str) -> int:
    """Puts posts that waited for a reconnect back on their way; how many."""
    rows = conn.execute(
        text("""
            WITH freed AS (
                UPDATE scheduled_posts s SET held_for = NULL, generation = generation + 1,
                       error_code = NULL, error_message = NULL,
                       -- A try in doubt is repeated from its checkpoint, which makes the same object; to prepare
                       -- anew would make another.
                       status = CASE WHEN EXISTS (
                           SELECT FROM publish_attempts t WHERE t.scheduled_post_id = s.id AND t.settled IS NULL
                              AND coalesce(t.outcome, 'unknown') = 'unknown') THEN 'retrying' ELSE 'scheduled' END,
                       available_at = greatest(clock_timestamp(), LEAST(s.due_at, s.available_at)),
                       updated_at = clock_timestamp()
                 WHERE account_id = :id AND status = 'held' AND held_for = 'reconnect'
                RETURNING id, generation, status
            ), logged AS (
                INSERT INTO transitions (scheduled_post_id, generation, from_status, to_status, by, why)
                SELECT id, generation, 'held', status, :by, 'the account is connected again' FROM freed
            ) SELECT id FROM freed
        """),
        {"id": account_id, "by": by},
    ).all()
    for row in rows:
        close_letter(conn, row.id, resolution="reconnected", by=by)
    return len(rows)


def identify(settings: Settings, row: Row[Any]) -> Any:
    """Asks the platform whose the stored credentials are (an HTTP call: no transaction may be open)."""
    return ask(settings, reference(row), Cipher(settings.secret()).open(row.credentials))


def ask(settings: Settings, account: AccountRef, credentials: Mapping[str, Any]) -> Any:
    """Asks the platform whose credentials these are, before they are stored (no transaction may be open)."""
    module = registry.get(account.platform)
    from platforms.http import Client  # here: dispatch and media never send a request, and requests needs 6 MB

    log.info("security.credentials_used", purpose="identify", account=f"{account.platform}:{account.name}")
    override = settings.api_url(account.platform)
    with Client(api_hosts=module.api_hosts, override=override, deadline_s=30) as client:
        return module.identify(
            Call(http=client, account=account, credentials=credentials, now=lambda: datetime.now(UTC))
        )


def keep_identity(conn: Connection, account_id: int, identity: Identity) -> bool:
    """Stores what ``identify`` found; False: the account is another profile's, and nothing was changed."""
    kept = conn.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.remote_id.in_(["", identity.remote_id]))
        .values(
            handle=identity.handle,
            remote_id=identity.remote_id,
            facts=dict(identity.facts),
            scopes=list(identity.scopes),
            checked_at=func.clock_timestamp(),
        )
    )
    return kept.rowcount > 0


def listing(conn: Connection) -> list[AccountView]:
    """All accounts that were not deleted, by platform and name."""
    return [
        _view(row)
        for row in conn.execute(
            select(accounts).where(accounts.c.deleted_at.is_(None)).order_by(accounts.c.platform, accounts.c.name)
        )
    ]


def remove(conn: Connection, target: str, *, by: str) -> int:
    """Deletes an account: its credentials are wiped, its waiting posts are canceled; how many were.

    :raises UnknownAccount: there is none.
    """
    row = find(conn, target)
    conn.execute(
        update(accounts)
        .where(accounts.c.id == row.id)
        .values(deleted_at=func.clock_timestamp(), credentials=b"", token_version=accounts.c.token_version + 1)
    )
    from scheduler.changes import cancel_row

    waiting = conn.execute(
        select(posts.c.id, posts.c.status, posts.c.generation, posts.c.held_for)
        .where(posts.c.account_id == row.id, posts.c.finalized_at.is_(None))
        .with_for_update()
    ).all()
    done = [cancel_row(conn, one, by=by, why="its account was deleted") for one in waiting]
    audit.record(
        conn,
        "account.removed",
        f"account:{target}",
        by=by,
        before={"handle": row.handle, "state": row.state},
        after={"canceled": len(done)},
    )
    log.info("account.removed", account=target, canceled=len(done))
    return len(done)


def pause(conn: Connection, target: str | None, *, by: str, why: str = "") -> int:
    """The stop button: nothing is published from here on; for one account, or (None) for all.

    What is under way on the platform is not called back. :returns: waiting posts that are stopped.
    :raises UnknownAccount: there is none.
    """
    if target is None:
        conn.execute(text(f"SELECT {STOP_LOCK}"))
        conn.execute(
            text("INSERT INTO switches (name, by, why) VALUES ('all', :by, :why) ON CONFLICT (name) DO NOTHING"),
            {"by": by, "why": why},
        )
        audit.record(conn, "everything.paused", "all", by=by, after={"why": why})
        log.warning("paused.all", by=by, why=why)
        return conn.execute(
            select(func.count()).where(posts.c.status.in_(["scheduled", "ready", "retrying"]))
        ).scalar_one()
    row = find(conn, target)
    # The account first, then its posts: the order in which publishing locks them, too.
    conn.execute(
        update(accounts)
        .where(accounts.c.id == row.id)
        .values(paused_at=func.coalesce(accounts.c.paused_at, func.clock_timestamp()))
    )
    stopped = conn.execute(
        update(posts)
        .where(posts.c.account_id == row.id, posts.c.finalized_at.is_(None), ~posts.c.paused)
        .values(paused=True)
    ).rowcount
    audit.record(conn, "account.paused", f"account:{target}", by=by, after={"why": why, "posts": stopped})
    log.warning("paused.account", account=target, by=by, why=why, posts=stopped)
    return stopped


def resume(conn: Connection, target: str | None, *, by: str) -> int:
    """Releases the stop button; how many posts wait again. :raises UnknownAccount: there is none."""
    if target is None:
        released = conn.execute(text("DELETE FROM switches WHERE name = 'all'")).rowcount
        audit.record(conn, "everything.resumed", "all", by=by)
        log.warning("resumed.all", by=by)
        return released
    row = find(conn, target)
    conn.execute(update(accounts).where(accounts.c.id == row.id).values(paused_at=None))
    freed = conn.execute(
        update(posts).where(posts.c.account_id == row.id, posts.c.paused).values(paused=False)
    ).rowcount
    audit.record(conn, "account.resumed", f"account:{target}", by=by, after={"posts": freed})
    log.warning("resumed.account", account=target, by=by, posts=freed)
    return freed


def everything_paused(conn: Connection) -> bool:
    """Whether the stop button for all is pressed."""
    return conn.execute(ALL_STOPPED).one_or_none() is not None


def rotate_keys(conn: Connection, settings: Settings) -> int:
    """Encrypts all credentials under the first key; how many.

    :raises db.crypto.SecretKeyError: one cannot be opened.
    """
    cipher = Cipher(settings.secret())
    rows = conn.execute(
        select(accounts.c.id, accounts.c.credentials).where(accounts.c.deleted_at.is_(None)).with_for_update()
    ).all()
    for row in rows:
        conn.execute(update(accounts).where(accounts.c.id == row.id).values(credentials=cipher.rotate(row.credentials)))
    # What webhooks sign with is under the same keys.
    hooks = conn.execute(select(webhooks.c.id, webhooks.c.sealed).where(webhooks.c.removed_at.is_(None))).all()
    for hook in hooks:
        conn.execute(update(webhooks).where(webhooks.c.id == hook.id).values(sealed=cipher.rotate(hook.sealed)))
    audit.record(conn, "key.rotated", "all", after={"accounts": len(rows), "webhooks": len(hooks)})
    return len(rows)


def parse_credentials(words: str) -> dict[str, Any]:
    """The JSON object that ``accounts add`` reads. :raises Refused: it is none; never repeats the input."""
    try:
        found = json.loads(words)
    except ValueError:
        raise Refused('The credentials must be one JSON object, such as {"access_token": "..."}') from None
    if not isinstance(found, dict):
        raise Refused("The credentials must be a JSON object")
    return found


def _view(row: Row[Any]) -> AccountView:
    return AccountView(
        id=row.id,
        account=f"{row.platform}:{row.name}",
        platform=row.platform,
        handle=row.handle,
        state=row.state,
        paused=row.paused_at is not None,
        token_expires_at=row.token_expires_at,
        limited_until=row.limited_until,
        api_url=row.api_url,
    )


__all__ = [
    "AccountView",
    "NotConfigured",
    "add",
    "ask",
    "everything_paused",
    "find",
    "fitting",
    "identify",
    "keep_identity",
    "listing",
    "parse_credentials",
    "pause",
    "reference",
    "release_held",
    "remove",
    "resume",
    "rotate_keys",
    "split",
]


def renewal_ends_at(conn: Connection, account_id: int, token_version: int) -> datetime | None:
    """When to try again on an account whose tokens wait to be renewed; None: this refusal is the first that says so.

    The first counts as a try, so that a token that is refused although it was renewed does not go round for ever. What
    comes after it, until new tokens are there, says nothing about the post: whoever renews them may be away, or dead
    with its lease. Asked under the account's lock, so that new tokens are either seen here or see the post that waits.
    """
    lease, after = accounts.c.refresh_lease_expires_at, accounts.c.refresh_after
    this = (accounts.c.id == account_id) & (accounts.c.token_version == token_version)
    now = func.clock_timestamp()
    # As long again as it has taken so far: a call that is refused is a call, too.
    waited = func.least(now - after, func.make_interval(0, 0, 0, 0, 0, 0, RENEWAL_LOOK_LONGEST_S))
    again = now + func.greatest(waited, func.make_interval(0, 0, 0, 0, 0, 0, RENEWAL_LOOK_S))
    found: datetime | None = conn.execute(
        select(func.greatest(lease, after, again)).where(this, (lease > now) | after.is_not(None))
    ).scalar_one_or_none()
    if found is None:
        # From now on it may be renewed, and is known to have to be.
        conn.execute(update(accounts).where(this).values(refresh_after=now))
    return found
