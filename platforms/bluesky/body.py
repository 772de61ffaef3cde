"""A file as the body of a request that may have to be sent once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Self

from platforms.base import MediaItem
from platforms.rest import Rest


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
        self._size = item.size
        self._beat = beat
        self._file: BinaryIO | None = None
        self._rest: Rest | None = None

    def __enter__(self) -> Self:
        """Itself. Raises what opening the file raises."""
        self._file = self._open()
        self.begin()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = self._rest = None

    def begin(self) -> None:
        """From the first byte again: before a request that was refused at the door is sent once more."""
        if self._file is not None:
            self._file.seek(0)
            self._rest = Rest(self._file, self._size, self._beat)

    def __len__(self) -> int:
        """Bytes in all."""
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """The file, piece by piece."""
        return iter(self._present())

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size``; all that is left without one. Empty at the end.

        :raises OSError: the file ended early; the rest cannot be sent.
        """
        return self._present().read(size)

    def _present(self) -> Rest:
        if self._rest is None:
            raise ValueError("The file is open inside of `with` only.")
        return self._rest
