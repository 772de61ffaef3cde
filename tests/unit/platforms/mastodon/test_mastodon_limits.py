"""How an instance counts, what it allows, and where it says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.mastodon.limits import FACT, Limits
from platforms.sandbox.mastodon_text import length as server_length

LIMITS = Limits()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("abc", 3),
        ("日本語", 3),
        ("https://example.com", 23),
        ("http://a.co", 23),
        ("https://example.com/" + "x" * 200, 23),
        ("see https://example.com/a?b=1, and (https://example.org)", 4 + 23 + 7 + 23 + 1),
        ("example.com/" + "x" * 50, 62),
        ("@bob", 4),
        ("@bob@mastodon.example", 4),
        ("Hi @bob@mastodon.example!", 8),
        ("me@mastodon.example", 19),
        ("https://mastodon.social/@bob@other.example", 23),
        ("e\u0301", 1),
    ],
)
def test_length(text: str, length: int) -> None:
    assert LIMITS.length(text) == length


@given(st.text(max_size=300))
def test_never_shorter_than_what_a_server_counts(text: str) -> None:
    # No link and no mention in it: there a server and we count letters, and it may count less.
    plain = text.replace("@", "").replace(":", "").replace(".", "")
    assert LIMITS.length(plain) >= server_length(plain)


@pytest.mark.parametrize(
    "text",
    ["Tea at https://example.com/a?b=1 for @bob@other.example", "Hi @bob, https://example.org/x_(y)!", "👩‍👩‍👧 #tea"],
)
def test_what_fits_here_fits_there(text: str) -> None:
    assert LIMITS.length(text) >= server_length(text)


def test_an_instance_may_count_links_otherwise() -> None:
    assert Limits(characters_reserved_per_url=30).length("https://example.com") == 30


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ({}, Limits()),
        ({"configuration": {"statuses": {"max_characters": 5000}}}, Limits(max_characters=5000)),
        ({"max_toot_chars": 5000, "description_limit": 900}, Limits(max_characters=5000, description_limit=900)),
        (
            {"configuration": {"statuses": {"max_characters": 1000}}, "max_toot_chars": 5000},
            Limits(max_characters=1000),
        ),
        (
            {"poll_limits": {"max_options": 20, "max_option_chars": 200}},
            Limits(max_options=20, max_characters_per_option=200),
        ),
        (
            {
                "configuration": {
                    "media_attachments": {"supported_mime_types": ["image/png"], "image_size_limit": 10},
                    "polls": {"max_options": 6},
                }
            },
            Limits(image_size_limit=10, max_options=6, supported_mime_types=("image/png",)),
        ),
        ({"configuration": {"statuses": {"max_characters": "many"}}}, Limits()),
        ({"configuration": []}, Limits()),
        ({"configuration": {"statuses": {"max_characters": 0}}}, Limits()),
    ],
)
def test_limits_are_read(instance: dict[str, Any], expected: Limits) -> None:
    found = Limits.read(instance)
    assert found == expected
    assert Limits.of({FACT: found.as_facts()}) == expected


def test_limits_without_facts_are_the_defaults() -> None:
    assert Limits.of({}) == Limits()
    assert Limits.of({FACT: None}) == Limits()


def test_what_is_not_told_is_taken() -> None:
    assert Limits().takes("image/jpeg")
    assert not Limits(supported_mime_types=("image/png",)).takes("image/jpeg")
