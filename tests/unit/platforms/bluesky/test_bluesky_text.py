"""How Bluesky counts, and what in a text becomes clickable, at which bytes."""

from __future__ import annotations

import emoji
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.bluesky.text import byte_offset, graphemes, handles, links, spans, uri_of

KINDS = {"link", "mention", "tag"}


def found(text: str) -> list[tuple[str, str, str]]:
    """Kind, the words in the text, and what they stand for."""
    return [(span.kind, text[span.start : span.end], span.value) for span in spans(text)]


# --- Counting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("e\u0301", 1),
        ("\r\n", 1),
        ("日本語", 3),
        ("👩‍👩‍👧‍👦", 1),
        ("👍🏽", 1),
        ("🇩🇪🇫🇷", 2),
        ("🇩🇪🇫", 2),
        ("1\ufe0f\u20e3", 1),
        ("❤\ufe0f\u200d🔥", 1),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", 1),
        ("\u0915\u094d\u0937", 1),
        ("각", 1),
        ("\u1112\u1161\u11ab", 1),
    ],
)
def test_graphemes(text: str, count: int) -> None:
    assert graphemes(text) == count


def test_each_emoji_sequence_is_one() -> None:
    wrong = [sequence for sequence in emoji.EMOJI_DATA if graphemes(sequence) != 1]
    assert wrong == []


@given(st.text(), st.text())
def test_counting_never_grows_by_joining(first: str, second: str) -> None:
    assert max(graphemes(first), graphemes(second)) <= graphemes(first + second) <= graphemes(first) + graphemes(second)


# --- Links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown", "uri"),
    [
        ("https://example.com", "https://example.com", "https://example.com"),
        ("see http://example.com/a?b=1#c now", "http://example.com/a?b=1#c", "http://example.com/a?b=1#c"),
        ("HTTPS://Example.COM/Path", "HTTPS://Example.COM/Path", "https://example.com/Path"),
        ("(https://en.wikipedia.org/wiki/Tea_(drink))", "https://en.wikipedia.org/wiki/Tea_(drink)", None),
        ("https://example.com/a_(b)", "https://example.com/a_(b)", None),
        ("Really: https://example.com?!", "https://example.com", None),
        ("«https://example.com»", "https://example.com", None),
        ("“https://example.com/x”", "https://example.com/x", None),
        ("<https://example.com>", "https://example.com", None),
        ("[tea](https://example.com/tea)", "https://example.com/tea", None),
        ("https://example.com/…", "https://example.com/", None),
        ("こちらhttps://example.com/日本。次", "https://example.com/日本", "https://example.com/%E6%97%A5%E6%9C%AC"),
        ("https://köln.de/straße", "https://köln.de/straße", "https://xn--kln-sna.de/stra%C3%9Fe"),
        ("https://example.com/a%20b", "https://example.com/a%20b", "https://example.com/a%20b"),
        ("https://example.com/a_ and", "https://example.com/a_", None),
        ("http://localhost:8000/x", "http://localhost:8000/x", None),
        ("http://127.0.0.1/x", "http://127.0.0.1/x", None),
        ("http://[::1]:80/x", "http://[::1]:80/x", None),
        ("https://example.com:8443/x", "https://example.com:8443/x", None),
        ("example.com", "example.com", "https://example.com"),
        ("www.example.co.uk/a,b", "www.example.co.uk/a,b", "https://www.example.co.uk/a,b"),
        ("Read example.org/tea.", "example.org/tea", "https://example.org/tea"),
        ("(example.org)", "example.org", "https://example.org"),
        ("example.com:8080/x", "example.com:8080/x", "https://example.com:8080/x"),
        ("9gag.com", "9gag.com", "https://9gag.com"),
        ("пример.рф/чай", "пример.рф/чай", "https://xn--e1afmkfd.xn--p1ai/%D1%87%D0%B0%D0%B9"),
        ("👋example.com/x", "example.com/x", "https://example.com/x"),
        ("**https://example.com/x**", "https://example.com/x", None),
        ("_https://example.com/a_", "https://example.com/a", None),
        ("`https://example.com/x`", "https://example.com/x", None),
        ("https://example.co.jpと", "https://example.co.jp", None),
        ("https://例え.jpをご覧", "https://例え.jp", "https://xn--r8jz45g.jp"),
        ("https://пример.рф", "https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"),
        ("https://example.com:8080をご覧", "https://example.com:8080", None),
        ("https://1.1.1.1をご覧", "https://1.1.1.1", None),
        ("https://server.localを", "https://server.local", None),
        ("http://localhostを", "http://localhost", None),
        ("https://köln.brandnew/x", "https://köln.brandnew/x", "https://xn--kln-sna.brandnew/x"),
        ("https://example.comは@bob", "https://example.com", None),
        ("https://web.archive.org/web/2020/https://a.com/b", "https://web.archive.org/web/2020/https://a.com/b", None),
    ],
)
def test_links(text: str, shown: str, uri: str | None) -> None:
    assert found(text) == [("link", shown, uri or shown)]


