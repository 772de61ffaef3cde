"""The files of one post together: how many, which beside which, and where one decides the shape of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from media.errors import MediaRefused
from media.geometry import place, same_ratio
from media.limits import MediaRule, Problem
from media.recipe import DEFAULTS, Options, Recipe, plan
from media.rules import becomes_video

if TYPE_CHECKING:
    from media.probe import Probe

NEAR = 0.01
"""Ratios that differ by less look the same: a platform that crops to the first cuts off a hundredth at most."""
CLOSE = 0.005
"""How near the renditions of one post are brought to one ratio: sides are whole numbers, those of videos even, which
are given twice as much."""


def depends(rule: MediaRule) -> bool:
    """Whether what is made of one file hangs on what the others are."""
    return rule.same_size or rule.same_ratio


def plan_set(
    probes: Sequence[Probe], rule: MediaRule, names: Sequence[str], *, options: Options = DEFAULTS, count: int = 0
) -> list[Recipe]:
    """The recipes of a post's files, so that each satisfies ``rule`` and all of them do together.

    :param probes: files of which neither ``rules.violations`` nor ``violations_of_set`` finds anything wrong.
    :param count: how many files the post has, should not all be known; where ``depends``, all must be.
    :raises MediaRefused: one of them cannot be made to fit.
    """
    own = _share(rule, max(count, len(probes)))
    each = [own] * len(probes)
    if len(probes) > 1 and rule.same_size:
        each = _of_one_size(probes, own, names, options)
    elif len(probes) > 1 and rule.same_ratio and options.fit != "refuse":
        each = [_in_ratio(own, _ratio_of_all(probes, own, options))] * len(probes)
    return [plan(probe, one, options=options, name=name) for probe, one, name in zip(probes, each, names, strict=True)]


def _share(rule: MediaRule, count: int) -> MediaRule:
    """The rule with each file's part of what all together may have."""
    if rule.max_total_bytes is None or count < 2:
        return rule
    most = rule.max_total_bytes // count
    video = rule.video and replace(rule.video, max_bytes=min(rule.video.max_bytes, most))
    gif = rule.max_gif_bytes and min(rule.max_gif_bytes, most)
    return replace(rule, max_image_bytes=min(rule.max_image_bytes, most), max_gif_bytes=gif, video=video)


def _in_ratio(rule: MediaRule, ratio: float) -> MediaRule:
    video = rule.video and replace(rule.video, min_ratio=ratio * (1 - 2 * CLOSE), max_ratio=ratio * (1 + 2 * CLOSE))
    return replace(rule, min_ratio=ratio * (1 - CLOSE), max_ratio=ratio * (1 + CLOSE), video=video)


def _ratio_of_all(probes: Sequence[Probe], rule: MediaRule, options: Options) -> float:
    """The first one's ratio as its rendition will have it, brought to what both pictures and videos may have."""
    first = probes[0]
    bounds = rule.within(first.width, first.height)
    if rule.video is not None and becomes_video(first, rule, still=options.still):
        bounds = rule.video.bounds(first.width, first.height)
    placed = place(first.width, first.height, bounds, options.fit)
    ratio = placed.canvas_width / placed.canvas_height if placed else first.width / first.height
    moving = [becomes_video(probe, rule, still=options.still) for probe in probes]
    if not all(moving):
        ratio = min(max(ratio, rule.min_ratio), rule.max_ratio)
    if rule.video is not None and any(moving):
        ratio = min(max(ratio, rule.video.min_ratio), rule.video.max_ratio)
    return ratio


def _of_one_size(probes: Sequence[Probe], rule: MediaRule, names: Sequence[str], options: Options) -> list[MediaRule]:
    """The rule with the largest size that all of them can have without being enlarged."""
    exact = replace(rule, exactly=_common_size(probes, rule, options))
    drawn = [
        plan(probe, exact, options=options, name=name).method == "draw"
        for probe, name in zip(probes, names, strict=True)
    ]
    if any(drawn):
        # One that came out too large would be made smaller alone. A byte a pixel is enough for whatever picture: noise
        # as JPEG of quality 40 with full colours takes 0.73.
        exact = replace(rule, exactly=_common_size(probes, rule, options, most=rule.max_image_bytes))
    return [exact] * len(probes)


