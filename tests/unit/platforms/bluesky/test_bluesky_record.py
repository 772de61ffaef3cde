"""Keys, times, and the record that is written: facets, embeds, rules."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW, FakeHttp
from hypothesis import given
from hypothesis import strategies as st
from world_bluesky import BLUESKY_ACCOUNT, BLUESKY_SUBJECT, BOB, CLIP, BlueskyWorld
from worlds import picture

from platforms.base import Draft
from platforms.bluesky import record

TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")
AT = "2026-11-22T10:15:00.000Z"
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone: next


def made(text: str, *media: Any, dids: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    draft = Draft(text, BLUESKY_ACCOUNT, media, options)
    blobs: list[Any] = [{"$type": "blob", "ref": {"$link": f"b{index}"}} for index in range(len(media))]
    return record.post(draft, created_at=AT, dids=dids or {}, blobs=blobs)


# --- Keys ---------------------------------------------------------------------------------------------------


@given(MOMENTS, st.text())
def test_a_key_is_a_tid_and_the_same_again(at: datetime, key: str) -> None:
    assert TID.fullmatch(record.tid(at, key))
    assert record.tid(at, key) == record.tid(at, key)


@given(MOMENTS, st.text(), st.text(), st.integers(1, 10**9))
def test_keys_sort_as_time_does(at: datetime, first: str, second: str, later_ms: int) -> None:
    assert record.tid(at, first) < record.tid(at + timedelta(milliseconds=later_ms), second)


def test_posts_of_one_moment_have_keys_of_their_own() -> None:
    keys = {record.tid(NOW, f"post {number}") for number in range(500)}
    assert len(keys) == 500


def test_a_known_key() -> None:
    # By the algorithm of the specification: microseconds << 10 | clock, five bits a letter.
    number = 0
    for letter in record.tid(NOW, "k"):
        number = number << 5 | "234567abcdefghijklmnopqrstuvwxyz".index(letter)
    assert (number >> 10) // 1000 == int(NOW.timestamp() * 1000)


# --- What is fixed ------------------------------------------------------------------------------------------


class Clock:
    """A checkpoint and a time that the test moves."""

    def __init__(self) -> None:
        self.checkpoint: dict[str, Any] = {}
        self.at = NOW
        self.stores = 0

    def call(self, key: str = "k") -> Any:
        call = BLUESKY_SUBJECT.call(FakeHttp(BlueskyWorld()), self.checkpoint, self.store)
        call.now = lambda: self.at
        call.platform_key = key
        return call

    def store(self, values: Any) -> None:
        self.stores += 1
        self.checkpoint.update(values)


def test_key_and_time_stay_over_tries() -> None:
    clock = Clock()
    first = record.fix(clock.call(), sending=True)
    clock.at += timedelta(minutes=9)
    assert record.fix(clock.call(), sending=True) == first
    assert clock.stores == 1


def test_a_post_that_waited_gets_a_new_time_under_its_old_key() -> None:
    clock = Clock()
    first = record.fix(clock.call(), sending=True)
    clock.at += timedelta(hours=2)
    second = record.fix(clock.call(), sending=True)
    assert second["rkey"] == first["rkey"]
    assert second["created_at"] == "2026-11-22T12:15:00.000Z"


def test_an_edited_post_gets_a_new_key() -> None:
    clock = Clock()
    first = record.fix(clock.call("one"), sending=True)
    clock.at += timedelta(seconds=1)
    assert record.fix(clock.call("two"), sending=True)["rkey"] != first["rkey"]
    assert record.kept(clock.call("one")) == {}


def test_the_time_is_that_of_sending_not_of_preparing() -> None:
    clock = Clock()
    early = record.fix(clock.call(), sending=False)
    assert "created_at" not in early
    clock.at += timedelta(minutes=10)
    late = record.fix(clock.call(), sending=True)
    assert late["rkey"] == early["rkey"]
    assert late["created_at"] == "2026-11-22T10:25:00.000Z"


# --- The post -----------------------------------------------------------------------------------------------


def test_a_plain_post_has_nothing_more() -> None:
    assert made("hi") == {"$type": "app.bsky.feed.post", "text": "hi", "createdAt": AT}


def test_the_contract_example() -> None:
    facets = made("Hi @bob.test https://ex.am", dids={"bob.test": BOB})["facets"]
    kind = "app.bsky.richtext.facet"
    assert facets == [
        {"index": {"byteStart": 3, "byteEnd": 12}, "features": [{"$type": f"{kind}#mention", "did": BOB}]},
        {"index": {"byteStart": 13, "byteEnd": 26}, "features": [{"$type": f"{kind}#link", "uri": "https://ex.am"}]},
    ]


def test_a_handle_that_leads_nowhere_stays_text() -> None:
    assert "facets" not in made("Hi @bob.test", dids={"bob.test": None})


def test_options() -> None:
    post = made("hi", langs=["en", "de-AT"], labels=["porn", "nudity"], tags=["tea"])
    assert post["langs"] == ["en", "de-AT"]
    assert post["labels"] == {
        "$type": "com.atproto.label.defs#selfLabels",
        "values": [{"val": "porn"}, {"val": "nudity"}],
    }
    assert post["tags"] == ["tea"]


def test_images_keep_order_alt_and_shape() -> None:
    wide = dataclasses.replace(picture(alt="wide", sha="b"), width=300)
    unknown = dataclasses.replace(picture(sha="c"), width=0, height=0)
    images = made("hi", picture(alt="one"), wide, unknown)["embed"]["images"]
    assert [image["alt"] for image in images] == ["one", "wide", ""]
    assert [image["image"]["ref"]["$link"] for image in images] == ["b0", "b1", "b2"]
    assert [image.get("aspectRatio") for image in images] == [
        {"width": 100, "height": 100},
        {"width": 300, "height": 100},
        None,
    ]


def test_a_video() -> None:
    video = made("", CLIP, presentation="gif")["embed"]
    assert video == {
        "$type": "app.bsky.embed.video",
        "video": {"$type": "blob", "ref": {"$link": "b0"}},
        "alt": "it moves",
        "aspectRatio": {"width": 100, "height": 100},
        "presentation": "gif",
    }


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("See example.com/tea", {}, None),
        ("See example.com/tea", {"card": True}, ("https://example.com/tea", "example.com", "")),
        (
            "See example.com/tea",
            {"card_title": "Tea", "card_description": "Hot"},
            ("https://example.com/tea", "Tea", "Hot"),
        ),
        ("Nothing", {"card_url": "https://example.org/x"}, ("https://example.org/x", "example.org", "")),
        ("a.com b.com", {"card_url": "https://b.com", "card_title": "B"}, ("https://b.com", "B", "")),
    ],
)
def test_cards(text: str, options: dict[str, Any], expected: tuple[str, str, str] | None) -> None:
    embed = made(text, **options).get("embed")
    if expected is None:
        assert embed is None
    else:
        assert tuple(embed["external"][name] for name in ("uri", "title", "description")) == expected


# --- Rules --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"replies": "everyone", "quotes": True}, []),
        ({"replies": "nobody"}, [("app.bsky.feed.threadgate", [])]),
        ({"replies": "mentioned"}, [("app.bsky.feed.threadgate", ["app.bsky.feed.threadgate#mentionRule"])]),
        (
            {"replies": ["following", "at://did:plc:a/app.bsky.graph.list/3k"], "quotes": False},
            [
                (
                    "app.bsky.feed.threadgate",
                    ["app.bsky.feed.threadgate#followingRule", "app.bsky.feed.threadgate#listRule"],
                ),
                ("app.bsky.feed.postgate", ["app.bsky.feed.postgate#disableRule"]),
            ],
        ),
    ],
)
def test_gates(options: dict[str, Any], expected: list[tuple[str, list[str]]]) -> None:
    found = record.gates(record.Options.model_validate(options), "at://x", AT)
    told = [(gate["$type"], [r["$type"] for r in gate.get("allow", gate.get("embeddingRules"))]) for gate in found]
    assert told == expected
