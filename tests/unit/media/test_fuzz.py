"""Bytes bent at random, with a fixed seed: a rendition that satisfies its rule or a typed refusal, nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import clips
import corpus
import pytest

from media.errors import MediaRefused
from media.images import normalize
from media.probe import probe
from media.recipe import Options, plan
from media.rules import RULES, violations

RULES_OF_PICTURES = [RULES["x", "post"], RULES["instagram", "feed"], RULES["bluesky", "post"]]
RULE_OF_VIDEOS = RULES["x", "post"]
PAD = Options(fit="pad")


def heic() -> bytes:
    return corpus.heic(corpus.picture(60, 40), boxes=True, tag=6)


def still(kind: str) -> Callable[[], bytes]:
    return lambda: corpus.encoded(corpus.picture(60, 40), kind, **({} if kind == "BMP" else {"exif": corpus.exif()}))


PICTURES: dict[str, Callable[[], bytes]] = {
    **{kind: still(kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP")},
    "HEIF": heic,
    "GIF": lambda: corpus.animation(3),
    "APNG": lambda: corpus.animation(3, "PNG"),
    "animated WEBP": lambda: corpus.animation(3, "WEBP"),
    "profile": lambda: corpus.encoded(corpus.picture(60, 40, "CMYK"), "JPEG", icc_profile=corpus.wide_profile()),
}
VIDEOS: dict[str, dict[str, str]] = {
    "mp4": {"sound": "aac"},
    "matroska": {},
    "webm": {"codec": "libvpx-vp9"},
    "avi": {"codec": "mpeg4"},
}


def bent(data: bytes, source: random.Random, number: int) -> bytes:
    """Cut, with bits turned, with bytes replaced, or with a stretch moved."""
    out = bytearray(data)
    if number % 4 == 0:
        del out[source.randrange(16, len(out)) :]
    if number % 4 == 1:
        start = source.randrange(len(out) // 2)
        stretch = out[start : start + source.randrange(1, 64)]
        at = source.randrange(len(out))
        out[at:at] = stretch
    for _ in range(source.randint(1, 8)):
        at = source.randrange(len(out))
        out[at] = out[at] ^ 1 << source.randrange(8) if number % 2 else source.randrange(256)
    return bytes(out)


def outcome(path: Path, number: int, folder: Path) -> str:
    """The code of the refusal, or ``made``: then the rendition has been probed again."""
    try:
        found = probe(path)
        rule = RULE_OF_VIDEOS if found.kind == "video" else RULES_OF_PICTURES[number % len(RULES_OF_PICTURES)]
        rendered = normalize(path, plan(found, rule, options=PAD), folder)
    except MediaRefused as refusal:
        return refusal.code
    again = probe(rendered.path)
    assert violations(again, rule, name="") == []
    assert again.private == ()
    assert plan(again, rule, options=PAD).keeps_bytes
    return "made"


CODES = {
    "animated", "bomb", "cannot_fit", "corrupt", "empty", "no_video", "not_media", "ratio", "too_long", "too_short",
    "too_small", "too_many_frames", "truncated", "unsupported", "gif_dimensions", "gif_pixels", "gif_too_large",
    "gif_frames", "made",
}  # fmt: skip


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(tmp_path: Path, kind: str) -> None:
    source = random.Random(f"{kind} 20")
    data = PICTURES[kind]()
    found = {
        outcome(corpus.written(tmp_path, "a", bent(data, source, number)), number, tmp_path / "out")
        for number in range(120)
    }
    assert found <= CODES
    # Both ends are met, or the bending is not worth its name.
    assert found & {"corrupt", "truncated"}


@pytest.mark.parametrize("kind", VIDEOS)
def test_videos(tmp_path: Path, kind: str) -> None:
    source = random.Random(f"{kind} 42")
    data = clips.video(tmp_path / "whole", form=kind, seconds=0.6, **VIDEOS[kind]).read_bytes()  # type: ignore[arg-type]  # its own
    found = {
        outcome(corpus.written(tmp_path, "a", bent(data, source, number)), number, tmp_path / "out")
        for number in range(24)
    }
    assert found <= CODES
    assert found & {"corrupt", "truncated"}
