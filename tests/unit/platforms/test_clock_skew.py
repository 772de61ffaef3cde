"""The difference between a platform's clock and ours, as its answers tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from platforms.base import Reply
from platforms.clock_skew import ClockUnusableError, earlier, later, skew

NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


def answer(**headers: str) -> Reply:
    return Reply(200, headers, b"", "https://example.com")


def dated(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"date": ""}, 0),
        ({"date": "yesterday"}, 0),
        ({"date": dated(0)}, 0),
        ({"date": dated(-4)}, 0),
        ({"date": dated(-120)}, -120),
        ({"date": dated(3600)}, 3600),
        ({"date": dated(-60), "age": "60"}, 0),
        ({"date": "Sun, 22 Nov 2026 10:13:00 -0000"}, -120),
    ],
)
def test_the_difference_is_what_the_date_says(headers: dict[str, str], seconds: int) -> None:
    assert skew(answer(**headers), NOW) == timedelta(seconds=seconds)


def test_a_broken_clock_is_not_corrected() -> None:
    for days in (-400, 2):
        with pytest.raises(ClockUnusableError, match=f"{abs(days)} days"):
            skew(answer(date=dated(days * 86_400)), NOW)


def test_a_time_span_only_grows_by_what_an_answer_says() -> None:
    behind, ahead = timedelta(minutes=-2), timedelta(hours=1)
    assert (earlier(NOW, behind), later(NOW, behind)) == (NOW + behind, NOW)
    # A proxy whose clock is ahead of the backend's must not make our post an older one.
    assert (earlier(NOW, ahead), later(NOW, ahead)) == (NOW, NOW + ahead)
    assert earlier(NOW, timedelta()) == later(NOW, timedelta()) == NOW
