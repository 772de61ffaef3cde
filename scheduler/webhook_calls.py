"""One call of a webhook: an HTTP POST to an address that the SSRF guard has judged, and to no other.

No redirect is followed, no proxy of the environment is used, and no more of the answer is read than its status.
"""

from __future__ import annotations

import http.client
import ssl
import time
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import quote

from media import addresses, fetch
from media.errors import MediaRefused, RemoteUnavailable
from scheduler.logging import logger
from scheduler.settings import Settings
from scheduler.webhooks import Delivery

log = logger(__name__)


@dataclass(frozen=True)
class Answer:
    """What came of a call."""

    status: int | None
    """None: no answer."""
    error: str = ""
    """In words without a secret; empty: it was taken."""

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more of it (HTTP 410)."""
        return self.status == 410


def call(settings: Settings, url: str, key: str, delivery: Delivery) -> Answer:
    """Sends a delivery once. Whatever goes wrong is an answer, never an exception."""
    deadline = time.monotonic() + settings.webhook_timeout_seconds
    try:
        # The parser, the guard and the connection of ``media.fetch``: one for all URLs that users name.
        parts = fetch._split(url)
        if settings.webhook_allow_private:
            found = addresses.resolve(parts.hostname or "", fetch._port(parts))
        else:
            found = fetch._judged(parts, allow_loopback=False)
    except addresses.Unresolved:
        return Answer(None, "the host name could not be resolved")
    except MediaRefused as error:
        # A name may lead somewhere else than on the day the webhook was added.
        log.warning("security.private_address", url=fetch.shown(url), at="webhook", webhook_id=delivery.webhook_id)
        return Answer(None, f"refused by us: {error.message}")
    except RemoteUnavailable:
        return Answer(None, "the host name could not be resolved just now")
    connection = fetch._Pinned(parts, found, deadline)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    headers = {
        "User-Agent": f"SchedulerX/{version('schedulerx')} (webhook)",
        "Connection": "close",
        **delivery.headers(key, int(time.time())),
    }
    try:
        connection.request("POST", f"{path}?{query}" if query else path, body=delivery.body(), headers=headers)
        answer = connection.getresponse()
        status = answer.status
        answer.close()
    except ssl.SSLCertVerificationError:
        return Answer(None, "its certificate is not valid")
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        # AttributeError: what the standard library raises when the watch cuts a TLS socket while it reads.
        slow = connection.expired or isinstance(error, TimeoutError)
        return Answer(None, "it took too long" if slow else f"no answer ({type(error).__name__})")
    finally:
        connection.finish()
    return Answer(status, "" if 200 <= status < 300 else f"HTTP {status}")
