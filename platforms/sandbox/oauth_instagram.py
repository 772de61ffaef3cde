"""Instagram's tokens as the sandbox gives them out: both logins, short and long ones, Pages.

A setting of the control call, ``pages``: the names of the accounts that a Facebook login reaches; its own otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.instagram_words import InstagramWords
from platforms.sandbox.oauth_apps import Grant
from platforms.sandbox.wire import Request, Response, json_response

LONG_LIFE_S = 5_183_944.0
SHORT_LIFE_S = 3_600.0
YOUNGEST_S = 86_400.0
SCOPES = "instagram_business_basic,instagram_business_content_publish,instagram_business_manage_comments"


class InstagramTokens:
    """Codes for tokens, tokens for longer ones."""

    def __init__(self, emulator: InstagramWords) -> None:
        self._instagram = emulator
        self._world = emulator.world
        self._issued: dict[str, float] = {}
        """When long-lived tokens were given out; one that is not here counts as old enough to be renewed."""
        self._apps: dict[str, str] = {}
        """Which app a short token was given to."""

    def routes(self, versions: Sequence[str]) -> Sequence[Route]:
        """Instagram Login's have no version, Facebook Login's have."""
        found = [
            Route("POST", "/oauth/access_token", "code", "token", self.code, signed=False),
            Route("GET", "/access_token", "exchange", "token", self.exchange, signed=False),
            Route("GET", "/refresh_access_token", "refresh", "token", self.refresh, signed=False),
        ]
        for version in versions:
            base = f"/{version}"
            found += [
                Route("GET", f"{base}/oauth/access_token", "facebook_token", "token", self.facebook, signed=False),
                Route("GET", f"{base}/me/accounts", "pages", "account", self.pages),
            ]
        return found

    def _redeemed(self, form: Mapping[str, str]) -> Grant:
        """:raises RefusedError: the app, the redirect or the code is wrong."""
        app = self._world.apps.get("instagram", form.get("client_id", ""))
        if app is None or app.client_secret != form.get("client_secret"):
            raise self._instagram.wrong("Invalid platform app")
        code = form.get("code", "").removesuffix("#_")
        grant = self._world.apps.redeem("instagram", {**form, "code": code}, app.client_id, self._world.accounts)
        if isinstance(grant, str):
            raise self._instagram.wrong(f"This authorization code cannot be used: {grant}")
        return grant

    # --- Instagram Login ---

    async def code(self, request: Request) -> Response:
        form = request.form()
        if form.get("grant_type") != "authorization_code":
            raise self._instagram.wrong("grant_type has to be authorization_code")
        grant = self._redeemed(form)
        account = self._world.accounts.ensure("instagram", grant.account)
        token = self._world.accounts.issue(account, expires_in_s=SHORT_LIFE_S)
        grant.tokens.append(token.value)
        self._apps[token.value] = form["client_id"]
        permissions = ",".join(grant.scopes)
        answer = {"access_token": token.value, "user_id": int(account.user_id), "permissions": permissions}
        return json_response(answer)

    async def exchange(self, request: Request) -> Response:
        query = request.query()
        if query.get("grant_type") != "ig_exchange_token" or not query.get("client_secret"):
            raise self._instagram.wrong("grant_type and client_secret are required")
        account = self._holder(query)
        given_to = self._apps.get(query.get("access_token", ""))
        if not self._world.apps.knows_secret("instagram", query["client_secret"], given_to):
            raise self._instagram.wrong("Error validating client secret.")
        return json_response(self._longer(account))

    async def refresh(self, request: Request) -> Response:
        query = request.query()
        if query.get("grant_type") != "ig_refresh_token":
            raise self._instagram.wrong("grant_type has to be ig_refresh_token")
        account = self._holder(query)
        if time.time() - self._issued.get(query["access_token"], 0.0) < YOUNGEST_S:
            raise self._instagram.wrong("The token is younger than 24 hours.")
        # Only a renewal tells the permissions (Meta's SDK specification, 2026-04).
        permissions = SCOPES if account.scopes is None else ",".join(account.scopes)
        return json_response({**self._longer(account), "permissions": permissions})

    def _holder(self, query: Mapping[str, str], name: str = "access_token") -> Account:
        account = self._world.accounts.holder("instagram", query.get(name, ""))
        if account is None:
            raise self._instagram.refuse(401)
        return account

    def _longer(self, account: Account) -> dict[str, Any]:
        life_s = self._world.settings.token_life_s or LONG_LIFE_S
        token = self._world.accounts.issue(account, expires_in_s=life_s)
        self._issued[token.value] = time.time()
        return {"access_token": token.value, "token_type": "bearer", "expires_in": int(life_s)}

    # --- Facebook Login ---

    async def facebook(self, request: Request) -> Response:
        query = request.query()
        if query.get("grant_type") == "fb_exchange_token":
            app = self._world.apps.get("instagram", query.get("client_id", ""))
            if app is None or app.client_secret != query.get("client_secret"):
                raise self._instagram.wrong("Error validating client secret.")
            account, life_s = self._holder(query, "fb_exchange_token"), LONG_LIFE_S
        else:
            grant = self._redeemed(query)
            account, life_s = self._world.accounts.ensure("instagram", grant.account), SHORT_LIFE_S
        token = self._world.accounts.issue(account, expires_in_s=life_s)
        return json_response({"access_token": token.value, "token_type": "bearer", "expires_in": int(life_s)})

    async def pages(self, request: Request) -> Response:
        account = signed_in(request)
        names: list[str] = account.facts.get("pages", [account.name])
        rows: list[dict[str, Any]] = []
        for name in names:
            owner = self._world.accounts.ensure("instagram", name)
            profile = {"id": owner.user_id, "username": owner.username}
            rows.append(
                {
                    "id": f"9{owner.user_id[1:]}",
                    "name": owner.display_name,
                    # Of a long user token: without an end.
                    "access_token": self._world.accounts.issue(owner).value,
                    "instagram_business_account": profile,
                }
            )
        return json_response({"data": rows})
