"""Connecting by a platform's own sign-in page: what a module declares about it, and what all flows share.

A module that can be connected has an attribute ``connector`` (``Connectable``). It knows no browser, no terminal
and no database: it is told what a person answered, gives an address to open, and makes credentials of what the
browser brought back.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlsplit

from platforms.base import AuthExpired, Http, Json, NotSent, RateLimited, Rejected

Refusal = Rejected | AuthExpired | RateLimited | NotSent

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Pkce(enum.Enum):
    """How the code is bound to who asked for it (RFC 7636)."""

    NONE = "none"
    S256 = "S256"
    S256_HEX = "S256, written in hexadecimal"
    """TikTok's, for desktop apps: base64url is refused there."""


class ClientAuth(enum.Enum):
    """How an app names itself at the token endpoint."""

    BASIC = "HTTP Basic; without a secret, client_id in the form"
    FORM = "id and secret in the form"
    QUERY = "id and secret in the query"
    METADATA = "client_id is the address of public metadata; with a key, a signed assertion"


class Secret(enum.Enum):
    """Whether an app has a secret."""

    NEEDED = "needed"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True)
class Redirect:
    """How the address must look that the browser is sent back to."""

    host: str = "127.0.0.1"
    """Of this machine, as the platform takes it; empty: it takes https alone, so nothing can be caught here."""
    path: str = "/callback"
    any_port: bool = False
    """Whether the port need not be registered."""


@dataclass(frozen=True)
class Facts:
    """The OAuth facts of one way to sign in, as data."""

    authorize_url: str
    """``{server}`` stands for the account's own server."""
    token_url: str
    scopes: tuple[str, ...]
    redirect: Redirect
    client_auth: ClientAuth
    secret: Secret
    pkce: Pkce
    source: str
    """Document and date."""
    separator: str = " "
    """Between scopes."""
    client_param: str = "client_id"
    secret_param: str = "client_secret"  # noqa: S105 - a parameter's name
    pkce_web: Pkce | None = None
    """For a redirect by https, where it differs."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the authorization address."""
    extra_token: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the code's exchange."""

    def pkce_for(self, redirect_uri: str) -> Pkce:
        """The kind that goes with this redirect."""
        web = self.pkce_web is not None and not is_loopback(redirect_uri)
        return self.pkce_web if web and self.pkce_web is not None else self.pkce


@dataclass(frozen=True)
class Question:
    """What a person, or a setting, has to tell before the page can be opened."""

    name: str
    words: str
    secret: bool = False
    required: bool = True
    choices: tuple[str, ...] = ()
    default: str = ""
    only_with: str = ""
    """Another question, without whose answer this one means nothing."""


@dataclass(frozen=True)
class Desk:
    """What a connector is given."""

    http: Http
    now: Callable[[], datetime]
    """UTC, from the database's clock."""
    told: Mapping[str, str] = field(repr=False)
    """Question -> answer; unanswered ones are absent."""
    redirect_uri: str
    choose: Callable[[str, Sequence[str]], str | None] = lambda _words, _names: None
    """Asks which of several profiles is meant; None: nobody can be asked."""


@dataclass(frozen=True)
class Begun:
    """A sign-in that waits for the browser."""

    url: str
    """To be opened. No secret in it."""
    state: str
    redirect_uri: str
    kept: Mapping[str, Json] = field(default_factory=dict, repr=False)
    """What ``finish`` needs (the PKCE verifier, an app's secret, a key): secret, never stored."""


@dataclass(frozen=True)
class Connected:
    """What the sign-in gave: credentials as the module's model has them."""

    credentials: Mapping[str, Json] = field(repr=False)


class Connector(Protocol):
    """How one platform is signed in to."""

    authorize_hosts: frozenset[str]
    """Hosts of pages that a browser opens; an override of the platform's address replaces these, too."""
    questions: tuple[Question, ...]

    def facts(self, told: Mapping[str, str]) -> Facts:
        """The facts of the way that was chosen."""
        ...

    def begin(self, desk: Desk) -> Begun | Refusal:
        """Where the browser has to go. :raises platforms.errors.TransportError: no whole answer came."""
        ...

    def finish(self, desk: Desk, begun: Begun, answer: Mapping[str, str]) -> Connected | Refusal:
        """Exchanges the code in ``answer`` (which ``read_answer`` has approved) for credentials.

        :raises platforms.errors.TransportError: no whole answer came; the code may be spent, so the whole sign-in
            has to be done again.
        """
        ...


