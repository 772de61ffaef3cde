"""Fetches a picture as a platform would that pulls from a URL, but from this machine alone.

The sandbox is told URLs by programs under test. It must never become a way to reach other hosts, so every
address a name resolves to has to be a loopback one, and the connection goes to the address that was checked.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_BYTES = 32 * 1024 * 1024
TIMEOUT_S = 10.0


class FetchError(ValueError):
    """The URL could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Fetched:
    data: bytes
    content_type: str


def fetch(url: str) -> Fetched:
    """The body behind a loopback URL; no redirects. Blocks: call it in a thread.

    :raises FetchError: another host, another scheme, an error, or too large.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        raise FetchError("the port is not a number") from None
    if parts.scheme != "http" or not parts.hostname:
        raise FetchError("the sandbox fetches http URLs of this machine only")
    connection = http.client.HTTPConnection(_loopback(parts.hostname, port), port, timeout=TIMEOUT_S)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", parts.netloc.rpartition("@")[2])
        connection.putheader("User-Agent", "SchedulerX sandbox")
        connection.putheader("Connection", "close")
        connection.endheaders()
        answer = connection.getresponse()
        data = answer.read(MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"no answer: {type(error).__name__}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise FetchError(f"it answered {answer.status}")
    if len(data) > MAX_BYTES:
        raise FetchError("it is too large")
    return Fetched(data, answer.getheader("Content-Type", "").partition(";")[0].strip().lower())


def _loopback(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError("the host has no address") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise FetchError("the sandbox fetches from loopback addresses only")
    return next((address for address in addresses if ":" not in address), addresses[0])
