"""A video's bytes, a range at a time, and a sign of life while they are fetched and sent.

The store is asked for the range that is wanted: of a gigabyte whose last 10 MB are left, 10 MB are fetched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta

from platforms.base import Call, MediaItem

BEAT = timedelta(seconds=30)
"""How often a long upload says that it is alive, which renews the lease: ten times in a lease for preparing."""
RANGE = 5 * 1024 * 1024
"""Bytes in one request to the store: at 250 kB/s it takes less than a beat."""
PIECE = 64 * 1024

Read = Callable[[int, int], bytes]
"""(first byte, the byte after the last) -> these bytes; fewer where the file is shorter."""


def beat_of(call: Call) -> Callable[[], None]:
    """To be called often: writes into the checkpoint when a beat has passed."""
    last = [call.now()]

    def beat() -> None:
        if call.now() - last[0] >= BEAT:
            last[0] = call.now()
            call.save(uploading_since=last[0].isoformat())

    return beat


@contextlib.contextmanager
def opened(item: MediaItem, beat: Callable[[], None]) -> Iterator[Read | None]:
    """How the video is read; None: it cannot be."""
    ranged = item.read_range
    if ranged is not None:

        def read(begin: int, end: int) -> bytes:
            parts = []
            for offset in range(begin, end, RANGE):
                parts.append(ranged(offset, min(RANGE, end - offset)))
                beat()
            return b"".join(parts)

        yield read
    elif item.read is not None:
        with item.read() as source:

            def sought(begin: int, end: int) -> bytes:
                source.seek(begin)
                return source.read(end - begin)

            yield sought
    else:
        yield None


class Alive:
    """A body of bytes that gives a sign of life as it is sent (``platforms.base.Streamed``)."""

    def __init__(self, data: bytes, beat: Callable[[], None]) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._beat = beat

    def __len__(self) -> int:
        """Bytes in all."""
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        while piece := self.read(PIECE):
            yield piece

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size``; all that is left without one."""
        if size < 0:
            return b"".join(self)
        self._beat()
        piece = bytes(self._data[self._at : self._at + size])
        self._at += len(piece)
        return piece
