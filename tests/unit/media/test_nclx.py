"""Colours that a file names by numbers are brought to sRGB as those of an embedded profile are."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import corpus
import pytest
from PIL import Image, ImageCms

from media import nclx
from media.images import normalize
from media.probe import probe
from media.recipe import plan
from media.rules import RULES

INSTAGRAM = RULES["instagram", "feed"]
RED, GREY = (200, 30, 30), (150, 150, 150)


def heic(colour: tuple[int, int, int], primaries: int, transfer: int, kind: str) -> bytes:
    """A HEIC or AVIF of one colour that names its colours so."""
    out = io.BytesIO()
    if kind == "HEIC":
        import pillow_heif

        made = pillow_heif.from_pillow(Image.new("RGB", (64, 64), colour))
        made.save(out, quality=100, chroma=444)
    else:
        Image.new("RGB", (64, 64), colour).save(out, "AVIF", quality=100, subsampling="4:4:4")
    data = bytearray(out.getvalue())
    at = data.find(b"colrnclx")
    assert at > 0
    struct.pack_into(">HH", data, at + 8, primaries, transfer)
    return bytes(data)


def png(colour: tuple[int, int, int], primaries: int, transfer: int) -> bytes:
    data = corpus.encoded(Image.new("RGB", (64, 64), colour), "PNG")
    return data[:33] + corpus.png_chunk(b"cICP", bytes([primaries, transfer, 0, 1])) + data[33:]


def made(data: bytes, folder: Path) -> tuple[tuple[int, ...], list[str]]:
    source = corpus.written(folder, "source", data)
    rendered = normalize(source, plan(probe(source), INSTAGRAM), folder / "out")
    with Image.open(rendered.path) as opened:
        pixel = opened.convert("RGB").getpixel((32, 32))
    assert isinstance(pixel, tuple)
    return pixel, [action.name for action in rendered.actions]


@pytest.mark.parametrize("kind", ["HEIC", "AVIF", "PNG"])
def test_wide_colours_become_what_they_look_like(tmp_path: Path, kind: str) -> None:
    def of(primaries: int, transfer: int) -> tuple[tuple[int, ...], list[str]]:
        file = png(RED, primaries, transfer) if kind == "PNG" else heic(RED, primaries, transfer, kind)
        return made(file, tmp_path)

    plain, done = of(1, 13)
    assert "srgb" not in done
    wide, done = of(12, 13)
    assert "srgb" in done
    # Display P3's red is redder than sRGB has it: the same number means more of it.
    assert wide[0] > plain[0] + 10
    assert of(9, 13)[0][0] > wide[0]
    # "Not said" is sRGB, and so is a number that we do not know.
    assert of(2, 2) == of(1, 13)
    if kind != "HEIC":  # whose decoder refuses numbers that it does not know
        assert of(99, 13) == of(1, 13)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_brought_to_the_ordinary_range(tmp_path: Path, transfer: int, name: str) -> None:
    source = corpus.written(tmp_path, "hdr.heic", heic(GREY, 9, transfer, "HEIC"))
    assert probe(source).icc == f"BT.2020 {name}"
    pixel, done = made(source.read_bytes(), tmp_path)
    assert "srgb" in done
    # 58 % of PQ is the white of ordinary things; it ends bright, and not at the edge.
    assert 150 <= min(pixel) <= max(pixel) < 250


@pytest.mark.parametrize("primaries", [1, 4, 5, 6, 7, 9, 11, 12, 22])
@pytest.mark.parametrize("transfer", [4, 5, 8, 16, 17, 18])
def test_white_is_white_and_black_is_black(primaries: int, transfer: int) -> None:
    data = nclx.profile(primaries, transfer)
    assert data is not None
    assert struct.unpack_from(">I", data)[0] == len(data)
    both = Image.new("RGB", (2, 1))
    both.putpixel((1, 0), (255, 255, 255))
    out = ImageCms.profileToProfile(
        both, ImageCms.ImageCmsProfile(io.BytesIO(data)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert out is not None
    assert all(value <= 1 for value in out.getpixel((0, 0)))  # type: ignore[union-attr]  # three bands
    assert all(value >= 253 for value in out.getpixel((1, 0)))  # type: ignore[union-attr]  # three bands


def test_an_embedded_profile_counts_before_the_numbers(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), RED).save(out, "AVIF", icc_profile=corpus.srgb_profile())
    assert "srgb" not in made(out.getvalue(), tmp_path)[1]


def test_boxes_that_lead_nowhere_say_nothing(tmp_path: Path) -> None:
    for data in (b"", b"\0\0\0\0meta", b"\0\0\0\1free", b"\0\0\0\1meta" + bytes(20), b"\0\0\0\x0cmetacolrnclx"):
        with corpus.written(tmp_path, "x", data).open("rb") as stream:
            assert nclx.of_file(stream.fileno()) is None
