"""A platform that does what a test tells it, and keeps the books: what it accepted is what counts.

Without a script every step succeeds. ``will`` queues what happens instead: an outcome, an exception, or a
function of (call, draft) that answers with an outcome.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from media.rules import MediaRule
from platforms.base import (
    Absent,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Found,
    Identity,
    Processing,
    Published,
    PublishingCall,
    Quota,
    Ready,
    ReconcileKind,
    Refreshed,
    Repeatable,
    Transport,
    Violation,
)
from platforms.errors import TransportError

IDEMPOTENT = {ReconcileKind.CLIENT_ID, ReconcileKind.TWO_STEP, ReconcileKind.KEYED}
TEXT_LIMIT = 500


class Credentials(BaseModel):
    """What the fake's accounts are added with."""

    model_config = ConfigDict(extra="forbid")

    token: str
    refresh_token: str | None = None
    expires_at: str | None = None


class Options(BaseModel):
    """The fake's options."""

    model_config = ConfigDict(extra="forbid")

    colour: str = "red"
    must_be_short: int | None = None


@dataclass(frozen=True)
class Accepted:
    """A post that the fake made public."""

    account: str
    text: str
    remote_id: str
    key: str
    media: tuple[str, ...] = ()
    answers: str | None = None
    """The id of the part before, for a part of a thread."""


@dataclass(frozen=True)
class Visit:
    """One call of a step, with what it was given."""

    step: str
    account: str
    text: str
    key: str
    checkpoint: Mapping[str, Any]
    credentials: Mapping[str, Any]
    doubt: Doubt | None = None
    media: tuple[Any, ...] = ()


def leave(call: Call) -> None:
    """The first byte of the publishing call: the fence is asked, and the transport marks it as sent."""
    call.http._departure()  # type: ignore[attr-defined]


def sent(outcome: Any) -> Callable[[Call, Draft], Any]:
    """The request leaves, then ``outcome`` (raised where it is an exception)."""

    def step(call: Call, _draft: Draft) -> Any:
        leave(call)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return step


def lost(*, was_sent: bool) -> TransportError:
    """No answer."""
    return TransportError("the connection broke", sent=was_sent)


def in_doubt(database: Any, number: int, *, held_for: str | None = None) -> None:
    """Sets a post into ``retrying`` (or ``held`` for a reason) with a try whose outcome nobody knows."""
    database.run(
        "UPDATE scheduled_posts SET status = :status, held_for = CAST(:held_for AS text) WHERE id = :id",
        status="held" if held_for else "retrying",
        held_for=held_for,
        id=number,
    )
    database.run(
        """
        INSERT INTO publish_attempts (id, scheduled_post_id, account_id, version_id, generation, call, platform_key,
               payload_sha256, worker, outcome, finished_at)
        SELECT gen_random_uuid(), id, account_id, version_id, generation, 'c', 'k', 's', 'w', 'unknown',
               clock_timestamp() FROM scheduled_posts WHERE id = :id
        """,
        id=number,
    )


