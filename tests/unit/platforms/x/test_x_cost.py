"""What a post on X costs, by the price list."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from worlds import X_ACCOUNT, clip, picture

from platforms.base import Draft
from platforms.cost import Cost, HasCost
from platforms.x import PLATFORM
from platforms.x.cost import PRICES, SOURCE


def price(text: str, *media: Any) -> Cost:
    assert isinstance(PLATFORM, HasCost)
    found = PLATFORM.cost(Draft(text, X_ACCOUNT, media))
    assert found is not None
    assert (found.currency, found.source) == ("USD", SOURCE)
    return found


@pytest.mark.parametrize(
    ("text", "media", "amount"),
    [
        ("Hello", (), "0.015"),
        ("Hello https://example.com", (), "0.200"),
        ("Hello example.com", (), "0.200"),
        ("A b.c d", (), "0.015"),
        ("Listen: https://acme.music/Song", (), "0.200"),  # newer than the list of top-level domains
        ("mail me@example.com", (), "0.015"),
        ("Hello https://example.com and example.org", (), "0.200"),
        ("", (picture(),), "0.015"),
        ("", (picture(alt="a"), picture(alt="b"), picture()), "0.025"),
        ("https://example.com", (clip(5, alt="a"),), "0.205"),
    ],
)
def test_the_amount(text: str, media: tuple[Any, ...], amount: str) -> None:
    assert price(text, *media).amount == Decimal(amount)


def test_the_words_say_what_it_is_made_of() -> None:
    assert (
        price("example.com", picture(alt="a"), picture(alt="b")).words
        == "a post with a link 0.200, 2 alt texts at 0.005"
    )
    assert price("Hello").words == "a post 0.015"


def test_the_prices_are_money_and_have_a_dated_source() -> None:
    assert all(isinstance(one.amount, Decimal) and one.amount > 0 for one in PRICES)
    assert "2026" in SOURCE
