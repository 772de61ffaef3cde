"""Connecting an account by its platform's sign-in page: what is asked, what is checked, and what is stored.

Nothing is stored before it is known whose profile it is, that everything was granted, and that a name which has
posts waiting does not silently become somebody else's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy import Row, func, select

from db.crypto import Cipher, SecretKeyError
from db.models import Account, ScheduledPost, table_of
from db.redaction import clean, remember, secrets_in
from platforms import registry
from platforms.base import AccountRef, Call, Identity
from platforms.connect import (
    Begun,
    Connectable,
    Connected,
    Connector,
    Desk,
    Facts,
    Question,
    Remembers,
    granted_scopes,
    is_loopback,
    missing_scopes,
    read_answer,
)
from platforms.errors import TransportError
from scheduler import accounts
from scheduler.accounts import AccountView
from scheduler.api import database
from scheduler.errors import Refused, SchedulerXError, UnknownAccount
from scheduler.logging import logger
from scheduler.profiles import may_take
from scheduler.settings import Settings

if TYPE_CHECKING:
    from platforms.base import Platform
    from platforms.http import Client

log = logger(__name__)
profiles = table_of(Account)
posts = table_of(ScheduledPost)

DEFAULT_PORT = 8765
"""Of the redirect that has to be registered; ``--port`` changes it."""
DEADLINE_S = 30.0
Ask = Callable[[Question], str | None]
"""Asks a person; None: nobody is there, or nothing was said."""


class NotConnected(SchedulerXError):
    """The sign-in did not lead to an account; nothing was stored (exit 1)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Plan:
    """A sign-in that can begin: everything was asked, nothing was sent."""

    platform: str
    name: str
    module: Platform
    connector: Connector
    told: Mapping[str, str] = field(repr=False)
    facts: Facts
    redirect_uri: str
    """Empty: not known before something listens on this machine."""
    known: Row[Any] | None = field(repr=False)
    """The account as it is stored, if it is."""

    @property
    def listens(self) -> bool:
        """Whether the answer can be caught on this machine."""
        return not self.redirect_uri or is_loopback(self.redirect_uri)


@dataclass(frozen=True)
class Outcome:
    """What was stored."""

    account: AccountView
    identity: Identity
    missing: tuple[str, ...]
    """Scopes that were not granted, where that was allowed."""
    released: int
    """How many posts had waited for this."""


# --- Before -------------------------------------------------------------------------------------------------


def setting(platform: str, name: str) -> str:
    """The environment variable that answers a question, such as SCHEDULERX_X_CLIENT_ID."""
    return f"SCHEDULERX_{platform.upper().replace('-', '_')}_{name.upper()}"


def plan(
    settings: Settings,
    platform: str,
    name: str,
    *,
    given: Mapping[str, str | None],
    ask: Ask,
    replace_profile: bool = False,
) -> Plan:
    """Everything that has to be known before the page is opened: given, set, known from before, or asked for.

    :param replace_profile: another profile may sign in: nothing is known of it from before but the app.
    :raises Refused: no such platform, it cannot be connected so, a wrong name, or an answer that is missing.
    :raises NotConfigured: there is no key to encrypt with, or no database.
    """
    settings.secret()
    if platform not in registry.names():
        raise Refused(f"There is no platform {platform!r}; there are: {', '.join(registry.names())}")
    if not accounts.NAME.match(name):
        raise Refused(f"{name!r} cannot be an account's name: letters, digits, dots, dashes and _, at most 63")
    module = registry.get(platform)
    if not isinstance(module, Connectable):
        raise Refused(
            f"{platform} has no sign-in page for this; store credentials with:"
            f" schedulerx accounts add {platform} {name}"
        )
    connector = module.connector
    known = _stored(platform, name)
    kept = _answers_in(connector, _opened(settings, known), another=replace_profile)
    told = _answers(settings, platform, connector, given, kept, ask)
    facts = connector.facts(told)
    redirect_uri = given.get("redirect_uri") or os.environ.get(setting(platform, "redirect_uri")) or ""
    _check_redirect(platform, facts, redirect_uri)
    return Plan(platform, name, registry.get(platform), connector, told, facts, redirect_uri, known)


