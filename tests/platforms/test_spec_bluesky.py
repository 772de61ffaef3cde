"""Every request that the Bluesky module sends, against the AT Protocol's lexicons."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import lexicons
import pytest
from conformance import Subject, World, prepared
from fake_http import NOW, Answer, FakeHttp, Sent
from world_bluesky import BLUESKY_SUBJECT

from platforms.base import Doubt, Effect
from platforms.readiness import ChecksReadiness, Waiting

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not lexicons.available(), reason="the lexicons are not beside the checkout (set SCHEDULERX_SHARED)"
    ),
]


@dataclass(frozen=True)
class Deviation:
    """Where we do other than a lexicon says, and why."""

    name: str
    parameter: str
    source: str


DEVIATIONS = (
    Deviation("app.bsky.video.uploadVideo", "did", "bsky-docs, video tutorial, 2026-04; all clients send it"),
    Deviation("app.bsky.video.uploadVideo", "name", "bsky-docs, video tutorial, 2026-04; all clients send it"),
)


class Listening:
    """A world that also keeps what it was asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[Sent] = []

    def __call__(self, sent: Sent) -> Answer | Exception:
        self.sent.append(sent)
        return self.world(sent)

    def published(self) -> list[str]:
        return self.world.published()


def life_of(subject: Subject) -> list[Sent]:
    """All that the module sends: sign in, identify, refresh, prepare, publish, reconcile."""
    found: list[Sent] = []
    for draft in subject.drafts.values():
        world = Listening(subject.world())
        http = FakeHttp(world)
        checkpoint = prepared(subject, draft, world)
        call = subject.call(http, checkpoint, checkpoint.update)
        subject.platform.identify(call)
        assert isinstance(subject.platform, ChecksReadiness)
        subject.platform.ready_check(call, [Waiting(draft, NOW)])
        subject.platform.refresh(call)
        subject.platform.publish(call, draft)
        subject.platform.reconcile(subject.call(http, checkpoint), draft, Doubt(NOW, None, frozenset()))
        call.credentials = {"identifier": "acme.bsky.social", "password": "p"}
        subject.platform.refresh(call)
        found += world.sent
    return found


@functools.cache
def sent() -> tuple[Sent, ...]:
    return tuple(life_of(BLUESKY_SUBJECT))


def test_each_request_is_as_its_lexicon_says() -> None:
    seen = set()
    for request in sent():
        name = request.path.removeprefix("/xrpc/")
        main = lexicons.document(name)["defs"]["main"]
        assert request.method == {"query": "GET", "procedure": "POST"}[main["type"]]
        named = {deviation.parameter for deviation in DEVIATIONS if deviation.name == name}
        query = {key: text for key, text in request.params.items() if key not in named}
        assert lexicons.problems(name, "parameters", lexicons.typed_parameters(name, query), closed=True) == []
        if "input" not in main:
            assert request.json is None
            assert not request.content
        elif main["input"]["encoding"] == "application/json":
            assert lexicons.problems(name, "input", request.json, closed=True) == []
        else:
            mime = request.headers["Content-Type"]
            assert main["input"]["encoding"] in {"*/*", mime}
            assert request.content
        seen.add(f"{request.effect.value} {name}")
    assert seen == {
        "prepares com.atproto.server.createSession",
        "prepares com.atproto.server.refreshSession",
        "read com.atproto.server.getSession",
        "read com.atproto.server.getServiceAuth",
        "read com.atproto.identity.resolveHandle",
        "prepares com.atproto.repo.uploadBlob",
        "prepares app.bsky.video.uploadVideo",
        "read app.bsky.video.getJobStatus",
        "read app.bsky.video.getUploadLimits",
        "prepares com.atproto.repo.putRecord",
        "publishes com.atproto.repo.putRecord",
        "read com.atproto.repo.getRecord",
    }


def test_each_record_has_the_key_that_its_lexicon_asks_for() -> None:
    written = [request.json for request in sent() if request.path.endswith("putRecord")]
    assert {body["collection"] for body in written} == {
        "app.bsky.feed.post",
        "app.bsky.feed.threadgate",
        "app.bsky.feed.postgate",
    }
    for body in written:
        assert body["record"]["$type"] == body["collection"]
        assert lexicons.document(body["collection"])["defs"]["main"]["key"] == "tid"
        checker = lexicons.Checker()
        checker.value({"type": "string", "format": "tid"}, body["rkey"], "", "rkey")
        assert checker.errors == []


def test_only_the_post_is_written_by_what_publishes() -> None:
    for request in sent():
        if request.effect is Effect.PUBLISHES:
            assert request.json["collection"] == "app.bsky.feed.post"
            assert request.json["swapRecord"] is None


def test_each_deviation_is_still_one() -> None:
    for deviation in DEVIATIONS:
        known = lexicons.document(deviation.name)["defs"]["main"].get("parameters", {}).get("properties", {})
        assert deviation.parameter not in known
        assert any(deviation.parameter in request.params for request in sent())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"text": "x" * 301}, "graphemes"),
        ({"text": "日" * 1001}, "bytes"),
        ({"createdAt": "yesterday"}, "datetime"),
        ({"surprise": 1}, "surprise"),
        ({"langs": ["en", "de", "fr", "it"]}, "items"),
        ({"embed": {"images": []}}, "$type"),
        ({"facets": [{"index": {"byteStart": 0}, "features": []}]}, "byteEnd"),
    ],
)
def test_the_check_would_notice(change: dict[str, object], told: str) -> None:
    good = {"$type": "app.bsky.feed.post", "text": "hi", "createdAt": "2026-11-22T10:15:00.000Z"}
    assert lexicons.problems("app.bsky.feed.post", "record", good, closed=True) == []
    found = lexicons.problems("app.bsky.feed.post", "record", {**good, **change}, closed=True)
    assert any(told in problem for problem in found), found
