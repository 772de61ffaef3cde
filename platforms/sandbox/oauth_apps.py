"""The sandbox's apps and the codes that its sign-in pages give out, with the checks that the real ones make.

In memory only: a code is good for a minute, and nobody connects an account in the middle of a crash test. An app with
the id ``sandbox-app-PLATFORM`` and the secret ``sandbox-secret-PLATFORM`` is always there.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from platforms.sandbox.accounts import Accounts

REDIRECTS = {
    "x": ("http://127.0.0.1:8765/callback",),
    "pinterest": ("http://localhost:8765/callback",),
    "tiktok": ("http://127.0.0.1:*/callback/",),
    # The second stands for Facebook's development mode, in which localhost need not be registered.
    "instagram": ("https://example.com/callback", "http://localhost:*/callback"),
}
LIVES_S = {"x": 30.0, "pinterest": 300.0, "tiktok": 300.0, "instagram": 3600.0, "mastodon": 600.0, "bluesky": 60.0}
"""Of codes, seconds; of X by its documentation (2026-08), of the others in that order of size."""


@dataclass(slots=True)
class App:
    """A client as it was registered. ``*`` in a redirect stands for any port."""

    platform: str
    client_id: str
    client_secret: str | None
    redirect_uris: tuple[str, ...]
    jwk: dict[str, Any] | None = None
    """Bluesky: the public key of a confidential client."""
    scopes: tuple[str, ...] | None = None
    """What it may ask for (Mastodon); None: whatever the platform has."""

    def takes(self, redirect_uri: str) -> bool:
        """Whether the redirect is one of the registered ones, to the letter."""
        return any(_same(known, redirect_uri) for known in self.redirect_uris)


def _same(known: str, given: str) -> bool:
    if "*" not in known:
        return known == given
    parts = urlsplit(given)
    head, tail = known.split("*")
    return parts.port is not None and given == f"{head}{parts.port}{tail}"


@dataclass(slots=True)
class Asked:
    """A sign-in page that waits for its answer."""

    app: App
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str = ""
    """Empty: the client does not use PKCE."""
    hexadecimal: bool = False
    hint: str = ""
    more: dict[str, str] = field(default_factory=dict)
    """Added to the answer (``iss``)."""
    bound_to: str = ""
    """Bluesky: the thumbprint of the key that the request was pushed with."""
    tail: str = ""
    """Put behind the answer's address: Meta's ``#_``."""


@dataclass(slots=True)
class Grant:
    """A code, and what it stands for."""

    asked: Asked
    account: str
    scopes: tuple[str, ...]
    expires_at: float
    used: bool = False
    tokens: list[str] = field(default_factory=list)


class Apps:
    """Registered clients, open pages and codes."""

    def __init__(self) -> None:
        self._apps: dict[tuple[str, str], App] = {}
        self._asked: dict[str, Asked] = {}
        self._grants: dict[str, Grant] = {}

    def add(self, app: App) -> App:
        """Registers, or replaces."""
        self._apps[app.platform, app.client_id] = app
        return app

    def get(self, platform: str, client_id: str) -> App | None:
        """The app of that id."""
        if client_id == f"sandbox-app-{platform}" and platform in REDIRECTS:
            standing = App(platform, client_id, f"sandbox-secret-{platform}", REDIRECTS[platform])
            return self._apps.get((platform, client_id), standing)
        return self._apps.get((platform, client_id))

    def knows_secret(self, platform: str, secret: str, client_id: str | None = None) -> bool:
        """Whether it is the secret of that app; without an id, of any app of the platform."""
        known = {name for owner, name in self._apps if owner == platform} | {f"sandbox-app-{platform}"}
        apps = (self.get(platform, name) for name in ({client_id} if client_id else known))
        return bool(secret) and any(app is not None and app.client_secret == secret for app in apps)

    def open(self, asked: Asked, value: str | None = None) -> str:
        """Remembers a page; its ticket."""
        ticket = value or secrets.token_urlsafe(16)
        self._asked[ticket] = asked
        return ticket

    def asked(self, ticket: str) -> Asked | None:
        """The page of that ticket."""
        return self._asked.get(ticket)

    def close(self, ticket: str) -> None:
        """The page was answered."""
        self._asked.pop(ticket, None)

    def grant(self, asked: Asked, account: str, scopes: tuple[str, ...], life_s: float | None) -> str:
        """A code for what was allowed."""
        code = secrets.token_urlsafe(24)
        life_s = LIVES_S[asked.app.platform] if life_s is None else life_s
        self._grants[code] = Grant(asked, account, scopes, time.time() + life_s)
        return code

    def redeem(self, platform: str, form: Mapping[str, str], client_id: str, accounts: Accounts) -> Grant | str:
        """What a code stands for; a text: why it is not taken. A code that comes twice kills its tokens (RFC 6749)."""
        grant = self._grants.get(form.get("code", ""))
        if grant is None or grant.asked.app.platform != platform:
            return "the code is not known"
        asked = grant.asked
        if asked.app.client_id != client_id:
            return "the code belongs to another client"
        if grant.used:
            for value in grant.tokens:
                accounts.spend_value(value)
            return "the code was used before"
        if grant.expires_at <= time.time():
            return "the code has expired"
        if form.get("redirect_uri") != asked.redirect_uri:
            return "the redirect_uri is not the one of the authorization"
        if asked.challenge and not _fits(asked, form.get("code_verifier", "")):
            return "the code_verifier does not fit the code_challenge"
        grant.used = True
        return grant

    def clear(self) -> None:
        """Forgets everything."""
        self._apps.clear()
        self._asked.clear()
        self._grants.clear()


def _fits(asked: Asked, verifier: str) -> bool:
    if not 43 <= len(verifier) <= 128:
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    made = digest.hex() if asked.hexadecimal else base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return made == asked.challenge


def basic_of(header: str) -> tuple[str, str]:
    """The id and the secret of HTTP Basic; empty where there is none."""
    scheme, _, value = header.partition(" ")
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (client_id, secret) if scheme.lower() == "basic" else ("", "")
