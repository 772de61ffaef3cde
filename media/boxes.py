"""The boxes of MP4 and MOV files (ISO 14496-12, QuickTime): where the index stands, what else is in there.

FFmpeg reads past most of what matters here: an index at the end, edit lists, notes about the place, data that
somebody glued to the end. Only box headers and small boxes are read, never the coded pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

Buffer = bytes | mmap

MAX_BOXES = 20_000
"""Boxes that are looked at; a file with more is odd, and what was seen until then counts."""
MAX_DEPTH = 8

_CONTAINERS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"udta", b"meta", b"ilst"})
_TOP = frozenset(
    b"ftyp moov mdat free skip wide moof mfra sidx styp emsg prft pdin uuid meta udta pnot uuid ssix imda".split()
)
_PLACES = (b"\xa9xyz", b"loci", b"com.apple.quicktime.location")
_MAKERS = (b"com.apple.quicktime.", b"com.android.", b"\xa9mak", b"\xa9mod")


@dataclass
class Layout:
    """What was found."""

    index_first: bool = True
    edit_list: bool = False
    fragmented: bool = False
    private: set[str] = field(default_factory=set)
    """gps, other, trailing: as in ``Probe.private``."""
    complete: bool = True
    """False: a box claims more bytes than the file has."""
    impossible: bool = False
    """The index lists more samples than the file has bytes: a few kilobytes would cost a reader gigabytes."""


def read(data: Buffer) -> Layout:
    """The layout of a file of the ISO kind. Never raises: what cannot be read is reported as incomplete."""
    layout = Layout()
    seen: list[bytes] = []
    try:
        for name, start, stop in _boxes(data, 0, len(data)):
            if name not in _TOP:
                # Players stop here; whatever follows is no part of the video.
                layout.private.add("trailing")
                break
            seen.append(name)
            if stop > len(data):
                layout.complete = False
            if name == b"moov":
                layout.index_first = b"mdat" not in seen
                _index(data, start, min(stop, len(data)), layout)
            elif name == b"moof":
                layout.fragmented = True
            elif name in {b"uuid", b"meta", b"udta"}:
                _notes(data[start : min(stop, start + 4096)], layout)
    except struct.error:
        layout.private.add("trailing")
    if b"moov" not in seen:
        layout.complete = False
    return layout


def _boxes(data: Buffer, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start of the body, end) of each box. :raises struct.error: the last header is cut."""
    for _ in range(MAX_BOXES):
        if at >= end:
            return
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        elif size == 0:
            size = end - at
        if size < head:
            yield b"\0\0\0\0", at, end
            return
        yield name, at + head, at + size
        at += size


def _index(data: Buffer, start: int, stop: int, layout: Layout, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        return
    try:
        for name, body, end in _boxes(data, start, stop):
            inner = min(end, stop)
            if name == b"elst":
                layout.edit_list = layout.edit_list or _edits(data[body : min(inner, body + 4096)])
            elif name in {b"stsz", b"stz2"}:
                _, size, count = struct.unpack_from(">III", data, body)
                # Of one size for all; otherwise each has its entry in the box, whose length is checked anyway.
                each = size if name == b"stsz" and size else 1
                layout.impossible = layout.impossible or count * each > len(data)
            elif name in {b"keys", b"\xa9xyz", b"loci"} or name.startswith(b"\xa9"):
                _notes(name + bytes(data[body : min(inner, body + 4096)]), layout)
            elif name in _CONTAINERS:
                # QuickTime's meta has no version in front of its boxes, that of ISO has: 4 bytes.
                shift = 4 if name == b"meta" and data[body + 4 : body + 8] != b"hdlr" else 0
                _index(data, body + shift, inner, layout, depth + 1)
    except struct.error:
        return


def _edits(body: bytes) -> bool:
    """Whether an edit list does more than to say "play all of it"."""
    if len(body) < 8:
        return False
    version, (count,) = body[0], struct.unpack_from(">I", body, 4)
    if count != 1:
        return bool(count)
    if version == 1:
        return len(body) >= 24 and struct.unpack_from(">q", body, 16)[0] != 0
    return len(body) >= 16 and bool(struct.unpack_from(">i", body, 12)[0] != 0)


def _notes(text: bytes, layout: Layout) -> None:
    if any(mark in text for mark in _PLACES):
        layout.private.add("gps")
    elif any(mark in text for mark in _MAKERS):
        layout.private.add("other")