AFTER = [
    "をご覧ください", "👍", "👍🏽", "—see", "\u2013b", "\u2019s", "'s site", "•x", "・次", "ー", "`", "**", "|", ";x",
    "‼", "\uff01", "^", "~", "_",
    "\\x", "…", "”", "에서", "\u00a0x", "\u3000次", ",", ".", ")", "}", "\u0301", "\uff0c", "日本.", "=", "+1", "%20",
]  # fmt: skip
"""What may stand right behind a link without being of it."""


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("before", ["", "see ", "(", "`", "**", "日本"])
def test_a_host_ends_where_its_name_does(before: str, after: str) -> None:
    assert found(f"{before}https://example.com{after}") == [("link", "https://example.com", "https://example.com")]


def test_two_links_with_a_comma_between() -> None:
    assert links("https://example.com,https://b.com") == ["https://example.com", "https://b.com"]
    assert links("https://example.com/a;https://b.com/b") == ["https://example.com/a", "https://b.com/b"]


@pytest.mark.parametrize(
    "text",
    [
        "me@example.com",
        "first.last@example.com",
        "https://",
        "https://nodot",
        "https://user:word@example.com",
        "https://example.com@evil.com",
        "https://" + "a" * 63 + ".com" + "x" * 60 + "@evil.com",
        "https://例え.テスト",
        "https://example.com:99999",
        "ftp://example.com",
        "end.It was late",
        "3.14 and 1.500",
        "v2.0.1",
        "e.g. this",
        "file.notatld",
        "a..com",
        "$example.com",
    ],
)
def test_no_links(text: str) -> None:
    assert links(text) == []


def test_a_link_that_is_none() -> None:
    assert uri_of("https://[bad") is None
    assert uri_of("https://" + "a" * 64 + ".com") is None
    assert uri_of("https://example.com/" + "a" * 9000) is None


# --- Mentions and tags --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@bob.bsky.social", [("@bob.bsky.social", "bob.bsky.social")]),
        ("Hi @Bob.Test!", [("@Bob.Test", "bob.test")]),
        ("(@bob.test) and @eve.example.com.", [("@bob.test", "bob.test"), ("@eve.example.com", "eve.example.com")]),
        ("@bob", []),
        ("@bob@mastodon.social", []),
        ("me@bob.test", []),
        ("https://mastodon.social/@bob.test", []),
        ("@bob.notatld", []),
        ("@-bob.test", []),
        ("@bob.test/x", [("@bob.test", "bob.test")]),
    ],
)
def test_mentions(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(shown, value) for kind, shown, value in found(text) if kind == "mention"] == expected


def test_a_handle_is_resolved_once() -> None:
    assert handles("@bob.test @BOB.test @eve.test") == ["bob.test", "eve.test"]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#tea", ["tea"]),
        ("#Tea, #cake! (#pie)", ["Tea", "cake", "pie"]),
        ("#1", []),
        ("#2026plans", ["2026plans"]),
        ("a#tea", []),
        ("##tea", ["#tea"]),
        ("#\ufe0f\u20e3", []),
        ("#\u20e3 tea", []),
        ("\uff03日本", ["日本"]),
        ("#c++", ["c++"]),
        ("#" + "a" * 64, ["a" * 64]),
        ("#" + "a" * 65, []),
        ("https://example.com/#tea", []),
    ],
)
def test_tags(text: str, tags: list[str]) -> None:
    assert [value for kind, _, value in found(text) if kind == "tag"] == tags


# --- Bytes --------------------------------------------------------------------------------------------------


PIECES = st.sampled_from(
    [
        "@bob.test",
        "https://example.com/ä",
        "example.org",
        "#tea",
        " ",
        "\n",
        "👩‍👩‍👧",
        "ü",
        "日",
        "(",
        ")",
        ".",
        "@",
        "#",
        "x",
        "https://example.com",
        *AFTER,
    ]
)


@given(st.lists(PIECES, max_size=25).map("".join))
def test_spans_are_apart_in_order_and_at_whole_bytes(text: str) -> None:
    raw = text.encode()
    end = 0
    for span in spans(text):
        start, stop = byte_offset(text, span.start), byte_offset(text, span.end)
        assert end <= start < stop <= len(raw)
        assert raw[start:stop].decode() == text[span.start : span.end]
        assert span.kind in KINDS
        end = stop


@given(
    st.sampled_from(["", " ", "日", "("]), st.sampled_from(AFTER), st.text(alphabet="あ日👍—・\u2019 „!", max_size=5)
)
def test_no_sentence_makes_another_host(before: str, after: str, more: str) -> None:
    assert links(f"{before}https://example.com{after}{more}") == ["https://example.com"]


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    for span in spans(text):
        assert 0 <= span.start < span.end <= len(text)


def test_no_text_takes_long() -> None:
    for text in (
        "a." * 1400,
        "#" * 2900,
        "@a." * 900,
        "https://" + "(" * 2900,
        "-" * 3000,
        "a-" * 1450,
        "x" * 10**6,
        "https://" + "日" * 2900,
        "https://a.com日" * 200,
        "https://" + "a.com" * 580,
        "https://a," * 290,
    ):
        assert spans(text) is not None