def _stored(platform: str, name: str) -> Row[Any] | None:
    with database() as conn:
        try:
            return accounts.find(conn, f"{platform}:{name}")
        except UnknownAccount:
            return None


def _opened(settings: Settings, known: Row[Any] | None) -> dict[str, Any]:
    """The stored credentials; empty where there are none, or no key of ours opens them: to connect the account again
    is what helps then.
    """
    if known is None:
        return {}
    try:
        return Cipher(settings.secret()).open(known.credentials)
    except SecretKeyError:
        return {}


def _answers_in(connector: Connector, stored: Mapping[str, Any], *, another: bool) -> dict[str, str]:
    """What the stored credentials tell of the app, and of what a person said: an account is mostly connected again by
    the same ones.

    :param another: another profile may sign in: what belongs to the one that was is left out.
    """
    key = stored.get("client_key")
    identifier = str(stored.get("identifier") or "")
    found = {
        # Named ``client_key`` by TikTok; at Bluesky that is the app's private key.
        "client_id": stored.get("client_id") or key,
        "client_secret": json.dumps(key) if isinstance(key, dict) else stored.get("client_secret"),
        "server": stored.get("server"),
        # An app password may have been stored under an e-mail address, which no sign-in page can start from.
        "handle": stored.get("handle") or (identifier if "@" not in identifier else ""),
        "login": stored.get("login"),
    }
    # Bluesky's loopback client is made anew each time.
    plain = {name: value for name, value in found.items() if isinstance(value, str) and value}
    if plain.get("client_id", "").startswith("http://localhost"):
        del plain["client_id"]
    own = dict(connector.answers(stored)) if isinstance(connector, Remembers) else {}
    if another:
        return {name: value for name, value in plain.items() if name != "handle" and name not in own}
    return plain | own


def _answers(
    settings: Settings,
    platform: str,
    connector: Connector,
    given: Mapping[str, str | None],
    kept: Mapping[str, str],
    ask: Ask,
) -> dict[str, str]:
    """The answers, by order: the command line (never for secrets), the environment, the stored account, a person."""
    told: dict[str, str] = {}
    for question in connector.questions:
        if question.only_with and question.only_with not in told:
            continue
        said = None if question.secret else given.get(question.name)
        value = said or os.environ.get(setting(platform, question.name))
        # An app's secret is of no use to another app, which must not be sent it.
        if not value and (question.name != "client_secret" or told.get("client_id") == kept.get("client_id")):
            value = kept.get(question.name)
        if not value and question.name == "server" and settings.api_url(platform):
            continue  # the override stands for the server
        if not value and question.default:
            value = question.default
        if not value and (question.required or question.secret):
            value = ask(question)
        value = (value or "").strip()
        if not value and question.required:
            flag = "" if question.secret else f" --{question.name.replace('_', '-')}, or"
            raise Refused(f"Needed: {question.words}. Say it by{flag} {setting(platform, question.name)}")
        if value and question.choices and value not in question.choices:
            raise Refused(f"{value!r} is none of: {', '.join(question.choices)} ({question.words})")
        if value:
            told[question.name] = value
            if question.secret:
                remember(value)
    unknown = [
        name
        for name, value in given.items()
        if value and name != "redirect_uri" and name not in {question.name for question in connector.questions}
    ]
    if unknown:
        raise Refused(f"{platform} does not ask for --{unknown[0].replace('_', '-')}")
    return told


