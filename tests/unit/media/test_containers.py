"""Cutting out what travels beside a picture leaves the picture itself untouched."""

from __future__ import annotations

import io
import struct

import corpus
import pytest
from PIL import Image, PngImagePlugin

from media import containers, exif


def pixels(data: bytes) -> list[bytes]:
    with Image.open(io.BytesIO(data)) as opened:
        frames = []
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            frames.append(opened.convert("RGBA").tobytes())
        return frames


def cleaned(data: bytes, kind: str) -> bytes:
    out = b"".join(containers.clean(data, kind))
    assert not containers.dissect(out, kind).private
    assert pixels(out) == pixels(data)
    assert b"".join(containers.clean(out, kind)) == out
    return out


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_place_and_archive_go_and_rights_stay(kind: str) -> None:
    block = corpus.exif(rights="(c) Ann")
    data = corpus.encoded(corpus.picture(50, 40), kind, exif=block, icc_profile=corpus.srgb_profile())
    out = cleaned(data + b"PK\3\4 secret.txt", kind)
    assert corpus.GPS_NOTE.encode() in data
    assert corpus.GPS_NOTE.encode() not in out
    assert b"secret.txt" not in out
    assert exif.read(containers.dissect(out, kind).exif).copyright == "(c) Ann"
    with Image.open(io.BytesIO(out)) as opened:
        assert opened.info["icc_profile"] == corpus.srgb_profile()
        assert dict(opened.getexif()) == {0x8298: "(c) Ann"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_without_rights_no_block_is_left(kind: str) -> None:
    out = cleaned(corpus.encoded(corpus.picture(50, 40), kind, exif=corpus.exif()), kind)
    assert containers.dissect(out, kind).exif == b""


def jpeg_with(segment: bytes) -> bytes:
    data = corpus.encoded(corpus.picture(20, 20), "JPEG", progressive=True)
    return data[:2] + segment + data[2:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    ("marker", "body", "what"),
    [
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>", "xmp"),
        (0xED, b"Photoshop 3.0\0", "iptc"),
        (0xFE, b"made by", "comment"),
        (0xEB, b"JP\0\1 credentials", "other"),
        (0xE2, b"FPXR\0", "other"),
        (0xE0, b"JFXX\0\x10", "other"),
    ],
)
def test_jpeg_segments(marker: int, body: bytes, what: str) -> None:
    data = jpeg_with(segment(marker, body))
    assert containers.dissect(data, "JPEG").private == {what}
    assert body not in cleaned(data, "JPEG")


def test_png_texts() -> None:
    for keyword, stays in [("Software", True), ("Author", True), ("Comment", False)]:
        texts = PngImagePlugin.PngInfo()
        texts.add_text(keyword, "words")
        data = corpus.encoded(corpus.picture(20, 20), "PNG", pnginfo=texts)
        assert (b"words" in cleaned(data, "PNG")) is stays
    xmp = PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", "<x/>")
    data = corpus.encoded(corpus.picture(20, 20), "PNG", pnginfo=xmp)
    assert containers.dissect(data, "PNG").private == {"xmp"}
    cleaned(data, "PNG")


def test_gif_comments_go_and_the_loop_stays() -> None:
    out = cleaned(corpus.animation(4, comment=b"a note", loop=0) + b"trailing", "GIF")
    assert b"a note" not in out
    assert b"NETSCAPE2.0" in out


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_stay_whole(kind: str) -> None:
    assert len(pixels(cleaned(corpus.animation(4, kind) + b"trailing", kind))) == 4


def test_webp_xmp() -> None:
    data = corpus.encoded(corpus.picture(20, 20), "WEBP", xmp=b"<x:xmpmeta/>")
    assert containers.dissect(data, "WEBP").private == {"xmp"}
    assert b"xmpmeta" not in cleaned(data, "WEBP")


def test_odd_structures_are_not_cut() -> None:
    data = jpeg_with(b"\0\0\0")
    assert not containers.dissect(data, "JPEG").regular
    with pytest.raises(containers.Damaged, match="irregular"):
        list(containers.clean(data, "JPEG"))
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        with pytest.raises(containers.Damaged):
            containers.dissect(b"something else altogether", kind)
