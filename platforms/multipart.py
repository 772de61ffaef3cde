"""multipart/form-data whose file is read while it is sent: what large uploads by form need."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from platforms.rest import PIECE, Rest

_UNSAFE = re.compile(r'[\r\n"]')


class FormUpload:
    """The fields in their order, then one file; the length is known before.

    :param file: read once, from where it stands; stays open.
    :param size: of the file, bytes.
    :param beat: called before each piece is read; for whoever has to say that the upload is still alive.
    :raises ValueError: a name that would need quoting, or a value of several lines.
    """

    def __init__(
        self,
        fields: Mapping[str, str],
        file: BinaryIO,
        size: int,
        *,
        name: str,
        file_name: str,
        mime: str,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        for word in (*fields, name, file_name, mime):
            if _UNSAFE.search(word):
                raise ValueError("a name in the form holds a quote or a line break")
        head = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        ]
        head.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
            f"Content-Type: {mime}\r\n\r\n"
        )
        self._head = "".join(head).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file = Rest(file, size)
        self._beat = beat
        self._length = len(self._head) + size + len(self._tail)

    def __len__(self) -> int:
        """Bytes of the whole body."""
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        while piece := self.read(PIECE):
            yield piece

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, up to ``size``; all that is left without one. Empty at the end.

        :raises OSError: the file ended early; the rest cannot be sent.
        """
        if size < 0:
            return b"".join(self)
        self._beat()
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        if self._file.left:
            return self._file.read(size)
        piece, self._tail = self._tail[:size], self._tail[size:]
        return piece
