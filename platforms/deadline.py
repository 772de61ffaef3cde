"""A total deadline for a request: one thread shuts the sockets of those that take too long.

A socket's own timeout counts from byte to byte: an answer that drips can hold a request for ever.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import socket
import struct
import threading
import time


def running_seconds() -> float:
    """Seconds on a clock that goes on while the machine sleeps (macOS has it under another name)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", None) or time.CLOCK_MONOTONIC_RAW)


LINGER_NOT, LINGER_AS_USUAL = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)


class Flight:
    """One request under way: whether its first byte has left, and the handle by which it can be cut off."""

    def __init__(self, timeout_s: float) -> None:
        self.ends_at = time.monotonic() + timeout_s
        self._ends_awake_or_not_at = running_seconds() + timeout_s
        self.sent = False
        """Set right before the first byte of the request is handed to the socket."""
        self.expired = False
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._done = False

    def remaining(self) -> float:
        """Seconds until the deadline; at least a millisecond, because a socket takes 0 as "do not block"."""
        return max(self.ends_at - time.monotonic(), 0.001)

    def overslept(self) -> bool:
        """Whether the deadline is over on a clock that also counts while the machine sleeps."""
        return running_seconds() > self._ends_awake_or_not_at

    def attach(self, sock: socket.socket) -> None:
        """Remembers the connection that this request goes over.

        A duplicate of its descriptor is kept: it stays ours while TLS wraps the socket and urllib3 closes it,
        so that what is shut can never be a descriptor that was given to somebody else meanwhile.
        """
        handle = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = handle
            if self.expired:
                self._shut()

    def nothing_after_the_end(self) -> None:
        """From here on nothing of this request is sent once we have given up, or have died.

        The kernel would go on: what it has not got rid of when a socket is closed it sends again and again, for
        minutes (measured: a request that arrived after its look-ups had found nothing). Without lingering it drops
        that, and tells the other side; and it gives up by itself at the deadline.
        """
        with self._lock:
            if self._handle is not None:
                with contextlib.suppress(OSError):  # closed by the other side already
                    self._handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
                    if hasattr(socket, "TCP_USER_TIMEOUT"):
                        left_ms = max(int(1000 * (self.ends_at - time.monotonic())), 1)
                        self._handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, left_ms)

    def answered(self) -> None:
        """The whole answer is there: the connection may be closed in the usual way."""
        with self._lock:
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AS_USUAL)

    def cut(self) -> None:
        """Ends the request: whoever waits for its socket gets an error or the end of the stream."""
        with self._lock:
            if not self._done:
                self.expired = True
                self._shut()

    def finish(self) -> None:
        """The request is over; the deadline no longer applies."""
        with self._lock:
            self._done = True
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def _shut(self) -> None:
        if self._handle is not None:
            # Already closed by the other side: then there is nobody to wake.
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)


class Watchdog:
    """One daemon thread with a heap of deadlines; begun at the first request, begun anew after a fork."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            # In the child the thread is gone and the lock may be held by nobody.
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._heap: list[tuple[float, int, Flight]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, flight: Flight) -> None:
        """Cuts ``flight`` at its deadline unless it has finished by then."""
        with self._wake:
            heapq.heappush(self._heap, (flight.ends_at, next(self._order), flight))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="http-watchdog", daemon=True)
                self._thread.start()
            elif self._heap[0][2] is flight:
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    wait = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._wake.wait(wait)
                flight = heapq.heappop(self._heap)[2]
            flight.cut()


WATCHDOG = Watchdog()
"""Shared by all clients of the process."""
