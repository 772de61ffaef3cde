"""One post on Instagram, visited again and again over one checkpoint, as the core does it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fake_http import NOW, Answer, FakeHttp, Sent
from world_instagram import FACEBOOK_SUBJECT, INSTAGRAM_SUBJECT, InstagramWorld

from platforms.base import Call, Doubt, Draft, Effect, Processing, Ready
from platforms.instagram import PLATFORM


class Desk:
    """One post, visited again and again over one checkpoint."""

    def __init__(self, draft: Draft, world: InstagramWorld | None = None) -> None:
        self.draft = draft
        self.subject = FACEBOOK_SUBJECT if draft.account.name == "page" else INSTAGRAM_SUBJECT
        self.world = world or InstagramWorld()
        self.checkpoint: dict[str, Any] = {}
        self.http = FakeHttp(self.world)
        self.late = timedelta()

    def call(self, answerer: Any = None) -> Call:
        self.http = FakeHttp(answerer or self.world)
        call = self.subject.call(self.http, self.checkpoint, self.checkpoint.update)
        call.now = lambda: NOW + self.late
        return call

    def prepare(self, answerer: Any = None) -> Any:
        return PLATFORM.prepare(self.call(answerer), self.draft)

    def publish(self, answerer: Any = None) -> Any:
        outcome = PLATFORM.publish(self.call(answerer), self.draft)
        if isinstance(outcome, Processing):
            # Stored with the outcome.
            self.checkpoint.update(outcome.checkpoint or {})
        return outcome

    def poll(self, answerer: Any = None) -> Any:
        return PLATFORM.poll(self.call(answerer), self.draft)

    def look(self, answerer: Any = None, *taken: str) -> Any:
        doubt = Doubt(NOW - timedelta(seconds=70), None, frozenset(taken))
        return PLATFORM.reconcile(self.call(answerer), self.draft, doubt)

    def ready(self) -> None:
        for _ in range(5):
            outcome = self.prepare()
            if isinstance(outcome, Ready):
                return
            assert isinstance(outcome, Processing), outcome
        raise AssertionError("never ready")

    def one(self) -> dict[str, Any]:
        return next(iter(self.world.containers.values()))


def forms(desk: Desk) -> list[dict[str, Any]]:
    return [dict(sent.form) for sent in desk.http.sent if sent.method == "POST"]


def publishing(desk: Desk, answer: Answer | Exception, *, arrives: bool = False) -> Any:
    def answered(sent: Sent) -> Answer | Exception:
        if sent.effect is not Effect.PUBLISHES:
            return desk.world(sent)
        if arrives:
            desk.world(sent)
        return answer

    return answered
