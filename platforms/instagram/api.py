"""How Instagram is spoken to: its two hosts, who asks, and what its refusals mean.

Both logins have the same calls on different hosts. An error is told by its subcode first, then by its code, and only
then by its HTTP status: the documented rows come with status 400, also those that may be tried again.
Source: Instagram error codes, 2026-06; content publishing guide, 2026-06.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

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
from platforms.instagram.models import API_VERSION
from platforms.outcomes import mapping, objects, retry_after_s

HOSTS = {"instagram": "graph.instagram.com", "facebook": "graph.facebook.com"}
UPLOAD_HOST = "rupload.facebook.com"
TOKEN_HOST = "api.instagram.com"  # noqa: S105 - a host, no secret
AUTHORIZE_URLS = {
    "instagram": "https://www.instagram.com/oauth/authorize",
    "facebook": f"https://www.facebook.com/{API_VERSION}/dialog/oauth",
}
SCOPES = {
    "instagram": ("instagram_business_basic", "instagram_business_content_publish"),
    "facebook": ("instagram_basic", "instagram_content_publish", "pages_show_list", "pages_read_engagement"),
}
"""What posting needs."""
COMMENT_SCOPES = {"instagram": "instagram_business_manage_comments", "facebook": "instagram_manage_comments"}
"""What a first comment needs besides; asked for when an account is connected."""

TIMEOUT_S = 30.0
USAGE_WAIT = timedelta(minutes=15)
"""After a rate limit that does not say when it ends."""
QUOTA_WAIT = timedelta(hours=1)
"""After the limit of posts in 24 hours. Its window rolls on, and its end is not told: asked again hourly."""
POLICY_WAIT = timedelta(hours=12)
"""After a restriction for suspected spam: hours to days, and trying makes it longer."""
AGAIN_S = 60.0

NOT_READY, NOT_FOUND, NOT_YET, EXPIRED = 2207027, 2207006, 2207008, 2207020
DAILY_LIMIT, POLICY, RESTRICTED = 2207042, 2207051, 2207050
NEW_CONTAINER = frozenset({EXPIRED, 2207032, 2207053})
"""The container is of no use; another may be. 2207032: not created; 2207053: the upload failed."""
_RETRY = frozenset({2207001, 2207003, 2207082})
_PERMANENT = {
    2207004: "image_too_large", 2207005: "image_format", 2207009: "ratio", 2207010: "text_too_long",
    2207023: "media_type", 2207026: "video_format", 2207028: "carousel_count", 2207035: "product_tags",
    2207036: "product_tags", 2207037: "product_tags", 2207040: "too_many_tags", 2207052: "url_not_fetchable",
    2207057: "thumb_offset", 2207076: "media_failed", 2207077: "media_failed", 2207081: "trial_not_allowed",
}  # fmt: skip
_DEAD_TOKEN = frozenset({458, 459, 460, 463, 464, 492})
"""Subcodes of code 190 that renewing cannot mend: app removed, checkpoint, password changed, run out ..."""
_LIMIT_CODES = frozenset({4, 17, 32, 613, *range(80000, 80015)})
_APP_LIMIT = 4
_TRANSIENT_CODES = frozenset({1, 2})
PERMISSION_MISSING = "permission_missing"
"""The code of the outcome where the access lacks a permission."""
_SCOPE_CODES = frozenset({3, 10, *range(200, 300)})
_TOKEN_CODES = frozenset({102, 190})
_BLOCKED = 368

Refusal = Rejected | AuthExpired | RateLimited | NotSent


# --- Requests -----------------------------------------------------------------------------------------------


def login_of(credentials: Mapping[str, Json]) -> str:
    """``instagram`` or ``facebook``."""
    return "facebook" if credentials.get("login") == "facebook" else "instagram"


def version(credentials: Mapping[str, Json]) -> str:
    """The Graph version: the newest that this release knows, unless the credentials name another."""
    return str(credentials.get("api_version") or API_VERSION)


def origin(credentials: Mapping[str, Json]) -> str:
    """Where the calls of this login go, with the Graph version."""
    return f"https://{HOSTS[login_of(credentials)]}/{version(credentials)}"


def request(
    call: Call,
    method: str,
    path: str,
    *,
    effect: Effect,
    params: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> Reply:
    """Instagram's answer, whatever its status. ``path`` has no version.

    The token goes as ``access_token``, as in every reference of an endpoint.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    query = {**(params or {}), "access_token": str(call.credentials["access_token"])}
    url = origin(call.credentials) + path
    return call.http.request(method, url, effect=effect, params=query, form=form, timeout_s=TIMEOUT_S)


def good(reply: Reply) -> dict[str, Json]:
    """The object of a good answer; empty where the answer is not good or is none."""
    answer = mapping(reply.json())
    return answer if 200 <= reply.status < 300 and "error" not in answer else {}


def id_of(reply: Reply) -> str | None:
    """``id`` of a good answer, as text: it may come as a number beyond 2^53."""
    found = good(reply).get("id")
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) and found else None


def ig_user(call: Call) -> str | None:
    """The id to publish with, as far as it is known."""
    found = call.credentials.get("ig_user_id") or call.account.remote_id or call.checkpoint.get("ig_user")
    return str(found) if found else None


