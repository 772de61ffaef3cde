"""The floor rule: how a video is cut, and what a 416 says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.tiktok.chunks import MAX_COUNT, SMALLEST, Cut, cut, held

LARGEST = 4 * 1024**3


def test_the_example_of_the_guide_holds() -> None:
    plan = Cut(50_000_123, 10_000_000, 5)
    assert plan.count == plan.size // plan.chunk
    assert plan.span(4) == (40_000_000, 50_000_123)
    assert plan.content_range(4) == "bytes 40000000-50000122/50000123"


@pytest.mark.parametrize(
    ("size", "chunk", "count"),
    [
        (1, 1, 1),
        (4_999_999, 4_999_999, 1),
        (SMALLEST - 1, SMALLEST - 1, 1),
        (SMALLEST, SMALLEST, 1),
        (2 * SMALLEST - 1, 2 * SMALLEST - 1, 1),
        (2 * SMALLEST, SMALLEST, 2),
        (2 * SMALLEST + 1, SMALLEST, 2),
        (50_000_123, 5_555_569, 9),
        (64_000_001, 5_333_333, 12),
        (LARGEST, 5_244_160, 819),
    ],
)
def test_cuts(size: int, chunk: int, count: int) -> None:
    assert cut(size) == Cut(size, chunk, count)


@given(st.integers(1, LARGEST))
def test_every_cut_keeps_both_readings_of_the_rule(size: int) -> None:
    plan = cut(size)
    assert plan.count == size // plan.chunk
    assert 1 <= plan.count <= MAX_COUNT
    assert plan.count == 1 or SMALLEST <= plan.chunk <= 64_000_000
    begin, end = plan.span(plan.count - 1)
    assert plan.chunk <= end - begin <= 128_000_000
    assert end == size
    if size < 5_000_000:
        assert (plan.chunk, plan.count) == (size, 1)
    # What is left to send at the due second stays small.
    assert end - begin < 2 * SMALLEST + MAX_COUNT


@given(st.integers(1, 300_000_000))
def test_spans_follow_each_other(size: int) -> None:
    plan = cut(size)
    spans = [plan.span(index) for index in range(plan.count)]
    assert spans[0][0] == 0
    assert all(spans[index][1] == spans[index + 1][0] for index in range(plan.count - 1))


def test_nothing_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="empty"):
        cut(0)


@pytest.mark.parametrize(
    ("header", "count"),
    [("bytes 0-99/200", 100), ("bytes */200", 0), (" bytes 0-99/* ", 100), ("", None), (None, None), ("99", None)],
)
def test_what_is_held(header: str | None, count: int | None) -> None:
    assert held(header) == count
