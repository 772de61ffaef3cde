"""The real platform modules against the sandbox: the two were written apart from the same contracts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sandbox_client import picture

from platforms import registry
from platforms.base import (
    Absent,
    AccountRef,
    AuthExpired,
    Call,
    Doubt,
    Draft,
    Found,
    Identity,
    MediaItem,
    MediaKind,
    Published,
    RateLimited,
    Ready,
    Refreshed,
    Rejected,
    Unknown,
)
from platforms.errors import TransportError
from platforms.http import Client
from platforms.sandbox import Sandbox
from platforms.sandbox.x_oauth1 import SECRET
from platforms.sandbox.x_text import weighted_length

OAUTH1 = {
    "consumer_key": "app",
    "consumer_secret": SECRET,
    "token": "sandbox-x-acme",
    "token_secret": SECRET,
}


class Desk:
    """One account of one platform, as a worker would use it."""

    def __init__(self, box: Sandbox, platform: str, credentials: Mapping[str, Any] | None = None) -> None:
        self.module = registry.get(platform)
        self.credentials = dict(credentials or {"access_token": f"sandbox-{platform}-acme"})
        self.client = Client(api_hosts=self.module.api_hosts, override=box.url, deadline_s=10)
        self.account = AccountRef(platform, "acme")
        self.checkpoint: dict[str, Any] = {}
        identity = self.module.identify(self.call())
        if isinstance(identity, Identity):
            facts = dict(identity.facts)
            self.account = AccountRef(platform, "acme", identity.handle, identity.remote_id, facts)

    def call(self) -> Call:
        now = lambda: datetime.now(UTC)  # noqa: E731 (one clock, given as a value)
        return Call(self.client, self.account, self.credentials, now, self.checkpoint)

    def draft(self, text: str, *media: MediaItem, **options: Any) -> Draft:
        draft = Draft(text, self.account, media, options)
        assert self.module.validate(draft) == []
        return draft

    def publish(self, draft: Draft) -> Any:
        if self.module.needs_prepare(draft):
            prepared = self.module.prepare(self.call(), draft)
            assert isinstance(prepared, Ready), prepared
        return self.module.publish(self.call(), draft)

    def look_up(self, draft: Draft) -> Any:
        now = datetime.now(UTC)
        doubt = Doubt(now - timedelta(seconds=30), now, frozenset())
        return self.module.reconcile(self.call(), draft, doubt)


def item(data: bytes, alt: str = "a picture") -> MediaItem:
    size = {"width": 120, "height": 180}
    return MediaItem(
        MediaKind.IMAGE,
        "image/png",
        len(data),
        sha256="0" * 64,
        alt=alt,
        read=lambda: io.BytesIO(data),
        **size,
    )


def drafts(desk: Desk, text: str) -> list[Draft]:
    """What the platform takes: X with and without a picture, Pinterest with one."""
    data = picture(size=(120, 180))
    if desk.module.name == "pinterest":
        return [desk.draft(text, item(data), board="Recipes", title="Soup", link="https://example.com/r")]
    return [desk.draft(text), desk.draft(f"{text} with a picture", item(data))]


@pytest.mark.parametrize("platform", ["x", "pinterest"])
def test_publish_and_find_again(box: Sandbox, platform: str) -> None:
    desk = Desk(box, platform)
    for draft in drafts(desk, "Soup & bread <3 https://example.org/a?b=1 👋"):
        desk.checkpoint.clear()
        outcome = desk.publish(draft)
        assert isinstance(outcome, Published), outcome
        found = desk.look_up(draft)
        assert isinstance(found, Found), found
        assert found.remote_id == outcome.remote_id
    assert box.summary()["doubled"] == []
    pictures = [shown for row in box.accepted() for shown in row["content"]["pictures"]]
    assert [shown["alt"] for shown in pictures] == ["a picture"]


@pytest.mark.parametrize("platform", ["x", "pinterest"])
@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("reset_before", False),
        ("reset_after", True),
        ("cut_answer", True),
        ("server_error", False),
        ("server_error_after", True),
        ("html_error_page", False),
    ],
)
def test_doubt_is_settled_by_looking(box: Sandbox, platform: str, kind: str, stored: bool) -> None:
    desk = Desk(box, platform)
    draft = drafts(desk, "doubtful")[-1]
    if desk.module.needs_prepare(draft):
        assert isinstance(desk.module.prepare(desk.call(), draft), Ready)
    box.set_faults([{"step": "*.publish", "kind": kind, "count": 1}])
    if kind in {"reset_before", "reset_after", "cut_answer"}:
        with pytest.raises(TransportError) as raised:
            desk.module.publish(desk.call(), draft)
        assert raised.value.sent
    else:
        assert isinstance(desk.module.publish(desk.call(), draft), Unknown)
    assert len(box.accepted()) == stored
    found = desk.look_up(draft)
    assert isinstance(found, Found if stored else Absent), found


@pytest.mark.parametrize(
    ("platform", "kind", "outcome"),
    [
        ("x", "rate_limited", RateLimited),
        ("x", "expired_token", AuthExpired),
        ("x", "payment_required", Rejected),
        ("pinterest", "rate_limited", RateLimited),
        ("pinterest", "expired_token", AuthExpired),
    ],
)
def test_refusals_are_understood(box: Sandbox, platform: str, kind: str, outcome: type) -> None:
    desk = Desk(box, platform)
    draft = drafts(desk, "refused")[0]
    if desk.module.needs_prepare(draft):
        assert isinstance(desk.module.prepare(desk.call(), draft), Ready)
    box.set_faults([{"step": "*.publish", "kind": kind}])
    assert isinstance(desk.module.publish(desk.call(), draft), outcome)
    assert box.accepted() == []


@pytest.mark.parametrize("platform", ["x", "pinterest"])
def test_refresh(box: Sandbox, platform: str) -> None:
    made = box.account(platform, "acme", expires_in=0.0)
    credentials = {
        "access_token": made["token"],
        "refresh_token": made["refresh_token"],
        "client_id": "app",
        "client_secret": "secret",
    }
    desk = Desk(box, platform, credentials)
    assert isinstance(desk.module.identify(desk.call()), AuthExpired)
    renewed = desk.module.refresh(desk.call())
    assert isinstance(renewed, Refreshed), renewed
    desk.credentials = dict(renewed.credentials)
    assert isinstance(desk.module.identify(desk.call()), Identity)


def test_oauth1_signatures_are_checked(box: Sandbox) -> None:
    desk = Desk(box, "x", OAUTH1)
    for draft in drafts(desk, "signed"):
        outcome = desk.publish(draft)
        assert isinstance(outcome, Published), outcome
        assert isinstance(desk.look_up(draft), Found)
    for name in ("consumer_secret", "token_secret", "token"):
        wrong = Desk(box, "x", {**OAUTH1, name: "other"})
        assert isinstance(wrong.module.publish(wrong.call(), wrong.draft("unsigned")), AuthExpired)
    box.account("x", "acme", consumer_secret="mine", token_secret="own")
    own = Desk(box, "x", {**OAUTH1, "consumer_secret": "mine", "token_secret": "own"})
    assert isinstance(own.publish(own.draft("own secrets")), Published)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "Grüße aus Köln — “schön” … 1.500 €",
        "日本語とEnglish",
        "👨‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 1️⃣ ❤️ ☀️ ✅",
        "https://example.com/a?b=c#d, acme.com/x and www.acme.org.",
        "mail me@acme.com or @acme #tag $TSLA",
        "http://acme.dev/path_(with)_brackets",
        "e\u0301 normal",
    ],
)
def test_two_counters_agree(text: str) -> None:
    assert registry.get("x").text_length(text) == weighted_length(text)
