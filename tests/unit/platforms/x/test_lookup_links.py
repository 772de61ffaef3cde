"""A post with a link is never taken to be missing because X finds, or writes, the link otherwise than we do."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp
from worlds import X_ACCOUNT, X_SUBJECT, picture

from platforms.base import Absent, Doubt, Draft, Found, Inconclusive
from platforms.x import PLATFORM

STARTED = NOW - timedelta(minutes=2)
SHORT = "https://t.co/AbCdEf0123"


def look(draft: Draft | str, shown: str, *urls: tuple[str, str], checkpoint: Any = None, **more: Any) -> Any:
    post = {"id": "10", "text": shown, "created_at": STARTED.isoformat(), **more}
    post["entities"] = {"urls": [{"url": short, "expanded_url": target} for short, target in urls]}
    http = FakeHttp(lambda _: Answer(200, {"data": [post], "meta": {"result_count": 1}}))
    written = Draft(draft, X_ACCOUNT) if isinstance(draft, str) else draft
    return PLATFORM.reconcile(X_SUBJECT.call(http, checkpoint), written, Doubt(STARTED, None, frozenset()))


DOMAINS = (
    "example.com", "acme.music", "Acme.Music", "song.kids", "day.spa", "acme.merck", "shop.amazon", "the.hotel",
    "one.cloudflare", "a.b.acme.llp", "t.co", "xn--e1afmkfd.xn--p1ai", "пример.рф", "例え.テスト", "উদাহরণ.ভারত",
    "acme.brandnewtld", "ACME.COM",
)  # fmt: skip
PATHS = ("", "/", "/Song", "/日本語", "/a_(b)", "?utm_source=x", "/p?a=1&b=2#c", ":8080/x", "/é/")
AROUND = (
    "{}",
    "Listen: {}",
    "Listen ({}).",
    "„{}“ is out",
    "聴いて{}です",
    "one\n\n{}\n\ntwo #tag @you $ACME",
    "{}, {}",
)


def test_whatever_link_x_finds_the_post_is_not_absent() -> None:
    """X may find a link in any token with a dot or a scheme, from and to any place in it, and name it as it likes."""
    tried = 0
    for scheme, domain, path, around in itertools.product(("", "https://", "HTTP://"), DOMAINS, PATHS, AROUND):
        link = f"{scheme}{domain}{path}"
        text = around.replace("{}", link)
        named = link if scheme else f"http://{link}"
        bare_of_path = text.replace(f"{scheme}{domain}", SHORT)
        for shown, urls in (
            (text.replace(link, SHORT), [(SHORT, named)]),
            (text.replace(link, SHORT), [(SHORT, "https://acme.example/rewritten")]),
            (text.replace(link, SHORT), []),
            (bare_of_path, [(SHORT, f"http://{domain}")]),
        ):
            outcome = look(text, shown.replace("&", "&amp;"), *urls)
            assert isinstance(outcome, Found | Inconclusive), (text, shown, urls)
            tried += 1
    assert tried > 10_000


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("Listen: https://acme.music/Song", "https://acme.music/Song"),
        ("Listen: Acme.music/Song", "http://acme.music/Song"),
        ("Listen: acme.music/Song/", "http://acme.music/Song"),
        ("Listen: https://example.com/日本", "https://example.com/%E6%97%A5%E6%9C%AC"),
    ],
)
def test_a_link_that_is_the_same_is_found(written: str, target: str) -> None:
    # The first two end in a domain that is newer than the list by which lengths are counted.
    assert isinstance(look(written, f"Listen: {SHORT}", (SHORT, target)), Found)


def test_the_case_of_a_path_is_no_detail() -> None:
    outcome = look("https://acme.music/aB", SHORT, (SHORT, "https://acme.music/Ab"))
    assert isinstance(outcome, Inconclusive)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Listen: https://acme.music/Song", f"Watch: {SHORT}"),
        ("Listen: https://acme.music/Song", "Listen: now"),
        ("Listen", f"Listen {SHORT}"),
        ("no link at all", SHORT),
        ("It costs 3.50 today", "It costs 4.50 today"),
        ("🎉🎉", "🔥"),
        ("!!!", "?"),
    ],
)
def test_other_words_are_another_post(written: str, shown: str) -> None:
    assert look(written, shown) == Absent()


@pytest.mark.parametrize(
    ("written", "shown"), [("a \u200b b", "a  b"), ("Tea\u2014now", "tea - now"), ("🎉\ufe0f", "🎉")]
)
def test_the_same_letters_with_other_signs_stay_open(written: str, shown: str) -> None:
    assert isinstance(look(written, shown), Inconclusive)


def test_one_short_link_may_be_the_beginning_of_another() -> None:
    urls = (("https://t.co/a", "https://acme.music/1"), ("https://t.co/ab", "https://acme.music/2"))
    outcome = look("https://acme.music/1 https://acme.music/2", "https://t.co/a https://t.co/ab", *urls)
    assert isinstance(outcome, Found)


def test_a_link_to_media_that_x_does_not_name_as_such_leaves_it_open() -> None:
    draft = Draft("Listen: acme.music", X_ACCOUNT, (picture(),))
    outcome = look(draft, f"Listen: {SHORT} https://t.co/media", attachments={"media_keys": ["3_1"]})
    assert isinstance(outcome, Inconclusive)


THEIRS = "https://x.com/nasa/status/123/video/1"
THEIR_KEYS = {"attachments": {"media_keys": ["13_122"]}}


@pytest.mark.parametrize("link", [THEIRS, THEIRS.removeprefix("https://"), "https://x.com/i/status/123/photo/2"])
def test_a_link_to_the_media_of_another_post_is_part_of_the_text(link: str) -> None:
    target = link if link.startswith("https") else f"https://{link}"
    assert isinstance(look(f"Watch {link}", f"Watch {SHORT}", (SHORT, target)), Found)
    # Another post's media, and the same words, are not the same post; nor is it certain that they are another.
    other = ("https://t.co/other", "https://x.com/esa/status/7/video/1")
    assert isinstance(look(f"Watch {link}", "Watch https://t.co/other", other), Inconclusive)


@pytest.mark.parametrize("link", [THEIRS, "https://twitter.com/nasa/status/123/video/1?s=20", "https://t.co/vid"])
@pytest.mark.parametrize("shown", [f"Watch {SHORT}", "Watch https://t.co/unnamed", "Watch"])
def test_media_that_a_link_brought_along_are_no_proof_of_another_post(link: str, shown: str) -> None:
    assert isinstance(look(f"Watch {link}", shown, (SHORT, THEIRS), **THEIR_KEYS), Inconclusive)
    assert look(f"Watch {link}", "Dinner", **THEIR_KEYS) == Absent()
    assert look("Watch", "Watch https://t.co/unnamed", **THEIR_KEYS) == Absent()


def test_a_link_to_other_media_does_not_hide_our_picture() -> None:
    draft = Draft(f"Watch {THEIRS}", X_ACCOUNT, (picture(),))
    mine = ("https://t.co/mine", "https://x.com/acme/status/10/photo/1")
    shown = f"Watch {SHORT} https://t.co/mine"
    keys = {"attachments": {"media_keys": ["3_1"]}}
    assert isinstance(look(draft, shown, (SHORT, THEIRS), mine, **keys), Found)
