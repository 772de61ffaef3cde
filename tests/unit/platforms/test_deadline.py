"""The total deadline: an answer that drips, a server that is silent, a resolver that hangs, a fork."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any

import pytest
from loopback_servers import Server, answer, answering, closed_port, read_request, serving

from platforms import connections
from platforms.base import Effect
from platforms.errors import TransportError
from platforms.http import Client

EVERY_EFFECT = pytest.mark.parametrize("effect", list(Effect))


def client(**kwargs: Any) -> Client:
    return Client(api_hosts=frozenset(), **kwargs)


def failing(http: Client, url: str, effect: Effect = Effect.PUBLISHES, **kwargs: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        http.request("POST", url, effect=effect, json={"text": "hello"}, **kwargs)
    return caught.value


def drip(server: Server, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not server.ended.wait(0.02):
        connection.sendall(b"x")


def drip_without_length(server: Server, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not server.ended.wait(0.02):
        connection.sendall(b"x")


def drip_head(server: Server, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not server.ended.wait(0.02):
        connection.sendall(b"x")


def silence(server: Server, connection: socket.socket) -> None:
    read_request(connection)
    server.ended.wait(2)


def never_reads(server: Server, _: socket.socket) -> None:
    server.ended.wait(2)


@pytest.mark.parametrize("behave", [drip, drip_without_length, drip_head, silence])
@EVERY_EFFECT
def test_the_deadline_is_for_the_whole_request(behave: Any, effect: Effect) -> None:
    with serving(behave) as server, client() as http:
        started = time.monotonic()
        error = failing(http, server.url, effect, timeout_s=0.2)
        took = time.monotonic() - started
    assert (error.sent, error.code) == (True, "timeout")
    assert 0.15 < took < 1


def test_a_server_that_does_not_read_the_body_cannot_hold_us() -> None:
    with serving(never_reads) as server, client() as http:
        started = time.monotonic()
        with pytest.raises(TransportError) as caught:
            http.request("POST", server.url, effect=Effect.PREPARES, content=b"x" * 30_000_000, timeout_s=0.2)
    assert caught.value.code == "timeout"
    assert time.monotonic() - started < 1.5


def test_a_resolver_that_hangs_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(connections.socket, "getaddrinfo", lambda *_, **__: release.wait(2) and [])
    with client(deadline_s=0.1) as http:
        started = time.monotonic()
        error = failing(http, "https://api.x.com/2/tweets")
        release.set()
    assert (error.sent, error.code) == (False, "timeout")
    assert time.monotonic() - started < 1


def test_an_unknown_host_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(connections.socket, "getaddrinfo", unknown)
    with client() as http:
        error = failing(http, "https://api.x.com/2/tweets")
    assert (error.sent, error.code) == (False, "dns")


def test_the_next_address_is_tried_where_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = closed_port()
    with serving(answering(answer())) as server:
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (dead, server.port)]
        monkeypatch.setattr(connections.socket, "getaddrinfo", lambda *_, **__: addresses)
        with client() as http:
            assert http.request("GET", "http://localhost/", effect=Effect.READ).status == 200


def test_a_request_in_time_is_not_cut_later() -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        while request := read_request(connection):
            server.requests.append(request)
            connection.sendall(answer(keep=True))

    with serving(behave) as server, client() as http:
        http.request("GET", server.url, effect=Effect.READ, timeout_s=0.1)
        time.sleep(0.15)
        # The same connection, after the first request's deadline.
        assert http.request("GET", server.url, effect=Effect.READ).status == 200
        assert server.connections == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_the_deadline_still_works_in_a_forked_child() -> None:
    with serving(drip) as server, client() as http:
        failing(http, server.url, timeout_s=0.05)  # the watchdog's thread runs in the parent now
        child = os.fork()
        if child == 0:
            status = 1
            try:
                Client(api_hosts=frozenset()).request("GET", server.url, effect=Effect.READ, timeout_s=0.2)
            except TransportError as error:
                status = 0 if error.code == "timeout" else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
