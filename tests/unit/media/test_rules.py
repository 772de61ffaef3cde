"""Limits: what is told at scheduling because nothing can mend it, and what is mended instead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from media.probe import Probe
from media.rules import RULES, rule, violations
from media.sets import violations_of_set

PIN, POST = RULES["pinterest", "pin"], RULES["x", "post"]
IMAGE = Probe(
    kind="image",
    format="JPEG",
    mime="image/jpeg",
    size=50_000,
    sha256="0" * 64,
    width=1_000,
    height=1_500,
    orientation=1,
    mode="RGB",
    icc=None,
    has_alpha=False,
    animated=False,
    frames=1,
)
GIF = replace(
    IMAGE,
    kind="gif",
    format="GIF",
    mime="image/gif",
    mode="P",
    width=400,
    height=300,
    animated=True,
    frames=20,
)


def codes(probe: Probe, **options: str) -> list[str]:
    return [problem.code for problem in violations(probe, POST, name="a.jpg", **options)]


def test_every_rule_makes_sense_and_names_its_source() -> None:
    for (platform, placement), one in RULES.items():
        assert (one.platform, one.placement) == (platform, placement)
        assert one.source
        assert one.min_ratio <= one.max_ratio
        assert one.image_mimes or one.video
        if one.image_mimes:
            side = round(500 * min(one.max_ratio, 1))
            assert one.bounds.allows(side, 500)
        if one.video:
            assert one.video.source
            assert one.video.min_duration_s < one.video.max_duration_s
            assert one.video.min_fps < one.video.max_fps
            assert one.video.containers[0] == "video/mp4"
            assert one.video.codecs[0] == "h264"
    assert rule("x", "post") is POST
    with pytest.raises(KeyError):
        rule("x", "banner")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"size": 90_000_000},
        {"width": 20_000, "height": 20_000},
        {"mode": "CMYK"},
        {"orientation": 6},
        {"format": "GIF", "mime": "image/gif"},
        {"private": ("gps",)},
        {"has_alpha": True, "format": "WEBP", "mime": "image/webp"},
    ],
)
def test_what_can_be_mended_is_no_violation(change: dict[str, object]) -> None:
    for one in (PIN, POST, RULES["tiktok", "photo"], RULES["bluesky", "post"], RULES["mastodon", "post"]):
        assert violations(replace(IMAGE, **change), one, name="a") == []  # type: ignore[arg-type]  # field names


def test_the_problem_names_platform_file_and_numbers() -> None:
    (problem,) = violations(replace(IMAGE, width=3_000, height=200), PIN, name="wide.jpg")
    assert (problem.code, problem.field, problem.file) == ("ratio", "media", "wide.jpg")
    assert "pinterest pin" in problem.message
    assert "3000 x 200" in problem.message


def test_a_ratio_is_forgiven_where_it_may_be_changed() -> None:
    wide = replace(IMAGE, width=3_000, height=100)
    assert codes(wide) == ["ratio"]
    assert codes(wide, fit="pad") == codes(wide, fit="crop") == []
    # Cropped to the ratio, it would be narrower than the least.
    assert codes(replace(IMAGE, width=4, height=4_000), fit="crop") == []
    narrow = replace(IMAGE, width=110, height=20_000)
    assert [one.code for one in violations(narrow, replace(PIN, max_height=500), name="a", fit="pad")] == []
    tight = replace(PIN, min_height=300)
    assert [one.code for one in violations(replace(IMAGE, width=4_000, height=301), tight, name="a")] == ["ratio"]
    with pytest.raises(ValueError, match="fit must be"):
        violations(IMAGE, PIN, name="a", fit="squeeze")


def test_too_small() -> None:
    assert [one.code for one in violations(replace(IMAGE, width=99), RULES["facebook", "reel"], name="a")] == [
        "no_pictures"
    ]
    small = replace(IMAGE, width=31, height=31)
    assert [one.code for one in violations(small, RULES["instagram", "feed"], name="a")] == ["too_small"]


def test_animations() -> None:
    assert [one.code for one in violations(GIF, PIN, name="a")] == ["animated"]
    assert codes(GIF) == []
    assert codes(replace(IMAGE, format="WEBP", mime="image/webp", animated=True, frames=3)) == ["gif_dimensions"]
    assert codes(replace(GIF, format="WEBP", mime="image/webp", kind="image", size=90_000_000)) == []
    assert [one.code for one in violations(GIF, PIN, name="a", still=True)] == []
    assert codes(replace(GIF, size=15_000_001)) == ["gif_too_large"]
    assert codes(replace(GIF, frames=351)) == ["gif_frames"]
    assert codes(replace(GIF, width=1_281)) == ["gif_dimensions"]
    assert codes(replace(GIF, width=1_280, height=1_080, frames=300)) == ["gif_pixels"]
    assert codes(replace(GIF, width=3, height=60)) == ["too_small"]
    assert codes(replace(GIF, width=1_000, height=10)) == ["ratio"]


def test_sets() -> None:
    def of(probes: list[Probe], one: object = POST) -> list[str]:
        return [problem.code for problem in violations_of_set(probes, one)]  # type: ignore[arg-type]  # a rule

    assert of([IMAGE] * 4) == of([]) == of([GIF]) == []
    assert of([IMAGE] * 5) == ["count"]
    assert of([IMAGE, GIF]) == ["mixed"]
    assert of([], PIN) == of([IMAGE, IMAGE], PIN) == ["count"]
    assert "exactly 1" in violations_of_set([], PIN)[0].message
    assert "at least 2" in violations_of_set([IMAGE], replace(POST, min_count=2))[0].message
    carousel = replace(POST, same_size=True)
    assert of([IMAGE, IMAGE], carousel) == []
    assert of([IMAGE, replace(IMAGE, width=900)], carousel) == ["unequal_size"]


@pytest.mark.parametrize(
    ("to", "change", "expected"),
    [
        ("pinterest:pin", {"width": 1_000, "height": 260}, []),
        ("pinterest:pin", {"width": 600, "height": 1_500}, []),
        ("pinterest:idea", {}, []),
        ("mastodon:post", {"kind": "gif", "format": "GIF", "animated": True, "width": 600, "height": 800}, []),
        ("mastodon:post", {"kind": "gif", "format": "GIF", "animated": True, "width": 1_100, "height": 900},
         ["gif_dimensions"]),
        ("telegram:post", {"width": 9_000, "height": 900}, []),
        ("facebook:story", {}, ["ratio"]),
        ("facebook:story", {"width": 1_080, "height": 1_920}, []),
    ],
)  # fmt: skip
def test_limits_as_the_sources_have_them(to: str, change: dict[str, object], expected: list[str]) -> None:
    platform, _, placement = to.partition(":")
    found = violations(replace(IMAGE, **change), rule(platform, placement), name="a")  # type: ignore[arg-type]  # names
    assert [one.code for one in found] == expected


def test_sums_and_areas_are_brought_down_to_sides() -> None:
    bounds = RULES["telegram", "post"].within(9_000, 3_000)
    assert bounds.max_width + bounds.max_height <= 10_000
    assert RULES["telegram", "post"].within(9_000, 900).max_width == 9_999
    toot = RULES["mastodon", "post"].video
    assert toot is not None
    assert toot.bounds(2_000, 4_000).allows(2_000, 4_000)
    large = toot.bounds(4_000, 4_000)
    assert large.max_width * large.max_height <= 8_294_400
    for one in (RULES["instagram", "reel"].video, RULES["threads", "post"].video):
        assert one is not None
        assert one.bounds(1_080, 2_400).allows(1_080, 2_400)
        assert not one.bounds(2_400, 1_080).allows(2_400, 1_080)
