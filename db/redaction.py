"""Redaction by construction: what was ever opened or sealed as a secret in this process is never said again.

No guess of what a secret looks like: the exact values are remembered where they are decrypted, and taken out
where words leave the process (logs, tracebacks) or are kept (errors in tables, alerts, the audit log).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "[hidden]"
REMEMBERED = 2048
SHORTEST = 8
"""Shorter values are no secrets, and hiding them would hide words."""
NO_SECRETS = frozenset(
    {
        "expires_at", "token_type", "scope", "scopes", "server", "service", "host", "instance", "base_url", "user_id",
        "username", "handle", "identifier", "did", "client_id", "page_id", "chat_id", "board", "name", "email",
    }
)  # fmt: skip
"""Fields of credentials that tell nobody anything; everything else in them is hidden wherever it turns up."""

_known: OrderedDict[str, None] = OrderedDict()
_lock = threading.Lock()


def remember(*secrets: str) -> None:
    """These values are never to be seen in a log, an error or a table. The latest few thousand are kept."""
    with _lock:
        for secret in secrets:
            for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
                if len(form) >= SHORTEST:
                    _known[form] = None
                    _known.move_to_end(form)
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)


def hide(words: str) -> str:
    """``words`` without any secret that this process has held. Exact values: no guess of what a secret looks like."""
    with _lock:
        found = [secret for secret in _known if secret in words]
    for secret in sorted(found, key=len, reverse=True):
        words = words.replace(secret, HIDDEN)
    return words


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
