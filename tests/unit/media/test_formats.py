"""HEIC, AVIF, TIFF and BMP: probed, and drawn as what platforms take. Also the similarity that guards quality."""

from __future__ import annotations

from pathlib import Path

import corpus
import pytest
from PIL import Image, ImageCms

from media import exif
from media.containers import dissect
from media.errors import MediaRefused
from media.images import normalize
from media.probe import probe
from media.recipe import Options, plan
from media.rules import RULES
from media.similarity import ssim

FEED, POST = RULES["instagram", "feed"], RULES["x", "post"]
KINDS = {"HEIF": "image/heic", "AVIF": "image/avif", "TIFF": "image/tiff", "BMP": "image/bmp"}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    import pillow_heif

    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    return corpus.encoded(image, kind, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_they_become_jpeg_or_png(tmp_path: Path, kind: str) -> None:
    source = corpus.written(tmp_path, "a.jpg", encoded(corpus.picture(300, 240), kind))
    found = probe(source)
    assert (found.kind, found.format, found.mime) == ("image", kind, KINDS[kind])
    assert (found.width, found.height, found.animated) == (300, 240, False)
    for rule in (FEED, POST):
        recipe = plan(found, rule)
        assert recipe.actions[0].name == "convert"
        rendered = normalize(source, recipe, tmp_path / "out")
        made = probe(rendered.path)
        assert made.mime == ("image/png" if kind == "BMP" and rule is POST else "image/jpeg")
        assert (made.width, made.height, made.private) == (300, 240, ())
        assert plan(made, rule).keeps_bytes


@pytest.mark.parametrize("kind", ["AVIF", "TIFF"])
def test_orientation_place_and_rights(tmp_path: Path, kind: str) -> None:
    image = Image.new("RGB", (320, 240), "white")
    image.paste((255, 0, 0), (0, 0, 160, 120))
    block = corpus.exif(orientation=6, rights="(c) Ann")
    source = corpus.written(tmp_path, "a", encoded(image, kind, exif=block))
    found = probe(source)
    assert (found.width, found.height) == (240, 320)
    rendered = normalize(source, plan(found, FEED, options=Options(fit="pad")), tmp_path / "out")
    with Image.open(rendered.path) as drawn:
        drawn.load()
        # A quarter turn clockwise: what was at the top left is at the top right, inside white padding.
        red, green, _ = drawn.convert("RGB").getpixel((drawn.width // 2 + 60, 60))  # type: ignore[misc]  # three bands
        assert red > 200
        assert green < 60
    data = rendered.path.read_bytes()
    assert corpus.GPS_NOTE.encode() not in data
    assert exif.read(dissect(data, "JPEG").exif).copyright == "(c) Ann"


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_or_bent(tmp_path: Path, kind: str) -> None:
    data = encoded(corpus.noise(120, 90), kind)
    with pytest.raises(MediaRefused) as caught:
        probe(corpus.written(tmp_path, "a", data[: len(data) // 2]))
    assert caught.value.code in {"truncated", "corrupt", "not_media"}


def test_wide_colours_of_a_telephone(tmp_path: Path) -> None:
    image = Image.new("RGB", (320, 320), (200, 40, 40))
    source = corpus.written(tmp_path, "a", encoded(image, "AVIF", icc_profile=corpus.wide_profile(), quality=95))
    assert probe(source).icc == "Swap built-in"
    rendered = normalize(source, plan(probe(source), FEED), tmp_path / "out")
    with Image.open(rendered.path) as drawn:
        red, green, _ = drawn.convert("RGB").getpixel((99, 99))  # type: ignore[misc]  # three bands
    assert green > 150 > red
    assert ImageCms.getProfileDescription(ImageCms.createProfile("sRGB"))


def test_similarity() -> None:
    image = corpus.picture(400, 300)
    assert ssim(image, image) == 1.0
    found = []
    for quality in (90, 50, 10):
        import io

        with Image.open(io.BytesIO(corpus.encoded(image, "JPEG", quality=quality))) as coded:
            coded.load()
            found.append(ssim(image, coded))
    assert 1 > found[0] > found[1] > found[2] > 0
    assert ssim(image, corpus.noise(400, 300)) < 0.3
    assert ssim(Image.new("RGB", (3, 3)), Image.new("RGB", (3, 3), "white")) == 1.0
    with pytest.raises(ValueError, match="cannot be compared"):
        ssim(image, corpus.picture(10, 10))


def test_a_picture_becomes_smaller_before_it_becomes_ugly(tmp_path: Path) -> None:
    from dataclasses import replace

    source = corpus.written(tmp_path, "a", corpus.encoded(corpus.noise(300, 200), "JPEG", quality=97))
    recipe = plan(probe(source), replace(POST, max_image_bytes=24_000))
    rendered = normalize(source, recipe, tmp_path / "out")
    # At full size 24,000 bytes would need a quality below 60, at which noise has a similarity below 0.95.
    assert rendered.width < 300
    assert rendered.size <= 24_000
