"""How a Mastodon server is spoken to: where it is, who asks, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

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
    Streamed,
    Unknown,
)
from platforms.mastodon.models import NO_SERVER, server_origin
from platforms.outcomes import mapping, moment, retry_after_s, utc

API_HOSTS = frozenset({NO_SERVER.removeprefix("https://")})
"""Every account has a server of its own; there is no host that all share."""
SCOPES = ("read:accounts", "read:statuses", "write:media", "write:statuses")

LIMIT_WAIT = timedelta(minutes=5)
"""The span of most limits; waited for where a 429 names no time. Source: Mastodon documentation, 2026-07."""
PROCESSING_WAIT_S = 5.0

_WITHOUT_EFFECT = frozenset({400, 401, 403, 404, 410, 413, 422, 429})
"""Refusals after which no status was made: they come before it is stored. Source: contract and OpenAPI 4.7.0."""
_CLOSED = ("login is currently disabled", "pending", "suspended", "confirm", "missing a confirmed")

Refusal = Rejected | AuthExpired | RateLimited | NotSent


def origin(credentials: Mapping[str, Json]) -> str:
    """The account's server."""
    server = credentials.get("server")
    return server_origin(str(server)) if server else NO_SERVER


def request(
    call: Call,
    method: str,
    path: str,
    *,
    effect: Effect,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    json: Json = None,
    content: Streamed | None = None,
    timeout_s: float | None = None,
) -> Reply:
    """The server's answer, whatever its status. ``path`` begins with ``/api``.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    return call.http.request(
        method,
        origin(call.credentials) + path,
        effect=effect,
        headers={**oauth.bearer(str(call.credentials["access_token"])), **(headers or {})},
        params=params,
        json=json,
        content=content,
        timeout_s=timeout_s,
    )


def good(reply: Reply) -> dict[str, Json]:
    """The object of a good answer; empty where it is none."""
    return mapping(reply.json()) if 200 <= reply.status < 300 else {}


def message_of(reply: Reply) -> str:
    """The server's words."""
    body = mapping(reply.json())
    return str(body.get("error_description") or body.get("error") or "no reason given")[:300]


def _until(reply: Reply, now: datetime) -> datetime:
    """When to come back: a time in ISO 8601 on Mastodon, also seconds elsewhere."""
    value = reply.headers.get("x-ratelimit-reset")
    named = utc(value) if value and not value.strip().replace(".", "").isdigit() else moment(value, now)
    after = moment(reply.headers.get("retry-after"), now)
    latest = max([time for time in (named, after) if time is not None], default=now + LIMIT_WAIT)
    # A reset that has passed says that its clock and ours differ: not at once, all the same.
    return min(max(latest, now + timedelta(seconds=1)), now + timedelta(days=1))


def refusal(call: Call, reply: Reply) -> Refusal:
    """What an answer other than the hoped-for one means for a request that publishes nothing."""
    message = message_of(reply)
    lower = message.lower()
    match reply.status:
        case 429:
            return RateLimited(_until(reply, call.now()), f"The server asks to wait: {message}", 429)
        case 401:
            # Tokens are not renewed: a refused one was revoked.
            return AuthExpired("unauthorized", f"The server: {message}", 401, permanent=True)
        case 403 if "scope" in lower:
            return AuthExpired("missing_scope", f"The server: {message}", 403, permanent=True)
        case 403 if any(words in lower for words in _CLOSED):
            return AuthExpired("account_unavailable", f"The server: {message}", 403, permanent=True)
        case 403:
            return Rejected("forbidden", f"The server refused: {message}", 403)
        case 404 | 410:
            return Rejected("not_found", f"The server does not know it: {message}", reply.status)
        case 422 if "not finished processing" in lower or "try again in a moment" in lower:
            return NotSent("media_processing", f"The server: {message}", 422, PROCESSING_WAIT_S)
        case 400 | 413 | 422:
            code = "too_large" if reply.status == 413 else "invalid_request"
            return Rejected(code, f"The server refused: {message}", reply.status)
    return NotSent(
        "server_error" if reply.status >= 500 else "bad_answer",
        f"The server answered {reply.status}.",
        reply.status,
        retry_after_s(reply, call.now()),
    )


def has_lost_media(reply: Reply) -> bool:
    """Whether the server no longer knows the files that were to be attached."""
    lower = message_of(reply).lower()
    return reply.status in {404, 422} and "media" in lower and ("not be found" in lower or "not found" in lower)


def refusal_of_post(call: Call, reply: Reply) -> Refusal | Unknown:
    """What an answer without an id means for the call that publishes: in doubt ``Unknown``."""
    if reply.status in _WITHOUT_EFFECT:
        return refusal(call, reply)
    return Unknown(
        "server_error" if reply.status >= 500 else "no_id",
        f"The server answered {reply.status} without the post's id.",
        reply.status,
        retry_after_s=retry_after_s(reply, call.now()),
    )
