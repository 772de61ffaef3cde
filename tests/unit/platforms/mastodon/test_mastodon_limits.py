"""How an instance counts, what it allows, and where it says so."""

from __future__ import annotations

import time
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
        # In paths and queries the server takes letters of every script.
        ("https://ja.wikipedia.org/wiki/日本語のページ", 23),
        ("https://example.com/?q=日本語", 23),
        ("https://example.com/?q=日本語。", 23),
        ("https://example.com/a_(b)_(c(d))", 23),
        ("(https://example.com/a)", 25),
        ("「https://example.com/a」", 25),
        ("https://example.com/a, b", 26),
        ("https://example.com/a!", 24),
        ("https://日本語.jp/", 23),
        ("xhttps://example.com", 20),
        ("https://nowhere", 15),
        ("https://example.com:8080/a https://example.org", 47),
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


def test_links_count_as_reserved_in_a_text_of_any_length() -> None:
    text = "x" * 90_000 + " https://example.com/" + "a" * 300
    assert LIMITS.length(text) == 90_024


@pytest.mark.parametrize(
    "piece", ["https://", "https://a.", "https://a.com/(", "https://a.com/?", "https://a.com/(a)((", "@a.", "x_-"]
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.monotonic()
    LIMITS.length(piece * (100_000 // len(piece)))
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("text", "seen", "points"), [("👩‍👩‍👧", 1, 5), ("e\u0301x", 2, 2), ("日本", 2, 2), ("🇩🇪🇫🇷", 2, 4)]
)
def test_mastodon_itself_counts_what_people_see(text: str, seen: int, points: int) -> None:
    told = Limits.read({"api_versions": {"mastodon": 9}})
    assert (told.length(text), Limits().length(text)) == (seen, points)
    assert Limits.of({FACT: told.as_facts()}) == told


def test_a_text_that_is_too_long_is_told_why() -> None:
    assert LIMITS.why("x" * 600) == ""
    assert LIMITS.why("see https://example.com") == ": a link counts 23, whatever its length"
    assert LIMITS.why("👩‍👩‍👧") == ": of an emoji or a letter that is put together each part counts"
    assert Limits(counts_as_seen=True).why("👩‍👩‍👧") == ""


def test_an_instance_may_count_links_otherwise() -> None:
    assert Limits(characters_reserved_per_url=0).length("https://example.com/abc") == 23
    nothing = Limits.read({"configuration": {"statuses": {"characters_reserved_per_url": 0}}})
    assert nothing.length("https://example.com") == 19
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
