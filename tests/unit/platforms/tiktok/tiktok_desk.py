"""One video for TikTok, visited again and again over one checkpoint, as the core does it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fake_http import NOW, Answer, FakeHttp
from world_tiktok import MB, UPLOADS, TikTokWorld, draft_of, video

from platforms.base import Call, Draft, Effect
from platforms.tiktok import PLATFORM

BIG = 21 * MB + 123
LAST = "bytes 15750090-21000122/21000123"


class Desk:
    """One post, visited again and again over one checkpoint."""

    def __init__(self, draft: Draft, world: TikTokWorld | None = None) -> None:
        self.draft = draft
        self.world = world or TikTokWorld()
        self.checkpoint: dict[str, Any] = {}
        self.http = FakeHttp(self.world)
        self.learnt: dict[str, Any] = {}
        self.late = timedelta()

    def call(self, answerer: Any = None) -> Call:
        self.http = FakeHttp(answerer or self.world)
        call = UPLOADS.call(self.http, self.checkpoint, self.checkpoint.update)
        call.learn = self.learnt.update
        call.now = lambda: NOW + self.late
        return call

    def prepare(self, answerer: Any = None) -> Any:
        return PLATFORM.prepare(self.call(answerer), self.draft)

    def publish(self, answerer: Any = None) -> Any:
        return PLATFORM.publish(self.call(answerer), self.draft)

    def poll(self, answerer: Any = None) -> Any:
        return PLATFORM.poll(self.call(answerer), self.draft)

    def paths(self) -> list[str]:
        return [sent.path.rstrip("/").rsplit("/", 2)[-2] for sent in self.http.sent]


def big(**options: Any) -> Desk:
    return Desk(draft_of("Several", video(BIG), **options))


def last_chunk_gets(world: TikTokWorld, answer: Answer | Exception) -> Any:
    return lambda sent: answer if sent.effect is Effect.PUBLISHES else world(sent)