def token_trouble(call: Call) -> Refusal | None:
    """Whether the token itself is at fault: asks whose it is; None: it is good.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    by_page = login_of(call.credentials) == "facebook"
    path, fields = (f"/{ig_user(call)}", "id") if by_page else ("/me", "user_id")
    reply = request(call, "GET", path, effect=Effect.READ, params={"fields": fields})
    return None if good(reply) else refusal(call, reply)


# --- Refusals -----------------------------------------------------------------------------------------------


class Problem:
    """An error as Graph words it."""

    def __init__(self, reply: Reply) -> None:
        error = mapping(mapping(reply.json()).get("error"))
        self.code = _number(error.get("code"))
        self.subcode = _number(error.get("error_subcode"))
        self.transient = error.get("is_transient") is True
        said = error.get("error_user_msg") or error.get("message") or error.get("error_user_title")
        self.message = f"Instagram: {str(said or f'status {reply.status}')[:300]}"


def _number(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _usage(reply: Reply) -> Iterator[float]:
    """Minutes until access comes back, from all usage headers that say so."""
    for name in ("x-business-use-case-usage", "x-app-usage"):
        try:
            told = json.loads(reply.headers.get(name, ""))
        except ValueError:
            continue
        rows = [row for entry in mapping(told).values() for row in objects(entry)] or [mapping(told)]
        for row in rows:
            minutes = row.get("estimated_time_to_regain_access")
            if isinstance(minutes, int | float) and not isinstance(minutes, bool) and 0 < minutes <= 7 * 24 * 60:
                yield float(minutes)


def _limited(reply: Reply, now: datetime, message: str, *, app: bool) -> RateLimited:
    minutes = max(_usage(reply), default=0.0)
    after = retry_after_s(reply, now) or 0.0
    wait = max(timedelta(minutes=minutes), timedelta(seconds=after)) or USAGE_WAIT
    return RateLimited(now + wait, message, reply.status, "app" if app else "account")


def media_refusal(subcode: int | None, message: str, status: int | None, now: datetime) -> Refusal | None:
    """What a subcode of the documented table means; None: it is none of them."""
    if subcode in _PERMANENT:
        return Rejected(_PERMANENT[subcode], message, status)
    match subcode:
        case None:
            return None
        case 2207051:
            return RateLimited(now + POLICY_WAIT, message, status)
        case 2207042:
            return RateLimited(now + QUOTA_WAIT, message, status)
        case 2207050:
            hint = "look into the app, then connect the account again"
            return AuthExpired("account_restricted", f"{message} ({hint})", status, True)
        case 2207027:
            return NotSent("container_not_ready", message, status, AGAIN_S / 2)
        case 2207006:
            return NotSent("container_not_found", message, status, AGAIN_S)
        case 2207008:
            return NotSent("container_unknown", message, status, AGAIN_S)
    if subcode in NEW_CONTAINER:
        return NotSent("container_failed", message, status)
    return NotSent("server_error", message, status) if subcode in _RETRY else None


def refusal(call: Call, reply: Reply) -> Refusal:
    """What an answer other than the hoped-for one means for a request that publishes nothing."""
    problem = Problem(reply)
    now, status = call.now(), reply.status
    known = media_refusal(problem.subcode, problem.message, status, now)
    if known is not None:
        return known
    code = problem.code
    if code in _TOKEN_CODES or (code is None and status == 401):
        # Instagram Login may renew its token; nothing renews a Page's.
        lasting = problem.subcode in _DEAD_TOKEN or login_of(call.credentials) == "facebook"
        return AuthExpired("token_refused", problem.message, status, permanent=lasting)
    if code in _LIMIT_CODES or (code is None and status == 429):
        return _limited(reply, now, problem.message, app=code == _APP_LIMIT)
    if code == _BLOCKED:
        return RateLimited(now + POLICY_WAIT, problem.message, status)
    if problem.transient or code in _TRANSIENT_CODES or status >= 500:
        return NotSent("server_error", problem.message, status, retry_after_s(reply, now))
    if code in _SCOPE_CODES:
        return AuthExpired(PERMISSION_MISSING, problem.message, status, permanent=True)
    if 400 <= status < 500:
        return Rejected(f"graph_{code}" if code is not None else "invalid_request", problem.message, status)
    return NotSent("bad_answer", f"Instagram answered {status} without what was asked for.", status)


def without_effect(reply: Reply) -> bool:
    """Whether a refusal of ``media_publish`` is listed as one after which nothing was published.

    Server errors are not, and neither is any refusal that the table does not have: the container's status tells.
    """
    problem = Problem(reply)
    if problem.transient or reply.status >= 500 or problem.subcode in _RETRY | NEW_CONTAINER - {EXPIRED}:
        return False
    listed = {NOT_READY, NOT_FOUND, NOT_YET, EXPIRED, DAILY_LIMIT, POLICY, RESTRICTED, *_PERMANENT}
    codes = _TOKEN_CODES | _LIMIT_CODES | _SCOPE_CODES | {_BLOCKED}
    silent = problem.code is None and reply.status in {401, 429}
    return problem.subcode in listed or problem.code in codes or silent


def refusal_of_publish(call: Call, reply: Reply) -> Refusal | Unknown:
    """What an answer without an id means for ``media_publish``: in doubt ``Unknown``."""
    if without_effect(reply):
        return refusal(call, reply)
    failed = reply.status >= 500 or Problem(reply).transient
    message = f"Instagram answered {reply.status} without the post's id. {Problem(reply).message}"
    code = "server_error" if failed else "no_id"
    return Unknown(code, message, reply.status, retry_after_s=retry_after_s(reply, call.now()))
