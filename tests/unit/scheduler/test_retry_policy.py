"""Pauses between tries: they grow, they scatter, they end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.retry_policy import LOOKUPS, RetryPolicy

attempts = st.integers(-5, 10**9)


@given(attempts, st.floats(0.01, 1000), st.floats(0.01, 10_000), st.none() | st.floats(0, 10_000))
def test_a_pause_is_between_half_and_all_of_what_it_may_be_and_what_was_asked(tries, base, longest, asked):
    pause = RetryPolicy(base, longest, 5).pause_s(tries, asked)
    full = min(longest, base * 2 ** min(max(tries, 1) - 1, 30))
    assert max(full * 0.5, asked or 0) <= pause <= max(full, asked or 0)


@given(st.integers(1, 100), attempts)
def test_the_budget_is_spent_at_its_last_try(most, tries):
    assert RetryPolicy(1, 1, most).spent(tries) == (tries >= most)


def test_posts_that_failed_together_do_not_come_back_together():
    assert len({RetryPolicy(30, 1800, 6).pause_s(3) for _ in range(50)}) > 40


def test_look_ups_take_about_an_hour_before_a_person_is_asked():
    longest = sum(min(LOOKUPS.max_s, LOOKUPS.base_s * 2 ** (n - 1)) for n in range(1, LOOKUPS.max_attempts))
    assert 3600 < longest < 3 * 3600
