"""The elements of Matroska and WebM files (RFC 8794, RFC 9559): where the video ends and what lies behind it.

FFmpeg plays what is there of a file that was cut off and reads past what was glued to its end. Only the headers of
elements are read, never the coded pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

from media.boxes import blank

Buffer = bytes | mmap

MAX_ELEMENTS = 1_000_000
"""Elements that are looked at; a file with more is odd, and what was seen until then counts."""

_HEADER, _SEGMENT, _INFO, _CLUSTER, _VOID = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1F43B675, 0xEC
_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TOP = frozenset({_INFO, _CLUSTER, _VOID, 0x114D9B74, 0x1654AE6B, 0x1C53BB6B, 0x1043A770, 0x1254C367, 0x1941A469, 0xBF})
"""Beside those: what can be sought, tracks, cues, chapters, tags, attachments, checksum."""
_IN_CLUSTER = frozenset({0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, _VOID, 0xBF})
"""Time, silent tracks, position, size before, block, group of blocks, encrypted block."""


@dataclass
class Layout:
    """What was found."""

    complete: bool = True
    """False: an element claims more bytes than the file has."""
    lasts_s: float = 0.0
    """As the file says; 0: it does not."""
    private: set[str] = field(default_factory=set)
    """other, trailing: as in ``Probe.private``."""


@dataclass(frozen=True)
class _Element:
    kind: int
    body: int
    end: int | None
    """None: unknown, as live recordings write it."""


def read(data: Buffer) -> Layout:
    """The layout of a Matroska file. Never raises: what cannot be read is reported as incomplete."""
    layout = Layout()
    try:
        _walk(data, layout)
    except IndexError:
        layout.complete = False
    return layout


def _walk(data: Buffer, layout: Layout) -> None:
    """:raises IndexError: the header of an element is cut."""
    at = 0
    segment = _element(data, 0)
    while segment.kind in {_HEADER, _VOID} and segment.end is not None:
        at = segment.end
        segment = _element(data, at)
    if segment.kind != _SEGMENT:
        layout.complete = False
        return
    end = len(data) if segment.end is None else segment.end
    layout.complete = end <= len(data)
    end = min(end, len(data))
    for one in _children(data, segment.body, end):
        if one.kind not in _TOP:
            if segment.end is None:
                # Players of a stream without an end stop here.
                end = one.body
                layout.private.add("trailing")
                break
            layout.private.add("other")
        if one.end is not None and one.end > end:
            layout.complete = False
        elif one.kind == _VOID and one.end is not None and not blank(data, one.body, one.end):
            layout.private.add("other")
        elif one.kind == _INFO and one.end is not None:
            layout.lasts_s = _lasts(data, one)
    if not blank(data, end, len(data)):
        layout.private.add("trailing")


def _children(data: Buffer, at: int, end: int) -> Iterator[_Element]:
    """:raises IndexError: a header is cut."""
    for _ in range(MAX_ELEMENTS):
        if at >= end:
            return
        one = _element(data, at)
        yield one
        if one.end is not None:
            at = one.end
        elif one.kind == _CLUSTER:
            at = one.body
            # Its blocks follow, until something that stands beside a cluster.
            while at < end and (block := _element(data, at)).kind in _IN_CLUSTER:
                if block.end is None or block.end > end:
                    raise IndexError
                at = block.end
        else:
            return


def _element(data: Buffer, at: int) -> _Element:
    """:raises IndexError: its header is cut, or is none."""
    kind, size_at = _number(data, at, most=4)
    size, body = _number(data, size_at, most=8)
    # Its first set bit tells how long it is; all others set: nobody knows.
    mark = 1 << 7 * (body - size_at)
    return _Element(kind, body, None if size == 2 * mark - 1 else body + size - mark)


def _number(data: Buffer, at: int, *, most: int) -> tuple[int, int]:
    """A number of variable length with its mark of length, and where it ends."""
    length = 9 - data[at].bit_length()
    if length > most or at + length > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + length], "big"), at + length


def _lasts(data: Buffer, info: _Element) -> float:
    scale, duration = 1_000_000, 0.0
    for one in _children(data, info.body, min(info.end or 0, len(data))):
        if one.end is None or one.end > len(data):
            break
        body = bytes(data[one.body : one.end])
        if one.kind == _SCALE:
            scale = int.from_bytes(body[:8], "big")
        elif one.kind == _DURATION and len(body) in {4, 8}:
            (duration,) = struct.unpack(">d" if len(body) == 8 else ">f", body)
    return duration * scale / 1e9