@dataclass
class FakePlatform:
    """A scriptable platform module."""

    name: str = "fake"
    api_hosts: frozenset[str] = frozenset({"api.fake.example"})
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    kind: ReconcileKind = ReconcileKind.LOOKUP
    read_lag_s: float = 0.0
    budget_s: float = 30.0
    key_lifetime_s: float | None = None
    prepares: bool = False
    pulls: bool = False
    lead_s: float = 900.0
    quotas: tuple[Quota, ...] = ()
    takes_media: bool = True
    threads: bool = True
    accepted: list[Accepted] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    script: dict[str, deque[Any]] = field(default_factory=dict)
    standing: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    # --- for tests ----------------------------------------------------------------------------------------

    def will(self, step: str, *outcomes: Any) -> None:
        """The next visits of ``step`` end like this, one after the other; then as usual again."""
        self.script.setdefault(step, deque()).extend(outcomes)

    def always(self, step: str, outcome: Any) -> None:
        """Every visit of ``step`` that no script tells otherwise ends like this."""
        self.standing[step] = outcome

    def count(self, step: str) -> int:
        """How often a step was visited."""
        return sum(1 for visit in self.visits if visit.step == step)

    def doubled(self) -> list[str]:
        """Texts that were made public twice on one account."""
        seen = [(one.account, one.text) for one in self.accepted]
        return sorted({text for account, text in seen if seen.count((account, text)) > 1})

    def accept(self, call: Call, draft: Draft) -> Published:
        """Makes it public; where the platform knows our handle, a second time is the first again."""
        with self.lock:
            if self.kind in IDEMPOTENT:
                for one in self.accepted:
                    if one.key == call.platform_key:
                        return Published(one.remote_id, f"https://fake.example/{one.remote_id}")
            remote_id = f"{self.name}-{len(self.accepted) + 1}"
            self.accepted.append(
                Accepted(
                    draft.account.name,
                    draft.text,
                    remote_id,
                    call.platform_key,
                    tuple(item.sha256 for item in draft.media),
                    draft.reply_to.remote_id if draft.reply_to else None,
                )
            )
        return Published(remote_id, f"https://fake.example/{remote_id}")

    def stores_then(self, outcome: Any) -> Callable[[Call, Draft], Any]:
        """The platform takes the post, and then ``outcome`` is all that is seen of it."""

        def step(call: Call, draft: Draft) -> Any:
            leave(call)
            self.accept(call, draft)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return step

    def _visit(self, step: str, call: Call, draft: Draft | None, doubt: Doubt | None = None) -> tuple[bool, Any]:
        with self.lock:
            self.visits.append(
                Visit(
                    step,
                    call.account.name,
                    draft.text if draft else "",
                    call.platform_key,
                    dict(call.checkpoint),
                    dict(call.credentials),
                    doubt,
                    draft.media if draft else (),
                )
            )
            waiting = self.script.get(step)
            if waiting:
                told = waiting.popleft()
            elif step in self.standing:
                told = self.standing[step]
            else:
                return False, None
        if isinstance(told, BaseException):
            raise told
        if callable(told):
            return True, told(call, draft)
        return True, told

    # --- the Protocol -------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """As the test has set them."""
        media = {
            "post": MediaRule(
                platform=self.name,
                placement="post",
                min_count=0,
                max_count=4,
                image_mimes=("image/jpeg", "image/png"),
                max_image_bytes=5_000_000,
                max_width=4000,
                max_height=4000,
                min_width=50,
                min_height=50,
                min_ratio=0.2,
                max_ratio=5.0,
                alt_text_limit=1000,
                source="invented",
            )
        }
        return Capabilities(
            title="Fake",
            text_limit=TEXT_LIMIT,
            text_unit="characters",
            media=media if self.takes_media else {},
            transport=Transport.URL if self.pulls else Transport.BYTES,
            alt_text_limit=1000,
            threads=self.threads,
            head_only_options=frozenset({"must_be_short"}),
            quotas=self.quotas,
            source="invented",
            prepare_lead_s=self.lead_s,
        )

    def text_length(self, text: str) -> int:
        """Characters."""
        return len(text)

    def placement(self, draft: Draft) -> str:
        """The only one."""
        return "post"

    def validate(self, draft: Draft) -> list[Violation]:
        """A length, and no empty post."""
        wrong = []
        if len(draft.text) > TEXT_LIMIT:
            wrong.append(
                Violation(
                    "text_too_long", f"{len(draft.text)} characters; at most {TEXT_LIMIT}", "text", None, self.name
                )
            )
        if not draft.text.strip() and not draft.media:
            wrong.append(Violation("empty_post", "neither text nor media", "text", None, self.name))
        return wrong

    def needs_prepare(self, draft: Draft) -> bool:
        """As the test has set it."""
        return self.prepares

    def wants_url(self, draft: Draft) -> bool:
        """As the test has set it."""
        return self.pulls

    def publishing_call(self, draft: Draft) -> PublishingCall:
        """As the test has set it."""
        return PublishingCall("POST /posts", self.kind, self.budget_s, self.read_lag_s, self.key_lifetime_s)

    def prepare(self, call: Call, draft: Draft) -> Any:
        """Keeps one id in the checkpoint."""
        told, outcome = self._visit("prepare", call, draft)
        if told:
            return outcome
        call.save(container="c-1")
        return Ready()

    def publish(self, call: Call, draft: Draft) -> Any:
        """Sends, and accepts."""
        told, outcome = self._visit("publish", call, draft)
        if told:
            return outcome
        leave(call)
        return self.accept(call, draft)

    def poll(self, call: Call, draft: Draft) -> Any:
        """Still working."""
        told, outcome = self._visit("poll", call, draft)
        return outcome if told else Processing(5.0)

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Any:
        """Looks into the books as the declared kind allows."""
        told, outcome = self._visit("reconcile", call, draft, doubt)
        if told:
            return outcome
        if self.kind is ReconcileKind.CLIENT_ID:
            return Repeatable()
        if self.kind is ReconcileKind.NONE:
            raise AssertionError("nothing can be looked up here")
        for one in self.accepted:
            mine = one.key == call.platform_key if self.kind in IDEMPOTENT else one.text == draft.text
            mine = mine and one.answers == (draft.reply_to.remote_id if draft.reply_to else None)
            if mine and one.account == draft.account.name and one.remote_id not in doubt.taken_remote_ids:
                return Found(one.remote_id, f"https://fake.example/{one.remote_id}")
        return Absent()

    def identify(self, call: Call) -> Any:
        """Somebody."""
        told, outcome = self._visit("identify", call, None)
        return outcome if told else Identity(f"id-{call.account.name}", call.account.name)

    def refresh(self, call: Call) -> Any:
        """The next token."""
        told, outcome = self._visit("refresh", call, None)
        if told:
            return outcome
        return Refreshed({**call.credentials, "token": f"{call.credentials['token']}+"}, None)

    def expires_at(self, credentials: Mapping[str, Any]) -> datetime | None:
        """What the credentials say."""
        value = credentials.get("expires_at")
        return datetime.fromisoformat(value) if value else None
