"""Files are made for the instance of the account, by what it says of itself."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from media.images import normalize
from media.probe import probe
from media.recipe import plan
from media.rules import violations
from platforms import registry
from platforms.base import AccountRef, Draft
from platforms.mastodon.limits import Limits
from scheduler.checking import placement_rule


def rule_of(**told: Any) -> Any:
    facts = {"limits": replace(Limits(), **told).as_facts()}
    return placement_rule(registry.get("mastodon"), Draft("Hello", AccountRef("mastodon", "acme", facts=facts)))


def noise(path: Path, side: int) -> Path:
    pixels = random.Random(5).randbytes(side * side * 3)
    Image.frombytes("RGB", (side, side), pixels).save(path)
    return path


def test_a_small_instance_gets_small_files(tmp_path: Path) -> None:
    rule = rule_of(image_size_limit=1_000_000, image_matrix_limit=2_000_000)
    file = noise(tmp_path / "noise.png", 1_600)
    made = normalize(file, plan(probe(file), rule), tmp_path / "out")
    assert made.size <= 1_000_000
    assert made.width * made.height <= 2_000_000


def test_what_an_instance_does_not_say_is_as_usual() -> None:
    usual = registry.get("mastodon").capabilities.media["post"]
    assert placement_rule(registry.get("mastodon"), Draft("Hello", AccountRef("mastodon", "acme"))) == usual
    assert rule_of() == usual


def test_types_and_areas_are_the_instances() -> None:
    rule = rule_of(supported_mime_types=("image/jpeg", "video/mp4"), video_matrix_limit=500_000, video_size_limit=9_000)
    assert rule.image_mimes == ("image/jpeg",)
    assert rule.max_gif_bytes is None
    assert rule.gif_to_video
    assert (rule.video.containers, rule.video.max_bytes) == (("video/mp4",), 9_000)
    bounds = rule.video.bounds(1_000, 1_000)
    assert bounds.max_width * bounds.max_height <= 500_000
    assert rule_of(supported_mime_types=("image/png",)).video is None


def test_a_larger_instance_takes_larger_files(tmp_path: Path) -> None:
    file = noise(tmp_path / "noise.png", 2_500)
    assert file.stat().st_size > 16_777_216
    assert plan(probe(file), rule_of(image_size_limit=40_000_000)).keeps_bytes
    assert not violations(probe(file), rule_of(), name="")
    assert not plan(probe(file), rule_of()).keeps_bytes
