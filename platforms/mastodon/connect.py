"""Signing in to a Mastodon server: an app is registered there first, by itself, then the code flow.

Source: Mastodon documentation, OAuth and apps, 2026-07. PKCE is known since 4.3; older servers, and others that speak
the same API, ignore its parameters. Tokens do not run out and are not renewed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from urllib.parse import urlsplit

from platforms.base import Effect, Json, Rejected
from platforms.code_flow import TIMEOUT_S, authorize_url, refusal
from platforms.connect import (
    Begun,
    ClientAuth,
    Connected,
    Desk,
    Facts,
    Pkce,
    Question,
    Redirect,
    Refusal,
    Secret,
    challenge,
    new_state,
    new_verifier,
)
from platforms.mastodon import api
from platforms.mastodon.models import NO_SERVER, server_origin
from platforms.outcomes import mapping

APP_NAME = "SchedulerX"
FACTS = Facts(
    authorize_url="{server}/oauth/authorize",
    token_url="{server}/oauth/token",  # noqa: S106 - an address
    scopes=api.SCOPES,
    # The app is registered with the very redirect of this sign-in.
    redirect=Redirect("127.0.0.1", "/callback", any_port=True),
    client_auth=ClientAuth.FORM,
    secret=Secret.NONE,
    pkce=Pkce.S256,
    source="Mastodon documentation, OAuth and apps, 2026-07",
)


class MastodonConnector:
    """Registers an app for this sign-in, opens the server's page, exchanges the code."""

    authorize_hosts = frozenset({urlsplit(NO_SERVER).hostname or ""})
    questions = (Question("server", "address of your server, such as https://mastodon.social"),)

    def facts(self, told: Mapping[str, str]) -> Facts:  # noqa: ARG002 - one way to sign in
        """Always the same."""
        return FACTS

    def begin(self, desk: Desk) -> Begun | Refusal:
        """Registers an app on the server; a client of its own for each sign-in, as the server's own guide has it."""
        try:
            server = server_origin(desk.told["server"]) if desk.told.get("server") else NO_SERVER
        except ValueError as error:
            return Rejected("invalid_server", f"The server {error}.")
        body = {
            "client_name": APP_NAME,
            # One text: servers before 4.3 know no list.
            "redirect_uris": desk.redirect_uri,
            "scopes": " ".join(FACTS.scopes),
        }
        reply = desk.http.request(
            "POST", f"{server}/api/v1/apps", effect=Effect.PREPARES, json=body, timeout_s=TIMEOUT_S
        )
        app = api.good(reply)
        client_id, client_secret = app.get("client_id"), app.get("client_secret")
        if not (isinstance(client_id, str) and client_id and isinstance(client_secret, str) and client_secret):
            return refusal(reply, desk.now(), f"The server {urlsplit(server).netloc}")
        self._keep_alive(desk, server, client_id, client_secret)
        state, verifier = new_state(), new_verifier()
        facts = dataclasses.replace(FACTS, authorize_url=FACTS.authorize_url.replace("{server}", server))
        url = authorize_url(facts, desk, client_id=client_id, state=state, more=challenge(verifier, Pkce.S256))
        kept = {"server": server, "verifier": verifier, "client_id": client_id, "client_secret": client_secret}
        return Begun(url, state, desk.redirect_uri, kept)

    @staticmethod
    def _keep_alive(desk: Desk, server: str, client_id: str, client_secret: str) -> None:
        """Asks for a token of the app's own, which is not used: servers before 4.3 may drop an app that has none.

        What is answered does not matter: a server that grants none may still let people sign in, and tells if not.
        """
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "redirect_uri": desk.redirect_uri,
            "scope": " ".join(FACTS.scopes),
        }
        url = FACTS.token_url.replace("{server}", server)
        desk.http.request("POST", url, effect=Effect.PREPARES, form=form, timeout_s=TIMEOUT_S)

    def finish(self, desk: Desk, begun: Begun, answer: Mapping[str, str]) -> Connected | Refusal:
        """The code for a token; the app is not kept, since nothing renews."""
        kept = begun.kept
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "client_id": str(kept["client_id"]),
            "client_secret": str(kept["client_secret"]),
            "redirect_uri": begun.redirect_uri,
            "code_verifier": str(kept["verifier"]),
        }
        url = FACTS.token_url.replace("{server}", str(kept["server"]))
        reply = desk.http.request("POST", url, effect=Effect.PREPARES, form=form, timeout_s=TIMEOUT_S)
        found = mapping(reply.json())
        token = found.get("access_token")
        if not (200 <= reply.status < 300 and isinstance(token, str) and token):
            return refusal(reply, desk.now(), "The server")
        credentials: dict[str, Json] = {"access_token": token}
        if kept["server"] != NO_SERVER:
            credentials["server"] = kept["server"]
        if isinstance(found.get("scope"), str):
            credentials["scope"] = found["scope"]
        return Connected(credentials)


CONNECTOR = MastodonConnector()
