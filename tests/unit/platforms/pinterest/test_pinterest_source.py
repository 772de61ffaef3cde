"""What a pin's media become in the request: slides and covers, by URL or by bytes."""

from __future__ import annotations

import base64
import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp
from worlds import PINTEREST_ACCOUNT, PINTEREST_SUBJECT, PinterestWorld, clip, picture

from platforms.base import Draft, MediaItem, NotSent, Processing, Published, Ready, Rejected
from platforms.kinds import kinds_of
from platforms.pinterest import PLATFORM
from platforms.pinterest.kinds import alt_of

URL = "https://cdn.example/{}.jpg"


def draft(*media: MediaItem, **options: Any) -> Draft:
    return Draft("words", PINTEREST_ACCOUNT, media, {"board": "1", **options})


def by_url(name: str, **more: Any) -> MediaItem:
    return picture(url=URL.format(name), sha=name, **more)


def sent(wanted: Draft, world: PinterestWorld | None = None) -> Any:
    """The ``media_source`` that is sent, or what is said instead."""
    world = world or PinterestWorld()
    checkpoint: dict[str, Any] = {}
    http = FakeHttp(world)
    call = PINTEREST_SUBJECT.call(http, checkpoint, checkpoint.update)
    outcome: Any = PLATFORM.prepare(call, wanted)
    while isinstance(outcome, Processing):
        outcome = PLATFORM.poll(call, wanted)
    assert isinstance(outcome, Ready)
    outcome = PLATFORM.publish(call, wanted)
    return http.sent[-1].json["media_source"] if isinstance(outcome, Published) else outcome


def encoded(item: MediaItem) -> dict[str, str]:
    assert item.read is not None
    return {"content_type": item.mime, "data": base64.b64encode(item.read().read()).decode()}


def test_slides_with_addresses_travel_by_url() -> None:
    slides = [{"title": "One", "description": "first", "link": "https://a.example"}]
    assert sent(draft(by_url("a"), by_url("b"), slides=slides, first_slide=1)) == {
        "source_type": "multiple_image_urls",
        "items": [
            {"url": URL.format("a"), "title": "One", "description": "first", "link": "https://a.example"},
            {"url": URL.format("b")},
        ],
        "index": 1,
    }


@pytest.mark.parametrize(
    "wanted",
    [
        draft(picture(5), picture(6, sha="b")),
        draft(by_url("a"), picture(6, sha="b")),
        draft(by_url("a"), by_url("b"), media="bytes"),
    ],
)
def test_slides_are_never_mixed_and_go_as_bytes_otherwise(wanted: Draft) -> None:
    assert sent(wanted) == {
        "source_type": "multiple_image_base64",
        "items": [encoded(item) for item in wanted.media],
    }


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (draft(by_url("a"), picture(6, sha="b"), media="url"), NotSent),
        (draft(picture(5), dataclasses.replace(picture(6, sha="b"), read=None)), NotSent),
        (draft(picture(5), dataclasses.replace(picture(6, sha="b"), mime="image/webp")), Rejected),
        (draft(clip(9), dataclasses.replace(picture(6, sha="b"), mime="image/webp")), Rejected),
        (draft(clip(9), picture(6, sha="b"), media="url"), NotSent),
    ],
)
def test_what_cannot_travel_is_not_sent(wanted: Draft, kind: type) -> None:
    world = PinterestWorld()
    assert isinstance(sent(wanted, world), kind)
    assert world.pins == []


@pytest.mark.parametrize(
    ("media", "options", "cover"),
    [
        ((clip(9),), {}, {"cover_image_key_frame_time": 0}),
        ((clip(9),), {"cover_time_s": 4}, {"cover_image_key_frame_time": 4}),
        ((clip(9), by_url("k")), {}, {"cover_image_url": URL.format("k")}),
        ((by_url("k"), clip(9)), {}, {"cover_image_url": URL.format("k")}),
        ((clip(9), by_url("k")), {"media": "url"}, {"cover_image_url": URL.format("k")}),
    ],
)
def test_every_video_has_a_cover(media: Any, options: Any, cover: dict[str, Any]) -> None:
    world = PinterestWorld()
    source = sent(draft(*media, **options), world)
    [media_id] = world.videos
    assert source == {"source_type": "video_id", "media_id": media_id, **cover}


def test_a_cover_without_an_address_goes_as_bytes() -> None:
    cover = picture(7)
    source = sent(draft(clip(9), cover))
    told = encoded(cover)
    assert (source["cover_image_content_type"], source["cover_image_data"]) == (told["content_type"], told["data"])


def test_a_video_that_was_never_uploaded_or_too_long_ago_is_not_pinned() -> None:
    wanted = draft(clip(9))
    http = FakeHttp(PinterestWorld())
    kept = {"media_id": "7", "sha256": wanted.media[0].sha256, "state": "succeeded"}
    for begun in (None, NOW - timedelta(hours=24)):
        checkpoint = {"video": {**kept, "uploaded_at": begun.isoformat()}} if begun else {}
        outcome = PLATFORM.publish(PINTEREST_SUBJECT.call(http, checkpoint), wanted)
        assert isinstance(outcome, NotSent)
        assert outcome.code == "media_not_ready"
    assert http.sent == []


def test_an_address_of_a_cover_that_cannot_be_reached_leads_to_bytes_next_time() -> None:
    wanted = draft(clip(9), by_url("k"))
    checkpoint: dict[str, Any] = {
        "video": {
            "media_id": "7",
            "sha256": wanted.media[0].sha256,
            "state": "succeeded",
            "uploaded_at": NOW.isoformat(),
        }
    }
    unreachable = FakeHttp(lambda _: Answer(400, {"code": 1, "message": "Unable to reach the URL"}))
    first = PLATFORM.publish(PINTEREST_SUBJECT.call(unreachable, checkpoint, checkpoint.update), wanted)
    assert isinstance(first, NotSent)
    again = FakeHttp(lambda _: Answer(201, {"id": "9"}))
    assert isinstance(PLATFORM.publish(PINTEREST_SUBJECT.call(again, checkpoint), wanted), Published)
    assert "cover_image_data" in again.sent[0].json["media_source"]


@pytest.mark.parametrize(
    ("media", "alt"),
    [
        ((picture(alt="a bowl"),), "a bowl"),
        ((picture(alt="one"), picture(), picture(alt="three")), "one | three"),
        ((clip(5, alt="a boat"), picture(alt="a sail")), "a boat"),
        ((clip(5), picture(alt="a sail")), "a sail"),
        ((clip(5),), ""),
    ],
)
def test_the_one_alt_text_of_a_pin(media: Any, alt: str) -> None:
    assert alt_of(draft(*media)) == alt


def test_each_kind_of_post_has_its_placement_and_way() -> None:
    found = {kind.name: kind.example for kind in kinds_of(PLATFORM)}
    assert {name: PLATFORM.placement(example) for name, example in found.items()} == {
        "picture": "pin",
        "picture, by URL": "pin",
        "carousel": "carousel",
        "video": "video",
        "video with a cover": "video",
    }
    assert [name for name, example in found.items() if PLATFORM.needs_prepare(example)] == [
        "picture",
        "carousel",
        "video",
        "video with a cover",
    ]
    assert [name for name, example in found.items() if PLATFORM.wants_url(example)] == ["picture, by URL"]
    assert not PLATFORM.wants_url(draft(clip(5), media="url"))
