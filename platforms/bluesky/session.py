"""Sessions: made from the app password, renewed by the refresh token, made anew where that is refused.

Source: lexicons com.atproto.server.*, 2026-08; bsky-docs rate limits, 2026-04: 30 sign-ins in 5 minutes and 300 a
day for an account, so a session is kept among the credentials and renewed as long as it can be.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from platforms.base import AuthExpired, Call, Effect, Identity, Json, NotSent, RateLimited, Refreshed, Rejected, Reply
from platforms.bluesky import api, oauth_session, proven
from platforms.outcomes import mapping, objects, retry_after_s, utc

ACCESS_LIFE = timedelta(minutes=120)
"""Of an access token that does not say when it ends. Source: atproto reference PDS, 2026-08."""
NO_SESSION = datetime(1970, 1, 1, tzinfo=UTC)
"""When a session that was never made ran out: it is renewed at the first opportunity."""

_REFUSED = frozenset({400, 401, 403})
_TOKEN_OVER = api.TOKEN_ERRORS | {"InvalidRequest"}
"""Errors of ``refreshSession`` after which the app password has to make a new session."""
_PASSWORD_WRONG = frozenset({"AuthenticationRequired", "AuthFactorTokenRequired", "InvalidRequest", "InvalidPassword"})
"""Errors of ``createSession`` that only a person can mend. Source: lexicon and reference PDS, 2026-08. Whatever else is
answered, such as a page of a guard before the server, says nothing about the password."""
_NO_HANDLE = "handle.invalid"
"""What the protocol shows where a handle does not lead back to its account."""


def expires_at(credentials: Mapping[str, Json]) -> datetime | None:
    """When the access token runs out."""
    if proven.is_oauth(credentials):
        return oauth_session.expires_at(credentials)
    if not credentials.get("access_token"):
        return NO_SESSION
    return utc(credentials.get("expires_at"))


def renew(call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent:
    """A new session: one request, or two where the refresh token is not good any more.

    :raises platforms.errors.TransportError: no whole answer came. The old refresh token may be spent then; the app
        password makes a new session at the next try. An OAuth session that loses its token so has to be connected anew.
    """
    if proven.is_oauth(call.credentials):
        return oauth_session.renew(call)
    token = call.credentials.get("refresh_token")
    if token:
        reply = _ask(call, "com.atproto.server.refreshSession", token=str(token))
        renewed = _renewed(call, reply)
        if renewed is not None:
            return renewed
        if reply.status not in _REFUSED or api.error_of(reply) not in _TOKEN_OVER:
            return _refusal(call, reply)
    reply = sign_in(call)
    return _renewed(call, reply) or _refusal(call, reply)


def sign_in(call: Call) -> Reply:
    """The answer to a sign-in with the app password."""
    body = {"identifier": call.credentials["identifier"], "password": call.credentials["password"]}
    return _ask(call, "com.atproto.server.createSession", json=body)


def _ask(call: Call, name: str, *, token: str | None = None, json: Json = None) -> Reply:
    at = api.sign_in_origin(call.credentials)
    return api.xrpc(call, "POST", name, effect=Effect.PREPARES, token=token, at=at, json=json)


def _refusal(call: Call, reply: Reply) -> AuthExpired | RateLimited | NotSent:
    """What it means that there is no session: only a person can mend what the password does not open."""
    if reply.status == 429:
        return api.limited(call, reply)
    error, message = api.error_of(reply), api.message_of(reply)
    if reply.status in _REFUSED and error in _PASSWORD_WRONG | api.ACCOUNT_ERRORS:
        if error == "AuthFactorTokenRequired":
            message = "a code by e-mail is asked for; use an app password instead of the account's own"
        code = "account_unavailable" if error in api.ACCOUNT_ERRORS else "sign_in_refused"
        return AuthExpired(code, f"Bluesky refused the sign-in: {message}", reply.status, permanent=True)
    words = f"Bluesky answered {reply.status}{f' ({error})' if error else ''} without a session."
    return NotSent("sign_in_failed", words, reply.status, retry_after_s(reply, call.now()))


def _renewed(call: Call, reply: Reply) -> Refreshed | None:
    session = api.good(reply)
    access, refresh, did = (session.get(name) for name in ("accessJwt", "refreshJwt", "did"))
    if not (isinstance(access, str) and access and isinstance(refresh, str) and refresh and isinstance(did, str)):
        return None
    until = _end_of(access) or call.now() + ACCESS_LIFE
    new = {
        **call.credentials,
        "access_token": access,
        "refresh_token": refresh,
        "expires_at": until.isoformat(),
        "did": did,
        "handle": str(session.get("handle") or ""),
    }
    pds = _records_host(session)
    if pds is not None:
        new["pds"] = pds
    return Refreshed(new, until)


def _end_of(token: str) -> datetime | None:
    """The end that a JWT names; it is only read here, checking it is the server's business."""
    try:
        _, body, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, binascii.Error):
        return None
    return utc(mapping(claims).get("exp"))


def _records_host(session: Mapping[str, Json]) -> str | None:
    """The host that keeps the account's records, from the session's DID document; only one of Bluesky's own.

    An account of another server names that server itself, in its credentials: an answer shall not send tokens
    anywhere else.
    """
    for service in objects(mapping(session.get("didDoc")).get("service")):
        parts = urlsplit(str(service.get("serviceEndpoint") or ""))
        own = parts.scheme == "https" and api.is_bluesky(f"https://{parts.netloc}")
        if str(service.get("id") or "").endswith("#atproto_pds") and own:
            return f"https://{parts.netloc}"
    return None


# --- Who it is --------------------------------------------------------------------------------------------


def shown_handle(handle: str, did: str) -> str:
    """How links and people name the account."""
    return handle if handle and handle != _NO_HANDLE else did


def identify(call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
    """Who the credentials belong to. Without a session the app password is tried, and that session let go.

    An OAuth session is told no e-mail address, so nothing is known of its confirmation.
    """
    token = api.access(call)
    if isinstance(token, str):
        reply = api.xrpc(call, "GET", "com.atproto.server.getSession", effect=Effect.READ, token=token)
    else:
        reply = sign_in(call)
    session = api.good(reply)
    did = session.get("did")
    if not isinstance(did, str) or not did:
        return api.refusal(call, reply) if isinstance(token, str) else _refusal(call, reply)
    if session.get("active") is False:
        why = session.get("status") or "not active"
        return AuthExpired("account_unavailable", f"Bluesky says that the account is {why}.", permanent=True)
    granted = tuple(str(call.credentials.get("scope") or "").split())
    return Identity(
        remote_id=did,
        handle=shown_handle(str(session.get("handle") or ""), did),
        facts={
            "server": api.origin({**call.credentials, "pds": _records_host(session) or call.credentials.get("pds")}),
            "email_confirmed": session.get("emailConfirmed"),
        },
        scopes=granted,
        missing_scopes=tuple(scope for scope in oauth_session.SCOPES if scope not in granted) if granted else (),
    )
