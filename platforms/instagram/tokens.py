"""Instagram's tokens: those of Instagram Login live 60 days and renew themselves; a Page's has no end.

Renewing needs a token that is at least 24 hours old and has not run out; there is no refresh token. Source: Instagram
Platform, refresh access token reference, 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from platforms.base import AuthExpired, Call, Effect, Json, NotSent, RateLimited, Refreshed, Rejected
from platforms.instagram import api
from platforms.oauth import expires_at
from platforms.outcomes import retry_after_s, utc

AHEAD = timedelta(days=10)
"""How long before its end a token shall be renewed: day 50 of 60, since one that has run out is lost."""
YOUNGEST = timedelta(hours=24)
LIFE = timedelta(days=60)
"""Of a long-lived token. Source: Instagram Platform, refresh access token reference, 2026."""
REFRESH_URL = f"https://{api.HOSTS['instagram']}/refresh_access_token"


def ends_at(credentials: Mapping[str, Json], now: datetime) -> datetime | None:
    """When the token runs out; None for a Page's.

    Of a token that was added without its end nothing is known, and one that is not renewed in time is lost: it is
    given such an end that it is renewed in a day, when it is old enough in any case. Renewing tells the true end.
    """
    until = expires_at(credentials)
    if until is not None or api.login_of(credentials) == "facebook":
        return until
    issued = utc(credentials.get("issued_at"))
    return issued + LIFE if issued is not None else now + YOUNGEST + AHEAD


def refresh(call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
    """The same access for another 60 days; None where there is nothing to renew, or not yet.

    The old token stays good, so an answer that was lost costs nothing.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    old, now = call.credentials, call.now()
    until = expires_at(old)
    if until is not None and until <= now:
        return AuthExpired("token_expired", "The access has run out; connect the account again.", None, True)
    issued = utc(old.get("issued_at"))
    if api.login_of(old) == "facebook" or (issued is not None and issued + YOUNGEST > now):
        return None
    query = {"grant_type": "ig_refresh_token", "access_token": str(old["access_token"])}
    reply = call.http.request("GET", REFRESH_URL, effect=Effect.PREPARES, params=query, timeout_s=api.TIMEOUT_S)
    answer = api.good(reply)
    token, seconds = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(token, str) or not token:
        return _refused(api.refusal(call, reply), retry_after_s(reply, now))
    ends = now + (timedelta(seconds=seconds) if isinstance(seconds, int) and seconds > 0 else LIFE)
    new = {**old, "access_token": token, "issued_at": now.isoformat(), "expires_at": ends.isoformat()}
    if isinstance(answer.get("permissions"), str) and answer["permissions"]:
        new["scope"] = answer["permissions"]
    return Refreshed(new, ends)


def _refused(refused: api.Refusal, after_s: float | None) -> AuthExpired | RateLimited | NotSent:
    """A token that Instagram does not renew is dead; a server in trouble says nothing about it."""
    if isinstance(refused, AuthExpired):
        return AuthExpired(refused.code, refused.message, refused.http_status, permanent=True)
    if not isinstance(refused, Rejected):
        return refused
    return NotSent("refresh_failed", refused.message, refused.http_status, after_s)
