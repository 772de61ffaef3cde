"""Which internet addresses are open to all: asked before we fetch from one or offer one to a platform."""

from __future__ import annotations

import queue
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

RESOLVE_TIMEOUT_S = 5.0

_CLOSED = tuple(
    ip_network(network)
    for network in (
        # Python's own tables (is_private, is_reserved, ...) differ between versions; these hold everywhere.
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier NAT; one cloud's metadata service lives here
        "168.63.129.16/32",  # a cloud's control channel, at a public address
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "::/96",  # IPv4 written as IPv6, obsolete
        "64:ff9b:1::/48",  # NAT64, local use
        "100::/64",
        "2001::/23",  # Teredo and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise, switched off nearly everywhere
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)
_NAT64 = ip_network("64:ff9b::/96")

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet", ".corp", ".home")


class Unresolved(Exception):
    """A name has no address. ``temporary``: asking again may help."""

    def __init__(self, host: str, *, temporary: bool) -> None:
        super().__init__(f"the name {host} has no address")
        self.temporary = temporary


def plain(address: Address) -> Address:
    """The IPv4 address where an IPv6 one only carries it (mapped, or NAT64's well-known prefix)."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether anybody on the internet may reach it: not private, loopback, link-local, multicast ..."""
    address = plain(address)
    closed = any(address in network for network in _CLOSED if network.version == address.version)
    return address.is_global and not (closed or address.is_multicast or address.is_reserved)


def literal(host: str) -> Address | None:
    """The address that ``host`` spells out; None where it is a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_local_name(host: str) -> bool:
    """Whether a name can only mean something inside one network: localhost, a single label, .local ..."""
    name = host.rstrip(".").lower()
    return "." not in name or name.endswith(_LOCAL_SUFFIXES)


def resolve(host: str, port: int, *, timeout_s: float = RESOLVE_TIMEOUT_S) -> list[Address]:
    """Every address of ``host``, in the resolver's order; a literal is answered without asking.

    :raises Unresolved: there is none, or the resolver did not answer in time.
    """
    known = literal(host)
    if known is not None:
        return [known]
    answers: queue.SimpleQueue[list[Address] | Unresolved] = queue.SimpleQueue()
    # getaddrinfo knows no time-out, so it runs beside; a daemon, so that a stuck resolver holds up no exit.
    threading.Thread(target=_ask, args=(host, port, answers), name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise Unresolved(host, temporary=True) from None
    if isinstance(answer, Unresolved):
        raise answer
    return answer


def _ask(host: str, port: int, answers: queue.SimpleQueue[list[Address] | Unresolved]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        answers.put(Unresolved(host, temporary=error.errno == socket.EAI_AGAIN))
    except (OSError, ValueError):
        # ValueError: a label that IDNA cannot encode.
        answers.put(Unresolved(host, temporary=False))
    else:
        unique = dict.fromkeys(str(entry[4][0]) for entry in found)
        answers.put([ip_address(text) for text in unique])
