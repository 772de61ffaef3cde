"""The one instant that cannot be guarded: from the fence's look at the clock to the first byte. It is measured."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from platforms.base import Effect
from platforms.connections import Journey
from platforms.deadline import Flight
from platforms.http import Client

CALLS = 1500


class Quiet(http.server.BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(201)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


def unguarded_us(server: str, monkeypatch: pytest.MonkeyPatch, calls: int) -> list[float]:
    """Microseconds from the fence's return to the call that hands the first byte to the socket, sorted."""
    passed: list[int] = []
    found: list[float] = []
    real = http.client.HTTPConnection.send

    def send(self: http.client.HTTPConnection, data: bytes) -> None:
        if passed:
            found.append((time.perf_counter_ns() - passed.pop()) / 1000)
        real(self, data)

    monkeypatch.setattr(http.client.HTTPConnection, "send", send)
    for _ in range(calls):
        client = Client(api_hosts=frozenset(), fence=lambda: passed.append(time.perf_counter_ns()))
        client.request("POST", f"{server}/posts", effect=Effect.PUBLISHES, json={"text": "x" * 200})
        client.close()
    return sorted(found)


def test_the_instant_between_the_fence_and_the_first_byte_is_shorter_than_a_millisecond(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = unguarded_us(server, monkeypatch, CALLS)
    assert len(found) == CALLS
    p50, p99 = found[CALLS // 2], found[int(CALLS * 0.99)]
    print(f"unguarded: p50 {p50:.1f} us, p99 {p99:.1f} us, longest {found[-1]:.0f} us")
    assert p99 < 1000


def test_what_is_left_of_a_request_is_not_sent_once_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is stopped between the head and the body must not complete the request when it wakes."""
    import socket

    clock = [100.0]
    monkeypatch.setattr("platforms.deadline.running_seconds", lambda: clock[0])
    flight = Flight(5.0)
    journey = Journey(flight, lambda: None)
    here, there = socket.socketpair()
    with here, there:
        journey.departs(here)
        clock[0] += 4.9
        journey.departs(here)
        clock[0] += 3600
        with pytest.raises(TimeoutError):
            journey.departs(here)
    flight.finish()
