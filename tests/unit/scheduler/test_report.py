"""Rates, bars and sizes."""

from __future__ import annotations

import pytest

from scheduler.cli.report import BAR, bar, duration, percent, size
from scheduler.report import Group
from scheduler.report_html import _round_up


def test_rates_are_of_what_ended_and_none_where_nothing_did() -> None:
    group = Group("x", published=3, failed=1, missed=1, canceled=9, held=2, attempts=10, errors=4)
    assert (group.ended, group.success, group.error_rate) == (5, 0.6, 0.4)
    assert (Group("y", canceled=2).success, Group("y").error_rate) == (None, None)
    assert group.as_json()["failure_rate"] == pytest.approx(0.4)
    group.add("scheduled", 5)
    assert group.ended == 5


def test_a_bar_is_as_wide_as_its_share() -> None:
    assert bar(0) == " " * BAR
    assert bar(1) == "█" * BAR
    assert bar(0.5).strip() == "█" * (BAR // 2)
    assert len(bar(0.37)) == len(bar(None)) == len(bar(7)) == BAR


def test_what_is_not_whole_is_never_shown_as_whole() -> None:
    assert percent(1) == "100.0 %"
    assert percent(0.99999) == "99.9 %"
    assert percent(0.00001) == "0.1 %"
    assert (percent(0), percent(None), percent(0.954)) == ("0.0 %", "-", "95.4 %")


def test_sizes_and_durations_have_few_digits() -> None:
    assert [size(one) for one in (12, 1200, 3_400_000, 5e9, -1500)] == ["12 B", "1.2 kB", "3.4 MB", "5.0 GB", "-1.5 kB"]
    assert [duration(one) for one in (0.2, 90, 7200)] == ["0.20 s", "1.5 min", "2.0 h"]


@pytest.mark.parametrize(("count", "end"), [(0, 2), (1, 2), (3, 4), (10, 10), (11, 20), (55, 100), (3001, 4000)])
def test_an_axis_ends_at_an_even_number(count: int, end: int) -> None:
    assert _round_up(count) == end
