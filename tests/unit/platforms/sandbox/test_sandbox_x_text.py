"""How X's text is counted and stored; the values are those of X's own documentation and parser rules."""

from __future__ import annotations

import pytest

from platforms.sandbox.x_text import links, stored, weighted_length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("Hello, world! 👋", 16),
        ("é", 1),
        ("e\u0301", 1),
        ("日本", 4),
        ("“quoted” \u2013 dash", 15),
        ("👨‍👩‍👧‍👦", 2),
        ("👍🏽", 2),
        ("🇩🇪🇫🇷", 4),
        ("1️⃣", 2),
        ("❤️", 2),
        ("https://acme.com/a/very/long/path?with=query&and=more", 23),
        ("see acme.com.", 28),
        ("http://a.io/b and www.acme.org/x", 51),
        ("mail me@acme.com", 16),
        ("version 1.2.3 e.g. this", 23),
        # Without a scheme and a path, by twitter-text 3.1.
        ("nl.nl", 23),
        ("foo.de", 23),
        ("t.co", 23),
        ("see bit.ly", 27),
        ("a.ai and b.io", 51),
        ("p.vs", 4),
    ],
)
def test_weighted_length(text: str, length: int) -> None:
    assert weighted_length(text) == length


def test_links_leave_the_punctuation_of_the_sentence() -> None:
    text = "(https://acme.com/a_b), then https://acme.com!"
    assert [text[start:end] for start, end in links(text)] == ["https://acme.com/a_b", "https://acme.com"]


def test_stored_text_has_a_link_for_its_media() -> None:
    text, urls = stored("look", "12", "acme", ["3_1", "3_2"])
    assert text == f"look {urls[0]['url']}"
    assert [url["media_key"] for url in urls] == ["3_1", "3_2"]
    assert stored("", "12", "acme", ["3_1"])[0].startswith("https://t.co/")
    shown = stored("https://www.acme.com/a-path-that-is-longer-than-shown", "1", "acme", [])[1][0]
    assert shown["display_url"] == "acme.com/a-path-that-is-lo…"
