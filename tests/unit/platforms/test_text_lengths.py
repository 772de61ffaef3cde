"""How each platform counts, over every emoji sequence of Unicode and every usual way to write a link.

The sequences are those of Unicode's emoji-test list, as the library ``emoji`` carries them (5,244 of Unicode 18).
"""

from __future__ import annotations

import unicodedata

import emoji
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from platforms import registry
from platforms.base import AccountRef, Draft
from platforms.bluesky.text import byte_offset, graphemes, spans
from platforms.mastodon.limits import Limits
from platforms.sandbox.mastodon_text import length as server_length
from platforms.x.length import URL_LENGTH, links, normalize, weighted_length

EMOJI = sorted(emoji.EMOJI_DATA)
KEYCAPS_AND_SIGNS = [one for one in EMOJI if len(one) == 1 and ord(one) < 0x2190]
"""Signs such as the copyright sign that are text unless a selector asks for a picture."""


def test_the_list_is_whole() -> None:
    assert len(EMOJI) > 5_000
    assert {"👩🏽‍🚀", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1️⃣", "🇺🇳", "🫱🏻‍🫲🏿"} <= set(
        EMOJI
    )


# --- X: each sequence counts 2, whatever it is made of -------------------------------------------------------


def test_x_counts_two_for_each_sequence() -> None:
    wrong = {one: weighted_length(one) for one in EMOJI if weighted_length(one) != 2}
    assert set(wrong) <= set(KEYCAPS_AND_SIGNS), wrong
    assert all(weighted_length(one + "\ufe0f") == 2 for one in KEYCAPS_AND_SIGNS)


def test_x_counts_a_sequence_the_same_among_letters_and_links() -> None:
    for one in EMOJI:
        alone = weighted_length(one)
        assert weighted_length(f"a {one} b") == alone + 4, one
        # A pipe between: some sequences begin with what another may end with.
        assert weighted_length(f"{one}|https://example.com/a") == alone + 1 + URL_LENGTH, one


@given(st.lists(st.sampled_from([one for one in EMOJI if one not in KEYCAPS_AND_SIGNS]), max_size=60))
def test_x_adds_emoji_up(found: list[str]) -> None:
    assert weighted_length(" ".join(found)) == 2 * len(found) + max(0, len(found) - 1)


# --- Bluesky: each sequence is one; facets stand at whole bytes beside it -------------------------------------


def test_bluesky_counts_one_for_each_sequence_and_finds_what_stands_beside_it() -> None:
    for one in EMOJI:
        text = f"{one} https://example.com/{one} {one} #tea @bob.test {one}"
        assert graphemes(one) == 1, one
        raw = text.encode()
        shown = []
        for span in spans(text):
            start, end = byte_offset(text, span.start), byte_offset(text, span.end)
            shown.append((span.kind, raw[start:end].decode()))
        assert shown[0][1].startswith("https://example.com/"), one
        assert [kind for kind, _ in shown] == ["link", "tag", "mention"], one
        assert shown[1:] == [("tag", "#tea"), ("mention", "@bob.test")], one


# --- Mastodon: code points, never fewer than a server counts ---------------------------------------------------


def test_mastodon_counts_no_sequence_for_less_than_a_server() -> None:
    for one in EMOJI:
        assert Limits().length(one) == len(normalize(one)) >= server_length(one) == 1, one


# --- TikTok: UTF-16 units; Instagram and Pinterest: code points -------------------------------------------------


def test_tiktok_counts_as_javascript_does() -> None:
    module = registry.get("tiktok")
    for one in EMOJI:
        beyond = sum(1 for letter in one if ord(letter) > 0xFFFF)
        assert module.text_length(one) == len(one) + beyond, one
    assert module.text_length("👩🏽‍🚀") == 7
    assert module.text_length("日本語é") == 4


@pytest.mark.parametrize("name", ["instagram", "pinterest"])
def test_code_points_are_counted(name: str) -> None:
    assert registry.get(name).text_length("👩🏽‍🚀 é") == 6


# --- The limit itself -------------------------------------------------------------------------------------------

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
OPTIONS = {"pinterest": {"board": "1"}, "tiktok": {"privacy": "SELF_ONLY"}}


