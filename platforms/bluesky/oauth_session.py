"""OAuth sessions: tokens bound to a key of ours, renewed by a refresh token that is good for one exchange.

Source: atproto OAuth specification, 2026, and the reference PDS, 2026-08: access tokens live 60 minutes at most; the
session of a public client (a loopback client too) ends after two weeks, of a confidential one after two years.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from platforms import oauth
from platforms.base import AuthExpired, Call, Json, NotSent, RateLimited, Refreshed, Reply
from platforms.bluesky import dpop, proven
from platforms.bluesky.api import LIMIT_WAIT
from platforms.outcomes import mapping, moment, retry_after_s, utc

SCOPES = ("atproto", "transition:generic")
"""``transition:generic`` is what an app password may do; without it nothing can be posted."""
ACCESS_LIFE = timedelta(minutes=5)
"""Of an access token that does not say when it ends: the least that the specification recommends."""
PUBLIC_LIFE, CONFIDENTIAL_LIFE = timedelta(weeks=2), timedelta(days=730)
"""Of a session, from its sign-in on, whatever is renewed. Source: reference PDS, constants, 2026-08."""
ASSERTION_LIFE_S = 60
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def named(client_id: str, client_key: Mapping[str, Json] | None, issuer: str, now: datetime) -> dict[str, str]:
    """The fields by which an app names itself: with a key, by an assertion that it signs (RFC 7523)."""
    if not client_key:
        return {"client_id": client_id}
    at = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "jti": secrets.token_urlsafe(24),
        "iat": at,
        "exp": at + ASSERTION_LIFE_S,
    }
    head = {"typ": "JWT"} | ({"kid": client_key["kid"]} if client_key.get("kid") else {})
    return {
        "client_id": client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": dpop.sign(client_key, head, claims),
    }


def tokens_of(reply: Reply, did: str, now: datetime) -> dict[str, Json] | str:
    """What a good answer of the token endpoint gives; a text: why it must not be used.

    That ``sub`` is the account is what proves who signed in (atproto OAuth specification, identity authentication).
    """
    found = mapping(reply.json())
    access, refresh = found.get("access_token"), found.get("refresh_token")
    if not isinstance(access, str) or not access:
        return "it holds no access token"
    if str(found.get("token_type") or "").lower() != "dpop":
        return "its token is not bound to our key"
    if found.get("sub") != did:
        return "it is for another account"
    granted = found.get("scope")
    if not isinstance(granted, str) or "atproto" not in granted.split():
        return "it does not have the scope atproto"
    seconds = found.get("expires_in")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds <= 0:
        seconds = ACCESS_LIFE.total_seconds()
    until = now + timedelta(seconds=float(seconds))
    kept: dict[str, Json] = {"access_token": access, "scope": granted, "expires_at": until.isoformat()}
    if isinstance(refresh, str) and refresh:
        kept["refresh_token"] = refresh
    return kept


def session_life(credentials: Mapping[str, Json]) -> timedelta:
    """How long after its sign-in a session ends: a client without a key of its own is a public one."""
    return CONFIDENTIAL_LIFE if credentials.get("client_key") else PUBLIC_LIFE


def renew(call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent:
    """New tokens for the session; one exchange.

    :raises platforms.errors.TransportError: no whole answer came. The refresh token may be spent then: the next try
        is told ``invalid_grant``, and a person has to connect the account again.
    """
    old = call.credentials
    if not old.get("refresh_token"):
        return AuthExpired("not_renewable", "The session has ended; connect the account again.", permanent=True)
    client_key = mapping(old.get("client_key"))
    try:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": str(old["refresh_token"]),
            **named(str(old.get("client_id") or ""), client_key, str(old.get("issuer") or ""), call.now()),
        }
        reply = proven.post_form(call.http, call.now, proven.key_of(old), str(old.get("token_endpoint") or ""), form)
    except dpop.KeyProblem as problem:
        return AuthExpired("bad_key", f"{problem} Connect the account again.", permanent=True)
    now = call.now()
    if 200 <= reply.status < 300:
        found = tokens_of(reply, str(old.get("did") or ""), now)
        if isinstance(found, str):
            # The old refresh token is spent, so there is no other way on.
            message = f"The session cannot be renewed: the answer must not be used, {found}."
            return AuthExpired("bad_tokens", message, reply.status, permanent=True)
        return Refreshed({**old, **found}, utc(found["expires_at"]))
    return _refused(reply, now)


def _refused(reply: Reply, now: datetime) -> AuthExpired | RateLimited | NotSent:
    answer = mapping(reply.json())
    code = str(answer.get("error") or "")
    if reply.status == 429:
        until = moment(reply.headers.get("ratelimit-reset"), now) or moment(reply.headers.get("retry-after"), now)
        return RateLimited(until or now + LIMIT_WAIT, "Bluesky asks to wait with renewing.", 429)
    # Anything else, such as client metadata that could not be fetched just now, or the page of a guard before the
    # server, says nothing about the session.
    if code in oauth.FINAL and 400 <= reply.status < 500:
        why = str(answer.get("error_description") or code or "no reason given")[:200]
        return AuthExpired(code, f"The session has ended: {why}", reply.status, permanent=True)
    words = f"The server answered {reply.status}{f' ({code[:60]})' if code else ''} without a token."
    return NotSent("refresh_failed", words, reply.status, retry_after_s(reply, now))


def expires_at(credentials: Mapping[str, Json]) -> datetime | None:
    """When the access token runs out."""
    return oauth.expires_at(credentials)
