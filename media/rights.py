"""Whose work a picture is, where it is told outside of EXIF: XMP, IPTC, and the texts of a PNG.

Read with patterns, not with a parser of XML: what entities and nesting could do to that is nothing that two lines of
text are worth.
"""

from __future__ import annotations

import html
import re
import struct
import zlib
from dataclasses import dataclass

MAX_XMP = 1 << 20
MAX_TEXT = 512
"""Characters kept of a note, as of one in EXIF."""

_RIGHTS = re.compile(rb"<dc:rights\b[^>]{0,200}>(.{0,4096}?)</dc:rights>", re.DOTALL)
_CREATOR = re.compile(rb"<dc:creator\b[^>]{0,200}>(.{0,4096}?)</dc:creator>", re.DOTALL)
_RIGHTS_SHORT = re.compile(rb"\sdc:rights\s*=\s*([\"'])(.{0,2048}?)\1", re.DOTALL)
_CREATOR_SHORT = re.compile(rb"\sdc:creator\s*=\s*([\"'])(.{0,2048}?)\1", re.DOTALL)
_ITEM = re.compile(rb"<rdf:li\b[^>]{0,200}>(.{0,2048}?)</rdf:li>", re.DOTALL)
_MARK = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Rights:
    """The artist and the copyright note; empty where nothing is said."""

    artist: str = ""
    copyright: str = ""

    def __bool__(self) -> bool:
        return bool(self.artist or self.copyright)

    def or_else(self, other: Rights) -> Rights:
        """These, and where they say nothing the other's."""
        return Rights(self.artist or other.artist, self.copyright or other.copyright)


NOBODY = Rights()


def plain(text: str) -> str:
    """A note as it is kept: one line of printable characters."""
    return "".join(mark for mark in " ".join(text.split()) if mark.isprintable())[:MAX_TEXT]


def of_xmp(packet: bytes) -> Rights:
    """What ``dc:rights`` and ``dc:creator`` say. Only packets in UTF-8, as all are that are embedded."""
    if len(packet) > MAX_XMP:
        return Rights()
    return Rights(_first(packet, _CREATOR, _CREATOR_SHORT), _first(packet, _RIGHTS, _RIGHTS_SHORT))


def _first(packet: bytes, long: re.Pattern[bytes], short: re.Pattern[bytes]) -> str:
    found = long.search(packet)
    if found is None:
        attribute = short.search(packet)
        return _words(attribute[2]) if attribute else ""
    items = [_words(one) for one in _ITEM.findall(found[1])]
    # A list holds a person each; of alternatives, one for each language, the first is the default.
    return plain(", ".join(filter(None, items))) if long is _CREATOR and items else (items or [_words(found[1])])[0]


def _words(raw: bytes) -> str:
    return plain(html.unescape(_MARK.sub("", raw.decode("utf-8", "replace"))))


_IPTC_BLOCK, _BYLINE, _COPYRIGHT, _CODED = 0x0404, 80, 116, (1, 90)


def of_iptc(segment: bytes) -> Rights:
    """What a JPEG's ``Photoshop 3.0`` segment says in IPTC 2:80 and 2:116."""
    at = 14
    found: dict[int, str] = {}
    try:
        while segment[at : at + 4] == b"8BIM":
            (number,) = struct.unpack_from(">H", segment, at + 4)
            name = segment[at + 6]
            at += 6 + (name + 2) // 2 * 2
            (length,) = struct.unpack_from(">I", segment, at)
            if number == _IPTC_BLOCK:
                found = _datasets(segment[at + 4 : at + 4 + length])
            at += 4 + length + length % 2
    except (IndexError, struct.error):
        pass  # what could be read counts
    return Rights(found.get(_BYLINE, ""), found.get(_COPYRIGHT, ""))


def _datasets(block: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    coding, at = "latin-1", 0
    while at + 5 <= len(block) and block[at] == 0x1C:
        record, number, length = struct.unpack_from(">BBH", block, at + 1)
        value = block[at + 5 : at + 5 + length]
        if (record, number) == _CODED and value == b"\x1b%G":
            coding = "utf-8"
        elif record == 2 and number in {_BYLINE, _COPYRIGHT}:
            found.setdefault(number, plain(value.decode(coding, "replace")))
        at += 5 + length
    return found


def of_png_text(chunk: bytes, body: bytes) -> Rights:
    """What a ``tEXt``, ``zTXt`` or ``iTXt`` chunk says, whatever else it is."""
    keyword, _, rest = body.partition(b"\0")
    if chunk == b"iTXt" and keyword == b"XML:com.adobe.xmp":
        return of_xmp(_itxt(rest))
    if keyword not in {b"Copyright", b"Author"}:
        return Rights()
    if chunk == b"iTXt":
        text = plain(_itxt(rest).decode("utf-8", "replace"))
    else:
        text = plain((rest if chunk == b"tEXt" else _inflated(rest[1:])).decode("latin-1"))
    return Rights(copyright=text) if keyword == b"Copyright" else Rights(artist=text)


def _itxt(rest: bytes) -> bytes:
    packed = rest[:1] == b"\1"
    text = rest[2:].split(b"\0", 2)[-1]
    return _inflated(text) if packed else text


def _inflated(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MAX_XMP)
    except zlib.error:
        return b""
