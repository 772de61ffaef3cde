"""Connections that know when the first byte of a request leaves, and give up on time while connecting.

``requests`` tells a broken handshake and a request that was executed and then lost by the same exception. So
the fact is taken where it happens: in ``send`` of the connection, after connecting and TLS.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, cast

from certifi import where
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from db import failpoints
from platforms.deadline import Flight

Address = tuple[int, int, int, str, Any]
"""Family, type, protocol, canonical name, socket address: what ``getaddrinfo`` gives."""


MOMENT_S = 0.75
"""How long each of several addresses may take to connect before the next is tried, seconds: two of them within the
2 s that the fence allows."""


class Journey:
    """What the connections of one thread need to know about the request that is under way."""

    def __init__(
        self, flight: Flight, before_first_byte: Callable[[], None], effect: str = "", *, exacting: bool = False
    ) -> None:
        self.flight = flight
        self.effect = effect
        self._exacting = exacting
        self._before_first_byte = before_first_byte

    def departs(self, sock: socket.socket) -> None:
        """Called before each piece that is sent; acts before the first."""
        if self.flight.sent:
            if self.flight.overslept():
                # The process was stopped between two pieces. Whoever looked meanwhile has seen no post: the
                # rest must not follow now and make one after all.
                raise TimeoutError
            return
        self.flight.attach(sock)
        if failpoints.ARMED is not None:
            failpoints.hit(f"http.{self.effect}.connected", handle=sock)
        if self._exacting:
            self.flight.nothing_after_the_end()
        try:
            self._before_first_byte()
        except BaseException:
            # Nothing has left this machine: the connection may end in the usual way.
            self.flight.answered()
            raise
        self.flight.sent = True


class _Current(threading.local):
    journey: Journey | None = None


CURRENT = _Current()
"""The request of this thread; a connection runs in the thread that asked for it."""


def resolve(host: str, port: int, timeout_s: float) -> list[Address]:
    """The addresses of ``host``.

    :raises TimeoutError: no answer in time. The resolver of the C library takes no timeout, so it is asked in
        a thread of its own, which is left behind in that case (it ends when the library gives up).
    :raises socket.gaierror: there are none.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        flags = socket.AI_NUMERICHOST
        return cast("list[Address]", socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
    found: list[Address] = []
    failed: list[OSError] = []

    def ask() -> None:
        try:
            found.extend(cast("list[Address]", socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            failed.append(error)
        except UnicodeError:
            failed.append(socket.gaierror(socket.EAI_NONAME, "not a host name"))

    thread = threading.Thread(target=ask, name="http-resolve", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found


def connect(connection: HTTPConnection, flight: Flight) -> socket.socket:
    """A connected socket to the connection's host, within what is left of the flight's time.

    Each address gets a moment first: a dead one (IPv6 that leads nowhere, mostly) must not use up what the fence
    allows. Only if none is there that soon does each get its share of the time.
    """
    try:
        addresses = resolve(connection.host, connection.port, flight.remaining())
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "name resolution timed out") from error
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    last: OSError | None = None
    rounds: list[tuple[Address, float | None]] = []
    if len(addresses) > 1:
        rounds += [(one, MOMENT_S) for one in addresses]
    rounds += [(one, None) for one in addresses]
    for tried, ((family, kind, protocol, _, address), moment_s) in enumerate(rounds):
        sock = socket.socket(family, kind, protocol)
        share_s = flight.remaining() / (len(rounds) - tried)
        try:
            sock.settimeout(share_s if moment_s is None else min(moment_s, share_s))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
            continue
        sock.settimeout(flight.remaining())
        flight.attach(sock)
        return sock
    if isinstance(last, TimeoutError):
        raise ConnectTimeoutError(connection, "connecting timed out") from last
    raise NewConnectionError(connection, "could not connect") from last


class _Observed:
    """Mixed into urllib3's connections: ``_new_conn`` bounds connecting, ``send`` marks the first byte.

    There is no proxy (the environment is not read), so nothing else is ever sent by ``send``.
    """

    sock: Any

    def _new_conn(self) -> socket.socket:
        journey = CURRENT.journey
        if journey is None:
            return cast("socket.socket", super()._new_conn())  # type: ignore[misc]  # urllib3's own, by the MRO
        return connect(cast("HTTPConnection", self), journey.flight)

    def send(self, data: Any) -> None:
        journey = CURRENT.journey
        if journey is not None:
            if self.sock is None:
                cast("HTTPConnection", self).connect()
            journey.departs(self.sock)
        super().send(data)  # type: ignore[misc]  # http.client's own, by the MRO
        if failpoints.ARMED is not None and journey is not None:
            failpoints.hit(f"http.{journey.effect}.piece_sent", handle=self.sock)


class _Http(_Observed, HTTPConnection):
    pass


class _Https(_Observed, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


@functools.cache
def trust(ca_bundle: str | None) -> ssl.SSLContext:
    """TLS with certificates and host names checked against ``ca_bundle``, certifi's by default.

    One for all connections of the process: reading the certificates anew costs more than a request.
    """
    context = create_urllib3_context()
    context.load_verify_locations(ca_bundle or where())
    return context


class Adapter(HTTPAdapter):
    """requests' adapter over the connections above; tries everything once."""

    def __init__(self, ca_bundle: str | None = None) -> None:
        self._context = trust(ca_bundle)
        super().__init__(pool_connections=4, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests does, with our kinds of connection and our certificates."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002 - requests' signature
        """Leaves the certificates to the context; requests would read them again for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"
