"""Redaction by construction: what was ever opened or sealed as a secret in this process is never said again.

The exact values are remembered where they are decrypted, and taken out where words leave the process (logs,
tracebacks) or are kept (errors in tables, alerts, the audit log). Beyond that, what looks like a secret that we
never held (a signed URL in a platform's words) is cut out of what is said.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "[hidden]"
SECRET_TEXT = re.compile(
    r"(?i)(bearer\s+|basic\s+)[A-Za-z0-9._~+/=-]{8,}"
    # As a query, as JSON, as Python's repr of a mapping, as JSON within JSON.
    r"|((?:access_token|refresh_token|id_token|client_secret|oauth_token|oauth_token_secret|oauth_signature|api_key"
    r"|password|passwd|secret|sig|x-amz-signature|x-amz-credential|x-amz-security-token|code_verifier)"
    r"\\*[\"']?\s*[=:]\s*\\*[\"']?)(?!\\*[\"']?(?:None|null|true|false)\b)[^&\s\"'\\,;}]+"
    # An OAuth code; not the number of an error, nor "code: " in a sentence.
    r"|(\bcode\\*[\"']?\s*[=:]\s*\\*[\"']?)(?<!code: )(?<!code:)(?!\d{1,6}\b|None|null)[^&\s\"'\\,;}]+"
    r"|(://[^/\s:@]*:)[^/\s@]+(?=@)"
    # Telegram and Discord put theirs into the path.
    r"|(/bot\d{5,}:)[A-Za-z0-9_-]{20,}"
    r"|(/webhooks/\d+/)[A-Za-z0-9_-]{20,}"
    # Slack does so too; the rest is known by its form: web tokens, and what issuers mark as theirs.
    r"|(hooks\.slack\.com/\w+/)[\w/-]+"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
    r"|\b(?:gh[pousr]_|github_pat_|xox[abprs]-|sk_live_|whsec_|glpat-|ya29\.)[\w-]{12,}"
    r"|\b(?-i:AKIA|ASIA)(?-i:[A-Z0-9]{16})\b"
)
REMEMBERED = 2048
SHORTEST = 8
"""Shorter values are no secrets, and hiding them would hide words."""
NO_SECRETS = frozenset(
    {
        "expires_at", "token_type", "scope", "scopes", "server", "service", "host", "instance", "base_url", "user_id",
        "username", "handle", "identifier", "did", "client_id", "page_id", "chat_id", "board", "name", "email",
        "login", "pds", "issuer", "token_endpoint", "issued_at", "refresh_expires_at", "api_version", "kty", "crv",
    }
)  # fmt: skip
"""Fields of credentials that tell nobody anything; everything else in them is hidden wherever it turns up."""

_known: OrderedDict[str, None] = OrderedDict()
_begins: dict[str, int] = {}
"""How many of them begin with these ``SHORTEST`` characters. Words that hold none of these hold no secret, which is
found out faster than by a search for each secret; beginnings of secrets that are forgotten only cost that search."""
_lock = threading.Lock()


def remember(*secrets: str) -> None:
    """These values are never to be seen in a log, an error or a table. The latest few thousand are kept."""
    with _lock:
        for secret in secrets:
            for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
                if len(form) >= SHORTEST:
                    if form not in _known:
                        _begins[form[:SHORTEST]] = _begins.get(form[:SHORTEST], 0) + 1
                    _known[form] = None
                    _known.move_to_end(form)
        while len(_known) > REMEMBERED:
            begin = _known.popitem(last=False)[0][:SHORTEST]
            _begins[begin] -= 1
            if not _begins[begin]:
                del _begins[begin]


def hide(words: str) -> str:
    """``words`` without any secret that this process has held: exact values, nothing is guessed."""
    if _begins.keys().isdisjoint([words[at : at + SHORTEST] for at in range(len(words) - SHORTEST + 1)]):
        return words
    with _lock:
        found = [secret for secret in _known if secret in words]
    for secret in sorted(found, key=len, reverse=True):
        words = words.replace(secret, HIDDEN)
    return words


def clean(words: str) -> str:
    """``words`` without secrets of ours, and without what looks like one."""
    return SECRET_TEXT.sub(lambda found: "".join(part or "" for part in found.groups()) + HIDDEN, hide(words))


def secrets_in(credentials: Any, name: str = "") -> Iterator[str]:
    """The values in credentials that are secrets."""
    if isinstance(credentials, Mapping):
        for key, value in credentials.items():
            yield from secrets_in(value, str(key))
    elif isinstance(credentials, list | tuple):
        for value in credentials:
            yield from secrets_in(value, name)
    elif isinstance(credentials, str) and name not in NO_SECRETS:
        yield credentials
        tail = credentials.rsplit("/", 1)[-1]
        if "://" in credentials and len(tail) >= 2 * SHORTEST:
            yield tail  # a URL that is itself a secret has it in its last part
