"""Requests of an OAuth session: each with a proof of the session's key, and with the server's nonce.

A request that is refused for its nonce alone (``use_dpop_nonce``) is sent once more with the nonce that the refusal
brought: RFC 9449, 8 and 9, has the server refuse it while it checks the proof, before the request is processed, and
asks for just that repetition. The call that publishes is never repeated, all the same: a mark says that its first
byte has left, and at most one does for each intent. It gets a fresh nonce beforehand by a request that only reads;
where its nonce is refused after all, that is ``NotSent``, and the next intent tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from platforms.base import Call, Effect, Http, Json, Reply
from platforms.bluesky import dpop
from platforms.bluesky.body import FileBody
from platforms.outcomes import mapping

TIMEOUT_S = 30.0
LARGE = 65_536
"""Bytes of a body from which on a request that only reads is the cheaper way to a nonce."""
FRESH = timedelta(seconds=60)
"""A nonce of this age is taken for the rest of the publishing call: a third of what the reference PDS allows."""


def is_oauth(credentials: Mapping[str, Json]) -> bool:
    """Whether the account was connected by OAuth."""
    return bool(credentials.get("dpop_key"))


def key_of(credentials: Mapping[str, Json]) -> dict[str, Json]:
    """The session's private key."""
    return mapping(credentials.get("dpop_key"))


def send(
    call: Call,
    method: str,
    url: str,
    *,
    effect: Effect,
    token: str,
    headers: Mapping[str, str],
    params: Mapping[str, str] | None = None,
    json: Json = None,
    content: bytes | FileBody | None = None,
    timeout_s: float | None = None,
) -> Reply:
    """The answer to one request with the access token.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    jwk = key_of(call.credentials)
    if effect is Effect.PUBLISHES or (content is not None and len(content) > LARGE):
        # Before a file, since a refusal for the nonce would have it sent twice.
        freshen(call, url, token)
    publishes = effect is Effect.PUBLISHES
    for last in (publishes, True):
        now = call.now()
        if isinstance(content, FileBody):
            content.begin()
        proven = dpop.proof(jwk, method, url, now=now, nonce=dpop.NONCES.get(jwk, url, now), token=token)
        reply = call.http.request(
            method,
            url,
            effect=effect,
            headers={**headers, "Authorization": f"DPoP {token}", "DPoP": proven},
            params=params,
            json=json,
            content=content,
            timeout_s=timeout_s,
        )
        dpop.NONCES.keep(jwk, url, reply, call.now())
        if last or not dpop.wants_nonce(reply):
            break
    return reply


def freshen(call: Call, url: str, token: str) -> None:
    """Sees to it that the nonce for this server is fresh; asks by a request that only reads, where it is not.

    What that request is answered does not matter, since every answer brings a nonce: also a refusal.
    """
    jwk, now = key_of(call.credentials), call.now()
    if dpop.NONCES.get(jwk, url, now, younger_than=FRESH) is not None:
        return
    asked = f"{url.partition('/xrpc/')[0]}/xrpc/com.atproto.server.getSession"
    nonce = dpop.NONCES.get(jwk, asked, now)
    proven = dpop.proof(jwk, "GET", asked, now=now, nonce=nonce, token=token)
    headers = {"Authorization": f"DPoP {token}", "DPoP": proven}
    reply = call.http.request("GET", asked, effect=Effect.READ, headers=headers)
    dpop.NONCES.keep(jwk, asked, reply, call.now())


def post_form(
    http: Http, now: Callable[[], datetime], jwk: Mapping[str, Json], url: str, form: Mapping[str, str]
) -> Reply:
    """The answer of an authorization server to a form, with a proof; once more where it asks for its nonce.

    A signed assertion in the form is good for both: it has a life of its own, and the first was not looked at.

    :raises platforms.errors.TransportError: no whole answer came.
    """
    for last in (False, True):
        at = now()
        proven = dpop.proof(jwk, "POST", url, now=at, nonce=dpop.NONCES.get(jwk, url, at))
        reply = http.request(
            "POST", url, effect=Effect.PREPARES, headers={"DPoP": proven}, form=form, timeout_s=TIMEOUT_S
        )
        dpop.NONCES.keep(jwk, url, reply, now())
        if last or not dpop.wants_nonce(reply):
            break
    return reply
