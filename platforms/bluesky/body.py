"""A file as the body of a request, read while it is sent: a video of 300 MB is never held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Self

from platforms.base import MediaItem

PIECE = 64 * 1024


class FileBody:
    """The bytes of a file, as ``platforms.base.Streamed``; the file is open inside ``with``.

    It is opened there, which fetches it from the store, and not at the first read: by then a request would be on its
    way, and would wait for the store.

    :param beat: called before each piece is read; for whoever has to say that the upload is still alive.
    """

    def __init__(self, item: MediaItem, beat: Callable[[], None] = lambda: None) -> None:
        if item.read is None:
            raise ValueError("Bluesky takes bytes, and this draft's media cannot be read.")
        self._open = item.read
        self._size = self._left = item.size
        self._beat = beat
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Itself. Raises what opening the file raises."""
        self._file = self._open()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def begin(self) -> None:
        """From the first byte again: before a request that was refused at the door is sent once more."""
        if self._file is not None:
            self._file.seek(0)
        self._left = self._size

    def __len__(self) -> int:
        """Bytes in all."""
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """The file, piece by piece."""
        while piece := self.read(PIECE):
            yield piece

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size``; all that is left without one. Empty at the end.

        :raises OSError: the file ended early; the rest cannot be sent.
        """
        if size < 0:
            return b"".join(self)
        self._beat()
        if not self._left:
            return b""
        if self._file is None:
            raise ValueError("The file is open inside of `with` only.")
        piece = self._file.read(min(size, self._left))
        if not piece:
            raise OSError("the file ended before its size was reached")
        self._left -= len(piece)
        return piece