@pytest.mark.parametrize("name", ["bluesky", "instagram", "mastodon", "pinterest", "tiktok", "x"])
@settings(max_examples=30, deadline=None)
@given(start=ANY_TEXT, filler=st.sampled_from(["a", "日", "é", "👩🏽‍🚀", "🇺🇳", " "]))
@example(start="", filler="👩🏽‍🚀")
def test_validate_refuses_exactly_what_counts_too_long(name: str, start: str, filler: str) -> None:
    module = registry.get(name)
    limit, text = module.capabilities.text_limit, start
    step = max(1, module.text_length(filler))
    text += filler * ((limit - min(limit, module.text_length(start))) // step)
    for one in (text, text + filler, text + filler * 2):
        draft = Draft(one, AccountRef(name, ""), options=OPTIONS.get(name, {}))
        found = {violation.code for violation in module.validate(draft)}
        # Without a photo TikTok's limit is that of a video's caption.
        assert ("text_too_long" in found) is (module.text_length(one) > limit), (module.text_length(one), found)


# --- Links ------------------------------------------------------------------------------------------------------

SCHEMES = st.sampled_from(["https://", "http://", "HTTPS://", "Http://"])
HOSTS = st.sampled_from(
    ["example.com", "EXAMPLE.COM", "www.example.co.uk", "a-b.example.org", "xn--bcher-kva.de", "1.example.net",
     "a.b.c.d.example.io", "example.museum", "t.co"]
)  # fmt: skip
PORTS = st.sampled_from(["", ":8080", ":443"])
PATHS = st.sampled_from(
    ["", "/", "/a", "/a/b-c_d", "/wiki/Tea_(drink)", "/%E2%82%AC%20x", "/~me", "/@user/1", "/a.b", "/a,b;c=d/", "/a+b",
     "/i'm", "/index.html"]
)  # fmt: skip
TAILS = st.sampled_from(["", "?a=1", "?q=x&y=%20z", "?a[]=1", "#top", "?a=1#part-2", "?redirect=https://example.org/"])
BEFORE = st.sampled_from(["", "see ", "(", "“", "\n", "日本語 ", "👩🏽‍🚀", "a:", "«"])
AFTER = st.sampled_from(["", ".", ",", "!", ")", "”", " now", "…", "?", ":", ";", "\n", " 👩🏽‍🚀", "»"])


@st.composite
def written_links(draw: st.DrawFn) -> str:
    """A link, in one of the ways that people write them."""
    scheme, host, port, path, tail = draw(SCHEMES), draw(HOSTS), draw(PORTS), draw(PATHS), draw(TAILS)
    if host == "t.co":
        return f"{scheme}{host}/abc123"  # X's own shortener: nothing follows its slug
    if tail.startswith("#") and not path:
        path = "/"  # for X a link without a path ends at the host
    return f"{scheme}{host}{port}{path}{tail}"


@settings(max_examples=400, deadline=None)
@given(BEFORE, written_links(), AFTER)
def test_a_link_counts_23_on_x_wherever_it_stands(before: str, link: str, after: str) -> None:
    text = f"{before}{link}{after}"
    assert [one.url for one in links(normalize(text))] == [link], text
    assert weighted_length(text) == weighted_length(before) + URL_LENGTH + weighted_length(after)


@settings(max_examples=300, deadline=None)
@given(BEFORE, written_links(), AFTER)
def test_a_link_is_clickable_on_bluesky_in_whole(before: str, link: str, after: str) -> None:
    text = f"{before}{link}{after}"
    [span] = [span for span in spans(text) if span.kind == "link"]
    raw = text.encode()
    assert raw[byte_offset(text, span.start) : byte_offset(text, span.end)].decode() == link


PIECES = st.one_of(
    written_links(),
    st.sampled_from(["@bob", "@bob@mastodon.example", "#tea", "me@example.com", "example.com/x", "🇺🇳", "é", "e\u0301"]),
    st.sampled_from(EMOJI),
    st.text(alphabet="ab .,:;!?()\n日é", max_size=8),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=8))
def test_mastodon_never_counts_less_than_a_server(pieces: list[str]) -> None:
    text = " ".join(pieces)
    assert Limits().length(text) >= server_length(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=8))
def test_counting_is_the_same_for_each_form_of_unicode(pieces: list[str]) -> None:
    text = " ".join(pieces)
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")}
    assert len({weighted_length(form) for form in forms}) == 1
    assert len({Limits().length(form) for form in forms}) == 1
    assert len({graphemes(form) for form in forms}) == 1
