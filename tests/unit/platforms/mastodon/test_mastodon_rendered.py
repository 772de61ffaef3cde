"""A status that its server shows otherwise than it was written is never taken to be missing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from world_mastodon import MASTODON_ACCOUNT, MASTODON_SUBJECT

from platforms.base import Absent, Doubt, Draft, Found, Inconclusive
from platforms.mastodon import PLATFORM
from platforms.mastodon.lookup import MAX_SOURCES

DOUBT = Doubt(NOW - timedelta(seconds=70), None, frozenset())


def look(text: str, *contents: str, source: dict[str, Any] | None = None, **options: Any) -> tuple[Any, FakeHttp]:
    """What the look-up says of statuses that show this, on a server that tells their source, or does not."""
    rows = [
        {
            "id": str(number),
            "created_at": NOW.isoformat(),
            "content": content,
            "spoiler_text": "",
            "media_attachments": [],
            "poll": None,
        }
        for number, content in enumerate(contents, 1)
    ]

    def world(sent: Sent) -> Answer:
        if sent.path.endswith("/source"):
            return Answer(404, {"error": "Record not found"}) if source is None else Answer(200, source)
        return Answer(200, [] if "max_id" in sent.params else rows)

    http = FakeHttp(world)
    return PLATFORM.reconcile(MASTODON_SUBJECT.call(http), Draft(text, MASTODON_ACCOUNT, (), options), DOUBT), http


LINK = '<a href="https://example.com/docs">{}</a>'
RENDERED = (
    ("Read [the docs](https://example.com/docs) now", f"<p>Read {LINK.format('the docs')} now</p>"),
    ('Read [the docs](https://e.com/a_(b) "title").', f"<p>Read {LINK.format('the docs')}.</p>"),
    ("see https://example.com/?utm_source=x", '<p>see <a href="https://example.com/">https://example.com/</a></p>'),
    ("see https://example.com/a", '<p>see <a href="https://example.com/a">example.com/a</a></p>'),
    ("see https://example.com/docs/long", f"<p>see {LINK.format('example.com/do…')}</p>"),
    ("hi :)", "<p>hi 🙂</p>"),
    ("hi :smile: there", "<p>hi 😄 there</p>"),
    ("so **very** `good`, ~~not~~", "<p>so <strong>very</strong> <code>good</code>, <del>not</del></p>"),
    ("# Title\n\n- one\n- two", "<h1>Title</h1><ul><li>one</li><li>two</li></ul>"),
    ("1. one\n2. two", "<ol><li>one</li><li>two</li></ol>"),
    ("> said\n\nand", "<blockquote><p>said</p></blockquote><p>and</p>"),
    ("```python\nx = 1\n```\nso", '<pre><code class="language-python">x = 1\n</code></pre><p>so</p>'),
    ("![a cup](https://example.com/cup.png) tea", '<p><img src="https://example.com/cup.png" alt="a cup"> tea</p>'),
    ('"quoted" -- so', "<p>“quoted” \u2014 so</p>"),
    ("for @bob@other.example *now*", '<p>for <a href="https://o.e/@bob">@<span>bob</span></a> <em>now</em></p>'),
)  # fmt: skip


@pytest.mark.parametrize(("text", "content"), RENDERED)
def test_the_same_words_in_markup_stay_open(text: str, content: str) -> None:
    assert isinstance(look(text, content)[0], Inconclusive)


@pytest.mark.parametrize(("text", "content"), RENDERED)
def test_the_source_of_a_status_settles_it(text: str, content: str) -> None:
    found, http = look(text, content, source={"id": "1", "text": text, "spoiler_text": ""})
    assert isinstance(found, Found)
    assert "/api/v1/statuses/1/source" in [sent.path for sent in http.sent]


@pytest.mark.parametrize("alt", [":blobcat:", "blobcat"])
def test_an_emoji_shown_as_a_picture_is_the_same_text(alt: str) -> None:
    content = f'<p>Party <img class="custom-emoji" alt="{alt}" src="https://e.com/b.png"> time</p>'
    assert isinstance(look("Party :blobcat: time", content)[0], Found)


def test_a_source_that_differs_proves_nothing() -> None:
    for source in ({"text": "so good", "spoiler_text": "careful"}, {"text": "so _good_"}, {"text": None}, {}):
        assert isinstance(look("so *good*", "<p>so <em>good</em></p>", source=source)[0], Inconclusive)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("Read [the docs](https://example.com/docs) now", f"<p>Read {LINK.format('the book')} now</p>"),
        ("hi :blobcat: there", "<p>hi you there</p>"),
        ("see https://example.com/a", "<p>saw https://example.com/a</p>"),
        ("3 cups", "<p>4 cups</p>"),
    ],
)
def test_other_words_are_another_status(text: str, content: str) -> None:
    found, http = look(text, content, source={"text": text})
    assert isinstance(found, Absent)
    assert [sent.path for sent in http.sent if sent.path.endswith("/source")] == []


def test_only_so_many_sources_are_asked_for() -> None:
    found, http = look("so *good*", *["<p>so <em>good</em></p>"] * (MAX_SOURCES + 3))
    assert isinstance(found, Inconclusive)
    assert len([sent for sent in http.sent if sent.path.endswith("/source")]) == MAX_SOURCES
