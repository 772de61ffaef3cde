"""The page to look at: all six platforms, what a post is beside its text, and videos that can be wound."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from sandbox_client import Client, picture

from platforms.sandbox import Sandbox
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.page_facts import facts


def post(platform: str, fields: dict[str, Any], *pictures: Picture) -> Post:
    return Post(platform, "acme", "1", "words", list(pictures), 0.0, 0.0, fields)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (post("tiktok", {"privacy": "SELF_ONLY"}), ["only the creator"]),
        (post("tiktok", {"privacy": "inbox"}, Picture("a", mime="video/mp4")), ["creator&#x27;s inbox", ">video<"]),
        (post("instagram", {"product": "REELS"}, Picture("a", mime="video/mp4")), [">reel<", ">video<"]),
        (post("instagram", {"product": "STORY"}), [">story<"]),
        (post("mastodon", {"visibility": "direct", "warning": "soup & co"}), ["CW: soup &amp; co", "mentioned only"]),
        (post("mastodon", {"visibility": "public", "poll": ["a<b", "c"]}), ["<li>a&lt;b</li>", "<li>c</li>"]),
        (post("x", {"poll": [{"label": "yes"}], "quotes": "12"}), ["<li>yes</li>", "quotes 12"]),
        (post("bluesky", {"card": "<Tea>"}), ["card: &lt;Tea&gt;"]),
        (post("pinterest", {"slides": [{}, {}]}, Picture("a"), Picture("b")), ["2 slides", "2 pictures"]),
    ],
)
def test_what_readers_see_beside_the_text(made: Post, told: list[str]) -> None:
    shown = facts(made)
    assert all(words in shown for words in told), shown


def test_a_plain_public_post_has_nothing_beside_it() -> None:
    assert facts(post("mastodon", {"visibility": "public"})) == ""
    assert facts(post("instagram", {"product": "FEED"}, Picture("a", mime="image/jpeg"))) == ""


def test_the_front_page_names_all_six_and_the_faults(box: Sandbox, x: Client) -> None:
    x("POST", "/2/tweets", json={"text": "one"})
    front = requests.get(box.url, timeout=10).text
    for words in ("X 1", "Pinterest 0", "TikTok 0", "Instagram 0", "Bluesky 0", "Mastodon 0"):
        assert f">{words}<" in front
    assert "faults ordered" not in front
    box.set_faults([{"step": "x.create", "kind": "server_error", "count": 1}])
    x("POST", "/2/tweets", json={"text": "two"})
    assert "1 faults ordered, 1 times struck" in requests.get(box.url, timeout=10).text


def test_a_reply_leads_to_the_post_that_it_answers(box: Sandbox, x: Client) -> None:
    first = x("POST", "/2/tweets", json={"text": "one"}).json()["data"]["id"]
    x("POST", "/2/tweets", json={"text": "two", "reply": {"in_reply_to_tweet_id": first}})
    assert f'<a href="/x/status/{first}">in reply to {first}</a>' in requests.get(box.url, timeout=10).text


@pytest.mark.parametrize(
    ("asked", "status", "wanted"),
    [
        ("", 200, slice(None)),
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=5-", 206, slice(5, None)),
        ("bytes=-4", 206, slice(-4, None)),
        ("bytes=0-99999999", 206, slice(None)),
        ("bytes=99999999-", 200, slice(None)),
        ("bytes=3-1", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("bytes=0-1,4-5", 200, slice(None)),
    ],
)
def test_parts_of_a_file(box: Sandbox, x: Client, asked: str, status: int, wanted: slice) -> None:
    data = picture()
    x("POST", "/2/tweets", json={"text": "one", "media": {"media_ids": [x.upload(data)]}})
    sha = box.accepted()[0]["content"]["pictures"][0]["sha256"]
    answer = requests.get(f"{box.url}/_sandbox/blob/{sha}", headers={"range": asked}, timeout=10)
    assert (answer.status_code, answer.content) == (status, data[wanted])
    if status == 206:
        span = answer.headers["content-range"].removeprefix("bytes ").partition("/")
        first, _, last = span[0].partition("-")
        assert int(last) - int(first) + 1 == len(answer.content)
        assert int(span[2]) == len(data)
