"""Which hosts a platform's override speaks for. Without requests: the scheduler asks, too."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether that is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_among(host: str, hosts: frozenset[str]) -> bool:
    """Whether a host is one of these; one that begins with a dot stands for all hosts below it."""
    return host in hosts or any(host.endswith(entry) for entry in hosts if entry.startswith("."))


def is_covered(host: str, api_hosts: frozenset[str], override: str) -> bool:
    """Whether what is meant for ``host`` stays a test: it is replaced by the override, or is a stand-in itself."""
    return is_among(host, api_hosts) or is_loopback(host) or host == urlsplit(override).hostname
