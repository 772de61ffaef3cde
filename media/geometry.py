"""Where a picture goes inside the limits of a shape: whole numbers of pixels, nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

FITS = ("refuse", "pad", "crop")
"""What may be done to a picture whose ratio is not allowed."""

_CLOSE = 1e-9
"""Ratios are quotients of whole numbers below 100,000; two different ones are never this close."""


@dataclass(frozen=True)
class Bounds:
    """Limits of a shape: pixels, and width / height."""

    min_width: int
    min_height: int
    max_width: int
    max_height: int
    min_ratio: float
    max_ratio: float

    def allows_ratio(self, width: int, height: int) -> bool:
        """Whether the ratio lies inside."""
        return self.min_ratio - _CLOSE <= width / height <= self.max_ratio + _CLOSE

    def allows(self, width: int, height: int) -> bool:
        """Whether the size lies inside, and the ratio."""
        return (
            self.min_width <= width <= self.max_width
            and self.min_height <= height <= self.max_height
            and self.allows_ratio(width, height)
        )


@dataclass(frozen=True)
class Placed:
    """How an upright picture is brought inside: crop (centred), then scale, then pad (centred)."""

    crop_width: int
    crop_height: int
    width: int
    """Of the scaled picture, without what is padded."""
    height: int
    canvas_width: int
    """Of the whole."""
    canvas_height: int


def place(width: int, height: int, bounds: Bounds, fit: str, *, shrink: float = 1.0) -> Placed | None:
    """The largest placement inside ``bounds`` that never enlarges; None where there is none.

    :param width: of the picture as it is meant to be seen.
    :param fit: ``refuse``, ``pad`` or ``crop``.
    :param shrink: makes it smaller still, 0 < shrink <= 1 (to save bytes).
    """
    if (bounds.min_width, bounds.min_height) == (bounds.max_width, bounds.max_height):
        return _exactly(width, height, bounds.max_width, bounds.max_height, fit) if shrink == 1.0 else None
    crop_width, crop_height = width, height
    if not bounds.allows_ratio(width, height):
        if fit == "refuse":
            return None
        if fit == "crop":
            crop_width = min(width, math.floor(height * bounds.max_ratio + _CLOSE))
            crop_height = min(height, math.floor(width / bounds.min_ratio + _CLOSE))
            if crop_width < 1 or crop_height < 1:
                return None
    padded = fit == "pad" and not bounds.allows_ratio(crop_width, crop_height)
    whole_width, whole_height = _padded(crop_width, crop_height, bounds) if padded else (crop_width, crop_height)
    scale = shrink * min(1.0, bounds.max_width / whole_width, bounds.max_height / whole_height)
    new_width, new_height = max(1, round(crop_width * scale)), max(1, round(crop_height * scale))
    if padded:
        # Rounded up, it would ask for a canvas that is a pixel too wide, or outside of the ratio without it.
        new_width = max(1, math.floor(crop_width * scale + _CLOSE))
        new_height = max(1, math.floor(crop_height * scale + _CLOSE))
        canvas_width, canvas_height = _padded(new_width, new_height, bounds)
        # Rounding up may step over the edge by a pixel.
        canvas_width = min(canvas_width, bounds.max_width)
        canvas_height = min(canvas_height, bounds.max_height)
        new_width, new_height = min(new_width, canvas_width), min(new_height, canvas_height)
    else:
        # Rounding may step over the ratio by less than a pixel.
        new_width = max(1, min(new_width, math.floor(new_height * bounds.max_ratio + _CLOSE)))
        new_height = max(1, min(new_height, math.floor(new_width / bounds.min_ratio + _CLOSE)))
        canvas_width, canvas_height = new_width, new_height
    if not bounds.allows(canvas_width, canvas_height):
        return None
    return Placed(crop_width, crop_height, new_width, new_height, canvas_width, canvas_height)


def same_ratio(width: int, height: int, wide: int, high: int) -> bool:
    """Whether one size becomes the other by scaling, with less than a pixel of distortion."""
    return abs(width * high - height * wide) <= max(width, height)


def _exactly(width: int, height: int, wide: int, high: int, fit: str) -> Placed | None:
    """The placement that gives this very size, where that is possible without enlarging."""
    crop_width, crop_height = width, height
    if not same_ratio(width, height, wide, high):
        if fit == "refuse":
            return None
        if fit == "pad":
            scale = min(1.0, wide / width, high / height)
            inner = max(1, min(wide, round(width * scale))), max(1, min(high, round(height * scale)))
            return Placed(width, height, *inner, wide, high)
        crop_width = min(width, max(1, round(height * wide / high)))
        crop_height = min(height, max(1, round(width * high / wide)))
    if crop_width < wide - 1 or crop_height < high - 1:
        return None
    return Placed(crop_width, crop_height, wide, high, wide, high)


def _padded(width: int, height: int, bounds: Bounds) -> tuple[int, int]:
    """The smallest canvas of an allowed ratio that holds the picture."""
    return (
        max(width, math.ceil(height * bounds.min_ratio - _CLOSE)),
        max(height, math.ceil(width / bounds.max_ratio - _CLOSE)),
    )
