"""What a file is, by content alone; every refusal with its code."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import corpus
import pytest
from PIL import Image

from media import decode
from media import probe as probe_module
from media.errors import MediaRefused
from media.probe import Probe, probe


def refused(path: Path) -> MediaRefused:
    with pytest.raises(MediaRefused) as caught:
        probe(path, name="holiday")
    assert caught.value.file == "holiday"
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("kind", "mime", "mode"),
    [
        ("JPEG", "image/jpeg", "RGB"),
        ("PNG", "image/png", "RGB"),
        ("WEBP", "image/webp", "RGB"),
        ("GIF", "image/gif", "P"),
    ],
)
def test_tells_the_format_whatever_the_name_says(tmp_path: Path, kind: str, mime: str, mode: str) -> None:
    data = corpus.encoded(corpus.picture(120, 80), kind)
    found = probe(corpus.written(tmp_path, "a.txt", data))
    assert (found.kind, found.format, found.mime, found.mode) == ("image", kind, mime, mode)
    assert (found.width, found.height, found.frames, found.animated) == (120, 80, 1, False)
    assert (found.size, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (found.orientation, found.icc, found.has_alpha, found.private) == (1, None, False, ())


def test_json_there_and_back(tmp_path: Path) -> None:
    data = corpus.encoded(corpus.picture(20, 10), "JPEG", exif=corpus.exif())
    found = probe(corpus.written(tmp_path, "a.jpg", data))
    stored = json.loads(json.dumps(found.as_json()))
    assert Probe.from_json({**stored, "added_later": 1}) == found


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_size_is_as_seen(tmp_path: Path, kind: str, orientation: int) -> None:
    block = corpus.exif(orientation=orientation, gps=False)
    found = probe(corpus.written(tmp_path, "a", corpus.encoded(corpus.picture(30, 20), kind, exif=block)))
    assert found.orientation == orientation
    assert (found.width, found.height) == ((20, 30) if orientation >= 5 else (30, 20))


def test_colour(tmp_path: Path) -> None:
    cmyk = probe(corpus.written(tmp_path, "a", corpus.encoded(corpus.picture(9, 9, "CMYK"), "JPEG")))
    assert cmyk.mode == "CMYK"
    for profile, name in [
        (corpus.srgb_profile(), "sRGB built-in"),
        (corpus.wide_profile(), "Swap built-in"),
        (b"no profile at all", "damaged"),
    ]:
        data = corpus.encoded(corpus.picture(9, 9), "JPEG", icc_profile=profile)
        assert probe(corpus.written(tmp_path, "a", data)).icc == name


def test_alpha_counts_only_where_something_shines_through(tmp_path: Path) -> None:
    opaque = corpus.picture(9, 9, "RGBA")
    assert not probe(corpus.written(tmp_path, "a", corpus.encoded(opaque, "PNG"))).has_alpha
    opaque.putpixel((4, 4), (0, 0, 0, 128))
    for kind in ("PNG", "WEBP"):
        assert probe(corpus.written(tmp_path, "a", corpus.encoded(opaque, kind))).has_alpha
    palette = corpus.encoded(Image.new("P", (4, 4)), "GIF", transparency=0)
    assert probe(corpus.written(tmp_path, "a", palette)).has_alpha


@pytest.mark.parametrize(("kind", "means"), [("GIF", "gif"), ("PNG", "image"), ("WEBP", "image")])
def test_animations(tmp_path: Path, kind: str, means: str) -> None:
    found = probe(corpus.written(tmp_path, "a", corpus.animation(5, kind)))
    assert (found.kind, found.animated, found.frames) == (means, True, 5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_names_what_must_not_become_public(tmp_path: Path, kind: str) -> None:
    data = corpus.encoded(corpus.picture(9, 9), kind, exif=corpus.exif())
    assert probe(corpus.written(tmp_path, "a", data)).private == ("exif", "gps")
    plain = corpus.encoded(corpus.picture(9, 9), kind, exif=corpus.exif(gps=False, rights="Ann"))
    assert probe(corpus.written(tmp_path, "a", plain)).private == ()
    assert probe(corpus.written(tmp_path, "a", plain + b"PK\3\4 an archive")).private == ("trailing",)


def test_a_long_picture_is_bounded_not_refused(tmp_path: Path) -> None:
    found = probe(corpus.written(tmp_path, "a", corpus.encoded(Image.new("1", (100_000, 1)), "PNG")))
    assert (found.width, found.height) == (100_000, 1)


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>"
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(200)


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("empty.jpg", b"", "empty", "empty"),
        ("page.jpg", HTML, "not_media", "web page"),
        ("text.png", b"just some words\n", "not_media", "text/plain"),
        ("a.zip", b"PK\3\4" + bytes(60), "not_media", "zip"),
        ("noise.jpg", b"\x00\x81\x02\xfd" * 100, "not_media", "octet-stream"),
        ("drawing.svg", SVG, "unsupported", "active content"),
        ("film.mp4", MP4, "corrupt", "cannot be read"),
        ("sound.jpg", b"RIFF\x24\1\0\0WAVEfmt \x10\0\0\0" + bytes(300), "unsupported", "audio"),
        ("bomb.png", corpus.huge_png(60_000, 60_000), "bomb", "pixels"),
        ("long.png", corpus.huge_png(2_000_000, 1), "bomb", "a side"),
        ("flicker.gif", corpus.many_frames_gif(10_000), "too_many_frames", "10000"),
        ("a.ico", corpus.encoded(corpus.picture(16, 16), "ICO"), "unsupported", "save it as"),
    ],
)
def test_refusals(tmp_path: Path, name: str, data: bytes, code: str, words: str) -> None:
    refusal = refused(corpus.written(tmp_path, name, data))
    assert refusal.code == code
    assert words in refusal.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated(tmp_path: Path, kind: str, share: float) -> None:
    data = corpus.encoded(corpus.noise(90, 90), kind)
    assert refused(corpus.written(tmp_path, "a", data[: int(len(data) * share)])).code == "truncated"


def test_a_missing_last_byte_is_noticed(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        data = corpus.encoded(corpus.picture(90, 90), kind)
        assert refused(corpus.written(tmp_path, "a", data[:-1])).code == "truncated"


def test_bent_bytes_are_found_by_decoding(tmp_path: Path) -> None:
    data = bytearray(corpus.encoded(corpus.noise(90, 90), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert refused(corpus.written(tmp_path, "a.png", bytes(data))).code in {"corrupt", "truncated"}


def test_what_the_file_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path / "nowhere.jpg").code == "missing"
    assert refused(Path("a\0b")).code == "missing"
    assert refused(tmp_path).code == "unreadable"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe").code == "unreadable"
    path = corpus.written(tmp_path, "a.jpg", b"x")

    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Tests may run as root, who may read everything.
    monkeypatch.setattr(Path, "open", forbid)
    assert refused(path).code == "unreadable"


def test_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "MAX_FILE_BYTES", 100)
    data = corpus.encoded(corpus.picture(50, 50), "PNG")
    assert refused(corpus.written(tmp_path, "a.png", data)).code == "too_large"


def test_a_file_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpus.written(tmp_path, "a.png", corpus.encoded(corpus.picture(50, 50), "PNG"))
    real = probe_module._decode

    def meddle(*given: object) -> bool:
        os.utime(path, ns=(1, 1))
        return real(*given)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(probe_module, "_decode", meddle)
    assert refused(path).code == "changed"


def test_long_animations_are_counted_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_ANIMATION_PIXELS", 1_000)
    for kind in ("GIF", "PNG", "WEBP"):
        assert refused(corpus.written(tmp_path, "a", corpus.animation(4, kind))).code == "bomb"


def test_threads(tmp_path: Path) -> None:
    paths = [
        corpus.written(tmp_path, str(number), corpus.encoded(corpus.picture(60, 40 + number), kind))
        for number, kind in enumerate(["JPEG", "PNG", "WEBP", "GIF"] * 6)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(probe, paths))
    assert [one.height for one in found] == [40 + number for number in range(24)]
