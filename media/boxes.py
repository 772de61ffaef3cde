"""The boxes of MP4 and MOV files (ISO 14496-12, QuickTime): where the index stands, what else is in there.

FFmpeg reads past most of what matters here: an index at the end, edit lists, notes about the place, data that
somebody glued to the end or hid in a box that players skip. Only headers and small boxes are read, never pictures.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

Buffer = bytes | mmap

MAX_BOXES = 20_000
"""Boxes that are looked at; a file with more is odd, and what was seen until then counts."""
MAX_DEPTH = 8
MAX_CHUNKS = 2_000_000
"""Places of coded data that are remembered; a list that is longer is not followed."""
MAX_MEDIA = 32
"""Boxes of coded data in a file without fragments; one with more is packed anew."""
NOTE_BYTES = 1 << 20
"""How much of a box of notes is searched for places and serial numbers."""
SOUND_CUT_S = 0.15
"""Sound that an edit list may leave out before it counts as cut: encoders begin with up to 0.12 s of nothing."""

_CONTAINERS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"udta", b"meta", b"ilst"})
_TOP = frozenset(
    b"ftyp moov mdat free skip wide moof mfra sidx styp emsg prft pdin uuid meta udta pnot ssix imda".split()
)
_FREE = frozenset({b"free", b"skip", b"wide"})
_FRAGMENTS = frozenset({b"moof", b"mfra", b"sidx", b"ssix", b"styp", b"emsg", b"prft", b"imda"})
_SEEN_AND_HEARD = frozenset({b"vide", b"soun"})
_PLACES = (b"\xa9xyz", b"loci", b"com.apple.quicktime.location")
_MAKERS = (b"com.apple.quicktime.", b"com.android.", b"\xa9mak", b"\xa9mod")
_CAMERAS = frozenset({b"GPMF", b"CAME", b"MUID", b"smta", b"CNTH", b"CNDA", b"NCDT"})
"""Boxes in which cameras write their serial number, their owner or a picture of what was before the cut."""
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_PLAIN_UUIDS = frozenset(
    bytes.fromhex(one)
    for one in (
        "ffcc8263f8554a938814587a02521fdd",  # spherical video
        "a2394f525a9b4f14a2446c427c648df4",  # encryption (PIFF): of samples
        "8974dbce7be74c5184f97148f9882554",  # of tracks
        "d08a4f1810f34a82b6c832d8aba183d3",  # its systems
        "6d1d9b0542d544e680e2141daff757b2",  # Smooth Streaming: the time of a fragment
        "d4807ef2ca3946958e5426cb9e46a79f",  # of those that follow
    )
)


@dataclass
class Track:
    """One track, as far as its edit list needs it."""

    kind: bytes = b""
    """``vide`` or ``soun``; empty: another one."""
    scale: int = 0
    """Units a second of ``length`` and of where an edit begins."""
    length: int = 0
    edits: list[tuple[int, int, int]] = field(default_factory=list)
    """Of each stretch that is played: how long (in the movie's units), from where, how fast (65,536: as it is)."""


@dataclass
class Layout:
    """What was found."""

    index_first: bool = True
    edit_list: bool = False
    """An edit list does more than to say "play all of it", if only for the delay of a codec."""
    spliced: bool = False
    """An edit list plays several stretches, or not at the usual speed."""
    sound_cut: bool = False
    """An edit list leaves out sound at the beginning or the end."""
    fragmented: bool = False
    private: set[str] = field(default_factory=set)
    """gps, xmp, other, trailing: as in ``Probe.private``."""
    complete: bool = True
    """False: a box claims more bytes than the file has."""
    impossible: bool = False
    """The index lists more samples than the file has bytes: a few kilobytes would cost a reader gigabytes."""
    scale: int = 0
    """Units a second of the movie."""
    tracks: list[Track] = field(default_factory=list)
    chunks: array[int] = field(default_factory=lambda: array("Q"))
    """Where coded data begins."""


def read(data: Buffer) -> Layout:
    """The layout of a file of the ISO kind. Never raises: what cannot be read is reported as incomplete."""
    layout = Layout()
    seen: set[bytes] = set()
    media: list[tuple[int, int]] = []
    try:
        for name, start, stop in _boxes(data, 0, len(data)):
            inner = min(stop, len(data))
            if name not in _TOP:
                # Players stop here; whatever follows is no part of the video.
                if not blank(data, start, len(data)):
                    layout.private.add("trailing")
                break
            layout.complete = layout.complete and stop <= len(data)
            whole = {b"moov", b"mdat"} <= seen
            layout.fragmented = layout.fragmented or name == b"moof"
            seen.add(name)
            if name in _FREE:
                if not blank(data, start, inner):
                    layout.private.add("trailing" if whole else "other")
            elif name == b"mdat":
                media.append((start, inner))
            elif whole and not (name in _FRAGMENTS and layout.fragmented):
                layout.private.add("trailing")
            if name == b"moov":
                layout.index_first = b"mdat" not in seen
                _index(data, start, inner, layout)
            elif name == b"uuid":
                _uuid(data, start, inner, layout)
            elif name in {b"meta", b"udta"}:
                _notes(data[start : min(inner, start + NOTE_BYTES)], layout)
    except struct.error:
        layout.private.add("trailing")
    if b"moov" not in seen:
        layout.complete = False
    used = len(media) <= MAX_MEDIA and all(_is_used(layout.chunks, *one) for one in media)
    if not layout.fragmented and not used:
        # A box of media that no track points to: an archive under a harmless name.
        layout.private.add("trailing")
    _judge_edits(layout)
    return layout


def blank(data: Buffer, start: int, stop: int) -> bool:
    """Whether there is nothing but zeros."""
    return not any(data[at : min(stop, at + NOTE_BYTES)].strip(b"\0") for at in range(start, stop, NOTE_BYTES))


def _is_used(chunks: array[int], start: int, stop: int) -> bool:
    return start == stop or len(chunks) >= MAX_CHUNKS or any(start <= at < stop for at in chunks)


def _boxes(data: Buffer, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start of the body, end) of each box. :raises struct.error: the last header is cut."""
    for _ in range(MAX_BOXES):
        if at >= end:
            return
        if end - at < 8:
            yield b"\0\0\0\0", at, end
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
            if name == b"trak":
                layout.tracks.append(Track())
            if name in {b"keys", b"\xa9xyz", b"loci"} or name.startswith(b"\xa9"):
                _notes(name + bytes(data[body : min(inner, body + 4096)]), layout)
            elif name in _FREE:
                if not blank(data, body, inner):
                    layout.private.add("other")
            elif name == b"uuid":
                _uuid(data, body, inner, layout)
            elif name == b"XMP_":
                _xmp(data[body : min(inner, body + NOTE_BYTES)], layout)
            elif name in _CAMERAS:
                layout.private.add("other")
            elif name in _CONTAINERS:
                # QuickTime's meta has no version in front of its boxes, that of ISO has: 4 bytes.
                shift = 4 if name == b"meta" and data[body + 4 : body + 8] != b"hdlr" else 0
                _index(data, body + shift, inner, layout, depth + 1)
            else:
                _table(data, name, body, inner, layout)
    except (struct.error, IndexError):
        return


def _table(data: Buffer, name: bytes, body: int, inner: int, layout: Layout) -> None:
    """Takes what matters out of a box of numbers. :raises struct.error, IndexError: it is cut."""
    track = layout.tracks[-1] if layout.tracks else Track()
    if name in {b"mvhd", b"mdhd"}:
        long = data[body] == 1
        scale, length = struct.unpack_from(">IQ" if long else ">II", data, body + (20 if long else 12))
        if name == b"mvhd":
            layout.scale = scale
        else:
            track.scale, track.length = scale, length
    elif name == b"hdlr":
        # QuickTime's data handler and that of notes stand in boxes of the same name.
        kind = bytes(data[body + 8 : body + 12])
        track.kind = track.kind or (kind if kind in _SEEN_AND_HEARD else b"")
    elif name == b"elst":
        _edits(data[body : min(inner, body + 4096)], track, layout)
    elif name in {b"stsz", b"stz2"}:
        _, size, count = struct.unpack_from(">III", data, body)
        # Of one size for all; otherwise each has its entry in the box, whose length is checked anyway.
        each = size if name == b"stsz" and size else 1
        layout.impossible = layout.impossible or count * each > len(data)
    elif name in {b"stco", b"co64"} and inner - body > 8:
        width = 4 if name == b"stco" else 8
        room = max(0, MAX_CHUNKS - len(layout.chunks))
        entries = min((inner - body - 8) // width, room)
        places = array("I" if width == 4 else "Q", data[body + 8 : body + 8 + entries * width])
        if sys.byteorder == "little":
            places.byteswap()
        layout.chunks.extend(array("Q", places))


def _edits(body: bytes, track: Track, layout: Layout) -> None:
    """:raises struct.error: the list is cut."""
    (count,) = struct.unpack_from(">I", body, 4)
    form = ">QqI" if body[0] == 1 else ">IiI"
    size = struct.calcsize(form)
    entries = [struct.unpack_from(form, body, 8 + n * size) for n in range(min(count, (len(body) - 8) // size))]
    # -1: nothing is played for so long, which is how a track begins late.
    track.edits = [(lasts, start, rate) for lasts, start, rate in entries if start >= 0]
    layout.edit_list = layout.edit_list or count > 1 or any(start != 0 for _, start, _ in entries)


def _judge_edits(layout: Layout) -> None:
    for track in layout.tracks:
        if not track.kind or not track.edits:
            continue
        lasts, start, rate = track.edits[0]
        layout.spliced = layout.spliced or len(track.edits) > 1 or rate != 0x10000
        if track.kind == b"soun" and track.scale and layout.scale:
            before = start / track.scale
            # 0: to the end.
            after = (track.length - start) / track.scale - lasts / layout.scale if lasts else 0.0
            layout.sound_cut = layout.sound_cut or max(before, after) > SOUND_CUT_S


def _uuid(data: Buffer, start: int, stop: int, layout: Layout) -> None:
    """Notes a box of somebody's own kind; only those that playing needs are plain."""
    kind = bytes(data[start : start + 16])
    if kind == _XMP:
        _xmp(data[start : min(stop, start + NOTE_BYTES)], layout)
    elif kind not in _PLAIN_UUIDS:
        layout.private.add("other")
        _notes(data[start : min(stop, start + NOTE_BYTES)], layout)


def _xmp(text: bytes, layout: Layout) -> None:
    layout.private.add("xmp")
    if b"GPS" in text or b"Location" in text:
        layout.private.add("gps")


def _notes(text: bytes, layout: Layout) -> None:
    if any(mark in text for mark in _PLACES):
        layout.private.add("gps")
    elif any(mark in text for mark in _MAKERS):
        layout.private.add("other")
