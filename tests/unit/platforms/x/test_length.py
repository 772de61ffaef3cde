"""X's weighted length, by examples and by its laws."""

from __future__ import annotations

import itertools
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platforms.x.length import LIMIT, URL_LENGTH, links, normalize, weighted_length
from platforms.x.tlds import TLDS

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
ASTRONAUT = "\U0001f469\U0001f3fd\u200d\U0001f680"
FLAG = "\U0001f1fa\U0001f1f8"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("Hello, world! \U0001f44b", 16),
        ("x" * 280, 280),
        ("\u65e5\u672c\u8a9e", 6),
        ("\ud55c\uae00", 4),
        ("caf\u00e9", 4),
        ("cafe\u0301", 4),  # decomposed: NFC makes it one
        ("\u0431\u0443\u0434", 3),
        ("\u05e9\u05dc\u05d5\u05dd", 4),
        ("\u1100", 2),  # the first code point after the first light range
        ("\u10ff", 1),
        ("\u2000\u200d", 2),
        ("\u200e\u200f", 4),  # between the light ranges
        ("\u2010\u2019\u201c\u201f", 4),
        ("\u2020", 2),
        ("\u2026", 2),  # the ellipsis is heavy
        ("\u2032\u2037\u2038", 4),
        ("\uff21", 2),
        ("\n\t ", 3),
    ],
)
def test_characters(text: str, length: int) -> None:
    assert weighted_length(text) == length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("\U0001f44b", 2),
        ("\U0001f44b\U0001f3fd", 2),
        (FAMILY, 2),
        (ASTRONAUT, 2),
        (FLAG, 2),
        (FLAG * 3, 6),
        (ENGLAND, 2),
        ("\U0001f1e6\U0001f1e6", 4),  # no flag: two letters
        ("1\ufe0f\u20e3", 2),
        ("#\ufe0f\u20e3", 2),
        ("1", 1),
        ("\u00a9", 1),  # a sign, not an emoji
        ("\u00a9\ufe0f", 2),
        ("\u2764", 2),
        ("\u2764\ufe0f", 2),
        ("\u2764\ufe0e", 4),  # asked for as text: both count
        (f"a{FAMILY}b{FAMILY}", 6),
        (FAMILY * 140, 280),
        ("\U0001f600\u200d\U0001f600", 5),  # joined, but no emoji that exists
    ],
)
def test_emoji(text: str, length: int) -> None:
    assert weighted_length(text) == length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        # Seemingly encoded, but no encoded domain has other letters. A vector of twitter-text's extract.yml.
        ("test: http://xn--\u306f\u3058\u3081\u3088\u3046.com/index.html", 42),
        ("http://xn--abc.\u306f\u3058.com/x", 25),
        ("http://a.xn--\u306f\u3058.com", 23),  # only the beginning of the whole domain says so
        ("http://xn--fsqu00a.xn--0zwm56d/x", 23),
        ("see xn--abc.com now", 31),
    ],
)
def test_encoded_domains_are_whole(text: str, length: int) -> None:
    # The numbers are those of twitter-text 3.1.
    assert weighted_length(text) == length


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see https://example.com/a?b=c#d now", ["https://example.com/a?b=c#d"]),
        ("HTTP://EXAMPLE.COM", ["HTTP://EXAMPLE.COM"]),
        ("example.com", ["example.com"]),
        ("(example.com)", ["example.com"]),
        ("example.com.", ["example.com"]),
        ("https://example.com/path.", ["https://example.com/path"]),
        ("https://example.com/wiki/A_(b)", ["https://example.com/wiki/A_(b)"]),
        ("(https://example.com/wiki/A_(b))", ["https://example.com/wiki/A_(b)"]),
        ("https://example.com/a,b!", ["https://example.com/a,b"]),
        ("https://example.com:8080/x", ["https://example.com:8080/x"]),
        ("https://example.com/@user/1", ["https://example.com/@user/1"]),
        ("https://a.b.c.example.co.uk/", ["https://a.b.c.example.co.uk/"]),
        ("https://sub_domain.example.com", ["https://sub_domain.example.com"]),
        ("one.com two.org", ["one.com", "two.org"]),
        ("https://twitter.\ud55c\uad6d", ["https://twitter.\ud55c\uad6d"]),
        ("https://\u4f8b\u3048.jp/\u00e9", ["https://\u4f8b\u3048.jp/\u00e9"]),
        ("\u65e5\u672c\u8a9eexample.com", ["example.com"]),
        ("example.com\u65e5\u672c", ["example.com"]),
        ("\u4f8b\u3048.jp", []),  # without a scheme only ASCII names count
        ("xn--80aswg.xn--p1ai", ["xn--80aswg.xn--p1ai"]),
        ("co.uk", ["co.uk"]),
        ("t.co", ["t.co"]),
        ("example.com/path", ["example.com/path"]),
        ("https://t.co/abc123XYZ!more", ["https://t.co/abc123XYZ"]),
        ("https://t.co/" + "a" * 41, []),
        ("foo@example.com", []),
        ("@example.com", []),
        ("#example.com", []),
        ("$example.com", []),
        ("file.txt", []),
        ("e.g. this", []),
        ("1.2.3.4", []),
        ("end.Start", []),
        ("-example.com", []),
        ("a.b", []),
        ("example.com0", []),
        ("http://localhost/", []),
        ("http://" + "a" * 64 + ".com", []),
        ("https://", []),
        ("...", []),
    ],
)
def test_links(text: str, found: list[str]) -> None:
    assert [link.url for link in links(normalize(text))] == found


