"""One readable log of many programs: every line with the name of who said it.

Writing never blocks. A terminal stopped with Ctrl-S, or a pager nobody reads, must not stop the
workers, whose output would back up behind it: lines wait in memory, and past a limit they are dropped
and counted.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque

COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
RESET = "\x1b[0m"
WAITING_LIMIT_BYTES = 1_000_000
# POLLOUT on a pipe promises room for this much; a longer write could block.
CHUNK_BYTES = 4096


class Console:
    """Prefixes, colours (on a terminal only) and buffers lines for one file descriptor."""

    def __init__(self, descriptor: int | None = None, *, colour: bool | None = None, width: int = 8) -> None:
        self.descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        on_terminal = os.isatty(self.descriptor) and not os.environ.get("NO_COLOR")
        self.colour = on_terminal if colour is None else colour
        self.width = width
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._codes: dict[str, str] = {}
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLOUT)
        self._closed = False

    def line(self, name: str, text: str) -> None:
        """One line said by `name`."""
        if self._waiting_bytes > WAITING_LIMIT_BYTES:
            self._dropped += 1
            self.flush()
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._put("up", f"{dropped} lines were dropped: nobody was reading")
        self._put(name, text)
        self.flush()

    def say(self, text: str) -> None:
        """One line of the supervisor itself, with the time, since nobody else stamps it."""
        self.line("up", f"{time.strftime('%H:%M:%S')} {text}")

    def _put(self, name: str, text: str) -> None:
        prefix = f"{name:<{self.width}} | "
        if self.colour:
            code = self._codes.setdefault(name, COLOURS[len(self._codes) % len(COLOURS)])
            prefix = f"\x1b[{code}m{prefix}{RESET}"
        data = f"{prefix}{text.rstrip()}\n".encode("utf-8", "replace")
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    @property
    def waiting(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._waiting)

    def flush(self, seconds: float = 0.0) -> None:
        """Write what can be written now; with seconds, wait that long for a slow reader."""
        deadline = time.monotonic() + seconds
        while self._waiting and not self._closed:
            patience = max(0.0, deadline - time.monotonic())
            if not self._poll.poll(patience * 1000):
                return
            data = self._waiting.popleft()
            try:
                written = os.write(self.descriptor, data[:CHUNK_BYTES])
            except BlockingIOError:
                written = 0
            except OSError:  # the reader is gone (`schedulerx up | head`): what runs goes on without a log
                self._closed = True
                break
            self._waiting_bytes -= written
            if written < len(data):
                self._waiting.appendleft(data[written:])
                if not written and time.monotonic() >= deadline:
                    return
        if self._closed:
            self._waiting.clear()
            self._waiting_bytes = 0
