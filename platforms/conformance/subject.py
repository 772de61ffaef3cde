"""What the conformance cases need to be told of a platform module: its stand-in, good drafts, refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from platforms.base import AccountRef, Call, Draft, Platform
from platforms.conformance.fake_http import NOW, Answer, FakeHttp, Sent


class World(Protocol):
    """A stand-in for one platform, as far as the cases need it."""

    def __call__(self, sent: Sent) -> Answer | Exception:
        """The platform's answer; what publishes is kept."""
        ...

    def published(self) -> list[str]:
        """Ids of what was published, oldest first."""
        ...


@dataclass(frozen=True)
class Refusal:
    """An answer to the publishing call, and what the module must make of it."""

    name: str
    answer: Answer
    outcome: type
    check: Callable[[Any], bool] = lambda _outcome: True
    drafts: frozenset[str] = frozenset()
    """Which of the subject's drafts it is about; empty: one of each publishing call and placement."""


@dataclass(frozen=True)
class Subject:
    """A platform module and what the cases need to know of it."""

    platform: Platform
    world: Callable[[], World]
    """A new, empty stand-in."""
    account: AccountRef
    credentials: Mapping[str, Any]
    drafts: Mapping[str, Draft]
    """Good drafts, by a name."""
    too_long: Draft
    refusals: Sequence[Refusal]
    refresh_refused: Answer | None = None
    """How the platform says that a refresh token is dead; None where nothing is refreshed."""
    revoked: Answer | None = None
    """How the platform says, to any request, that the access was taken back; None: not tried."""
    needs_no_access: Callable[[Sent], bool] = lambda _sent: False
    """Which requests are made without the access (an upload's own address, a public list): they are answered as ever,
    whatever was taken back."""

    def call(
        self,
        http: FakeHttp,
        checkpoint: dict[str, Any] | None = None,
        store: Callable[..., None] | None = None,
    ) -> Call:
        """The surroundings of one visit, over ``checkpoint`` as a crash left it."""
        return Call(
            http=http,
            account=self.account,
            credentials=self.credentials,
            now=lambda: NOW,
            checkpoint=dict(checkpoint or {}),
            store=store or (lambda _values: None),
            platform_key="key-of-one-content",
        )
