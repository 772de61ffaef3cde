"""The outer structure of JPEG, PNG, WebP and GIF files: where the picture ends and what travels beside it.

Decoders answer "what does it look like"; this answers "what else is in here": metadata, comments, an archive
glued to the end. Taking those out here leaves the coded picture untouched, so nothing is lost by it.
Everything works on slices of one buffer (bytes or a memory map) and never decodes a pixel.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

from media import exif, rights, streams
from media.decode import MAX_PIXELS

Buffer = bytes | mmap

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Damaged(Exception):
    """The structure breaks off or contradicts itself; ``code`` is that of ``MediaRefused``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Anatomy:
    """What a file consists of."""

    pieces: list[tuple[int, int]] = field(default_factory=list)
    """The stretches (start, stop) that belong to the picture, in order."""
    private: set[str] = field(default_factory=set)
    """What travels beside it: gps, exif, xmp, iptc, comment, thumbnail, other, trailing."""
    exif: bytes = b""
    exif_at: tuple[int, int] | None = None
    """Where the block stands, if it may stay."""
    told_rights: rights.Rights = rights.NOBODY
    """Whose work it is, as told outside of EXIF."""
    lost_rights: rights.Rights = rights.NOBODY
    """The part of that which goes with what is cut out."""
    colours: tuple[int, int] | None = None
    """Primaries and transfer by their numbers (PNG ``cICP``)."""
    baseline: bool = False
    """Of a JPEG: each pixel is coded at once."""
    frames: int = 1
    regular: bool = True
    """False: decoders read past something odd, so only drawing it anew gives a clean file."""

    def keep(self, start: int, stop: int) -> None:
        """Adds a stretch; neighbours are joined."""
        if self.pieces and self.pieces[-1][1] == start:
            start = self.pieces.pop()[0]
        self.pieces.append((start, stop))

    def hear(self, told: rights.Rights, *, stays: bool = False) -> None:
        """Notes whose work it is, as told by something that stays or is cut out."""
        self.told_rights = self.told_rights.or_else(told)
        if not stays:
            self.lost_rights = self.lost_rights.or_else(told)

    def suspect(self) -> None:
        """Something hides where only drawing it anew gets rid of it."""
        self.private.add("other")
        self.regular = False

    def judge_exif(self, block: bytes) -> bool:
        """Notes an EXIF block; whether it may stay. A second one never may."""
        found = exif.read(block)
        plain = not self.exif and not found.private
        self.exif = self.exif or block
        if found.gps:
            self.private.add("gps")
        if not plain:
            self.private.add("exif")
        return plain


def dissect(data: Buffer, kind: str) -> Anatomy:
    """The anatomy of a file of format ``kind`` (JPEG, PNG, WEBP, GIF).

    :raises Damaged: it ends before its end mark, or is not of that format at all.
    """
    try:
        anatomy, end = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "GIF": _gif}[kind](data)
    except (IndexError, struct.error):
        raise Damaged("truncated", "the file ends in the middle of the picture") from None
    if end < len(data):
        anatomy.private.add("trailing")
    return anatomy


def clean(data: Buffer, kind: str) -> Iterator[bytes]:
    """The file without what travels beside the picture, in chunks; artist and copyright stay.

    :raises Damaged: as ``dissect``; also (code ``corrupt``) for a structure that cannot be cut safely.
    """
    anatomy = dissect(data, kind)
    if not anatomy.regular:
        raise Damaged("corrupt", "the file's structure is irregular")
    note = _note(anatomy)
    yield from {"JPEG": _clean_jpeg, "PNG": _clean_png, "WEBP": _clean_webp, "GIF": _clean_gif}[kind](
        data, anatomy, note
    )


def _note(anatomy: Anatomy) -> bytes:
    """The EXIF block that says whose work it is, where that was told by something that is cut out."""
    known = exif.read(anatomy.exif)
    told = rights.Rights(known.artist, known.copyright)
    cut = anatomy.exif_at is None and bool(anatomy.exif)
    if not cut and told.or_else(anatomy.lost_rights) == told:
        return b""
    if anatomy.exif_at is not None:
        # There is one block only: the camera's plain facts make room.
        start, stop = anatomy.exif_at
        parts = [
            part
            for piece in anatomy.pieces
            for part in ((piece[0], min(piece[1], start)), (max(piece[0], stop), piece[1]))
        ]
        anatomy.pieces = [part for part in parts if part[0] < part[1]]
        anatomy.exif, anatomy.exif_at = b"", None
    told = told.or_else(anatomy.lost_rights)
    return exif.rights(exif.Exif(artist=told.artist, copyright=told.copyright))


