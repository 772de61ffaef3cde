"""``platforms.base.Http`` without a network: a function answers, and what was sent is kept."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from platforms.base import Effect, Reply, Streamed

NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
"""The time that modules are told."""


@dataclass(frozen=True)
class Sent:
    """A request as the module made it."""

    method: str
    url: str
    effect: Effect
    headers: Mapping[str, str]
    params: Mapping[str, str]
    json: Any
    form: Mapping[str, str]
    files: Mapping[str, tuple[str, bytes, str]]
    content: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


@dataclass(frozen=True)
class Answer:
    """What the platform answers."""

    status: int = 200
    body: Any = None
    """As JSON; bytes go as they are."""
    headers: Mapping[str, str] = field(default_factory=dict)


Answerer = Callable[[Sent], Answer | Exception]


class FakeHttp:
    """``platforms.base.Http`` without a network: asks ``answerer`` and keeps what was sent."""

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        self.sent: list[Sent] = []

    def request(
        self,
        method: str,
        url: str,
        *,
        effect: Effect,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        content: bytes | Streamed | None = None,
        timeout_s: float | None = None,  # noqa: ARG002 (the face of platforms.base.Http)
    ) -> Reply:
        body_sent = content if content is None or isinstance(content, bytes) else content.read()
        request = Sent(
            method, url, effect, dict(headers or {}), dict(params or {}),
            jsonlib.loads(jsonlib.dumps(json)), dict(form or {}), dict(files or {}), body_sent or b"",
        )  # fmt: skip
        self.sent.append(request)
        answer = self.answerer(request)
        if isinstance(answer, Exception):
            raise answer
        body = answer.body if isinstance(answer.body, bytes) else jsonlib.dumps(answer.body).encode()
        return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body, url)

    @property
    def publishing(self) -> list[Sent]:
        """The requests that were declared to publish."""
        return [request for request in self.sent if request.effect is Effect.PUBLISHES]
