"""Placing a picture inside limits: always inside, never enlarged, or nowhere."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from media.geometry import Bounds, place

PIN = Bounds(100, 100, 1_000, 1_000, 1 / 2.1, 3.0)


def test_what_fits_is_left_alone() -> None:
    placed = place(300, 200, PIN, "refuse")
    assert placed is not None
    assert (placed.crop_width, placed.crop_height) == (placed.width, placed.height) == (300, 200)
    assert (placed.canvas_width, placed.canvas_height) == (300, 200)


def test_examples() -> None:
    assert place(800, 100, PIN, "refuse") is None
    cropped, padded = place(800, 100, PIN, "crop"), place(800, 100, PIN, "pad")
    assert cropped is not None
    assert padded is not None
    assert (cropped.crop_width, cropped.crop_height) == (300, 100)
    assert (padded.canvas_width, padded.canvas_height) == (800, 267)
    assert place(100, 2, PIN, "crop") is None


@given(
    st.integers(1, 6_000),
    st.integers(1, 6_000),
    st.sampled_from(["refuse", "pad", "crop"]),
    st.floats(0.05, 1.0),
    st.integers(1, 120),
    st.integers(120, 2_000),
    st.floats(0.05, 1.0),
    st.floats(1.0, 20.0),
)
@settings(deadline=None, derandomize=True, database=None, max_examples=1_000)
def test_always_inside(
    width: int, height: int, fit: str, shrink: float, least: int, most: int, low: float, high: float
) -> None:
    bounds = Bounds(least, least, most, most, low, high)
    placed = place(width, height, bounds, fit, shrink=shrink)
    if placed is None:
        return
    assert bounds.allows(placed.canvas_width, placed.canvas_height)
    assert placed.width <= placed.crop_width <= width
    assert placed.height <= placed.crop_height <= height
    assert placed.width <= placed.canvas_width
    assert placed.height <= placed.canvas_height
    again = place(placed.canvas_width, placed.canvas_height, bounds, fit)
    assert again is not None
    assert (again.width, again.height) == (placed.canvas_width, placed.canvas_height)