def test_a_link_counts_23_however_long_it_is() -> None:
    assert weighted_length("t.co") == URL_LENGTH
    assert weighted_length("https://example.com/" + "x" * 500) == URL_LENGTH
    assert weighted_length("a https://example.com b") == URL_LENGTH + 4


def test_a_link_of_more_than_4096_characters_is_text() -> None:
    assert weighted_length("https://example.com/" + "x" * 4100) > LIMIT


def test_the_table_of_top_level_domains() -> None:
    assert len(TLDS) == 1574
    assert {"com", "uk", "onion", "\ud55c\uad6d", "\u0440\u0444"} <= TLDS
    assert all(name == unicodedata.normalize("NFC", name).lower() for name in TLDS)
    assert "txt" not in TLDS


@pytest.mark.parametrize(
    "text",
    [
        "\u65e5" * 20_000 + ".com",
        "a." * 2_400,
        "\u65e5." * 2_400,
        "a-" * 2_400 + ".x",
        "http://a.com/" + "(a" * 2_000,
        "http://a.com/" + "/@a" * 1_500 + "\u00ac",
        "\u2764\ufe0f" * 10_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    # An eighth of the second text: what grows with its length takes 8 times as long, what grows with its square 64.
    eighth = taken_s("a." * 300)
    assert taken_s(text) < max(5, 25 * eighth)


def taken_s(text: str) -> float:
    """CPU seconds; machines differ by a factor of ten."""
    started = time.process_time()
    weighted_length(text)
    return time.process_time() - started


WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(deadline=None)
@given(WORDS)
def test_the_length_does_not_depend_on_the_form(text: str) -> None:
    assert weighted_length(unicodedata.normalize("NFD", text)) == weighted_length(unicodedata.normalize("NFC", text))


@settings(deadline=None)
@given(WORDS)
def test_each_character_counts_at_most_two(text: str) -> None:
    assert weighted_length(text) <= 2 * len(normalize(text)) + URL_LENGTH * len(links(normalize(text)))


@settings(deadline=None)
@given(WORDS, WORDS)
def test_texts_on_two_lines_add_up(first: str, second: str) -> None:
    assert weighted_length(f"{first}\n{second}") == weighted_length(first) + 1 + weighted_length(second)


@settings(deadline=None)
@given(st.text(alphabet="abc .-_/:@#()?=htps\u00e9\u65e5", max_size=80))
def test_links_are_in_order_and_apart(text: str) -> None:
    found = links(text)
    assert all(link.url == text[link.start : link.end] for link in found)
    assert all(left.end <= right.start for left, right in itertools.pairwise(found))


@settings(deadline=None)
@given(st.text(alphabet="abcdefghij \n", max_size=400))
def test_plain_ascii_counts_its_letters(text: str) -> None:
    assert weighted_length(text) == len(text)
