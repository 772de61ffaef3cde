"""OAuth 1.0a requests to X: finds the token and checks the HMAC-SHA1 signature (RFC 5849, 3.4).

Clients sign the URL that they mean, so a client that was pointed at the sandbox may have signed the address
of the real API or the sandbox's own; both are taken.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, unquote

from platforms.sandbox.wire import Request

SECRET = "sandbox-secret"  # noqa: S105 (public on purpose: it opens nothing but the sandbox)
"""Both the consumer's and the token's, unless the account was made with others."""

_PAIR = re.compile(r'(\w+)="([^"]*)"')
_NEEDED = ("oauth_consumer_key", "oauth_token", "oauth_nonce", "oauth_timestamp", "oauth_signature")


def claimed_token(request: Request) -> str:
    """The token that the header names; nothing is checked yet."""
    return _parameters(request).get("oauth_token", "")


def is_signed(request: Request, origins: Sequence[str], consumer_secret: str, token_secret: str) -> bool:
    """Whether the signature is right for one of the origins; X's signed calls have no form body."""
    given = _parameters(request)
    if any(not given.get(name) for name in _NEEDED) or given.get("oauth_signature_method") != "HMAC-SHA1":
        return False
    signed = [(name, value) for name, value in given.items() if name.startswith("oauth_")]
    pairs = [pair for pair in signed if pair[0] != "oauth_signature"]
    pairs += parse_qsl(request.query_string, keep_blank_values=True)
    normal = "&".join(f"{name}={value}" for name, value in sorted((_quote(n), _quote(v)) for n, v in pairs))
    key = f"{_quote(consumer_secret)}&{_quote(token_secret)}".encode()
    for origin in origins:
        base = "&".join((request.method, _quote(origin + quote(request.path)), _quote(normal)))
        expected = base64.b64encode(hmac.new(key, base.encode(), hashlib.sha1).digest()).decode()
        if hmac.compare_digest(expected, given["oauth_signature"]):
            return True
    return False


def _parameters(request: Request) -> dict[str, str]:
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "oauth":
        return {}
    return {name: unquote(value) for name, value in _PAIR.findall(rest)}


def _quote(text: str) -> str:
    return quote(text, safe="-._~")
