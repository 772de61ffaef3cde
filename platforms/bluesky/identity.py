"""Who an account is, told by itself: handle, DID, the server of its records, and who may authorize for it.

Each step is checked against the next, as the specification demands: the DID's document has to claim the handle, and
the server that it names has to name the authorization server, whose own metadata has to say the same.
Source: atproto specifications, OAuth, Handle and DID, 2026.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from platforms.base import Effect, Http, Json, NotSent, Rejected, Reply
from platforms.hosts import is_loopback
from platforms.outcomes import mapping, objects

PLC = "https://plc.directory"
TIMEOUT_S = 20.0
_HANDLE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:[a-z0-9.-]+(?:%3A\d+)?)")
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "pushed_authorization_request_endpoint")

Problem = Rejected | NotSent


@dataclass(frozen=True)
class Person:
    """An account as its own records say."""

    did: str
    handle: str
    """Empty where the document claims none."""
    pds: str
    """Origin of the server that keeps the records."""


@dataclass(frozen=True)
class Authority:
    """The authorization server of an account."""

    issuer: str
    authorize_url: str
    token_url: str
    par_url: str


def origin_of(value: Json, *, trusted: str | None = None) -> str | None:
    """``value`` as an origin; None where it is none that a stranger may name.

    :param trusted: an origin that the person named: it alone may be on this machine, or without TLS.
    """
    if not isinstance(value, str):
        return None
    parts = urlsplit(value.strip())
    host = (parts.hostname or "").lower()
    plain = f"{parts.scheme}://{parts.netloc.lower()}"
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or not host:
        return None
    if trusted is not None and plain == trusted:
        return plain
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return plain if parts.scheme == "https" and "." in host and not is_loopback(host) else None
    return None  # a bare address is nobody's name


def _object(reply: Reply) -> dict[str, Json]:
    """Metadata has to come with 200, not with another good status (specification)."""
    return mapping(reply.json()) if reply.status == 200 else {}


def _no_answer(what: str, reply: Reply) -> Problem:
    if reply.status >= 500 or reply.status == 429:
        return NotSent("lookup_failed", f"{what} could not be looked up: status {reply.status}.", reply.status)
    return Rejected("lookup_failed", f"{what} could not be found (status {reply.status}).", reply.status)


def find(http: Http, name: str, *, resolver: str, trusted: str | None) -> Person | Problem:
    """The account of a handle or a DID.

    :param resolver: origin of the server that is asked which DID a handle leads to.
    :param trusted: the server that the person named, if they did.
    """
    wanted = name.strip().removeprefix("@").lower() if not name.startswith("did:") else name.strip()
    if _DID.fullmatch(wanted):
        return document(http, wanted, trusted=trusted)
    if not _HANDLE.fullmatch(wanted):
        return Rejected("invalid_handle", f"{name!r} is neither a handle (such as acme.bsky.social) nor a DID.")
    url = f"{resolver}/xrpc/com.atproto.identity.resolveHandle"
    reply = http.request("GET", url, effect=Effect.READ, params={"handle": wanted}, timeout_s=TIMEOUT_S)
    did = _object(reply).get("did")
    if not isinstance(did, str) or not _DID.fullmatch(did):
        return _no_answer(f"The handle {wanted}", reply)
    person = document(http, did, trusted=trusted)
    if isinstance(person, Person) and person.handle != wanted:
        return Rejected("handle_not_claimed", f"{wanted} leads to {did}, whose document does not claim that handle.")
    return person


def document(http: Http, did: str, *, trusted: str | None) -> Person | Problem:
    """What a DID's document says."""
    if did.startswith("did:web:"):
        host = did.removeprefix("did:web:").replace("%3A", ":")
        base = origin_of(f"https://{host}")
        url = f"{base}/.well-known/did.json" if base else None
    else:
        url = f"{PLC}/{quote(did, safe=':')}"
    if url is None:
        return Rejected("invalid_did", f"{did} names no public server.")
    reply = http.request("GET", url, effect=Effect.READ, timeout_s=TIMEOUT_S)
    found = _object(reply)
    if found.get("id") != did:
        return _no_answer(f"The document of {did}", reply)
    names = _texts(found.get("alsoKnownAs"))
    handles = [one.removeprefix("at://").lower() for one in names if one.startswith("at://")]
    for service in objects(found.get("service")):
        if str(service.get("id") or "").endswith("#atproto_pds"):
            pds = origin_of(service.get("serviceEndpoint"), trusted=trusted)
            if pds is not None:
                return Person(did, handles[0] if handles else "", pds)
            return Rejected("invalid_pds", f"The document of {did} names a server that cannot be used.")
    return Rejected("invalid_pds", f"The document of {did} names no server of records.")


def authority(http: Http, pds: str, *, trusted: str | None) -> Authority | Problem:
    """Who authorizes for the accounts of a server of records; checked against its own metadata."""
    reply = http.request("GET", f"{pds}/.well-known/oauth-protected-resource", effect=Effect.READ, timeout_s=TIMEOUT_S)
    named = _texts(_object(reply).get("authorization_servers"))
    issuer = origin_of(named[0], trusted=trusted) if len(named) == 1 else None
    if issuer is None:
        return _no_answer(f"The authorization server of {pds}", reply)
    url = f"{issuer}/.well-known/oauth-authorization-server"
    reply = http.request("GET", url, effect=Effect.READ, timeout_s=TIMEOUT_S)
    found = _object(reply)
    if not found:
        return _no_answer(f"The metadata of {issuer}", reply)
    lacking = _lacking(found, issuer)
    if lacking:
        return Rejected("unsuitable_server", f"{issuer} is no authorization server for accounts: {lacking}.")
    return Authority(*(str(found[name]) for name in _NEEDED))


def _lacking(found: dict[str, Json], issuer: str) -> str:
    """What the metadata lacks of what the profile demands; empty: nothing."""
    if found.get("issuer") != issuer:
        return "it names another issuer"
    for name in _NEEDED[1:]:
        # Codes, verifiers and refresh tokens go there: to the issuer itself and nobody else.
        parts = urlsplit(str(found.get(name) or ""))
        if f"{parts.scheme}://{parts.netloc}" != issuer or not parts.path:
            return f"{name} is not on its own host"
    for name, value in (
        ("scopes_supported", "atproto"),
        ("dpop_signing_alg_values_supported", "ES256"),
        ("code_challenge_methods_supported", "S256"),
    ):
        if value not in _texts(found.get(name)):
            return f"{name} does not have {value}"
    if found.get("authorization_response_iss_parameter_supported") is not True:
        return "its answers do not name the issuer"
    return ""


def _texts(value: Json) -> Sequence[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