def _slices(data: Buffer, pieces: list[tuple[int, int]]) -> Iterator[bytes]:
    for start, stop in pieces:
        for at in range(start, stop, 1 << 20):
            yield data[at : min(stop, at + (1 << 20))]


# --- JPEG -------------------------------------------------------------------------------------------------

_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The first marker behind entropy-coded data: 0xFF not followed by stuffing, a restart mark or filling."""


def _jpeg(data: Buffer) -> tuple[Anatomy, int]:
    anatomy = Anatomy()
    if data[:2] != b"\xff\xd8":
        raise Damaged("not_media", "the file is not a JPEG")
    anatomy.keep(0, 2)
    at = 2
    profile: dict[int, bytes] = {}
    while True:
        if data[at] != 0xFF:
            following = data.find(b"\xff", at)
            if following < 0:
                raise IndexError
            anatomy.regular, at = False, following
            continue
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            anatomy.keep(at, at + 2)
            if not _profile_fits(profile):
                anatomy.suspect()
            return anatomy, at + 2
        if marker <= 0x01 or 0xD0 <= marker <= 0xD7:
            anatomy.regular, at = False, at + 2
            continue
        stop = at + 2 + _number(data, at + 2, ">H")
        anatomy.baseline = anatomy.baseline or marker in {0xC0, 0xC1}
        body = data[at + 4 : stop]
        profile.update(_part_of_profile(marker, body))
        if _jpeg_segment_stays(anatomy, marker, body):
            anatomy.exif_at = (at, stop) if marker == 0xE1 else anatomy.exif_at
            anatomy.keep(at, stop)
        if marker == 0xDA:
            found = _AFTER_SCAN.search(data, stop)
            if found is None:
                raise IndexError
            anatomy.keep(stop, found.start())
            if streams.is_strange(data, stop, found.start()):
                anatomy.suspect()
            stop = found.start()
        at = stop


def _part_of_profile(marker: int, body: bytes) -> dict[int, bytes]:
    """A colour profile is cut into segments that are counted from 1."""
    if marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
        return {body[12]: body[14:]}
    return {}


def _profile_fits(parts: dict[int, bytes]) -> bool:
    return not parts or streams.icc_fits(b"".join(parts[one] for one in sorted(parts)))


def _jpeg_segment_stays(anatomy: Anatomy, marker: int, body: bytes) -> bool:
    if marker == 0xE1 and body.startswith(b"Exif\0"):
        return anatomy.judge_exif(body[6:])
    # What decides how the picture looks stays: JFIF, ICC profile, Adobe's colour transform.
    kept = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) > 14:
        anatomy.private.add("thumbnail")
        anatomy.regular = False
        return True
    if marker in kept and body.startswith(kept[marker]):
        return True
    if marker == 0xFE:
        anatomy.private.add("comment")
        return False
    if 0xE0 <= marker <= 0xEF:
        names = {0xE1: "xmp", 0xED: "iptc"}
        if marker == 0xED and body.startswith(b"Photoshop 3.0\0"):
            anatomy.hear(rights.of_iptc(body))
        elif marker == 0xE1:
            anatomy.hear(rights.of_xmp(body))
        anatomy.private.add(names.get(marker, "other"))
        return False
    return True


def _clean_jpeg(data: Buffer, anatomy: Anatomy, note: bytes) -> Iterator[bytes]:
    first = anatomy.pieces[0]
    head = first[0] + 2
    if data[head : head + 2] == b"\xff\xe0" and first[1] > head:
        # JFIF wants to be the first segment.
        head += 2 + _number(data, head + 2, ">H")
    yield data[first[0] : head]
    if note:
        body = b"Exif\0\0" + note
        yield b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    yield from _slices(data, [(head, first[1]), *anatomy.pieces[1:]])


# --- PNG --------------------------------------------------------------------------------------------------

_PNG_PLAIN = frozenset(
    # Pixels, palette, colour, size, animation, and the date of change. iDOT: Apple's index of the pixels.
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI sBIT bKGD pHYs hIST sPLT tIME acTL"
    b" fcTL fdAT oFFs sTER iDOT".split()
)
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PNG_PLAIN_TEXTS = frozenset({b"Software", b"Copyright", b"Author"})


def _png(data: Buffer) -> tuple[Anatomy, int]:
    anatomy = Anatomy()
    if data[:8] != PNG_SIGNATURE:
        raise Damaged("not_media", "the file is not a PNG")
    anatomy.keep(0, 8)
    anatomy.regular = data[12:16] == b"IHDR"
    at = 8
    pixels = streams.PngPixels(data[16:29])
    while True:
        length = _number(data, at, ">I")
        name = data[at + 4 : at + 8]
        stop = at + 12 + length
        if stop > len(data):
            raise IndexError
        stays = name in _PNG_PLAIN
        if name == b"eXIf":
            stays = anatomy.judge_exif(data[at + 8 : stop - 4])
            anatomy.exif_at = (at, stop) if stays else anatomy.exif_at
        elif name in _PNG_TEXTS:
            body = data[at + 8 : min(stop - 4, at + 8 + rights.MAX_XMP)]
            stays = _png_text_stays(name, body)
            anatomy.hear(rights.of_png_text(name, body), stays=stays)
        elif name == b"IDAT":
            pixels.add(data, at + 8, stop - 4, most=MAX_PIXELS * 8)
        elif name == b"cICP" and length == 4:
            anatomy.colours = data[at + 8], data[at + 9]
        elif name == b"iCCP" and not _png_profile_fits(data[at + 8 : stop - 4]):
            anatomy.suspect()
        if name == b"acTL":
            anatomy.frames = max(1, _number(data, at + 8, ">I"))
        if stays:
            anatomy.keep(at, stop)
        elif name != b"eXIf":
            xmp = name == b"iTXt" and data[at + 8 : at + 25] == b"XML:com.adobe.xmp"
            anatomy.private.add("xmp" if xmp else "comment" if name in _PNG_TEXTS else "other")
        at = stop
        if name == b"IEND":
            if pixels.odd:
                anatomy.suspect()
            return anatomy, at


def _png_text_stays(chunk: bytes, body: bytes) -> bool:
    """Whether a text says no more than whose work it is or what made it."""
    keyword, _, rest = body.partition(b"\0")
    plain = chunk == b"tEXt" or (chunk == b"iTXt" and rest[:1] == b"\0")
    return plain and len(body) <= 1024 and keyword in _PNG_PLAIN_TEXTS


def _png_profile_fits(body: bytes) -> bool:
    packer = zlib.decompressobj()
    try:
        profile = packer.decompress(body.partition(b"\0")[2][1:], rights.MAX_XMP * 4)
    except zlib.error:
        return True  # nobody can read it, so nobody will
    return packer.eof and not packer.unused_data and streams.icc_fits(profile)


def _clean_png(data: Buffer, anatomy: Anatomy, note: bytes) -> Iterator[bytes]:
    # IHDR is always the first chunk and 25 bytes long.
    yield data[:33]
    if note:
        yield struct.pack(">I", len(note)) + b"eXIf" + note + struct.pack(">I", zlib.crc32(b"eXIf" + note))
    yield from _slices(data, [(33, anatomy.pieces[0][1]), *anatomy.pieces[1:]])


# --- WebP -------------------------------------------------------------------------------------------------

_WEBP_PLAIN = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_DRAWN = frozenset({b"VP8 ", b"VP8L"})
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04


def _webp(data: Buffer) -> tuple[Anatomy, int]:
    anatomy = Anatomy()
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise Damaged("not_media", "the file is not a WebP")
    end = 8 + _number(data, 4, "<I")
    if end > len(data):
        raise IndexError
    at, frames = 12, 0
    seen: set[bytes] = set()
    while at < end:
        name = data[at : at + 4]
        length = _number(data, at + 4, "<I")
        stop = at + 8 + length + length % 2
        if stop > end:
            raise IndexError
        # One of each, transparency before colours: decoders pass over what else there is.
        drawn = not seen.isdisjoint(_WEBP_DRAWN)
        stays = name in _WEBP_PLAIN and (name == b"ANMF" or (name not in seen and not drawn))
        seen.add(name)
        frames += name == b"ANMF"
        body = data[at + 8 : at + 8 + length] if name in {b"EXIF", b"XMP ", b"ICCP"} else b""
        if name == b"EXIF":
            stays = anatomy.judge_exif(body)
            anatomy.exif_at = (at, stop) if stays else anatomy.exif_at
        elif not stays:
            anatomy.private.add("xmp" if name == b"XMP " else "other")
            anatomy.hear(rights.of_xmp(body) if name == b"XMP " else rights.NOBODY)
        elif (name == b"ICCP" and not streams.icc_fits(body)) or (
            name in _WEBP_DRAWN | {b"ALPH"} and streams.is_strange(data, at, stop)
        ):
            anatomy.suspect()
        if stays:
            anatomy.keep(at, stop)
        at = stop
    anatomy.frames = max(1, frames)
    return anatomy, end


def _clean_webp(data: Buffer, anatomy: Anatomy, note: bytes) -> Iterator[bytes]:
    extended = data[12:16] == b"VP8X"
    length = sum(stop - start for start, stop in anatomy.pieces)
    chunk = b""
    if note and extended:
        chunk = b"EXIF" + struct.pack("<I", len(note)) + note + bytes(len(note) % 2)
    yield b"RIFF" + struct.pack("<I", 4 + length + len(chunk)) + b"WEBP"
    pieces = anatomy.pieces
    if extended:
        keeps_exif = bool(chunk) or ("exif" not in anatomy.private and bool(anatomy.exif))
        flags = (data[20] & ~(_WEBP_EXIF | _WEBP_XMP)) | (_WEBP_EXIF if keeps_exif else 0)
        yield data[12:20] + bytes([flags])
        pieces = [(21, pieces[0][1]), *pieces[1:]]
    yield from _slices(data, pieces)
    yield chunk


# --- GIF --------------------------------------------------------------------------------------------------

_GIF_APPLICATIONS = frozenset({b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"})


def _gif(data: Buffer) -> tuple[Anatomy, int]:
    anatomy = Anatomy()
    if data[:6] not in {b"GIF87a", b"GIF89a"}:
        raise Damaged("not_media", "the file is not a GIF")
    at = 13 + _colours(data[10])
    anatomy.keep(0, at)
    frames = 0
    while True:
        start, block = at, data[at]
        if block == 0x3B:
            anatomy.keep(at, at + 1)
            break
        if block == 0x2C:
            frames += 1
            at = _after_blocks(data, at + 11 + _colours(data[at + 9]))
            anatomy.keep(start, at)
        elif block == 0x21:
            label, name = data[at + 1], data[at + 3 : at + 14]
            at = _after_blocks(data, at + 2)
            whole = _gif_extension(data, label, name, start, at)
            if whole:
                anatomy.keep(start, whole)
                if whole + 1 < at:
                    # Longer than such a block is: its first part, and the mark that ends it.
                    anatomy.private.add("other")
                    anatomy.keep(at - 1, at)
                else:
                    anatomy.keep(whole, at)
            else:
                xmp = name.startswith(b"XMP")
                anatomy.private.add("comment" if label == 0xFE else "xmp" if xmp else "other")
        else:
            raise Damaged("corrupt", "the file's structure is broken")
    if not frames:
        raise Damaged("corrupt", "the file holds no picture")
    anatomy.frames = frames
    return anatomy, at + 1


def _gif_extension(data: Buffer, label: int, name: bytes, start: int, stop: int) -> int:
    """Where an extension that decides how the picture looks or plays ends, without the mark; 0: it is none."""
    if label == 0xF9:
        return start + 7 if data[start + 2] == 4 else 0
    if label != 0xFF or name not in _GIF_APPLICATIONS:
        return 0
    if name != b"ICCRGBG1012":
        return start + 18 if data[start + 14] == 3 else 0
    profile, at = b"", start + 14
    while length := data[at]:
        profile += data[at + 1 : at + 1 + length]
        at += 1 + length
    return stop - 1 if streams.icc_fits(profile) else 0


def _colours(flags: int) -> int:
    """The length of a colour table, bytes."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: Buffer, at: int) -> int:
    while length := data[at]:
        at += 1 + length
    return at + 1


def _clean_gif(data: Buffer, anatomy: Anatomy, note: bytes) -> Iterator[bytes]:  # noqa: ARG001 - one signature for all
    yield from _slices(data, anatomy.pieces)


def _number(data: Buffer, at: int, form: str) -> int:
    return int(struct.unpack_from(form, data, at)[0])
