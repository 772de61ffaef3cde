"""How X is spoken to: its host, who asks, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

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
from platforms.clock_skew import ClockUnusableError, skew
from platforms.outcomes import mapping, moment, objects, retry_after_s

HOST = "api.x.com"
ORIGIN = f"https://{HOST}"
TOKEN_URL = f"{ORIGIN}/2/oauth2/token"
SCOPES = ("tweet.read", "tweet.write", "users.read", "media.write", "offline.access")

WINDOW = timedelta(minutes=15)
"""The span of X's rate limits; waited for where a 429 names no time. Source: X API rate limits, 2026-08."""
CYCLE_WAIT = timedelta(hours=6)
"""How long a spent monthly quota is left alone where the answer names no time."""

_WITHOUT_EFFECT = frozenset({400, 401, 402, 403, 404, 413, 429})
"""Refusals after which nothing was posted. Source: the table of error codes, X API v2 (2026-08)."""
_RECONNECT_TYPES = frozenset({"user-suspended", "oauth1-permissions", "unsupported-authentication"})
_OPERATOR_TYPES = frozenset({"client-forbidden", "client-disconnected"})
_LIMIT_HEADERS = ("x-rate-limit", "x-user-limit-24hour", "x-app-limit-24hour")
_CODE_RATE_LIMIT = 88
_CODE_TIMESTAMP = 135
"""Timestamp out of bounds. Source: X API error codes, read 2026-08."""
SIGNATURE_TOLERANCE = timedelta(minutes=5)
"""How far from X's own a signature's time is taken to be allowed. X documents no number; five minutes are usual."""
CLOCK_WAIT_S = 300.0
"""Seconds: until somebody has set the clock."""

Refusal = Rejected | AuthExpired | RateLimited | NotSent


def signed_in(
    credentials: Mapping[str, Json], method: str, url: str, params: Mapping[str, str] | None
) -> dict[str, str]:
    """The headers that say who asks: a Bearer token, or an OAuth 1.0a signature over URL and query."""
    if credentials.get("access_token"):
        return oauth.bearer(str(credentials["access_token"]))
    return oauth.oauth1_header(
        method,
        url,
        consumer_key=str(credentials["consumer_key"]),
        consumer_secret=str(credentials["consumer_secret"]),
        token=str(credentials["token"]),
        token_secret=str(credentials["token_secret"]),
        params=params,
    )


def request(
    call: Call,
    method: str,
    path: str,
    *,
    effect: Effect,
    params: Mapping[str, str] | None = None,
    json: Json = None,
    form: Mapping[str, str] | None = None,
    files: Mapping[str, tuple[str, bytes, str]] | None = None,
) -> Reply:
    """X's answer, whatever its status. ``form`` only beside ``files``: a plain form would have to be signed.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    url = ORIGIN + path
    headers = signed_in(call.credentials, method, url, params)
    return call.http.request(
        method, url, effect=effect, headers=headers, params=params, json=json, form=form, files=files
    )


def data(reply: Reply) -> dict[str, Json]:
    """The ``data`` object of a good answer; empty where the answer is not good or has none."""
    return mapping(mapping(reply.json()).get("data")) if 200 <= reply.status < 300 else {}


class _Problem:
    """The two shapes of X's errors, read alike: problem+json, and a list ``errors``."""

    def __init__(self, reply: Reply) -> None:
        body = mapping(reply.json())
        first = (objects(body.get("errors")) or [{}])[0]
        # Live answers name the type on api.twitter.com, the specification on api.x.com: take the last part.
        kind = body.get("type") or first.get("type") or ""
        self.kind = str(kind).rstrip("/").rsplit("/", 1)[-1].lower()
        self.title = str(body.get("title") or first.get("title") or "")
        detail = body.get("detail") or first.get("message") or first.get("detail") or self.title
        self.detail = str(detail)[:300]
        self.code = first.get("code")

    def says(self, words: str) -> bool:
        return words in f"{self.kind} {self.title} {self.detail}".lower()


