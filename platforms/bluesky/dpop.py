"""DPoP (RFC 9449) as the AT Protocol demands it: a key of its own for each session, a signed proof for each request.

Signed with ``cryptography``, which the project has anyway: an ES256 token is twenty lines of it, and a library for
all of JOSE would be a further dependency for one algorithm.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from platforms.base import Json, Reply
from platforms.outcomes import mapping

_SIZE = 32
"""Bytes of a coordinate on P-256."""
NONCE_LIFE = timedelta(minutes=3)
"""Longer than this a server need not take a nonce: at most 5 minutes by the specification (atproto OAuth, 2026),
3 minutes on the reference PDS."""
_MOST_NONCES = 4_096


class KeyProblem(ValueError):
    """What is stored is no private key on P-256."""


def b64(data: bytes) -> str:
    """base64url without padding, as JOSE writes everything."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(value: Json) -> bytes:
    if not isinstance(value, str):
        raise KeyProblem("a part of the key is missing")
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


def new_key() -> dict[str, Json]:
    """A fresh private key for ES256, as a JWK."""
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.private_numbers()
    public = numbers.public_numbers
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": b64(public.x.to_bytes(_SIZE, "big")),
        "y": b64(public.y.to_bytes(_SIZE, "big")),
        "d": b64(numbers.private_value.to_bytes(_SIZE, "big")),
    }


def private_of(jwk: Mapping[str, Json]) -> ec.EllipticCurvePrivateKey:
    """The key that a JWK holds. :raises KeyProblem: it is no private key on P-256; never repeats it."""
    try:
        if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
            raise KeyProblem("only keys on P-256 are used")
        made = ec.derive_private_key(int.from_bytes(_bytes(jwk.get("d")), "big"), ec.SECP256R1())
        public = made.public_key().public_numbers()
        named = tuple(int.from_bytes(_bytes(jwk.get(name)), "big") for name in ("x", "y"))
    except ValueError as error:
        words = str(error) if isinstance(error, KeyProblem) else "it cannot be read"
        raise KeyProblem(f"This is no private key for ES256: {words}.") from None
    if named != (public.x, public.y):
        raise KeyProblem("This is no private key for ES256: its two halves do not belong together.")
    return made


def public_of(jwk: Mapping[str, Json]) -> dict[str, Json]:
    """The half that may be shown. :raises KeyProblem: there is none."""
    try:
        return {name: jwk[name] for name in ("kty", "crv", "x", "y")}
    except KeyError:
        raise KeyProblem("This is no private key for ES256: a part of it is missing.") from None


def thumbprint(jwk: Mapping[str, Json]) -> str:
    """RFC 7638: the same for the same key."""
    words = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return b64(hashlib.sha256(words.encode()).digest())


def sign(jwk: Mapping[str, Json], head: Mapping[str, Json], claims: Mapping[str, Json]) -> str:
    """A JWT signed with ES256. ``head`` beside ``alg``."""
    signed = ".".join(
        b64(json.dumps(part, separators=(",", ":")).encode()) for part in ({**head, "alg": "ES256"}, claims)
    )
    r, s = decode_dss_signature(private_of(jwk).sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    # JOSE wants the two numbers side by side, not in DER (RFC 7518, 3.4).
    return f"{signed}.{b64(r.to_bytes(_SIZE, 'big') + s.to_bytes(_SIZE, 'big'))}"


def target(url: str) -> str:
    """``htu``: the address without query and fragment (RFC 9449, 4.2)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def proof(
    jwk: Mapping[str, Json], method: str, url: str, *, now: datetime, nonce: str | None, token: str | None = None
) -> str:
    """The value of the header ``DPoP`` for one request; never to be used for a second one.

    :param token: the access token that goes with it, to a server of records; none at the authorization server.
    """
    claims: dict[str, Json] = {
        "jti": secrets.token_urlsafe(24),
        "htm": method,
        "htu": target(url),
        "iat": int(now.timestamp()),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    if token is not None:
        claims["ath"] = b64(hashlib.sha256(token.encode()).digest())
    return sign(jwk, {"typ": "dpop+jwt", "jwk": public_of(jwk)}, claims)


# --- Nonces -------------------------------------------------------------------------------------------------


class Nonces:
    """The latest nonce of each server for each session, in this process's memory.

    They live for minutes, so keeping them anywhere else would cost a write for each request and gain nothing: without
    one a server says which it wants. Servers of records and of authorization have their own.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[str, datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, jwk: Mapping[str, Json], url: str, now: datetime, *, younger_than: timedelta = NONCE_LIFE
    ) -> str | None:
        """The nonce to send to that address's server; None where none is known, or only one that is too old."""
        with self._lock:
            value, at = self._known.get(self._key(jwk, url), (None, now))
        return value if value is not None and now - at < younger_than else None

    def keep(self, jwk: Mapping[str, Json], url: str, reply: Reply, now: datetime) -> bool:
        """Takes the nonce that an answer brings; whether it brings one."""
        value = reply.headers.get("dpop-nonce")
        if not value:
            return False
        with self._lock:
            key = self._key(jwk, url)
            self._known[key] = (value, now)
            self._known.move_to_end(key)
            while len(self._known) > _MOST_NONCES:
                self._known.popitem(last=False)
        return True

    @staticmethod
    def _key(jwk: Mapping[str, Json], url: str) -> tuple[str, str]:
        return urlsplit(url).netloc, str(jwk.get("x"))


NONCES = Nonces()
"""Of this process."""


def wants_nonce(reply: Reply) -> bool:
    """Whether a request was refused for its nonce alone: at the door, before anything was done with it.

    An authorization server says so in its body (RFC 9449, 8), a server of records in WWW-Authenticate (9).
    """
    if reply.status not in {400, 401}:
        return False
    said = reply.headers.get("www-authenticate", "")
    named = mapping(reply.json()).get("error") == "use_dpop_nonce" or 'error="use_dpop_nonce"' in said
    return named and bool(reply.headers.get("dpop-nonce"))
