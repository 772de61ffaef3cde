"""A file as (part of) the body of a request, read while it is sent: a large video is never held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

PIECE = 64 * 1024


class Rest:
    """A file from where it stands to its end, read while it is sent.

    :param left: bytes that are still to come.
    :param beat: called before each piece is read; for whoever has to say that the upload is still alive.
    """

    def __init__(self, file: BinaryIO, left: int, beat: Callable[[], None] = lambda: None) -> None:
        self._file = file
        self._length = self.left = left
        self._beat = beat

    def __len__(self) -> int:
        """Bytes in all."""
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, piece by piece."""
        while piece := self.read(PIECE):
            yield piece

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size``; all that is left without one. Empty at the end.

        :raises OSError: the file ended early; the rest cannot be sent.
        """
        if size < 0:
            return b"".join(self)
        self._beat()
        if not self.left:
            return b""
        piece = self._file.read(min(size, self.left, PIECE))
        if not piece:
            raise OSError("the file ended before its size was reached")
        self.left -= len(piece)
        return piece
