"""OAuth as X and Pinterest share it: refreshing OAuth 2.0 tokens, signing OAuth 1.0a requests."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from oauthlib.oauth1 import Client as OAuth1Client

from platforms.base import AuthExpired, Call, Effect, Json, NotSent, RateLimited, Refreshed, Reply
from platforms.outcomes import mapping, moment, retry_after_s, utc

TOKEN_WAIT = timedelta(minutes=1)
"""How long a 429 of a token endpoint is waited for where it does not say."""

_REFUSED = frozenset({400, 401, 403})
"""A token endpoint answers one of these to a dead token or to wrong client credentials (RFC 6749, 5.2)."""
FINAL = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "access_denied",
    }
)  # fmt: skip
"""Error codes that another try cannot mend (RFC 6749, 4.1.2.1 and 5.2)."""
_PASSING = frozenset({"server_error", "temporarily_unavailable", "slow_down"})
"""Error codes that say to try again (RFC 6749, 4.1.2.1; RFC 8628, 3.5), with whatever status."""


def bearer(token: str) -> dict[str, str]:
    """The header of an OAuth 2.0 request."""
    return {"Authorization": f"Bearer {token}"}


def basic(client_id: str, client_secret: str) -> dict[str, str]:
    """The header by which a confidential client names itself."""
    pair = f"{client_id}:{client_secret}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


def expires_at(credentials: Mapping[str, Json]) -> datetime | None:
    """When the access token stops working (UTC); None where the credentials do not say."""
    return utc(credentials.get("expires_at"))


def renewable(credentials: Mapping[str, Json]) -> bool:
    """Whether there is what a refresh needs: a refresh token and the client that it belongs to."""
    return bool(credentials.get("refresh_token")) and bool(credentials.get("client_id"))


def refresh(
    call: Call, *, url: str, public_client: bool = False
) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
    """Exchanges the refresh token for new ones; one request, no retry.

    :param public_client: True lets a client without a secret name itself in the form instead of by Basic.
    :returns: the whole new credentials. None where they cannot be renewed but have not run out yet.
        ``AuthExpired`` is always permanent here: only a person can connect the account again. After
        ``NotSent`` the old token may be used once more.
    :raises platforms.errors.TransportError: no whole answer came. A refresh token that works only once may be
        spent then: the caller must look whether the next try is told ``invalid_grant``.
    """
    old = call.credentials
    secret = str(old.get("client_secret") or "")
    if not renewable(old) or not (secret or public_client):
        until = expires_at(old)
        if until is not None and until > call.now():
            return None
        return AuthExpired(
            "not_renewable",
            "The access token has run out and there is no refresh token with its client to renew it.",
            permanent=True,
        )
    client_id = str(old["client_id"])
    form = {"grant_type": "refresh_token", "refresh_token": str(old["refresh_token"])}
    if secret:
        headers = basic(client_id, secret)
    else:
        headers = {}
        form["client_id"] = client_id
    reply = call.http.request("POST", url, effect=Effect.PREPARES, headers=headers, form=form)
    return _read(reply, old, call.now())


def _read(reply: Reply, old: Mapping[str, Json], now: datetime) -> Refreshed | AuthExpired | RateLimited | NotSent:
    answer = mapping(reply.json())
    token = answer.get("access_token")
    if 200 <= reply.status < 300 and isinstance(token, str) and token:
        return _renewed(answer, token, old, now)
    if reply.status == 429:
        until = moment(reply.headers.get("retry-after"), now) or now + TOKEN_WAIT
        return RateLimited(until, "Too many token requests.", reply.status, scope="app")
    if is_final(reply):
        code = answer.get("error")
        # The description is the platform's own text; the request's secrets are in none of these fields.
        why = answer.get("error_description") or answer.get("message") or "no reason given"
        return AuthExpired(
            code if isinstance(code, str) and code else "refresh_refused",
            f"The platform refused to renew the access: {str(why)[:200]}",
            reply.status,
            permanent=True,
        )
    return NotSent(
        "refresh_failed",
        f"The token endpoint answered {reply.status} without a token.",
        reply.status,
        retry_after_s(reply, now),
    )


def is_final(reply: Reply) -> bool:
    """Whether a token endpoint itself refused for good, so that only a person can connect the account again.

    What stands in front of it (an edge, a firewall) answers 403, or an HTML page, to the healthiest of tokens.
    """
    answer = mapping(reply.json())
    code = str(answer.get("error") or "")
    if code in FINAL:
        return reply.status in _REFUSED
    # Or not in the words of RFC 6749: Pinterest has a number and a message.
    says = code not in _PASSING and any(answer.get(name) for name in ("error", "code", "message"))
    return reply.status in {400, 401} and says


def _renewed(answer: Mapping[str, Json], token: str, old: Mapping[str, Json], now: datetime) -> Refreshed:
    new = {**old, "access_token": token}
    if isinstance(answer.get("refresh_token"), str) and answer["refresh_token"]:
        # Absent means that the old one stays good.
        new["refresh_token"] = answer["refresh_token"]
    if isinstance(answer.get("scope"), str):
        new["scope"] = answer["scope"]
    seconds = answer.get("expires_in")
    until = None
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0:
        until = now + timedelta(seconds=float(seconds))
    new["expires_at"] = until.isoformat() if until else None
    return Refreshed(new, until)


def oauth1_header(
    method: str,
    url: str,
    *,
    consumer_key: str,
    consumer_secret: str,
    token: str,
    token_secret: str,
    params: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The ``Authorization`` header of an OAuth 1.0a request (HMAC-SHA1).

    JSON and multipart bodies are no part of what is signed (RFC 5849, 3.4.1.3), so they are not asked for.

    :param params: the query, as it will be sent beside ``url``.
    """
    signer = OAuth1Client(
        consumer_key,
        client_secret=consumer_secret,
        resource_owner_key=token,
        resource_owner_secret=token_secret,
    )
    target = f"{url}?{urlencode(params, quote_via=quote)}" if params else url
    _, headers, _ = signer.sign(target, http_method=method)
    return {"Authorization": str(headers["Authorization"])}
