"""What hides where a decoder has stopped reading: behind the coded picture, but inside of the file's structure."""

from __future__ import annotations

import io
import struct
import zlib
from mmap import mmap

Buffer = bytes | mmap

STRANGE = (b"PK\x03\x04", b"PK\x05\x06", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"%PDF-", b"<script", b"<?php")
"""Beginnings of archives and programs. In coded pixels one comes up by chance in a thousand files of 4 MB; that one is
coded anew without need."""
LEAST_TAIL = 1_280
"""Bytes. Six blocks of 64 values, as many as belong to one spot, never take more: without the last of them the picture
looks different even at an eighth of its size. What is shorter is found by its beginning (``STRANGE``)."""


def is_strange(data: Buffer, start: int, stop: int) -> bool:
    """Whether coded pixels hold the beginning of something else."""
    return any(data.find(mark, start, stop) >= 0 for mark in STRANGE)


def jpeg_has_tail(data: Buffer, end: int, whole: bytes) -> bool:
    """Whether a baseline JPEG's last bytes before its end mark decide no pixel.

    :param end: where the end mark stands.
    :param whole: the picture decoded at an eighth of its size, as it is.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        with JpegImageFile(io.BytesIO(data[: end - LEAST_TAIL] + b"\xff\xd9")) as picture:
            picture.draft(None, (1, 1))
            picture.load()
            return picture.tobytes() == whole
    except (OSError, ValueError, SyntaxError, struct.error):
        # So short that headers were cut: nothing hides there.
        return False


def icc_fits(profile: bytes) -> bool:
    """Whether a colour profile is as long as its own header says (some writers fill up to four)."""
    if len(profile) < 128:
        return False
    (declared,) = struct.unpack_from(">I", profile)
    return bool(declared <= len(profile) <= declared + 3)


class PngPixels:
    """The compressed pixels of a PNG, unpacked chunk by chunk to see where they end; nothing is kept."""

    _CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # noqa: RUF012 - never changed
    STEP = 1 << 20

    def __init__(self, header: bytes) -> None:
        """:param header: the body of ``IHDR``."""
        width, height, depth, colour = struct.unpack_from(">IIBB", header)
        bits = depth * self._CHANNELS.get(colour, 4)
        row = (width * bits + 7) // 8 + 1
        # Interlaced, each of seven pictures has rows that end in the middle of a byte.
        self._most = row * height + (8 * (height + width + 64) if header[12:13] == b"\1" else 0)
        self._packer = zlib.decompressobj()
        self._given = 0
        self.ended = False
        self.odd = False
        """Something follows the pixels, or they are more than the picture has."""

    def add(self, data: Buffer, start: int, stop: int, *, most: int) -> None:
        """The next stretch. Gives up above ``most`` unpacked bytes: whoever decodes it refuses that."""
        if self.odd or self._most > most:
            return
        for at in range(start, stop, self.STEP):
            piece = data[at : min(stop, at + self.STEP)]
            if self.ended:
                self.odd = True
                return
            try:
                while piece and not self._packer.eof:
                    self._given += len(self._packer.decompress(piece, self.STEP))
                    piece = self._packer.unconsumed_tail
                    if self._given > self._most:
                        self.odd = True
                        return
            except zlib.error:
                return  # damaged, which decoding finds as well
            self.ended = self._packer.eof
            if self._packer.unused_data:
                self.odd = True
                return
