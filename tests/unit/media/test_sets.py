"""Files of one post: one size or one ratio for all, and each one's share of the bytes of all."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import clips
import corpus
import pytest
from test_rules import GIF, IMAGE

from media.errors import MediaRefused
from media.geometry import place
from media.images import normalize
from media.probe import Probe, probe
from media.recipe import Options, Recipe
from media.rules import RULES
from media.sets import plan_set, violations_of_set

PINS, SLIDES = RULES["pinterest", "carousel"], RULES["instagram", "carousel"]


def of(*sizes: tuple[int, int], **more: object) -> list[Probe]:
    return [replace(IMAGE, width=wide, height=high, **more) for wide, high in sizes]  # type: ignore[arg-type]  # fields


def codes(probes: list[Probe], rule: object, fit: str = "refuse") -> list[str]:
    return [one.code for one in violations_of_set(probes, rule, fit=fit)]  # type: ignore[arg-type]  # a rule


def sizes_of(recipes: list[Recipe], probes: list[Probe]) -> set[tuple[int, int]]:
    """What comes out, by the recipes alone."""
    found = set()
    for recipe, one in zip(recipes, probes, strict=True):
        placed = recipe.bounds and place(one.width, one.height, recipe.bounds, recipe.fit)
        found.add((placed.canvas_width, placed.canvas_height) if placed else (one.width, one.height))
    return found


@pytest.mark.parametrize(
    ("sizes", "fit", "expected"),
    [
        ([(1000, 1500), (1086, 1629)], "refuse", (1000, 1500)),
        ([(1086, 1629), (1000, 1500)], "refuse", (1000, 1500)),
        ([(1086, 1629), (1000, 1500)], "crop", (1000, 1500)),
        ([(1000, 1000), (1350, 800)], "crop", (800, 800)),
        ([(1000, 1000), (1350, 800)], "pad", (1000, 1000)),
        ([(1350, 800), (1000, 1000)], "pad", (1350, 800)),
        ([(1080, 1350), (1079, 1349), (3024, 3780)], "refuse", (1079, 1349)),
        ([(12_000, 18_000), (9_000, 13_500)], "refuse", (1825, 2738)),
    ],
)
def test_slides_of_a_carousel_get_one_size(sizes: list[tuple[int, int]], fit: str, expected: tuple[int, int]) -> None:
    probes = of(*sizes)
    assert codes(probes, PINS, fit) == []
    recipes = plan_set(probes, PINS, ["a"] * len(probes), options=Options(fit=fit))
    [size] = sizes_of(recipes, probes)
    assert abs(size[0] - expected[0]) <= 1
    assert abs(size[1] - expected[1]) <= 1


def test_slides_of_other_ratios_are_refused_without_an_option() -> None:
    assert codes(of((1000, 1500), (1086, 1600)), PINS) == ["unequal_size"]
    assert codes(of((1000, 1500), (1086, 1600)), PINS, "crop") == []
    with pytest.raises(MediaRefused) as caught:
        plan_set(of((1000, 10), (20, 900)), replace(PINS, min_ratio=1e-9, max_ratio=1e9, min_height=9), ["a", "b"],
                 options=Options(fit="crop"))  # fmt: skip
    assert caught.value.code == "too_small"


def test_slides_that_fit_stay_byte_for_byte_however_large() -> None:
    probes = of((4000, 4000), (4000, 4000))
    assert [one.method for one in plan_set(probes, PINS, ["a", "b"])] == ["keep", "keep"]


def test_however_few_bytes_all_slides_keep_one_size(tmp_path: Path) -> None:
    rule = replace(PINS, max_image_bytes=160_000)
    files = [
        corpus.written(tmp_path, "noise.jpg", corpus.encoded(corpus.noise(700, 700), "JPEG", quality=95)),
        corpus.written(tmp_path, "glass.png", corpus.encoded(corpus.noise(700, 700, "RGBA"), "PNG")),
        corpus.written(tmp_path, "plain.jpg", corpus.encoded(corpus.picture(600, 600), "JPEG")),
    ]
    probes = [probe(one) for one in files]
    recipes = plan_set(probes, rule, [one.name for one in files])
    made = [normalize(file, one, tmp_path / "out") for file, one in zip(files, recipes, strict=True)]
    assert len({(one.width, one.height) for one in made}) == 1
    assert all(one.size <= rule.max_image_bytes for one in made)
    assert "flatten" in [action.name for action in made[1].actions]


def test_what_is_cropped_to_the_first_needs_one_ratio() -> None:
    assert codes(of((1000, 1000), (1350, 800)), SLIDES) == ["unequal_ratio"]
    assert codes(of((1000, 1000), (640, 641)), SLIDES) == []
    for fit in ("pad", "crop"):
        for sizes in ([(1000, 1000), (1350, 800)], [(1200, 400), (1000, 1500)], [(1080, 1350), (1350, 1080)]):
            probes = of(*sizes)
            assert codes(probes, SLIDES, fit) == []
            ratios = [
                wide / high
                for wide, high in sizes_of(plan_set(probes, SLIDES, ["", ""], options=Options(fit=fit)), probes)
            ]
            assert max(ratios) / min(ratios) < 1.02


def test_all_files_share_what_a_request_may_have() -> None:
    rule = RULES["discord", "post"]
    large = of((5000, 5000), size=9_000_000)
    assert plan_set(large, rule, ["a"])[0].method == "keep"
    four = plan_set(large * 4, rule, ["a"] * 4)
    assert {one.method for one in four} == {"draw"}
    assert sum(one.max_bytes for one in four) <= 25 * 1024 * 1024
    # Where some are not known yet, their share is kept for them.
    assert plan_set(large, rule, ["a"], count=4)[0].method == "draw"


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_pictures_and_animations_of_any_size_can_be_brought_together(fit: str) -> None:
    sizes = random.Random(1)
    moves = replace(GIF, duration_s=1.0)
    for _ in range(400):
        shapes = [(sizes.randint(200, 3000), sizes.randint(200, 3000)) for _ in range(3)]
        slides = of(*shapes)
        assert len(plan_set(slides, PINS, ["", "", ""], options=Options(fit=fit))) == 3
        slides[sizes.randrange(3)] = replace(moves, width=shapes[0][0], height=shapes[0][1])
        assert len(plan_set(slides, SLIDES, ["", "", ""], options=Options(fit=fit))) == 3


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_carousel_of_all_kinds_comes_out_in_one_ratio(tmp_path: Path, fit: str, first: int) -> None:
    files = [
        corpus.written(tmp_path, "a.jpg", corpus.encoded(corpus.picture(1000, 1000), "JPEG")),
        clips.video(tmp_path / "b.mp4", size=(640, 360), seconds=4),
        corpus.written(tmp_path, "c.gif", corpus.animation(3, size=(300, 200))),
    ]
    files.insert(0, files.pop(first))
    probes = [probe(one) for one in files]
    recipes = plan_set(probes, SLIDES, [one.name for one in files], options=Options(fit=fit))
    made = [normalize(file, one, tmp_path / "out") for file, one in zip(files, recipes, strict=True)]
    ratios = [one.width / one.height for one in made]
    assert max(ratios) / min(ratios) < 1.03
