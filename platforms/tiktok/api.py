"""How TikTok is spoken to: its hosts, who asks, and what its refusals mean.

An answer is good where its status is 200 *and* its ``error.code`` is ``ok``: some failures come with 200.
Source of codes and limits: Content Posting API v2, pages as of 2026-08 to 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from json import dumps

from platforms import oauth
from platforms.base import AuthExpired, Call, Effect, Json, NotSent, RateLimited, Rejected, Reply, Unknown
from platforms.outcomes import mapping, moment, retry_after_s

HOST = "open.tiktokapis.com"
UPLOAD_HOST = "open-upload.tiktokapis.com"
ORIGIN = f"https://{HOST}"
AUTHORIZE_URL = "https://www.tiktok.com/v2/auth/authorize/"
TOKEN_PATH = "/v2/oauth/token/"  # noqa: S105 - a path, no secret
PUBLISH = "/v2/post/publish"
SCOPES = ("user.info.basic", "user.info.profile", "video.publish", "video.upload", "video.list")

JSON_TYPE = "application/json; charset=UTF-8"
TIMEOUT_S = 30.0
"""For every call but an upload."""
MINUTE = timedelta(seconds=60)
"""The sliding window of all rate limits; TikTok names no ``Retry-After``."""
CAP_WAIT = timedelta(hours=6)
"""After a daily cap. The day is a rolling one whose end is not told, so we ask again a few times a day."""

_RECONNECT = frozenset({"scope_not_authorized", "scope_permission_missed"})
_CAPS = frozenset({"spam_risk_too_many_posts", "reached_active_user_cap"})
_PENDING = frozenset({"spam_risk_too_many_pending_share"})
"""The inbox is full: says nothing of what is posted directly."""
_POLICY = frozenset({"spam_risk", "spam_risk_text", "spam_risk_user_banned_from_posting"})
_OPERATOR = frozenset({"url_ownership_unverified", "unaudited_client_can_only_post_to_private_accounts"})
_WRONG = frozenset(
    {
        "invalid_param", "invalid_params", "privacy_level_option_mismatch", "app_version_check_failed",
        "invalid_publish_id", "token_not_authorized_for_specified_publish_id", "file_format_check_failed",
        "duration_check_failed", "frame_rate_check_failed", "picture_size_check_failed",
    }
)  # fmt: skip
_WITHOUT_EFFECT = frozenset(
    _RECONNECT | _CAPS | _PENDING | _POLICY | _OPERATOR | _WRONG | {"access_token_invalid", "rate_limit_exceeded"}
)
"""Codes after which nothing was begun. ``internal_error`` is not among them."""

Refusal = Rejected | AuthExpired | RateLimited | NotSent


def post(call: Call, path: str, *, effect: Effect, json: Json = None, params: Mapping[str, str] | None = None) -> Reply:
    """TikTok's answer to a POST, whatever its status.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    # As bytes: TikTok's pages ask for this very content type, with its charset.
    return call.http.request(
        "POST",
        ORIGIN + path,
        effect=effect,
        headers={**oauth.bearer(str(call.credentials["access_token"])), "Content-Type": JSON_TYPE},
        params=params,
        content=b"" if json is None else dumps(json, ensure_ascii=False, separators=(",", ":")).encode(),
        timeout_s=TIMEOUT_S,
    )


def get(call: Call, path: str, params: Mapping[str, str]) -> Reply:
    """TikTok's answer to a GET, whatever its status."""
    headers = oauth.bearer(str(call.credentials["access_token"]))
    return call.http.request(
        "GET", ORIGIN + path, effect=Effect.READ, headers=headers, params=params, timeout_s=TIMEOUT_S
    )


def error_code(reply: Reply) -> str:
    """``error.code``; empty where the answer has none."""
    code = mapping(mapping(reply.json()).get("error")).get("code")
    return code if isinstance(code, str) else ""


def data(reply: Reply) -> dict[str, Json]:
    """The ``data`` of a good answer; empty where the answer is not good or has none."""
    good = reply.status == 200 and error_code(reply) == "ok"
    return mapping(mapping(reply.json()).get("data")) if good else {}


def renewable(credentials: Mapping[str, Json]) -> bool:
    """Whether there is what a refresh needs."""
    return all(credentials.get(name) for name in ("refresh_token", "client_key", "client_secret"))


def refusal(call: Call, reply: Reply) -> Refusal:
    """What an answer other than the hoped-for one means for a request that publishes nothing."""
    code = error_code(reply)
    said = mapping(mapping(reply.json()).get("error")).get("message")
    message = f"TikTok: {str(said or code or 'no reason given')[:300]}"
    now = call.now()
    status = reply.status
    if code == "access_token_invalid" or (status == 401 and code not in _RECONNECT):
        return AuthExpired("access_token_invalid", message, status, permanent=not renewable(call.credentials))
    if code in _RECONNECT:
        return AuthExpired(code, f"{message}; connect the account again and grant what is asked for", status, True)
    if code in _CAPS:
        # For the account alone: the cap on active creators does not stop those who have posted today.
        return RateLimited(now + CAP_WAIT, message, status)
    if code in _PENDING:
        # The account's direct posts do not have to wait for its inbox.
        return RateLimited(now + CAP_WAIT, message, status, scope="post")
    if code == "rate_limit_exceeded" or status == 429:
        until = moment(reply.headers.get("retry-after"), now)
        return RateLimited(max(until or now, now + MINUTE), message, status)
    if code in _WITHOUT_EFFECT:
        return Rejected(code, message, status, operator_alert=code in _OPERATOR)
    if code not in {"", "ok", "internal_error"} and 400 <= status < 500:
        return Rejected(code, message, status)
    return NotSent(
        "server_error" if status >= 500 or code == "internal_error" else "bad_answer",
        f"TikTok answered {status}{f' ({code})' if code else ''}.",
        status,
        retry_after_s(reply, now),
    )


def refusal_of_init(call: Call, reply: Reply) -> Refusal | Unknown:
    """What an answer without a publish_id means for an init that publishes: in doubt ``Unknown``."""
    code = error_code(reply)
    if code in _WITHOUT_EFFECT or (not code and reply.status in {401, 429}):
        return refusal(call, reply)
    failed = reply.status >= 500 or code == "internal_error"
    return Unknown(
        "server_error" if failed else "no_id",
        f"TikTok answered {reply.status}{f' ({code})' if code else ''} without a publish_id.",
        reply.status,
        retry_after_s=retry_after_s(reply, call.now()),
    )