def _common_size(
    probes: Sequence[Probe], rule: MediaRule, options: Options, *, most: int | None = None
) -> tuple[int, int]:
    """:param most: pixels in all. :raises MediaRefused: no size satisfies all limits."""
    where = f"{rule.platform} {rule.placement}"
    first = probes[0]
    placed = place(first.width, first.height, rule.within(first.width, first.height), options.fit)
    if placed is None:
        raise MediaRefused("cannot_fit", f"{where}: no size satisfies all limits")
    shape = (first.width, first.height)
    if not rule.bounds.allows_ratio(*shape):
        shape = (placed.canvas_width, placed.canvas_height)
    wide, high = min(_largest(probe, shape, options.fit) for probe in probes)
    area = min(one for one in (rule.max_image_pixels, most, wide * high) if one is not None)
    scale = min(1.0, rule.max_width / wide, rule.max_height / high, (area / (wide * high)) ** 0.5)
    # A hair more, or what should come out whole ends below it.
    size = math.floor(wide * scale + 1e-6), math.floor(high * scale + 1e-6)
    if size[0] < rule.min_width or size[1] < rule.min_height:
        message = f"{where}: all of one size, they would have {size[0]} x {size[1]} pixels, too few"
        raise MediaRefused("too_small", message)
    return size


def _largest(probe: Probe, shape: tuple[int, int], fit: str) -> tuple[float, float]:
    """The largest size of that ratio that the picture can get without being enlarged."""
    width, height = float(probe.width), float(probe.height)
    if same_ratio(probe.width, probe.height, *shape):
        return width, height
    choose = max if fit == "pad" else min
    ratio = shape[0] / shape[1]
    return choose(width, height * ratio), choose(height, width / ratio)


def violations_of_set(
    probes: Sequence[Probe], rule: MediaRule, *, still: bool = False, fit: str = "refuse"
) -> list[Problem]:
    """What is wrong with the files of one post together and cannot be mended: how many, mixed kinds, unequal shapes."""
    where = f"{rule.platform} {rule.placement}"
    found = []
    count = len(probes)
    if not rule.min_count <= count <= rule.max_count:
        if rule.min_count == rule.max_count:
            asked = f"exactly {rule.min_count}"
        elif count < rule.min_count:
            asked = f"at least {rule.min_count}"
        else:
            asked = f"at most {rule.max_count}"
        found.append(Problem("count", f"{where}: {count} files given, {asked} wanted"))
    videos = sum(becomes_video(probe, rule, still=still) for probe in probes)
    if rule.exclusive_gif and count > 1 and not still and any(probe.animated for probe in probes):
        found.append(Problem("mixed", f"{where}: an animated GIF cannot stand beside other media"))
    if videos > rule.max_videos:
        found.append(Problem("count", f"{where}: {videos} videos given, at most {rule.max_videos} wanted"))
    elif 0 < videos < count and not rule.mixed:
        found.append(Problem("mixed", f"{where}: a video cannot stand beside pictures"))
    if count > 1 and fit == "refuse":
        found += _unequal(probes, rule, where)
    return found


def _unequal(probes: Sequence[Probe], rule: MediaRule, where: str) -> list[Problem]:
    first = probes[0]
    for number, probe in enumerate(probes[1:], 2):
        told = (
            f"the {probe.width} x {probe.height} of file {number} and the {first.width} x {first.height} of the first"
        )
        if rule.same_size and not same_ratio(probe.width, probe.height, first.width, first.height):
            message = f"{where}: all pictures must have one size; {told} differ in ratio; pad or crop them (fit)"
            return [Problem("unequal_size", message)]
        apart = probe.width * first.height / (probe.height * first.width)
        if rule.same_ratio and not 1 - NEAR <= apart <= 1 + NEAR:
            message = f"{where}: all are cropped to the ratio of the first; {told} differ; pad or crop them (fit)"
            return [Problem("unequal_ratio", message)]
    return []
