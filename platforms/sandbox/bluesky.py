"""Bluesky as its contract says: sessions, handles, videos. Records and blobs are in ``bluesky_repo``.

Sign in with the account's name or handle and the app password ``sandbox-bluesky-NAME``. A refresh token is good
for one exchange here; the reference server lets a spent one pass for two hours.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.bluesky_repo import Repo
from platforms.sandbox.bluesky_video import Video
from platforms.sandbox.bluesky_words import HOST, BlueskyWords, did_of, handle_of
from platforms.sandbox.emulator import Headers, Route, World, signed_in
from platforms.sandbox.oauth_bluesky import BlueskyOAuth
from platforms.sandbox.wire import Request, Response, json_response

ACCESS_LIFE_S = 7200.0
REFRESH_LIFE_S = 90 * 86_400.0
SIGN_INS = ((30, 300), (300, 86_400))
"""For an account: so many in so many seconds. Source: bsky-docs, 2026-04."""


class Bluesky(BlueskyWords):
    """Bluesky."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.repo = Repo(self)
        self.video = Video(self)
        self.oauth = BlueskyOAuth(self)
        self._sign_ins: dict[str, list[float]] = {}

    def routes(self) -> Sequence[Route]:
        server, identity = "/xrpc/com.atproto.server.", "/xrpc/com.atproto.identity."
        return (
            Route("POST", f"{server}createSession", "create_session", "token", self.create_session, signed=False),
            Route("POST", f"{server}refreshSession", "refresh_session", "token", self.refresh_session, signed=False),
            Route("GET", f"{server}getSession", "session", "account", self.session),
            Route("GET", f"{server}describeServer", "describe", "account", self.describe, signed=False),
            Route("GET", f"{identity}resolveHandle", "resolve", "account", self.resolve, signed=False),
            Route("GET", "/profile/{name}/post/{rkey}", "page", "page", self.post_page, signed=False),
            *self.repo.routes(),
            *self.video.routes(),
            *self.oauth.routes(),
        )

    def token_of(self, request: Request) -> str:
        """A Bearer token, or one that comes with a proof of its key."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return value.strip() if scheme.lower() in {"bearer", "dpop"} else ""

    def vet(self, request: Request, token: str) -> None:
        self.oauth.vet(request, token)

    def extra_headers(self, request: Request) -> Headers:
        return self.oauth.headers(request)

    def update_account(self, account: Account, wanted: dict[str, Any]) -> None:
        for name in ("email_confirmed", "taken_down"):
            if name in wanted:
                account.facts[name] = bool(wanted.pop(name))
        for name in ("daily_videos", "daily_video_bytes"):
            if name in wanted:
                account.facts[name] = int(wanted.pop(name))

    # --- sessions ---

    async def create_session(self, request: Request) -> Response:
        body = self.json_body(request)
        identifier, password = str(body.get("identifier", "")), str(body.get("password", ""))
        self._count_sign_in(identifier)
        account = self.world.accounts.holder("bluesky", password)
        if account is None or not self._is_named(account, identifier):
            raise self.named(401, "AuthenticationRequired", "Invalid identifier or password")
        if account.facts.get("taken_down"):
            raise self.named(401, "AccountTakedown", "Account has been taken down")
        return json_response({**self._shown(account), **self._tokens(account)})

    async def refresh_session(self, request: Request) -> Response:
        value = self.token_of(request)
        token = self.world.accounts.refresh_token("bluesky", value)
        if token is None or value.startswith("ort-"):
            raise self.named(400, "InvalidToken", "Token could not be verified")
        if not self.world.accounts.good(token):
            raise self.named(400, "ExpiredToken", "Token has been revoked")
        account = self.world.accounts.ensure("bluesky", token.account)
        if account.facts.get("taken_down"):
            raise self.named(401, "AccountTakedown", "Account has been taken down")
        self.world.accounts.spend(token)
        return json_response({**self._shown(account), **self._tokens(account)})

    async def session(self, request: Request) -> Response:
        return json_response(self._shown(signed_in(request)))

    async def describe(self, _request: Request) -> Response:
        return json_response(
            {
                "did": f"did:web:{HOST}",
                "availableUserDomains": [".bsky.social"],
                "inviteCodeRequired": False,
                "links": {},
                "contact": {},
            }
        )

    async def resolve(self, request: Request) -> Response:
        handle = request.query().get("handle", "").lower()
        if "." not in handle:
            raise self.refuse(400, "Error: Params must have the property handle with a valid handle")
        account = self.owner(handle)
        if account is None:
            raise self.refuse(400, "Unable to resolve handle")
        return json_response({"did": did_of(account)})

    # --- pieces ---

    def _count_sign_in(self, identifier: str) -> None:
        now = time.time()
        times = [at for at in self._sign_ins.get(identifier, []) if at > now - max(per_s for _, per_s in SIGN_INS)]
        self._sign_ins[identifier] = [*times, now]
        for allowed, per_s in SIGN_INS:
            recent = [at for at in times if at > now - per_s]
            if self.world.settings.enforce_limits and len(recent) >= allowed:
                refused = self.refuse(429)
                refused.response.headers = tuple(self.limit_headers(allowed, 0, recent[-allowed] + per_s))
                raise refused

    def _is_named(self, account: Account, identifier: str) -> bool:
        name = identifier.lower().removeprefix("@")
        known = {account.name.lower(), account.username.lower(), handle_of(account), did_of(account)}
        return name in known or name.partition("@")[0] == account.name.lower()

    def _shown(self, account: Account) -> dict[str, Any]:
        did = did_of(account)
        service = {
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": f"https://{HOST}",
        }
        return {
            "did": did,
            "handle": handle_of(account),
            "email": f"{account.name}@example.com",
            "emailConfirmed": account.facts.get("email_confirmed", True),
            "emailAuthFactor": False,
            "active": not account.facts.get("taken_down"),
            "didDoc": {"id": did, "alsoKnownAs": [f"at://{handle_of(account)}"], "service": [service]},
        }

    def _tokens(self, account: Account) -> dict[str, str]:
        life_s = self.world.settings.token_life_s or ACCESS_LIFE_S
        access, refresh = _jwt(did_of(account), life_s), _jwt(did_of(account), REFRESH_LIFE_S)
        self.world.accounts.issue(account, value=access, expires_in_s=life_s)
        self.world.accounts.issue(account, value=refresh, refresh=True, expires_in_s=REFRESH_LIFE_S)
        return {"accessJwt": access, "refreshJwt": refresh}


def _jwt(did: str, life_s: float) -> str:
    """A token that looks like the platform's; only the sandbox's own list makes it good."""
    now = int(time.time())
    claims = {"sub": did, "iat": now, "exp": now + int(life_s), "jti": secrets.token_hex(8)}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)]
    return ".".join([*(part.decode().rstrip("=") for part in parts), secrets.token_hex(8)])
