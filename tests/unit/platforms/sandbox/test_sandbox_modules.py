"""The real platform modules against the sandbox: the two were written apart from the same contracts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sandbox_client import animation, clip, picture

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
    NotSent,
    Processing,
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

    def prepare(self, draft: Draft) -> None:
        """Until it is ready; the sandbox has been told to process at once."""
        if not self.module.needs_prepare(draft):
            return
        outcome: Any = self.module.prepare(self.call(), draft)
        while isinstance(outcome, Processing):
            outcome = self.module.poll(self.call(), draft)
        assert isinstance(outcome, Ready), outcome

    def publish(self, draft: Draft) -> Any:
        self.prepare(draft)
        return self.module.publish(self.call(), draft)

    def look_up(self, draft: Draft) -> Any:
        now = datetime.now(UTC)
        doubt = Doubt(now - timedelta(seconds=30), now, frozenset())
        return self.module.reconcile(self.call(), draft, doubt)


def item(data: bytes, alt: str = "a picture", kind: MediaKind = MediaKind.IMAGE, mime: str = "image/png") -> MediaItem:
    return MediaItem(
        kind,
        mime,
        len(data),
        width=120,
        height=180,
        sha256=hashlib.sha256(data).hexdigest(),
        alt=alt,
        read=lambda: io.BytesIO(data),
        read_range=lambda offset, length: data[offset : offset + length],
    )


def film(filler: int = 200) -> MediaItem:
    return item(clip(filler=filler), "it plays", MediaKind.VIDEO, "video/mp4")


PICTURE = picture(size=(120, 180))
KINDS = {
    "x": ("text", "picture", "pictures", "gif", "video", "poll"),
    "pinterest": ("picture", "carousel", "video", "video with a cover"),
}
EVERY_KIND = pytest.mark.parametrize(
    ("platform", "kind"), [(platform, kind) for platform, kinds in KINDS.items() for kind in kinds]
)


def draft_of(desk: Desk, kind: str, text: str) -> Draft:
    """A draft of one kind of post, with words that nothing else has."""
    media = {
        "text": (),
        "poll": (),
        "picture": (item(PICTURE),),
        "pictures": (item(PICTURE), item(picture("red", (120, 180)), "a red one")),
        "carousel": (item(PICTURE), item(picture("red", (120, 180)), "a red one")),
        "gif": (item(animation(), "it moves", MediaKind.GIF, "image/gif"),),
        "video": (film(),),
        "video with a cover": (film(), item(PICTURE, "")),
    }[kind]
    if desk.module.name == "pinterest":
        options: dict[str, Any] = {"board": "Recipes", "title": "Soup", "link": "https://example.com/r"}
        if kind == "carousel":
            options["slides"] = [{"title": "One"}, {"link": "https://example.com/2"}]
        return desk.draft(text, *media, **options)
    poll = {"poll": {"options": ["yes", "no"], "duration_minutes": 60}} if kind == "poll" else {}
    return desk.draft(text, *media, **poll)


def drafts(desk: Desk, text: str) -> list[Draft]:
    """What the platform takes: X with and without a picture, Pinterest with one."""
    kinds = ("picture",) if desk.module.name == "pinterest" else ("text", "picture")
    return [draft_of(desk, kind, f"{text} with a {kind}") for kind in kinds]


@EVERY_KIND
def test_publish_and_find_again(box: Sandbox, platform: str, kind: str) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box, platform)
    draft = draft_of(desk, kind, "Soup & bread <3 https://example.org/a?b=1 👋")
    outcome = desk.publish(draft)
    assert isinstance(outcome, Published), outcome
    found = desk.look_up(draft)
    assert isinstance(found, Found), found
    assert found.remote_id == outcome.remote_id
    [post] = box.accepted()
    shown = [(one["sha256"], one["alt"]) for one in post["content"]["pictures"]]
    if kind == "carousel":
        assert {alt for _, alt in shown} == {"a picture | a red one"}
    elif kind != "video with a cover":
        assert [alt for _, alt in shown] == [one.alt for one in draft.media]
    assert [sha for sha, _ in shown] == [one.sha256 for one in draft.media][: len(shown)]


def test_the_same_words_as_another_kind_of_pin_are_another_pin(box: Sandbox) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box, "pinterest")
    words = {kind: draft_of(desk, kind, "the same words") for kind in ("picture", "carousel", "video")}
    assert isinstance(desk.publish(words["video"]), Published)
    outcomes = {kind: type(desk.look_up(draft)) for kind, draft in words.items()}
    assert outcomes == {"picture": Absent, "carousel": Absent, "video": Found}


@EVERY_KIND
@pytest.mark.parametrize(
    ("fault", "stored"),
    [
        ("reset_before", False),
        ("reset_after", True),
        ("cut_answer", True),
        ("server_error", False),
        ("server_error_after", True),
        ("html_error_page", False),
    ],
)
def test_doubt_is_settled_by_looking(box: Sandbox, platform: str, kind: str, fault: str, stored: bool) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box, platform)
    draft = draft_of(desk, kind, "doubtful")
    desk.prepare(draft)
    box.set_faults([{"step": "*.publish", "kind": fault, "count": 1}])
    if fault in {"reset_before", "reset_after", "cut_answer"}:
        with pytest.raises(TransportError) as raised:
            desk.module.publish(desk.call(), draft)
        assert raised.value.sent
    else:
        assert isinstance(desk.module.publish(desk.call(), draft), Unknown)
    assert len(box.accepted()) == stored
    # While reads lag behind, nothing can be seen: that is why "absent" is believed only after the lag, and twice.
    box.set_faults([{"step": "*.read", "kind": "read_lag", "lag_s": 60.0}])
    assert desk.look_up(draft) == Absent()
    box.set_faults([])
    found = desk.look_up(draft)
    assert isinstance(found, Found if stored else Absent), found


@pytest.mark.parametrize(("fault", "stored"), [("reset_before", False), ("reset_after", True)])
def test_a_doubtful_pin_of_a_section_is_looked_for_in_it(box: Sandbox, fault: str, stored: bool) -> None:
    box.account("pinterest", "acme", boards=[{"name": "Recipes", "sections": ["Soups"]}])
    desk = Desk(box, "pinterest")
    draft = desk.draft("doubtful", item(PICTURE), board="Recipes", board_section="Soups")
    desk.prepare(draft)
    box.set_faults([{"step": "*.publish", "kind": fault, "count": 1}])
    with pytest.raises(TransportError):
        desk.module.publish(desk.call(), draft)
    found = desk.look_up(draft)
    assert isinstance(found, Found if stored else Absent), found
    assert box.summary()["requests"]["pinterest.section_pins"] == 1


@pytest.mark.parametrize(
    ("platform", "kind"),
    [("x", kind) for kind in ("picture", "gif", "video")] + [("pinterest", kind) for kind in KINDS["pinterest"][2:]],
)
@pytest.mark.parametrize("fault", ["reset_early", "reset_before", "reset_after", "server_error", "rate_limited"])
def test_each_step_of_preparing_can_break_and_is_gone_on_from(
    box: Sandbox, platform: str, kind: str, fault: str
) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box, platform)
    draft = draft_of(desk, kind, "broken off")
    outcome: Any = None
    for skip in (0, 1, 2, 3):
        # Each visit goes one request further than the one before, until nothing is left to break.
        box.set_faults([{"step": "*.prepare", "kind": fault, "count": 1, "skip": skip}])
        try:
            outcome = desk.module.prepare(desk.call(), draft)
        except TransportError:
            continue
        assert isinstance(outcome, Ready | Processing | NotSent | RateLimited), outcome
    box.set_faults([])
    assert isinstance(desk.publish(draft), Published)
    [post] = box.accepted()
    assert post["content"]["pictures"][0]["sha256"] == draft.media[0].sha256


@pytest.mark.parametrize(
    ("platform", "kind", "outcome"),
    [
        ("x", "rate_limited", RateLimited),
        ("x", "expired_token", AuthExpired),
        ("x", "payment_required", Rejected),
        ("x", "forbidden", Rejected),
        ("pinterest", "rate_limited", RateLimited),
        ("pinterest", "expired_token", AuthExpired),
        ("pinterest", "forbidden", Rejected),
    ],
)
def test_refusals_are_understood(box: Sandbox, platform: str, kind: str, outcome: type) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box, platform)
    for each in KINDS[platform]:
        draft = draft_of(desk, each, f"refused {each}")
        desk.checkpoint.clear()
        desk.prepare(draft)
        box.set_faults([{"step": "*.publish", "kind": kind}])
        assert isinstance(desk.module.publish(desk.call(), draft), outcome)
        box.set_faults([])
        if kind == "expired_token":
            desk.credentials["access_token"] = box.account(platform, "acme")["token"]
    assert box.accepted() == []


@pytest.mark.parametrize("platform", ["x", "pinterest"])
def test_refresh(box: Sandbox, platform: str) -> None:
    made = box.account(platform, "acme", expires_in=0.0)
    credentials = {
        "access_token": made["token"],
        "refresh_token": made["refresh_token"],
        "client_id": f"sandbox-app-{platform}",
        "client_secret": f"sandbox-secret-{platform}",
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
