"""Times in headers, values of any shape, options that are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from platforms import outcomes
from platforms.base import Reply


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("60", 60),
        ("60;w=900", 60),
        (" 1.5 ", 1.5),
        ("0", 0),
        (str(int(NOW.timestamp()) + 90), 90),
        (str(int(NOW.timestamp()) - 90), 0),
        ("Sun, 22 Nov 2026 10:16:00 GMT", 60),
        ("99999999", outcomes.LONGEST_WAIT.total_seconds()),
        ("999999999999", outcomes.LONGEST_WAIT.total_seconds()),
        ("soon", None),
        ("", None),
        (None, None),
        ("-5", None),
    ],
)
def test_a_moment(value: str | None, seconds: float | None) -> None:
    until = outcomes.moment(value, NOW)
    assert (None if until is None else (until - NOW).total_seconds()) == seconds


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_header_breaks_us(value: str) -> None:
    until = outcomes.moment(value, NOW)
    assert until is None or NOW <= until <= NOW + outcomes.LONGEST_WAIT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22T10:15:00", NOW),
        ("2026-11-22T10:15:00.000Z", NOW),
        ("2026-11-22T12:15:00+02:00", NOW),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (True, None),
        ("yesterday", None),
        (None, None),
        (1e30, None),
        ([], None),
    ],
)
def test_utc(value: Any, expected: datetime | None) -> None:
    assert outcomes.utc(value) == expected


def test_retry_after() -> None:
    assert outcomes.retry_after_s(Reply(503, {"retry-after": "9"}, b"", ""), NOW) == 9
    assert outcomes.retry_after_s(Reply(503, {}, b"", ""), NOW) is None


def test_shapes() -> None:
    assert outcomes.mapping([1]) == {}
    assert outcomes.objects([{"a": 1}, 2, None]) == [{"a": 1}]
    assert outcomes.objects({"a": 1}) == []
    assert timedelta() < outcomes.LONGEST_WAIT


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int = 0


def test_refused_options_do_not_repeat_the_value() -> None:
    found = list(outcomes.option_violations(Model, {"count": "my password", "other": 1}, "x"))
    assert [(violation.code, violation.field) for violation in found] == [
        ("invalid_option", "options.count"),
        ("unknown_option", "options.other"),
    ]
    assert "my password" not in repr(found)
