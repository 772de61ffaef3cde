"""The pause before something is started again."""

from __future__ import annotations

from stack.backoff import backoff


def test_it_doubles_up_to_its_end() -> None:
    assert [backoff(deaths) for deaths in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff(10_000) == 30
