"""Last chunks kept at hand in memory, from preparing to publishing.

Opening a video means fetching all of it from the store, which for a large one takes longer than the two seconds
that may pass between the intent and the first byte. A process that does not have the chunk (another one prepared)
fetches it, is stopped by the fence, and has it at the next try.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

MOST_BYTES = 64 * 1024 * 1024
"""For all chunks together; the longest unused go first."""

Key = tuple[str, int]
"""sha256 of the video, first byte of the chunk."""


class Tails:
    """Chunks by video; may be shared by threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, bytes] = OrderedDict()

    def keep(self, key: Key, data: bytes) -> None:
        """Keeps a chunk, and drops others until all fit."""
        with self._lock:
            self._held[key] = data
            self._held.move_to_end(key)
            while sum(map(len, self._held.values())) > self._most and len(self._held) > 1:
                self._held.popitem(last=False)

    def get(self, key: Key) -> bytes | None:
        """The chunk, if it is still here."""
        with self._lock:
            data = self._held.get(key)
            if data is not None:
                self._held.move_to_end(key)
            return data

    def drop(self, key: Key) -> None:
        """It is not needed any more."""
        with self._lock:
            self._held.pop(key, None)


TAILS = Tails()
"""Of this process."""
