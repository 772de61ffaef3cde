"""How Bluesky is spoken to: which host, by what token, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from platforms import oauth
from platforms.base import (
    AuthExpired,
    Call,
    Effect,
    Json,
    NotSent,
    RateLimited,
    Rejected,
    Reply,
    Unknown,
)
from platforms.bluesky import dpop, proven
from platforms.bluesky.body import FileBody
from platforms.bluesky.models import server_origin
from platforms.outcomes import mapping, moment, retry_after_s

HOST = "bsky.social"
ENTRYWAY = f"https://{HOST}"
"""Where accounts of Bluesky sign in; their records are kept on hosts below ``PDS_HOSTS``."""
PDS_HOSTS = ".host.bsky.network"
VIDEO_HOST = "video.bsky.app"
PLC_HOST = "plc.directory"
"""Keeps the documents of most DIDs."""
API_HOSTS = frozenset({HOST, PDS_HOSTS, VIDEO_HOST, PLC_HOST})

LIMIT_WAIT = timedelta(minutes=5)
"""The span of Bluesky's limit by address; waited for where a 429 names no time. Source: bsky-docs, 2026-04."""

TOKEN_ERRORS = frozenset({"ExpiredToken", "InvalidToken", "AuthenticationRequired", "AuthMissing", "BadJwt"})
"""An expired access token is a 400 here. Source: atproto reference PDS, 2026-08."""
ACCOUNT_ERRORS = frozenset(
    {
        "AccountTakedown",
        "AccountDeactivated",
        "AccountSuspended",
        "AccountNotFound",
        "RepoTakendown",
        "RepoDeactivated",
        "RepoSuspended",
    }
)
SCOPE_ERRORS = frozenset({"ScopeMissingError", "InsufficientScope", "insufficient_scope"})
"""The session may not do this; renewing it gives the same scopes. Source: atproto reference PDS, 2026-08."""
_WITHOUT_EFFECT = frozenset({400, 401, 403, 404, 413, 415, 429})
"""Refusals after which no record was written. Source: atproto reference PDS, putRecord, 2026-08."""

Refusal = Rejected | AuthExpired | RateLimited | NotSent


def sign_in_origin(credentials: Mapping[str, Json]) -> str:
    """Where sessions are made and renewed: the account's own server, Bluesky's without one."""
    server = credentials.get("server")
    return server_origin(str(server)) if server else ENTRYWAY


def origin(credentials: Mapping[str, Json]) -> str:
    """Where the account's records are: its own server, or the host behind Bluesky's that its session named.

    Of an OAuth session: the server that the account's own document named when it was connected.
    """
    if proven.is_oauth(credentials) and credentials.get("pds"):
        return str(credentials["pds"])
    own = sign_in_origin(credentials)
    if urlsplit(own).hostname != HOST:
        return own
    return str(credentials.get("pds") or own)


def is_bluesky(address: str) -> bool:
    """Whether an origin is one of Bluesky's own: where accounts sign in, or a host that keeps their records."""
    host = urlsplit(address).hostname or ""
    return host == HOST or host.endswith(PDS_HOSTS)


def xrpc(
    call: Call,
    method: str,
    name: str,
    *,
    effect: Effect,
    token: str | None = None,
    at: str | None = None,
    params: Mapping[str, str] | None = None,
    json: Json = None,
    content: bytes | FileBody | None = None,
    mime: str | None = None,
    timeout_s: float | None = None,
) -> Reply:
    """The answer to one call of the protocol, whatever its status.

    :param token: sent as Bearer; None: the call needs none. The access token of an OAuth session is sent with a proof
        that it is ours; a pass for another service (video) is not that token, and goes as Bearer.
    :param at: origin; that of the account's records otherwise.
    :raises platforms.errors.TransportError: no whole answer came.
    """
    headers = {"Content-Type": mime} if mime is not None else {}
    if token and proven.is_oauth(call.credentials) and token == call.credentials.get("access_token"):
        url = f"{origin(call.credentials)}/xrpc/{name}"
        return proven.send(
            call,
            method,
            url,
            effect=effect,
            token=token,
            headers=headers,
            params=params,
            json=json,
            content=content,
            timeout_s=timeout_s,
        )
    if token:
        headers |= oauth.bearer(token)
    return call.http.request(
        method,
        f"{at or origin(call.credentials)}/xrpc/{name}",
        effect=effect,
        headers=headers,
        params=params,
        json=json,
        content=content,
        timeout_s=timeout_s,
    )


