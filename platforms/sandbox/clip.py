"""What an MP4 or MOV says about itself: how long it is, and how large its picture is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clip:
    """A video, by its own header."""

    duration_s: float
    width: int
    height: int


def read_clip(data: bytes) -> Clip | None:
    """The header of a whole file; None where there is none that can be read, or no picture in it."""
    try:
        moov = _first(data, 0, len(data), b"moov")
        if moov is None:
            return None
        mvhd = _first(data, *moov, b"mvhd")
        if mvhd is None:
            return None
        duration_s = _duration(data[mvhd[0] : mvhd[1]])
        for kind, begin, end in _boxes(data, *moov):
            tkhd = _first(data, begin, end, b"tkhd") if kind == b"trak" else None
            if tkhd is not None:
                # The last two fields of a track's header: 16.16 fixed point; zero for sound.
                width, height = (value >> 16 for value in struct.unpack(">II", data[tkhd[1] - 8 : tkhd[1]]))
                if width and height:
                    return Clip(duration_s, width, height)
    except (struct.error, ZeroDivisionError):
        return None
    return None


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of what each box holds."""
    while begin + 8 <= end:
        size, kind = struct.unpack(">I4s", data[begin : begin + 8])
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", data[begin + 8 : begin + 16])
            head = 16
        elif size == 0:
            size = end - begin
        if size < head or begin + size > end:
            return
        yield kind, begin + head, begin + size
        begin += size


def _first(data: bytes, begin: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    return next(((inner, last) for kind, inner, last in _boxes(data, begin, end) if kind == wanted), None)


def _duration(mvhd: bytes) -> float:
    scale, duration = struct.unpack(">IQ", mvhd[20:32]) if mvhd[0] == 1 else struct.unpack(">II", mvhd[12:20])
    return float(duration / scale)
