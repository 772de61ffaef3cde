"""Whose work a picture is stays with it, wherever its file says so and whatever is made of it."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import corpus
import pytest
from PIL import Image

from media import exif, rights
from media.images import normalize
from media.probe import probe
from media.recipe import plan
from media.rules import RULES, MediaRule

X = RULES["x", "post"]
ONLY_JPEG = RULES["instagram", "feed"]
XMP = (
    b'<x:xmpmeta xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator><rdf:Seq><rdf:li>Ann &amp; Bo</rdf:li>'
    b'<rdf:li>J\xc3\xb6rg</rdf:li></rdf:Seq></dc:creator><dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) Ann'
    b'</rdf:li><rdf:li xml:lang="de">(c) Anna</rdf:li></rdf:Alt></dc:rights><exif:GPSLatitude>52</exif:GPSLatitude>'
    b"</x:xmpmeta>"
)


def iptc(*datasets: tuple[int, int, bytes]) -> bytes:
    block = b"".join(b"\x1c" + struct.pack(">BBH", one, two, len(value)) + value for one, two, value in datasets)
    resource = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(block)) + block
    other = b"8BIM" + struct.pack(">H", 0x03ED) + b"\x03abc" + struct.pack(">I", 3) + b"xyz\0"
    return b"Photoshop 3.0\0" + other + resource


def jpeg(*segments: tuple[int, bytes], **options: object) -> bytes:
    data = corpus.encoded(corpus.picture(400, 400), "JPEG", quality=90, **options)
    more = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    at = 2 + 2 + struct.unpack_from(">H", data, 4)[0] if "exif" not in options else 2
    return data[:at] + more + data[at:]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    data = corpus.encoded(corpus.picture(400, 400), "PNG")
    return data[:33] + b"".join(corpus.png_chunk(name, body) for name, body in chunks) + data[33:]


def webp() -> bytes:
    return corpus.encoded(corpus.picture(400, 400), "WEBP", xmp=XMP)


XMP_SEGMENT = (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
IPTC_SEGMENT = (0xED, iptc((1, 90, b"\x1b%G"), (2, 80, "Jörg".encode()), (2, 116, b"(c) Ann"), (2, 90, b"Berlin")))


def told_by(file: Path) -> rights.Rights:
    """What a picture's EXIF, or a text of its PNG, says."""
    with Image.open(file) as opened:
        found = exif.read(opened.info.get("exif", b""))
        texts = opened.info if file.suffix == ".png" else {}
        return rights.Rights(
            found.artist or texts.get("Author", ""), found.copyright or str(texts.get("Copyright", ""))
        )


@pytest.mark.parametrize("rule", [X, ONLY_JPEG, replace(X, max_width=200)], ids=["cut out", "converted", "scaled"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (jpeg(XMP_SEGMENT), rights.Rights("Ann & Bo, Jörg", "(c) Ann")),
        (jpeg(IPTC_SEGMENT), rights.Rights("Jörg", "(c) Ann")),
        (jpeg(XMP_SEGMENT, exif=corpus.exif(rights="(c) Exif", gps=False)),
         rights.Rights("Ann & Bo, Jörg", "(c) Exif")),
        (jpeg(IPTC_SEGMENT, exif=corpus.exif(rights="(c) Exif", gps=True)), rights.Rights("Jörg", "(c) Exif")),
        (png((b"tEXt", b"Copyright\0(c) J\xf6rg")), rights.Rights("", "(c) Jörg")),
        (png((b"iTXt", b"Copyright\0\0\0\0\0(c) J\xc3\xb6rg")), rights.Rights("", "(c) Jörg")),
        (png((b"zTXt", b"Author\0\0" + zlib.compress(b"J\xf6rg"))), rights.Rights("Jörg", "")),
        (png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)), rights.Rights("Ann & Bo, Jörg", "(c) Ann")),
        (webp(), rights.Rights("Ann & Bo, Jörg", "(c) Ann")),
    ],
    ids=["xmp", "iptc", "xmp beside exif", "iptc beside gps", "text", "itext", "ztext", "xmp in png", "webp"],
)  # fmt: skip
def test_rights_stay(tmp_path: Path, rule: MediaRule, data: bytes, expected: rights.Rights) -> None:
    source = corpus.written(tmp_path, "source", data)
    made = normalize(source, plan(probe(source), rule), tmp_path / "out")
    assert told_by(made.path) == expected
    out = made.path.read_bytes()
    assert b"GPSLatitude" not in out
    assert b"Berlin" not in out
    again = probe(made.path)
    assert again.private == ()
    assert plan(again, rule).keeps_bytes


def test_a_heic_and_its_kin_keep_theirs(tmp_path: Path) -> None:
    for kind in ("AVIF", "TIFF"):
        out = io.BytesIO()
        options = {"tiffinfo": {700: XMP}} if kind == "TIFF" else {"xmp": XMP}
        corpus.picture(200, 200).save(out, kind, **options)
        source = corpus.written(tmp_path, f"source.{kind}", out.getvalue())
        made = normalize(source, plan(probe(source), ONLY_JPEG), tmp_path / "out")
        assert told_by(made.path) == rights.Rights("Ann & Bo, Jörg", "(c) Ann")


def test_what_cannot_be_read_says_nothing() -> None:
    assert rights.of_xmp(b"<dc:rights>") == rights.Rights()
    assert rights.of_xmp(b' dc:rights="(c) &lt;Ann&gt;" ') == rights.Rights("", "(c) <Ann>")
    assert rights.of_xmp(b"<dc:rights>(c)\n plain\x07</dc:rights>").copyright == "(c) plain"
    assert rights.of_xmp(bytes(rights.MAX_XMP + 1)) == rights.Rights()
    for cut in range(len(IPTC_SEGMENT[1])):
        rights.of_iptc(IPTC_SEGMENT[1][:cut])
    assert rights.of_iptc(iptc((2, 116, b"J\xf6rg"))).copyright == "Jörg"
    assert rights.of_png_text(b"zTXt", b"Author\0\0broken") == rights.Rights()
    assert rights.of_png_text(b"tEXt", b"Comment\0(c)") == rights.Rights()
