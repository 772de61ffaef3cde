"""What is decided to be done to a file, and why."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from test_rules import GIF, IMAGE, PIN, POST

from media.errors import MediaRefused
from media.probe import Probe
from media.recipe import Action, Options, Recipe, is_srgb, plan
from media.rules import MediaRule

PNG_PHOTO = replace(IMAGE, format="PNG", mime="image/png", size=9_000_000)


def actions(probe: Probe, rule: MediaRule = POST, **options: str) -> list[str]:
    return [action.name for action in plan(probe, rule, options=Options(**options)).actions]


def test_what_fits_is_kept_and_shared() -> None:
    kept = plan(IMAGE, POST)
    assert kept.keeps_bytes
    assert kept.actions == ()
    assert kept.hash == plan(replace(IMAGE, width=800), PIN, options=Options(fit="pad", quality=50)).hash
    assert plan(GIF, POST).keeps_bytes


def test_private_data_alone_does_not_cost_pixels() -> None:
    recipe = plan(replace(IMAGE, private=("exif", "gps")), POST)
    assert (recipe.method, recipe.keeps_bytes) == ("strip", False)
    assert "place" in recipe.actions[0].why


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"orientation": 6}, ["rotate"]),
        ({"mode": "CMYK"}, ["srgb"]),
        ({"icc": "Display P3"}, ["srgb"]),
        ({"icc": "damaged"}, ["srgb"]),
        ({"icc": "sRGB IEC61966-2.1"}, []),
        ({"width": 9_000, "height": 9_000}, ["downscale"]),
        ({"size": 5_000_001}, ["compress"]),
        ({"regular": False}, ["redraw"]),
        ({"format": "GIF", "mime": "image/gif"}, ["convert"]),
        ({"orientation": 3, "private": ("gps",)}, ["rotate", "strip"]),
    ],
)
def test_each_reason(change: dict[str, object], expected: list[str]) -> None:
    probe = replace(IMAGE, **change)  # type: ignore[arg-type]  # field names
    assert actions(probe) == expected
    assert all(action.why for action in plan(probe, POST).actions)


def test_ratio_only_by_wish() -> None:
    wide = replace(IMAGE, width=4_000, height=100)
    with pytest.raises(MediaRefused) as caught:
        plan(wide, POST, name="wide.jpg")
    assert (caught.value.code, caught.value.file) == ("ratio", "wide.jpg")
    assert actions(wide, fit="pad") == ["pad"]
    assert actions(wide, fit="crop") == ["crop"]


def test_formats() -> None:
    webp = replace(IMAGE, format="WEBP", mime="image/webp")
    assert plan(webp, PIN).mime == "image/jpeg"
    assert plan(replace(webp, has_alpha=True), PIN).mime == "image/png"
    assert plan(replace(IMAGE, format="GIF", mime="image/gif"), PIN).mime == "image/png"
    only_jpeg = replace(PIN, image_mimes=("image/jpeg",))
    flat = plan(replace(webp, has_alpha=True), only_jpeg)
    assert flat.flatten
    assert [action.name for action in flat.actions] == ["convert", "flatten"]


def test_a_photo_in_a_png_becomes_what_can_be_compressed() -> None:
    assert plan(PNG_PHOTO, POST).mime == "image/jpeg"
    assert plan(replace(PNG_PHOTO, has_alpha=True), POST).mime == "image/webp"
    see_through = plan(replace(PNG_PHOTO, has_alpha=True, size=30_000_000), PIN)
    assert (see_through.mime, see_through.fallback_mime) == ("image/png", None)
    turned = plan(replace(PNG_PHOTO, size=100_000, orientation=6), POST)
    assert (turned.mime, turned.fallback_mime) == ("image/png", "image/jpeg")


def test_json_and_hash() -> None:
    recipe = plan(replace(IMAGE, orientation=6, private=("gps",)), POST, options=Options(quality=80))
    stored = json.loads(json.dumps(recipe.as_json()))
    assert Recipe.from_json(stored) == recipe
    assert Recipe.from_json(stored).hash == recipe.hash
    assert replace(recipe, actions=(Action("rotate", "other words"),)).hash == recipe.hash
    assert replace(recipe, quality=81).hash != recipe.hash
    assert Recipe.from_json(plan(IMAGE, POST).as_json()) == plan(IMAGE, POST)


@pytest.mark.parametrize("given", [{"fit": "squeeze"}, {"background": "white"}, {"quality": 0}, {"quality": 101}])
def test_options_are_checked(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        Options(**given)  # type: ignore[arg-type]  # wrong on purpose


def test_profiles_that_mean_srgb() -> None:
    assert all(is_srgb(name) for name in (None, "sRGB IEC61966-2.1", "GIMP built-in sRGB", "c2", "uRGB"))
    assert not any(is_srgb(name) for name in ("Display P3", "Adobe RGB (1998)", "Dot Gain 20%", "damaged"))