def access(call: Call) -> str | AuthExpired:
    """The access token; where there is no session yet, what makes the caller get one by ``refresh``."""
    token = call.credentials.get("access_token")
    if isinstance(token, str) and token:
        return token
    return AuthExpired("no_session", "The account has not signed in yet.")


def good(reply: Reply) -> dict[str, Json]:
    """The object of a good answer; empty where it is none."""
    return mapping(reply.json()) if 200 <= reply.status < 300 else {}


def error_of(reply: Reply) -> str:
    """The protocol's name of an error, such as ``InvalidSwap``; empty where the answer has none."""
    return str(mapping(reply.json()).get("error") or "")


def message_of(reply: Reply) -> str:
    """The error in words."""
    body = mapping(reply.json())
    return str(body.get("message") or body.get("error") or "no reason given")[:300]


def limited(call: Call, reply: Reply) -> RateLimited:
    """When to come back after a 429."""
    now = call.now()
    until = moment(reply.headers.get("ratelimit-reset"), now) or moment(reply.headers.get("retry-after"), now)
    return RateLimited(until or now + LIMIT_WAIT, f"Bluesky: {message_of(reply)}", reply.status)


def refusal(call: Call, reply: Reply) -> Refusal:
    """What an answer other than the hoped-for one means for a request that publishes nothing."""
    error, message = error_of(reply), message_of(reply)
    if reply.status == 429:
        return limited(call, reply)
    if dpop.wants_nonce(reply):
        # Refused at the door for its nonce alone (RFC 9449, 9); the answer brought the one for the next try.
        return NotSent("dpop_nonce", "Bluesky asks for a newer proof.", reply.status, retry_after_s=0.0)
    if error == "invalid_dpop_proof":
        # Checked before anything else is done; what is wrong with our proofs is our clock, not the post.
        message = f"Bluesky did not take the proof ({message}); is this machine's clock right?"
        return NotSent("bad_proof", message, reply.status)
    if error in ACCOUNT_ERRORS:
        return AuthExpired(
            "account_unavailable", f"Bluesky has closed the account: {message}", reply.status, permanent=True
        )
    if error in SCOPE_ERRORS:
        words = f"Bluesky: the access does not allow this ({message}); connect the account again and grant it."
        return AuthExpired("missing_scope", words, reply.status, permanent=True)
    if reply.status == 403 and not error:
        # Somebody before the server: no server of the protocol refuses without its error.
        return NotSent("blocked", "Something before Bluesky's server refused the request.", 403)
    if reply.status == 401 or (reply.status == 400 and error in TOKEN_ERRORS):
        # The session can be renewed: by its refresh token, or else by the app password.
        return AuthExpired("session_expired", f"Bluesky: {message}", reply.status)
    if reply.status in {400, 403, 404, 413, 415}:
        code = "forbidden" if reply.status == 403 else "too_large" if reply.status == 413 else "invalid_request"
        return Rejected(code, f"Bluesky refused: {message}", reply.status)
    return NotSent(
        "server_error" if reply.status >= 500 else "bad_answer",
        f"Bluesky answered {reply.status}.",
        reply.status,
        retry_after_s(reply, call.now()),
    )


def refusal_of_post(call: Call, reply: Reply) -> Refusal | Unknown:
    """What an answer without an address means for the call that publishes: in doubt ``Unknown``."""
    if error_of(reply) == "InvalidSwap":
        # Another record stands under our key: an earlier try of ours, of which we have not heard.
        return Unknown("record_exists", "Bluesky has a record under this post's key already.", reply.status)
    if reply.status in _WITHOUT_EFFECT:
        return refusal(call, reply)
    return Unknown(
        "server_error" if reply.status >= 500 else "no_address",
        f"Bluesky answered {reply.status} without the post's address.",
        reply.status,
        retry_after_s=retry_after_s(reply, call.now()),
    )
