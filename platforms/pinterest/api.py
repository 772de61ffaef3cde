"""How Pinterest is spoken to: its host, who asks, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

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
from platforms.outcomes import mapping, moment, retry_after_s

HOST = "api.pinterest.com"
ORIGIN = f"https://{HOST}"
TOKEN_URL = f"{ORIGIN}/v5/oauth/token"
SCOPES = ("boards:read", "boards:write", "pins:read", "pins:write", "user_accounts:read")
SECRET_SCOPES = ("boards:read_secret", "boards:write_secret", "pins:read_secret", "pins:write_secret")
"""What pins on a secret board need besides, also to be found again."""

LIMIT_WAIT = timedelta(minutes=1)
"""The span of Pinterest's rate limits; waited for where a 429 names no time."""
SPAM_WAIT = timedelta(hours=6)
"""After a spam block. Its length is not published; trying again soon makes it longer."""
UNREACHABLE_WAIT_S = 60.0
DAILY_FROM = timedelta(hours=1)
_CODE_CONSUMER = 3

_WITHOUT_EFFECT = frozenset({400, 401, 403, 404, 429})
"""Refusals after which no pin was made. Source: Pinterest API v5, OpenAPI 5.23.0, 2025-12."""

Refusal = Rejected | AuthExpired | RateLimited | NotSent


def request(
    call: Call,
    method: str,
    path: str,
    *,
    effect: Effect,
    params: Mapping[str, str] | None = None,
    json: Json = None,
) -> Reply:
    """Pinterest's answer, whatever its status. ``path`` begins with ``/v5``.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    headers = oauth.bearer(str(call.credentials["access_token"]))
    return call.http.request(method, ORIGIN + path, effect=effect, headers=headers, params=params, json=json)


def good(reply: Reply) -> dict[str, Json]:
    """The object of a good answer (any 2xx); empty where it is none."""
    return mapping(reply.json()) if 200 <= reply.status < 300 else {}


def _message(reply: Reply) -> str:
    """What is said, and its detail where there is one: either may be what names a spam block."""
    answer = mapping(reply.json())
    told = [str(answer[name]) for name in ("message", "message_detail") if answer.get(name)]
    return (": ".join(dict.fromkeys(told)) or "no reason given")[:300]


def is_unreachable(reply: Reply) -> bool:
    """Whether Pinterest could not fetch the image from our store."""
    return reply.status == 400 and "unable to reach" in _message(reply).lower()


def _is_of_the_app(reply: Reply) -> bool:
    """ "consumer type is not supported": the app waits for its trial access (unverified, one client)."""
    return mapping(reply.json()).get("code") == _CODE_CONSUMER or "consumer type" in _message(reply).lower()


def tier(call: Call, reply: Reply) -> str:
    """``trial``, ``standard`` or ``unknown``. The credentials may say; else a limit that is filled again only hours
    from now is one of a day, and only the trial tier has those. Source: rate limits page, 2026.
    """
    declared = call.credentials.get("access_tier")
    if declared:
        return str(declared)
    now = call.now()
    until = moment(reply.headers.get("x-ratelimit-reset"), now)
    return "trial" if until is not None and until - now > DAILY_FROM else "unknown"


def refusal(call: Call, reply: Reply) -> Refusal:
    """What an answer other than the hoped-for one means for a request that publishes nothing."""
    message = _message(reply)
    now = call.now()
    match reply.status:
        case 400 if is_unreachable(reply):
            return NotSent("url_unreachable", f"Pinterest: {message}", 400, UNREACHABLE_WAIT_S)
        case 400:
            return Rejected("invalid_request", f"Pinterest refused: {message}", 400)
        case 401 | 403 if _is_of_the_app(reply):
            # No author can mend it, and no refresh helps.
            return Rejected(
                "app_not_approved", f"Pinterest refuses the app: {message}", reply.status, operator_alert=True
            )
        case 401:
            # Without a refresh token and its client nobody but a person can help.
            permanent = not (oauth.renewable(call.credentials) and call.credentials.get("client_secret"))
            return AuthExpired("unauthorized", f"Pinterest: {message}", 401, permanent)
        case 403:
            return Rejected("forbidden", f"Pinterest refused: {message}", 403)
        case 404:
            return Rejected("not_found", f"Pinterest does not know it: {message}", 404)
        case 429:
            if "spam" in message.lower():
                return RateLimited(now + SPAM_WAIT, f"Pinterest blocks it as spam: {message}", 429)
            names = ("x-ratelimit-reset", "retry-after")
            times = [until for name in names if (until := moment(reply.headers.get(name), now)) is not None]
            # The limits of the trial tier are the app's, those of the standard tier each user's of it.
            whose = "app" if tier(call, reply) == "trial" else "account"
            return RateLimited(max(times, default=now + LIMIT_WAIT), f"Pinterest's rate limit: {message}", 429, whose)
    return NotSent(
        "server_error" if reply.status >= 500 else "bad_answer",
        f"Pinterest answered {reply.status}.",
        reply.status,
        retry_after_s(reply, now),
    )


def refusal_of_pin(call: Call, reply: Reply) -> Refusal | Unknown:
    """What an answer without an id means for the call that publishes: in doubt ``Unknown``."""
    if reply.status in _WITHOUT_EFFECT:
        return refusal(call, reply)
    return Unknown(
        "server_error" if reply.status >= 500 else "no_id",
        f"Pinterest answered {reply.status} without the pin's id.",
        reply.status,
        retry_after_s=retry_after_s(reply, call.now()),
    )