@runtime_checkable
class Remembers(Protocol):
    """A connector to which a person may say more than which app, server and name it is: what they said once is kept
    when the same profile is connected again, and said to nobody else's.
    """

    settings: frozenset[str]
    """Fields of the credentials that a person has set and no sign-in gives."""

    def answers(self, credentials: Mapping[str, Json]) -> Mapping[str, str]:
        """Question -> answer, as stored credentials tell of it. What belongs to the profile, not to the app."""
        ...


@runtime_checkable
class Connectable(Protocol):
    """A platform module that can be connected by its sign-in page."""

    @property
    def connector(self) -> Connector:
        """How."""
        ...


# --- What all flows share -----------------------------------------------------------------------------------


def granted_scopes(credentials: Mapping[str, Json]) -> tuple[str, ...]:
    """The scopes that credentials name, separated by commas or blanks; none: they do not say."""
    return tuple(str(credentials.get("scope") or "").replace(",", " ").split())


def is_loopback(redirect_uri: str) -> bool:
    """Whether the browser is sent back to this machine."""
    parts = urlsplit(redirect_uri)
    host = parts.hostname or ""
    return parts.scheme == "http" and (host if ":" not in host else f"[{host}]") in LOOPBACK


def new_state() -> str:
    """A value that nobody can guess: 256 bits."""
    return secrets.token_urlsafe(32)


def new_verifier() -> str:
    """A PKCE verifier: 64 characters, of the 43 to 128 that RFC 7636 allows."""
    return secrets.token_urlsafe(48)


def challenge(verifier: str, kind: Pkce) -> dict[str, str]:
    """The parameters of the authorization address that bind the code to ``verifier``."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    if kind is Pkce.NONE:
        return {}
    value = digest.hex() if kind is Pkce.S256_HEX else base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
    return {"code_challenge": value, "code_challenge_method": "S256"}


def parameters_of(url: str) -> dict[str, str]:
    """The query of an address that the browser was sent to. A fragment (``#_`` by Meta) is no part of it."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def same_place(url: str, redirect_uri: str) -> bool:
    """Whether ``url`` is the redirect, but for its query and fragment."""
    there, here = urlsplit(url.strip()), urlsplit(redirect_uri)
    return (there.scheme.lower(), there.netloc.lower(), there.path or "/") == (
        here.scheme,
        here.netloc.lower(),
        here.path or "/",
    )


def is_ours(begun: Begun, answer: Mapping[str, str]) -> bool:
    """Whether the answer belongs to this sign-in; compared in constant time."""
    return hmac.compare_digest(answer.get("state", "").encode(), begun.state.encode())


def read_answer(begun: Begun, answer: Mapping[str, str]) -> Rejected | None:
    """What is wrong with what the browser brought; None: it holds a code for us."""
    if not is_ours(begun, answer):
        return Rejected("wrong_state", "That answer does not belong to this sign-in; start again.")
    if answer.get("error") or not answer.get("code"):
        code = answer.get("error") or answer.get("error_code") or "no_code"
        said = answer.get("error_description") or answer.get("error_reason") or answer.get("error_message") or ""
        if code in {"access_denied", "user_denied"} or "denied" in said:
            return Rejected("access_denied", "Access was not granted on the platform's page; nothing was stored.")
        tail = f": {said[:200]}" if said else ""
        return Rejected(code[:60], f"The platform's page answered {code[:60]}{tail}")
    return None


def missing_scopes(wanted: Sequence[str], granted: Sequence[str]) -> tuple[str, ...]:
    """What was asked for and not given; a wider scope (``write``) covers its parts (``write:media``)."""
    have = set(granted)
    return tuple(scope for scope in wanted if scope not in have and scope.partition(":")[0] not in have)
