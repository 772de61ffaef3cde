"""A platform module for each kind of reconcile: what real platforms offer, reduced to what decides about doubles.

Workers find them as they find any third party's module, by entry point: ``install`` writes the metadata of a
tiny distribution into a folder, and that folder goes onto the ``PYTHONPATH`` of the processes under test.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from media.rules import MediaRule
from platforms.base import (
    Absent,
    AuthExpired,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Effect,
    Found,
    Identity,
    Inconclusive,
    NotSent,
    PollOutcome,
    PrepareOutcome,
    Processing,
    Published,
    PublishingCall,
    PublishOutcome,
    RateLimited,
    Ready,
    Reconciled,
    ReconcileKind,
    Refreshed,
    Rejected,
    Repeatable,
    Reply,
    Transport,
    Unknown,
    Violation,
)

READ_LAG_S = 1.0
"""How stale the emulator's reads may be, seconds; what the modules declare."""
KINDS = {
    "keyed": ReconcileKind.KEYED,
    "clientid": ReconcileKind.CLIENT_ID,
    "twostep": ReconcileKind.TWO_STEP,
    "polled": ReconcileKind.TWO_STEP,
    "lookup": ReconcileKind.LOOKUP,
    "none": ReconcileKind.NONE,
}


class Credentials(BaseModel):
    """A token."""

    model_config = ConfigDict(extra="forbid")

    access_token: str


class Options(BaseModel):
    """None."""

    model_config = ConfigDict(extra="forbid")


def _said(draft: Draft) -> dict[str, str]:
    """What a post says: its words, and for a part of a thread what it answers."""
    return {"text": draft.text, **({"reply_to": draft.reply_to.remote_id} if draft.reply_to else {})}


class KindPlatform:
    """Posts text, also in parts. ``twostep`` makes its container in ``prepare``, ``polled`` in ``publish`` and then
    waits.
    """

    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = KINDS[name]
        self.api_hosts = frozenset({f"{name}.test"})
        no_media: dict[str, MediaRule] = {}
        self.capabilities = Capabilities(
            title=name, text_limit=500, text_unit="characters", media=no_media, transport=Transport.BYTES,
            alt_text_limit=None, threads=True, quotas=(), source="tests/crash/emulator.py", prepare_lead_s=0.0,
        )  # fmt: skip

    # --- what is declared ---

    def text_length(self, text: str) -> int:
        return len(text)

    def placement(self, draft: Draft) -> str:
        return "post"

    def validate(self, draft: Draft) -> list[Violation]:
        return []

    def needs_prepare(self, draft: Draft) -> bool:
        return self.name == "twostep"

    def wants_url(self, draft: Draft) -> bool:
        return False

    def publishing_call(self, draft: Draft) -> PublishingCall:
        return PublishingCall(f"POST {self.name}", self.kind, budget_s=5.0, read_lag_s=READ_LAG_S)

    # --- what is sent ---

    def _ask(self, call: Call, method: str, path: str, effect: Effect, body: Any = None, **headers: str) -> Reply:
        headers["Authorization"] = f"Bearer {call.credentials['access_token']}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"https://{self.name}.test/{self.name}/{path}"
        return call.http.request(method, url, effect=effect, headers=named, json=body)

    def _refusal(self, call: Call, reply: Reply) -> Rejected | AuthExpired | RateLimited | NotSent:
        if reply.status == 429:
            return RateLimited(call.now() + timedelta(seconds=1), "slow down", 429)
        if reply.status == 401:
            return AuthExpired("unauthorized", "no longer signed in", 401, permanent=True)
        if 400 <= reply.status < 500:
            return Rejected("refused", f"answered {reply.status}", reply.status)
        return NotSent("server_error", f"answered {reply.status}", reply.status)

    def _container(self, call: Call, draft: Draft) -> str | Rejected | AuthExpired | RateLimited | NotSent:
        if "container" not in call.checkpoint:
            reply = self._ask(call, "POST", "containers", Effect.PREPARES, {"text": draft.text})
            if reply.status != 201:
                return self._refusal(call, reply)
            call.save(container=reply.json()["id"])
        return str(call.checkpoint["container"])

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        made = self._container(call, draft)
        return Ready() if isinstance(made, str) else made

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        reply = self._ask(call, "GET", f"containers/{call.checkpoint['container']}", Effect.READ)
        if reply.status != 200:
            return self._refusal(call, reply)
        return Ready() if reply.json()["ready"] else Processing(0.3)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        if self.kind is ReconcileKind.TWO_STEP:
            begun = "container" in call.checkpoint
            made = self._container(call, draft)
            if not isinstance(made, str):
                return made
            if self.name == "polled" and not begun:
                return Processing(0.2)
            # What is prepared does not know yet what it will answer: that is said by the last step.
            after = {"reply_to": draft.reply_to.remote_id} if draft.reply_to else None
            reply = self._ask(call, "POST", f"containers/{made}/publish", Effect.PUBLISHES, after)
        elif self.kind is ReconcileKind.CLIENT_ID:
            reply = self._ask(call, "PUT", f"records/{call.platform_key}", Effect.PUBLISHES, _said(draft))
        else:
            key = {"Idempotency_Key": call.platform_key} if self.kind is ReconcileKind.KEYED else {}
            reply = self._ask(call, "POST", "posts", Effect.PUBLISHES, _said(draft), **key)
        if reply.status in {200, 201}:
            return Published(str(reply.json()["id"]))
        if reply.status >= 500:
            return Unknown("server_error", f"answered {reply.status}", reply.status)
        return self._refusal(call, reply)

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        if self.kind is ReconcileKind.CLIENT_ID:
            return Repeatable()
        if self.kind is ReconcileKind.TWO_STEP:
            return self._ask_container(call)
        if self.kind is ReconcileKind.NONE:
            return Inconclusive("there is no way to look")
        reply = self._ask(call, "GET", "posts", Effect.READ)
        if reply.status != 200:
            return Inconclusive(f"answered {reply.status}", 1.0)
        sought = _said(draft)
        same = [
            post["id"]
            for post in reply.json()["posts"]
            if (post["text"], post["reply_to"]) == (sought["text"], sought.get("reply_to"))
            and post["id"] not in doubt.taken_remote_ids
        ]
        return Found(same[0]) if same else Absent()

    def _ask_container(self, call: Call) -> Reconciled:
        if "container" not in call.checkpoint:
            return Repeatable()
        reply = self._ask(call, "GET", f"containers/{call.checkpoint['container']}", Effect.READ)
        if reply.status != 200:
            return Inconclusive(f"answered {reply.status}", 1.0)
        return Found(reply.json()["post"]) if reply.json()["post"] else Repeatable()

    # --- accounts ---

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        return Identity(call.account.name, call.account.name)

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        return None

    def expires_at(self, credentials: Mapping[str, Any]) -> datetime | None:
        return None


keyed = KindPlatform("keyed")
clientid = KindPlatform("clientid")
twostep = KindPlatform("twostep")
polled = KindPlatform("polled")
lookup = KindPlatform("lookup")
none = KindPlatform("none")


def install(folder: Path) -> Path:
    """Writes the distribution ``crash-kinds`` into ``folder``; put that on ``PYTHONPATH``."""
    info = folder / "crash_kinds-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crash-kinds\nVersion: 0\n", encoding="utf-8")
    lines = [f"{name} = tests.crash.kinds:{name}" for name in KINDS]
    (info / "entry_points.txt").write_text("\n".join(["[schedulerx.platforms]", *lines, ""]), encoding="utf-8")
    return folder
