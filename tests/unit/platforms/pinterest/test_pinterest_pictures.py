"""Pictures that travel inside the request are at hand when it is due: fetched ahead, kept in memory."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from fake_http import Answer, FakeHttp, Sent
from worlds import PINTEREST_ACCOUNT, PINTEREST_SUBJECT, PinterestWorld, clip, picture

from platforms.base import Draft, Effect, MediaItem, Processing, Published, Ready
from platforms.errors import FenceExpired
from platforms.pinterest import PLATFORM
from platforms.pinterest.pictures import Pictures

URL = "https://cdn.example/a.jpg"


class Store:
    """Where the files are; counts what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def holding(self, item: MediaItem) -> MediaItem:
        assert item.read is not None
        data = item.read().read()

        def read() -> io.BytesIO:
            self.fetched.append(item.sha256[0])
            return io.BytesIO(data)

        return dataclasses.replace(item, read=read)


def draft(*media: MediaItem, **options: Any) -> Draft:
    return Draft("words", PINTEREST_ACCOUNT, media, {"board": "1", **options})


def prepared(wanted: Draft, http: FakeHttp, checkpoint: dict[str, Any]) -> Any:
    call = PINTEREST_SUBJECT.call(http, checkpoint, checkpoint.update)
    outcome: Any = PLATFORM.prepare(call, wanted)
    while isinstance(outcome, Processing):
        outcome = PLATFORM.poll(call, wanted)
    return outcome


@pytest.mark.parametrize(
    ("wanted", "needed"),
    [
        (draft(picture()), True),
        (draft(picture(url=URL), media="bytes"), True),
        (draft(picture(url=URL)), False),
        (draft(picture(url=URL), media="url"), False),
        (draft(picture(), picture(sha="b")), True),
        (draft(picture(url=URL), picture(sha="b")), True),
        (draft(picture(url=URL), picture(url=URL, sha="b")), False),
        (draft(clip(9)), True),
    ],
)
def test_what_has_to_be_fetched_ahead(wanted: Draft, needed: bool) -> None:
    assert PLATFORM.needs_prepare(wanted) is needed


def test_nothing_is_fetched_between_the_intent_and_the_request() -> None:
    for media in (
        [picture(), picture(sha="b"), picture(sha="c")],
        [clip(9), picture(sha="k")],
        [picture(sha="d")],
    ):
        store, checkpoint = Store(), dict[str, Any]()
        held = [store.holding(item) if item.name.endswith("jpg") else item for item in media]
        http = FakeHttp(PinterestWorld())
        assert isinstance(prepared(draft(*held), http, checkpoint), Ready)
        assert store.fetched == [item.sha256[0] for item in held if item.name.endswith("jpg")]
        store.fetched.clear()
        outcome = PLATFORM.publish(PINTEREST_SUBJECT.call(http, checkpoint), draft(*held))
        assert isinstance(outcome, Published)
        assert store.fetched == []


def test_a_process_that_did_not_prepare_fetches_once_and_has_it_after_the_fence() -> None:
    store = Store()
    wanted = draft(store.holding(picture()))
    late = FakeHttp(lambda _sent: FenceExpired("too late"))
    for _ in range(3):
        with pytest.raises(FenceExpired):
            PLATFORM.publish(PINTEREST_SUBJECT.call(late), wanted)
    assert store.fetched == ["a"]
    assert isinstance(PLATFORM.publish(PINTEREST_SUBJECT.call(FakeHttp(PinterestWorld())), wanted), Published)
    assert store.fetched == ["a"]


def test_what_is_pinned_is_forgotten(at_hand: Pictures) -> None:
    wanted = draft(picture())
    PLATFORM.prepare(PINTEREST_SUBJECT.call(FakeHttp(PinterestWorld())), wanted)
    assert at_hand.get(wanted.media[0].sha256) is not None
    PLATFORM.publish(PINTEREST_SUBJECT.call(FakeHttp(PinterestWorld())), wanted)
    assert at_hand.get(wanted.media[0].sha256) is None


def test_pictures_with_an_address_are_not_fetched() -> None:
    store = Store()
    wanted = draft(store.holding(picture(url=URL)))
    http = FakeHttp(PinterestWorld())
    assert PLATFORM.prepare(PINTEREST_SUBJECT.call(http), wanted) == Ready()
    assert isinstance(PLATFORM.publish(PINTEREST_SUBJECT.call(http), wanted), Published)
    assert store.fetched == []


def test_after_an_address_that_cannot_be_reached_the_bytes_are_at_hand() -> None:
    store, checkpoint = Store(), dict[str, Any]()
    wanted = draft(store.holding(picture(url=URL)))

    def far(sent: Sent) -> Answer:
        assert sent.effect is Effect.PUBLISHES
        return Answer(400, {"code": 235, "message": "Unable to reach the URL."})

    PLATFORM.publish(PINTEREST_SUBJECT.call(FakeHttp(far), checkpoint, checkpoint.update), wanted)
    assert isinstance(PLATFORM.prepare(PINTEREST_SUBJECT.call(FakeHttp(far), checkpoint), wanted), Ready)
    assert store.fetched == ["a"]
    http = FakeHttp(PinterestWorld())
    assert isinstance(PLATFORM.publish(PINTEREST_SUBJECT.call(http, checkpoint), wanted), Published)
    assert store.fetched == ["a"]


def sized(size: int, sha: str = "a", **more: Any) -> MediaItem:
    return dataclasses.replace(picture(sha=sha, **more), size=size)


def test_a_large_body_has_longer_to_arrive() -> None:
    def budget(wanted: Draft) -> float:
        return PLATFORM.publishing_call(wanted).budget_s

    assert budget(draft(picture(url=URL), media="url")) == 30.0
    assert 30.0 <= budget(draft(sized(1_000))) < 31.0
    assert 90.0 < budget(draft(sized(20_000_000))) < 100.0
    # Whether the address can be reached is seen only then.
    assert budget(draft(sized(20_000_000, url=URL))) == budget(draft(sized(20_000_000)))
    five = draft(*(sized(5_000_000, sha) for sha in "abcde"))
    assert 100.0 < budget(five) <= 120.0
    # A video is there already; its cover is not.
    assert budget(draft(clip(9_000_000))) == 30.0
    assert budget(draft(clip(9), sized(10_000_000, "k"))) > 60.0


def test_the_longest_unused_go_first() -> None:
    kept = Pictures(most_bytes=10)
    for name in ("a", "b"):
        kept.keep(name, bytes(4))
    assert kept.get("a") is not None
    kept.keep("c", bytes(4))
    assert [name for name in "abc" if kept.get(name) is not None] == ["a", "c"]
    kept.keep("d", bytes(40))
    assert [name for name in "abcd" if kept.get(name) is not None] == ["d"]
    kept.drop("d")
    assert kept.get("d") is None
