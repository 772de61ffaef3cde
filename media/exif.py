"""EXIF, read just far enough: the orientation, whose work it is, and whether it tells more than it should.

Written here because Pillow's reader warns through the process-wide ``warnings`` filters on damaged blocks and
because the question "is anything private in it?" needs every byte accounted for, not a dictionary of tags.
Tag numbers are those of EXIF 2.32 and TIFF 6.0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ORIENTATION = 0x0112
ARTIST = 0x013B
COPYRIGHT = 0x8298
EXIF_IFD = 0x8769
GPS_IFD = 0x8825
INTEROP_IFD = 0xA005

MAX_BLOCK = 1 << 20
"""A larger block is not read, only called private. JPEG has 64 KiB at most; PNG and WebP could hold more."""
MAX_ENTRIES = 512
MAX_TEXT = 512
"""Characters kept of an artist or copyright note."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}

_PLAIN_MAIN = frozenset(
    # Size and layout of the picture, resolution, make and model, software, date, and whose work it is.
    {0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010F, 0x0110, ORIENTATION, 0x0115, 0x011A, 0x011B, 0x0128}
    | {0x0131, 0x0132, ARTIST, 0x013E, 0x013F, 0x0211, 0x0213, COPYRIGHT, EXIF_IFD}
)
_PLAIN_SUB = frozenset(
    # Exposure, dates, versions, colour space, size, lens and scene: what the camera did, not whose it is.
    # Left out on purpose: maker note, comment, unique id, owner's name, serial numbers, GPS.
    {0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832, 0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012}
    | {0x9101, 0x9102, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205, 0x9206, 0x9207, 0x9208, 0x9209, 0x920A}
    | {0x9290, 0x9291, 0x9292, 0xA000, 0xA001, 0xA002, 0xA003, INTEROP_IFD, 0xA20E, 0xA20F, 0xA210, 0xA217}
    | {0xA300, 0xA301, 0xA401, 0xA402, 0xA403, 0xA404, 0xA405, 0xA406, 0xA407, 0xA408, 0xA409, 0xA40A, 0xA40C}
    | {0xA432, 0xA433, 0xA434, 0xA460}
)
_PLAIN_INTEROP = frozenset({0x0001, 0x0002})


@dataclass(frozen=True)
class Exif:
    """What a block says."""

    orientation: int = 1
    """1 to 8; 1 where absent or senseless."""
    artist: str = ""
    copyright: str = ""
    private: bool = False
    """It holds more than plain facts of the picture: place, serial numbers, thumbnail, notes."""
    gps: bool = False


class _Reader:
    """Walks the directories of one TIFF block and strikes out every byte that a directory accounts for."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.unread = bytearray(block)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
        if order is None:
            raise ValueError("no TIFF header")
        self.order = order
        self._strike(0, 8)

    def _strike(self, start: int, length: int) -> None:
        if start < 0 or start + length > len(self.block):
            raise ValueError("a value lies outside the block")
        self.unread[start : start + length] = bytes(length)

    def first(self) -> int:
        """The offset of the main directory."""
        return int(struct.unpack_from(self.order + "I", self.block, 4)[0])

    def directory(self, offset: int) -> tuple[dict[int, bytes], int]:
        """Tag -> raw value, and the offset of the next directory (0: none). :raises ValueError: damaged."""
        self._strike(offset, 2)
        (count,) = struct.unpack_from(self.order + "H", self.block, offset)
        if count > MAX_ENTRIES:
            raise ValueError("too many entries")
        self._strike(offset + 2, count * 12 + 4)
        values: dict[int, bytes] = {}
        for entry in range(offset + 2, offset + 2 + count * 12, 12):
            tag, kind, number = struct.unpack_from(self.order + "HHI", self.block, entry)
            length = _SIZES.get(kind, 1) * number
            at = entry + 8
            if length > 4:
                (at,) = struct.unpack_from(self.order + "I", self.block, at)
                self._strike(at, length)
            values[tag] = self.block[at : at + length]
        (following,) = struct.unpack_from(self.order + "I", self.block, offset + 2 + count * 12)
        return values, int(following)

    def number(self, raw: bytes | None) -> int:
        """The first SHORT or LONG of a value; 0 where there is none."""
        if raw is None or len(raw) not in {2, 4}:
            return 0
        return int(struct.unpack(self.order + ("H" if len(raw) == 2 else "I"), raw)[0])


def _text(raw: bytes | None) -> str:
    if not raw:
        return ""
    text = raw.partition(b"\0")[0].decode("utf-8", "replace").strip()
    return "".join(mark for mark in text if mark.isprintable())[:MAX_TEXT]


def read(block: bytes) -> Exif:
    """What the block says (from its TIFF header on; a leading ``Exif\\0\\0`` is skipped).

    Never raises: a damaged block is private, and its orientation is believed if it could be read.
    """
    block = block.removeprefix(b"Exif\0\0")
    if not block:
        return Exif()
    if len(block) > MAX_BLOCK:
        return Exif(private=True)
    main: dict[int, bytes] = {}
    orientation = 1
    try:
        reader = _Reader(block)
        main, following = reader.directory(reader.first())
        turned = reader.number(main.get(ORIENTATION))
        orientation = turned if 1 <= turned <= 8 else 1
        private = following != 0 or not main.keys() <= _PLAIN_MAIN
        if EXIF_IFD in main:
            sub, following = reader.directory(reader.number(main[EXIF_IFD]))
            private = private or following != 0 or not sub.keys() <= _PLAIN_SUB
            if INTEROP_IFD in sub:
                interop, following = reader.directory(reader.number(sub[INTEROP_IFD]))
                private = private or following != 0 or not interop.keys() <= _PLAIN_INTEROP
        private = private or any(reader.unread)
    except (ValueError, struct.error):
        private = True
    return Exif(orientation, _text(main.get(ARTIST)), _text(main.get(COPYRIGHT)), private=private, gps=GPS_IFD in main)


def rights(exif: Exif) -> bytes:
    """A block that holds only the artist and the copyright note; empty where neither is known.

    ``read`` finds nothing private in it, so a file that carries it needs no further cleaning.
    """
    texts = [(ARTIST, exif.artist), (COPYRIGHT, exif.copyright)]
    entries = [(tag, text.encode() + b"\0") for tag, text in texts if text]
    if not entries:
        return b""
    head = b"MM\0*" + struct.pack(">IH", 8, len(entries))
    data = b""
    data_at = len(head) + 12 * len(entries) + 4
    for tag, raw in entries:
        head += struct.pack(">HHI", tag, 2, len(raw))
        if len(raw) <= 4:
            head += raw.ljust(4, b"\0")
        else:
            head += struct.pack(">I", data_at + len(data))
            data += raw + bytes(len(raw) % 2)
    return head + bytes(4) + data