def _check_redirect(platform: str, facts: Facts, redirect_uri: str) -> None:
    if not redirect_uri:
        if not facts.redirect.host:
            raise Refused(
                f"{platform} sends the browser back by https only. Register an https address of yours with your app (it"
                f" need not show anything) and say it by --redirect-uri, or {setting(platform, 'redirect_uri')}"
            )
        return
    parts = urlsplit(redirect_uri)
    if parts.fragment or parts.query or not parts.hostname or "@" in parts.netloc:
        raise Refused("The redirect must be a plain address, without anything behind its path")
    if is_loopback(redirect_uri):
        if not facts.redirect.host or parts.port is None:
            raise Refused(f"{platform} does not send the browser back to that address of this machine")
    elif parts.scheme != "https":
        raise Refused("The redirect must begin with https://, or lead to this machine and name its port")


# --- The sign-in --------------------------------------------------------------------------------------------


class SignIn:
    """One sign-in under way. Not to be used twice.

    :param choose: asks which of several profiles is meant.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        redirect_uri: str,
        choose: Callable[[str, Sequence[str]], str | None],
    ) -> None:
        from platforms.http import Client  # here: dispatch and media never send a request, and requests needs 6 MB

        self._settings = settings
        self._plan = replace(plan, redirect_uri=redirect_uri)
        override = settings.api_url(plan.platform)
        self._http: Client = Client(api_hosts=plan.module.api_hosts, override=override, deadline_s=DEADLINE_S)
        self._override = override
        self._now = database_clock(settings)
        self._desk = Desk(self._http, self._now, plan.told, redirect_uri, choose)
        self._begun: Begun | None = None

    def begin(self) -> Begun:
        """Where the browser has to go.

        :raises NotConnected: the platform did not let us begin, or could not be asked.
        """
        answer = self._asked(lambda: self._plan.connector.begin(self._desk))
        if not isinstance(answer, Begun):
            raise NotConnected(getattr(answer, "code", "rate_limited"), clean(answer.message))
        remember(*secrets_in({"state": answer.state, **answer.kept}))
        self._begun = replace(answer, url=self._pointed(answer.url))
        return self._begun

    def finish(self, answer: Mapping[str, str], *, allow_missing: bool, replace_profile: bool) -> Outcome:
        """Exchanges what the browser brought, finds out whose it is, and stores it.

        :raises NotConnected: it was denied, is not ours, lacks a scope, belongs to another profile than before, or the
            platform could not be asked; the sign-in has to be done again.
        """
        begun = self._begun
        if begun is None:
            raise RuntimeError("finish before begin")
        remember(answer.get("code", ""))
        wrong = read_answer(begun, answer)
        if wrong is not None:
            raise NotConnected(wrong.code, clean(wrong.message))
        connected = self._asked(lambda: self._plan.connector.finish(self._desk, begun, answer))
        if not isinstance(connected, Connected):
            raise NotConnected(getattr(connected, "code", "rate_limited"), clean(connected.message))
        remember(*secrets_in(connected.credentials))
        fresh, settings = connected, self._settings_kept(connected)
        if settings:
            connected = Connected({**settings, **fresh.credentials})
        identity = self._identity(connected)
        before = self._plan.known.remote_id if self._plan.known is not None else ""
        if settings and before and identity.remote_id != before:
            # They were said of somebody else, and what was found may have gone by them.
            connected = fresh
            identity = self._identity(connected)
        lacking = _lacking(self._plan, connected, identity)
        if lacking and not allow_missing:
            raise NotConnected(
                "missing_scopes",
                f"Not granted: {', '.join(lacking)}. Nothing was stored. Sign in again and leave everything ticked"
                " (also look whether your app has these), or say --allow-missing",
            )
        return self._store(connected, identity, lacking, replace_profile=replace_profile)

    def close(self) -> None:
        """Lets go of the connections."""
        self._http.close()

    # --- pieces ---

    def _asked(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except TransportError as error:
            raise NotConnected(
                "unavailable", f"The platform could not be asked: {error.detail}. Nothing was stored; try again"
            ) from None

    def _pointed(self, url: str) -> str:
        """The page's address, where the platform was pointed elsewhere: as for all of its hosts."""
        parts = urlsplit(url)
        if self._override is None:
            return url
        host = parts.hostname or ""
        hosts = self._plan.connector.authorize_hosts | self._plan.module.api_hosts
        if host not in hosts and not any(host.endswith(one) for one in hosts if one.startswith(".")):
            return url
        there = urlsplit(self._override)
        return parts._replace(scheme=there.scheme, netloc=there.netloc).geturl()

    def _settings_kept(self, connected: Connected) -> dict[str, Any]:
        """What a person set for the account as it is stored, and has not said anew; nothing of it with another app."""
        plan = self._plan
        stored = _opened(self._settings, plan.known)
        if not isinstance(plan.connector, Remembers) or not stored:
            return {}
        apps = [accounts.app_of(plan.platform, one) for one in (stored, connected.credentials)]
        if apps[0] not in {apps[1], accounts.app_of(plan.platform, {})}:
            return {}
        said = {name for name, value in connected.credentials.items() if value is not None}
        return {name: stored[name] for name in plan.connector.settings - said if stored.get(name) is not None}

    def _identity(self, connected: Connected) -> Identity:
        plan = self._plan
        facts = dict(plan.known.facts) if plan.known is not None else {}
        call = Call(self._http, AccountRef(plan.platform, plan.name, facts=facts), connected.credentials, self._now)
        found = self._asked(lambda: plan.module.identify(call))
        if not isinstance(found, Identity):
            raise NotConnected(
                getattr(found, "code", "rate_limited"),
                clean(f"The sign-in worked, but {plan.platform} does not say whose it is: {found.message}"),
            )
        return found

    def _store(
        self, connected: Connected, identity: Identity, lacking: Sequence[str], *, replace_profile: bool
    ) -> Outcome:
        plan = self._plan
        target = f"{plan.platform}:{plan.name}"
        with database(self._settings) as conn:
            row = conn.execute(
                select(profiles)
                .where(
                    profiles.c.platform == plan.platform, profiles.c.name == plan.name, profiles.c.deleted_at.is_(None)
                )
                .with_for_update()
            ).one_or_none()
            may_take(conn, self._settings, row, connected.credentials, identity, allowed=replace_profile)
            waited = 0 if row is None else _waiting(conn, row.id)
            made = accounts.add(
                conn,
                self._settings,
                plan.platform,
                plan.name,
                connected.credentials,
                handle=identity.handle,
                remote_id=identity.remote_id,
                facts=identity.facts,
            )
            accounts.keep_identity(conn, made.id, identity)
            shown = next(one for one in accounts.listing(conn) if one.id == made.id)
        log.info("account.connected", account=target, scopes=len(identity.scopes), missing=len(lacking))
        return Outcome(shown, identity, tuple(lacking), waited)


def _waiting(conn: Any, account_id: int) -> int:
    """How many posts are held until the account is connected again."""
    held = (posts.c.account_id == account_id) & (posts.c.status == "held") & (posts.c.held_for == "reconnect")
    return int(conn.execute(select(func.count()).where(held)).scalar_one())


def _lacking(plan: Plan, connected: Connected, identity: Identity) -> tuple[str, ...]:
    """What was not granted: by the module's own account of it, or by the scopes that the tokens name."""
    if identity.scopes or identity.missing_scopes:
        return identity.missing_scopes
    granted = granted_scopes(connected.credentials)
    # A token that names none was given what was asked for (RFC 6749, 5.1).
    return missing_scopes(plan.facts.scopes, granted) if granted else ()


def database_clock(settings: Settings) -> Callable[[], datetime]:
    """The database's clock, read once and carried on by ours: tokens end by the clock that decides when they do."""
    with database(settings) as conn:
        at: datetime = conn.execute(select(func.clock_timestamp())).scalar_one()
    read_at = time.monotonic()
    return lambda: at + timedelta(seconds=time.monotonic() - read_at)
