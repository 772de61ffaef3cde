"""Pictures that travel inside the request, kept at hand in memory from preparing to publishing.

A picture has up to 20 MB, a carousel's five up to 25 MB: to fetch them from the store may take longer than the two
seconds that may pass between the intent and the first byte. A process that does not have them (another one prepared)
fetches them, is stopped by the fence, and has them at the next try.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from platforms.base import MediaItem

MOST_BYTES = 64 * 1024 * 1024
"""For all pictures together; the longest unused go first."""


class Pictures:
    """Files by their sha256; may be shared by threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[str, bytes] = OrderedDict()

    def keep(self, sha256: str, data: bytes) -> None:
        """Keeps a file, and drops others until all fit; one that is larger than all may be is kept alone."""
        with self._lock:
            self._held[sha256] = data
            self._held.move_to_end(sha256)
            while sum(map(len, self._held.values())) > self._most and len(self._held) > 1:
                self._held.popitem(last=False)

    def get(self, sha256: str) -> bytes | None:
        """The file, if it is still here."""
        with self._lock:
            data = self._held.get(sha256)
            if data is not None:
                self._held.move_to_end(sha256)
            return data

    def drop(self, sha256: str) -> None:
        """It is not needed any more."""
        with self._lock:
            self._held.pop(sha256, None)


PICTURES = Pictures()
"""Of this process."""


def bytes_of(item: MediaItem) -> bytes:
    """The file's bytes, from memory or (then to be kept there) from the store.

    :raises ValueError: it has none to be read.
    """
    data = PICTURES.get(item.sha256)
    if data is None:
        if item.read is None:
            raise ValueError("a picture without bytes was to be sent as bytes")
        with item.read() as file:
            data = file.read()
        PICTURES.keep(item.sha256, data)
    return data


def forget(items: tuple[MediaItem, ...]) -> None:
    """They are where they had to go."""
    for item in items:
        PICTURES.drop(item.sha256)
