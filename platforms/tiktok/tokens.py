"""TikTok's tokens: the refresh token changes at each use, and the old one dies at once.

Lifetimes are never assumed: pages of 2026-11 say 2 hours and 180 days, earlier ones 24 hours and 365 days.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from platforms.base import AuthExpired, Call, Effect, Json, NotSent, RateLimited, Refreshed
from platforms.oauth import FINAL, expires_at, is_final
from platforms.outcomes import mapping, moment, retry_after_s, utc
from platforms.tiktok import api


def refresh(call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
    """Exchanges the refresh token; one request, no retry.

    :raises platforms.errors.TransportError: no whole answer came. The old token may be spent then, and the new one
        lost: the next try is told ``invalid_grant``.
    """
    old = call.credentials
    now = call.now()
    spent = utc(old.get("refresh_expires_at"))
    if not api.renewable(old) or (spent is not None and spent <= now):
        until = expires_at(old)
        if until is not None and until > now:
            return None
        return AuthExpired(
            "not_renewable", "The access has run out and cannot be renewed; connect it again.", None, True
        )
    form = {
        "client_key": str(old["client_key"]),
        "client_secret": str(old["client_secret"]),
        "grant_type": "refresh_token",
        "refresh_token": str(old["refresh_token"]),
    }
    reply = call.http.request(
        "POST", api.ORIGIN + api.TOKEN_PATH, effect=Effect.PREPARES, form=form, timeout_s=api.TIMEOUT_S
    )
    answer = mapping(reply.json())
    if reply.status == 200 and isinstance(answer.get("access_token"), str) and answer["access_token"]:
        return _renewed(answer, old, now)
    # Flat, unlike the errors of all other calls; but a gateway may answer in their shape.
    code = answer.get("error") if isinstance(answer.get("error"), str) else api.error_code(reply)
    if reply.status == 429 or code == "rate_limit_exceeded":
        until = moment(reply.headers.get("retry-after"), now)
        return RateLimited(until or now + api.MINUTE, "Too many token requests.", reply.status, scope="app")
    # TikTok sends errors that another try cannot mend with 200 as well.
    if (code in FINAL and reply.status == 200) or is_final(reply):
        why = str(answer.get("error_description") or code or "no reason given")[:200]
        return AuthExpired(
            str(code or "refresh_refused"), f"TikTok did not renew the access: {why}", reply.status, True
        )
    message = f"TikTok's token endpoint answered {reply.status} without a token."
    return NotSent("refresh_failed", message, reply.status, retry_after_s(reply, now))


def _renewed(answer: Mapping[str, Json], old: Mapping[str, Json], now: datetime) -> Refreshed:
    new = {**old, "access_token": answer["access_token"]}
    for name in ("refresh_token", "scope", "open_id"):
        if isinstance(answer.get(name), str) and answer[name]:
            new[name] = answer[name]
    until = _after(answer.get("expires_in"), now)
    new["expires_at"] = until.isoformat() if until else None
    ends = _after(answer.get("refresh_expires_in"), now)
    if ends is not None:
        new["refresh_expires_at"] = ends.isoformat()
    return Refreshed(new, until)


def _after(seconds: Json, now: datetime) -> datetime | None:
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
    return now + timedelta(seconds=float(seconds)) if good else None
