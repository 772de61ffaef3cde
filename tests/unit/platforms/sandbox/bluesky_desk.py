"""An account of the sandbox's Bluesky, used by the real module as a worker would."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from platforms.base import AccountRef, Call, Doubt, Draft, Identity, MediaItem, MediaKind, Ready, Refreshed
from platforms.bluesky import PLATFORM
from platforms.http import Client as HttpClient
from platforms.sandbox import Sandbox


class Desk:
    """One account, as a worker would use it."""

    def __init__(self, box: Sandbox, **credentials: str) -> None:
        self.credentials: dict[str, Any] = {"identifier": "acme", "password": "sandbox-bluesky-acme", **credentials}
        # Either its own server, or Bluesky's hosts pointed at the sandbox as a whole.
        override = "http://127.0.0.1:9" if "server" in credentials else box.url
        self.client = HttpClient(api_hosts=PLATFORM.api_hosts, override=override, deadline_s=10)
        self.account = AccountRef("bluesky", "acme")
        self.checkpoint: dict[str, Any] = {}
        identity = PLATFORM.identify(self.call())
        assert isinstance(identity, Identity), identity
        self.account = AccountRef("bluesky", "acme", identity.handle, identity.remote_id, dict(identity.facts))
        self.sign_in()

    def sign_in(self) -> None:
        renewed = PLATFORM.refresh(self.call())
        assert isinstance(renewed, Refreshed), renewed
        self.credentials = dict(renewed.credentials)

    def call(self) -> Call:
        now = lambda: datetime.now(UTC)  # noqa: E731 - one clock, given as a value
        return Call(self.client, self.account, self.credentials, now, self.checkpoint, self.checkpoint.update, "key")

    def publish(self, draft: Draft) -> Any:
        assert PLATFORM.validate(draft) == []
        if PLATFORM.needs_prepare(draft):
            outcome = PLATFORM.prepare(self.call(), draft)
            assert isinstance(outcome, Ready), outcome
        return PLATFORM.publish(self.call(), draft)

    def look(self, draft: Draft) -> Any:
        now = datetime.now(UTC)
        return PLATFORM.reconcile(self.call(), draft, Doubt(now - timedelta(seconds=30), now, frozenset()))


def item(data: bytes, kind: MediaKind = MediaKind.IMAGE, mime: str = "image/png") -> MediaItem:
    return MediaItem(kind, mime, len(data), 60, 90, "0" * 64, "a picture", read=lambda: io.BytesIO(data))
