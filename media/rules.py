"""What each platform accepts, per placement: one table, each limit with its source and date.

Used by ``schedulerx check``, by ``schedule()`` and by the workers alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media.geometry import FITS, Bounds, place

if TYPE_CHECKING:
    from media.probe import Probe


@dataclass(frozen=True)
class MediaRule:
    """Limits for the media of one placement. Sizes in bytes, lengths in pixels, ratios as width / height."""

    platform: str
    placement: str
    min_count: int
    max_count: int
    image_mimes: tuple[str, ...]
    """What the platform takes as it is; anything else we can read is converted to the first of them, or
    to PNG where that is among them and would lose less (transparency, a drawing)."""
    max_image_bytes: int
    max_width: int
    max_height: int
    min_width: int
    min_height: int
    min_ratio: float
    max_ratio: float
    alt_text_limit: int | None
    source: str
    """Document and date."""
    max_gif_bytes: int | None = None
    """None: an animated GIF is not taken as such."""
    max_gif_frames: int | None = None
    max_gif_pixels: int | None = None
    """width x height x frames."""
    max_gif_width: int | None = None
    max_gif_height: int | None = None
    exclusive_gif: bool = False
    """True: an animated GIF stands alone."""
    same_size: bool = False
    """True: all images of the post must have one size."""

    @property
    def bounds(self) -> Bounds:
        """The limits of a picture's shape."""
        return Bounds(
            self.min_width,
            self.min_height,
            self.max_width,
            self.max_height,
            self.min_ratio,
            self.max_ratio,
        )


@dataclass(frozen=True)
class Problem:
    """One limit that media break and that normalizing cannot mend."""

    code: str
    """For machines, stable: ``ratio``, ``too_small``, ``animated``, ``gif_frames``, ``count``, ``mixed``"""
    message: str
    field: str = "media"
    file: str | None = None


RULES: dict[tuple[str, str], MediaRule] = {
    ("pinterest", "pin"): MediaRule(
        platform="pinterest",
        placement="pin",
        min_count=1,
        max_count=1,
        image_mimes=("image/jpeg", "image/png"),
        max_image_bytes=20_000_000,
        max_width=10_000,
        max_height=10_000,
        min_width=100,
        min_height=100,
        min_ratio=1 / 2.1,
        max_ratio=3.0,
        alt_text_limit=500,
        source="Pinterest API v5 (OpenAPI 5.23.0) and media guides, 2026-11",
    ),
    ("x", "post"): MediaRule(
        platform="x",
        placement="post",
        min_count=0,
        max_count=4,
        image_mimes=("image/jpeg", "image/png", "image/webp"),
        max_image_bytes=5_000_000,
        max_width=8_192,
        max_height=8_192,
        min_width=4,
        min_height=4,
        min_ratio=1 / 20,
        max_ratio=20.0,
        alt_text_limit=1_000,
        source="X API v2 media guide, 2026-08",
        max_gif_bytes=15_000_000,
        max_gif_frames=350,
        max_gif_pixels=300_000_000,
        max_gif_width=1_280,
        max_gif_height=1_080,
        exclusive_gif=True,
    ),
}


def rule(platform: str, placement: str) -> MediaRule:
    """The rule of a placement. :raises KeyError: there is none."""
    return RULES[platform, placement]


def violations(probe: Probe, rule: MediaRule, *, name: str, fit: str = "refuse") -> list[Problem]:
    """What keeps one file from ever satisfying ``rule``; empty where it fits or can be made to fit.

    Too many bytes or pixels, another format, a sideways or CMYK picture: all that is mended, so none is here.

    :param name: how the author calls the file.
    :param fit: what may be done about the ratio: ``refuse``, ``pad`` or ``crop``.
    :raises ValueError: ``fit`` is none of them.
    """
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    found = _gif_problems(probe, rule) if probe.kind == "gif" else _image_problems(probe, rule, fit)
    where = f"{rule.platform} {rule.placement}"
    return [Problem(code, f"{where}: {message}", "media", name) for code, message in found]


def _image_problems(probe: Probe, rule: MediaRule, fit: str) -> list[tuple[str, str]]:
    size = f"{probe.width} x {probe.height}"
    if probe.animated:
        return [("animated", f"an animated {probe.format} is not taken; a GIF or a still picture may be")]
    if probe.width < rule.min_width or probe.height < rule.min_height:
        least = f"{rule.min_width} x {rule.min_height}"
        return [("too_small", f"{size} pixels are fewer than the {least} that it asks for")]
    if fit == "refuse" and not rule.bounds.allows_ratio(probe.width, probe.height):
        limits = f"{rule.min_ratio:.3g} to {rule.max_ratio:.3g}"
        message = (
            f"{size} has the ratio {probe.width / probe.height:.3g}, allowed is {limits}; pad or crop it"
        )
        return [("ratio", message)]
    if place(probe.width, probe.height, rule.bounds, fit) is None:
        return [("too_small", f"{size} cannot be brought into the allowed shape without becoming too small")]
    return []


def _gif_problems(probe: Probe, rule: MediaRule) -> list[tuple[str, str]]:
    if rule.max_gif_bytes is None:
        return [("animated", "an animated GIF is not taken")]
    found = []
    if probe.size > rule.max_gif_bytes:
        found.append(("gif_too_large", f"{probe.size} bytes are more than {rule.max_gif_bytes} for a GIF"))
    if rule.max_gif_frames is not None and probe.frames > rule.max_gif_frames:
        found.append(("gif_frames", f"{probe.frames} frames are more than {rule.max_gif_frames}"))
    pixels = probe.width * probe.height * probe.frames
    if rule.max_gif_pixels is not None and pixels > rule.max_gif_pixels:
        found.append(("gif_pixels", f"{pixels} pixels in all frames are more than {rule.max_gif_pixels}"))
    widest, highest = rule.max_gif_width or rule.max_width, rule.max_gif_height or rule.max_height
    if probe.width > widest or probe.height > highest:
        size = f"{probe.width} x {probe.height}"
        found.append(("gif_dimensions", f"{size} is larger than {widest} x {highest} for a GIF"))
    if probe.width < rule.min_width or probe.height < rule.min_height:
        found.append(("too_small", f"{probe.width} x {probe.height} pixels are too few"))
    if not rule.bounds.allows_ratio(probe.width, probe.height):
        found.append(("ratio", f"the ratio {probe.width / probe.height:.3g} is not allowed"))
    return found


def violations_of_set(probes: Sequence[Probe], rule: MediaRule) -> list[Problem]:
    """What is wrong with the files of one post together: how many, mixed kinds, unequal sizes."""
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
    if rule.exclusive_gif and count > 1 and any(probe.kind == "gif" for probe in probes):
        found.append(Problem("mixed", f"{where}: an animated GIF cannot stand beside other media"))
    if rule.same_size and len({(probe.width, probe.height) for probe in probes}) > 1:
        found.append(Problem("unequal_size", f"{where}: all pictures must have the same width and height"))
    return found