def _until(reply: Reply, now: datetime, otherwise: timedelta) -> datetime:
    """When a spent limit is filled again: the latest reset among the limits that have nothing left."""
    spent = [
        until
        for name in _LIMIT_HEADERS
        if reply.headers.get(f"{name}-remaining", "0") == "0"
        and (until := moment(reply.headers.get(f"{name}-reset"), now)) is not None
    ]
    after = moment(reply.headers.get("retry-after"), now)
    return max([*spent, *([after] if after else [])], default=now + otherwise)


def signed_by_a_wrong_clock(credentials: Mapping[str, Json], reply: Reply, code: Json) -> bool:
    """Whether an OAuth 1.0a request was refused for its time: nothing is wrong with the account then.

    X says so (code 135), or its own ``Date`` does. The signature bears this machine's time, not the database's.
    """
    if credentials.get("access_token"):
        return False
    if code == _CODE_TIMESTAMP:
        return True
    try:
        return abs(skew(reply, datetime.now(UTC))) > SIGNATURE_TOLERANCE
    except ClockUnusableError:
        return True


def _limited(reply: Reply, problem: _Problem, now: datetime) -> RateLimited | None:
    if problem.kind == "usage-capped" or problem.says("usagecapexceeded"):
        until = _until(reply, now, CYCLE_WAIT)
        return RateLimited(until, f"X's quota is used up: {problem.detail}", reply.status, "app")
    if reply.status == 429 or problem.code == _CODE_RATE_LIMIT:
        return RateLimited(_until(reply, now, WINDOW), "X's rate limit is reached.", reply.status)
    return None


def _forbidden(reply: Reply, problem: _Problem) -> Rejected | AuthExpired:
    if problem.kind in _RECONNECT_TYPES:
        return AuthExpired(problem.kind.replace("-", "_"), f"X: {problem.detail}", reply.status, permanent=True)
    operator = problem.kind in _OPERATOR_TYPES
    code = problem.kind.replace("-", "_") if operator else "forbidden"
    return Rejected(code, f"X refused: {problem.detail or 'no reason given'}", reply.status, operator_alert=operator)


def refusal(call: Call, reply: Reply) -> Refusal:
    """What an answer other than the hoped-for one means for a request that publishes nothing."""
    problem = _Problem(reply)
    now = call.now()
    limited = _limited(reply, problem, now)
    if limited is not None:
        return limited
    match reply.status:
        case 401 if signed_by_a_wrong_clock(call.credentials, reply, problem.code):
            message = "X refused the signature's time: this machine's clock is wrong, and has to be set."
            return NotSent("clock_wrong", message, 401, CLOCK_WAIT_S)
        case 401:
            # OAuth 1.0a tokens, and those without a refresh token, can only be renewed by a person.
            permanent = not oauth.renewable(call.credentials)
            return AuthExpired("unauthorized", f"X: {problem.detail or 'Unauthorized'}", 401, permanent)
        case 402:
            message = "The X app is out of credits; its owner has to buy more."
            return Rejected("out_of_credits", message, 402, operator_alert=True)
        case 403:
            return _forbidden(reply, problem)
        case 404:
            return Rejected("not_found", f"X does not know it: {problem.detail or 'not found'}", 404)
        case 400 | 413:
            return Rejected("invalid_request", f"X refused: {problem.detail or 'no reason given'}", reply.status)
    return NotSent(
        "server_error" if reply.status >= 500 else "bad_answer",
        f"X answered {reply.status}.",
        reply.status,
        retry_after_s(reply, now),
    )


def refusal_of_post(call: Call, reply: Reply) -> Refusal | Unknown:
    """What an answer without an id means for the call that publishes: in doubt ``Unknown``."""
    problem = _Problem(reply)
    if reply.status == 403 and problem.says("duplicate content"):
        # X refuses a text that it has: often because an earlier try of ours got through.
        return Unknown(
            "duplicate",
            "X says that it has this post already.",
            403,
            # None of ours is there: it is an older post that it means, and it would mean that again.
            if_absent=Rejected(
                "duplicate", "X refuses the text: an older post of the account says the same. Change the text.", 403
            ),
        )
    if reply.status in _WITHOUT_EFFECT:
        return refusal(call, reply)
    return Unknown(
        "server_error" if reply.status >= 500 else "no_id",
        f"X answered {reply.status} without the post's id.",
        reply.status,
        retry_after_s=retry_after_s(reply, call.now()),
    )
