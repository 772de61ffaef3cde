"""Signing in to an account of the AT Protocol by OAuth: pushed request, PKCE, DPoP, and who it was that signed in.

Without an app of one's own the loopback client stands in (``http://localhost?...``): made for development, taken by
the reference server, and its sessions end after two weeks. With the address of public client metadata, and its key,
they last. Source: atproto OAuth specification, 2026; reference PDS, 2026-08.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode, urlsplit

from platforms.base import Json, Rejected, Reply
from platforms.bluesky import api, dpop, identity, oauth_session, proven
from platforms.bluesky.models import server_origin
from platforms.code_flow import refusal
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
    is_loopback,
    new_state,
    new_verifier,
)
from platforms.outcomes import mapping

TITLE = "The server"
FACTS = Facts(
    authorize_url="{server}: authorization_endpoint of its metadata",
    token_url="{server}: token_endpoint of its metadata",  # noqa: S106 - an address
    scopes=oauth_session.SCOPES,
    # Ports of a loopback client are not compared; "localhost" is refused as a redirect.
    redirect=Redirect("127.0.0.1", "/callback", any_port=True),
    client_auth=ClientAuth.METADATA,
    secret=Secret.OPTIONAL,
    pkce=Pkce.S256,
    source="atproto OAuth specification, 2026",
)


def loopback_client(redirect_uri: str) -> str:
    """The id of a client that needs no public metadata. The port is left out: it is not compared."""
    parts = urlsplit(redirect_uri)
    bare = f"http://{parts.hostname}{parts.path}"
    query = urlencode({"redirect_uri": bare, "scope": " ".join(oauth_session.SCOPES)})
    return f"http://localhost?{query}"


class BlueskyConnector:
    """From a handle to a session that is bound to a fresh key."""

    authorize_hosts = api.API_HOSTS
    questions = (
        Question("handle", "your handle (such as acme.bsky.social) or DID"),
        Question("server", "your own server (PDS); empty: found by the handle", required=False),
        Question("client_id", "address of your app's client metadata; empty: the loopback client", required=False),
        Question(
            "client_secret",
            "private key of that app (a JWK for ES256); empty: none",
            secret=True,
            required=False,
            only_with="client_id",
        ),
    )
    settings: frozenset[str] = frozenset()

    def answers(self, credentials: Mapping[str, Json]) -> Mapping[str, str]:
        """The account's own server."""
        server = credentials.get("server")
        return {"server": str(server)} if server else {}

    def facts(self, told: Mapping[str, str]) -> Facts:  # noqa: ARG002 - one way to sign in
        """Always the same."""
        return FACTS

    def begin(self, desk: Desk) -> Begun | Refusal:
        """Finds the account and who authorizes for it, and pushes the request there."""
        told = desk.told
        try:
            trusted = server_origin(told["server"]) if told.get("server") else None
        except ValueError as error:
            return Rejected("invalid_server", f"The server {error}.")
        client = _client(desk)
        if isinstance(client, Rejected):
            return client
        client_id, client_key = client
        person = identity.find(desk.http, told["handle"], resolver=trusted or api.ENTRYWAY, trusted=trusted)
        if not isinstance(person, identity.Person):
            return person
        authority = identity.authority(desk.http, person.pds, trusted=trusted)
        if not isinstance(authority, identity.Authority):
            return authority
        jwk, state, verifier = dpop.new_key(), new_state(), new_verifier()
        form = {
            "response_type": "code",
            "redirect_uri": desk.redirect_uri,
            "scope": " ".join(FACTS.scopes),
            "state": state,
            "login_hint": told["handle"].strip().removeprefix("@"),
            **challenge(verifier, Pkce.S256),
            **oauth_session.named(client_id, client_key, authority.issuer, desk.now()),
        }
        reply = proven.post_form(desk.http, desk.now, jwk, authority.par_url, form)
        uri = mapping(reply.json()).get("request_uri")
        if not (200 <= reply.status < 300 and isinstance(uri, str) and uri):
            return refusal(reply, desk.now(), TITLE)
        unproven = _unproven(reply)
        if unproven is not None:
            return unproven
        url = f"{authority.authorize_url}?{urlencode({'client_id': client_id, 'request_uri': uri})}"
        kept: dict[str, Json] = {
            "verifier": verifier,
            "did": person.did,
            "handle": person.handle,
            "pds": person.pds,
            "issuer": authority.issuer,
            "token_endpoint": authority.token_url,
            "client_id": client_id,
            "client_key": client_key,
            "dpop_key": jwk,
        }
        return Begun(url, state, desk.redirect_uri, kept)

    def finish(self, desk: Desk, begun: Begun, answer: Mapping[str, str]) -> Connected | Refusal:
        """The code for tokens, once it is sure who answered and for whom."""
        kept = begun.kept
        # RFC 9207: an answer of another server must not make us send the code to this one.
        if not hmac.compare_digest(answer.get("iss", "").encode(), str(kept["issuer"]).encode()):
            return Rejected("wrong_issuer", "That answer comes from another server than the one that was asked.")
        now: datetime = desk.now()
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": begun.redirect_uri,
            "code_verifier": str(kept["verifier"]),
            **oauth_session.named(str(kept["client_id"]), mapping(kept["client_key"]), str(kept["issuer"]), now),
        }
        reply = proven.post_form(desk.http, desk.now, mapping(kept["dpop_key"]), str(kept["token_endpoint"]), form)
        if not 200 <= reply.status < 300:
            return refusal(reply, desk.now(), TITLE)
        found = _unproven(reply) or oauth_session.tokens_of(reply, str(kept["did"]), desk.now())
        if isinstance(found, Rejected):
            return found
        if isinstance(found, str):
            return Rejected("bad_tokens", f"The server's answer must not be used: {found}.", reply.status)
        credentials: dict[str, Json] = {
            name: kept[name] for name in ("did", "handle", "pds", "issuer", "token_endpoint", "client_id", "dpop_key")
        }
        if kept["client_key"]:
            credentials["client_key"] = kept["client_key"]
        if desk.told.get("server"):
            # Nothing is sent there by an OAuth session; the next sign-in begins there again.
            credentials["server"] = desk.told["server"]
        return Connected({**credentials, **found, "session_began_at": now.isoformat()})


def _client(desk: Desk) -> tuple[str, dict[str, Json] | None] | Rejected:
    """The app's id, and its key if it has one."""
    client_id, secret = desk.told.get("client_id"), desk.told.get("client_secret")
    if not client_id:
        if not is_loopback(desk.redirect_uri):
            message = "A redirect beyond this machine needs the address of your app's client metadata (--client-id)."
            return Rejected("client_needed", message)
        return loopback_client(desk.redirect_uri), None
    parts = urlsplit(client_id)
    if parts.scheme != "https" or not parts.hostname or parts.port is not None:
        return Rejected("invalid_client_id", "The client id must be the https address of your app's client metadata.")
    if not secret:
        return client_id, None
    try:
        jwk = mapping(json.loads(secret))
        dpop.private_of(jwk)
    except dpop.KeyProblem as problem:
        return Rejected("invalid_key", str(problem))
    except ValueError:
        return Rejected("invalid_key", "The app's key must be a JWK: a JSON object.")
    return client_id, jwk


def _unproven(reply: Reply) -> Rejected | None:
    """A server that answers without a nonce does not check proofs as it has to (atproto OAuth specification, DPoP)."""
    if reply.headers.get("dpop-nonce"):
        return None
    return Rejected("no_nonce", "The server does not protect tokens as the AT Protocol demands (no DPoP-Nonce).")


CONNECTOR = BlueskyConnector()
