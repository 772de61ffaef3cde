"""The face of X as a platform module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from pydantic import BaseModel

from media.rules import rule
from platforms import oauth
from platforms.base import (
    AccountRef,
    AuthExpired,
    Call,
    Capabilities,
    Doubt,
    Draft,
    Effect,
    Identity,
    Json,
    MediaKind,
    NotSent,
    PollOutcome,
    PrepareOutcome,
    Published,
    PublishingCall,
    PublishOutcome,
    Quota,
    RateLimited,
    Reconciled,
    ReconcileKind,
    Refreshed,
    Rejected,
    Transport,
    Violation,
)
from platforms.cost import Cost
from platforms.kinds import ANIMATION, PICTURE, VIDEO, KindOfPost
from platforms.outcomes import option_violations
from platforms.x import api, connect, lookup, readiness, upload
from platforms.x.cost import cost
from platforms.x.length import INVALID_CHARACTERS, LIMIT, too_long, weighted_length
from platforms.x.models import Credentials, Options

_CASHTAG = re.compile(r"(?:^|\s)\$[A-Za-z]{1,6}(?:[._][A-Za-z]{1,2})?(?![A-Za-z0-9])")
_MAX_CASHTAGS = 1
"""For self-serve access. Source: X API changelog, read 2026-08."""
_EXAMPLE = AccountRef("x", "")
_POLL = {"poll": {"options": ["a", "b"], "duration_minutes": 60}}
KINDS = (
    KindOfPost("text", Draft("text", _EXAMPLE)),
    KindOfPost("text with a link", Draft("https://example.com", _EXAMPLE)),
    KindOfPost("pictures", Draft("text", _EXAMPLE, (PICTURE,))),
    KindOfPost("animated GIF", Draft("text", _EXAMPLE, (ANIMATION,))),
    KindOfPost("video", Draft("text", _EXAMPLE, (VIDEO,))),
    KindOfPost("poll", Draft("text", _EXAMPLE, options=_POLL)),
    # Each part of it is such a post, and is paid for.
    KindOfPost("thread", Draft("text", _EXAMPLE, parts=2)),
)

_IDENTITY_FIELDS = "name,username,subscription_type,verified,verified_type"


class X:
    """Posts to X. The limit is 280 for every account: the longer posts of Premium are not offered, because
    X shows them cut in its feed, where they could not be compared after a doubtful call."""

    name = "x"
    identify_is_paid = True
    api_hosts = frozenset({api.HOST})
    credentials_model: type[BaseModel] = Credentials
    options_model: type[BaseModel] = Options
    connector = connect.CONNECTOR
    kinds_of_post = KINDS
    capabilities = Capabilities(
        title="X",
        text_limit=LIMIT,
        text_unit="weighted characters: 1 for Latin and alike, 2 for others and for an emoji, 23 for a link",
        media={"post": rule("x", "post")},
        transport=Transport.BYTES,
        alt_text_limit=1_000,
        threads=True,
        # Who may reply is told on the first post, and a poll or a list of people stands where it was asked for.
        head_only_options=frozenset(
            {"reply_settings", "poll", "tagged_user_ids", "community_id", "share_with_followers"}
        ),
        quotas=(
            Quota("x-posts-15min", 100, 15 * 60, source="X API v2 rate limit table, POST /2/tweets, 2026-08"),
            Quota("x-app-posts-24h", 10_000, 24 * 3600, scope="app", source="X API v2 rate limit table, 2026-08"),
            Quota("x-posts-3h", 300, 3 * 3600, source="X API v2 guide (older text, still there), 2026-08"),
        ),
        source="X API v2: OpenAPI 2.167 and guides, 2026-08; twitter-text config v3",
        # Half a gigabyte in pieces of one mebibyte, and minutes of X's own work on it.
        prepare_lead_s=1_800.0,
        lifetime_of_prepared_s=(upload.LIFETIME - upload.MARGIN).total_seconds(),
        url_pattern="https://x.com/{handle}/status/{remote_id}",
    )

    def text_length(self, text: str) -> int:
        """The weighted length, as twitter-text v3 counts it."""
        return weighted_length(text)

    def placement(self, draft: Draft) -> str:  # noqa: ARG002 - X has one placement, the Protocol asks for the draft
        """Always ``post``."""
        return "post"

    # --- Rules --------------------------------------------------------------------------------------------

    def validate(self, draft: Draft) -> list[Violation]:
        """Text, options, number and mix of media, alt texts. Formats and sizes are ``media.rules``."""
        return [
            *option_violations(Options, draft.options, self.name),
            *self._text_violations(draft),
            *self._media_violations(draft),
        ]

    def _text_violations(self, draft: Draft) -> Iterator[Violation]:
        if not draft.text.strip() and (not draft.media or draft.options.get("poll")):
            yield self._violation("empty_post", "A post on X needs a text or media; a poll needs a text.")
        if told := too_long(draft.text):
            yield self._violation("text_too_long", told)
        if not INVALID_CHARACTERS.isdisjoint(draft.text):
            yield self._violation("invalid_character", "X refuses U+FFFE, U+FEFF (byte order mark) and U+FFFF.")
        if len(_CASHTAG.findall(draft.text)) > _MAX_CASHTAGS:
            yield self._violation("too_many_cashtags", "X allows one cashtag ($NAME) in a post.")

    def _media_violations(self, draft: Draft) -> Iterator[Violation]:
        limits = self.capabilities.media["post"]
        kinds = [item.kind for item in draft.media]
        if len(kinds) > limits.max_count:
            yield self._violation("too_many_media", f"X takes up to {limits.max_count} images.", "media")
        if MediaKind.GIF in kinds and len(kinds) > 1:
            yield self._violation("gif_not_alone", "On X an animated GIF stands alone.", "media")
        if MediaKind.VIDEO in kinds and len(kinds) > 1:
            yield self._violation("video_not_alone", "On X a video stands alone.", "media")
        if draft.media and draft.options.get("poll"):
            yield self._violation("poll_with_media", "On X a poll has no media.", "options.poll")
        if draft.options.get("tagged_user_ids") and not draft.media:
            yield self._violation("tags_without_media", "Only media can be tagged.", "options.tagged_user_ids")
        alt_limit = self.capabilities.alt_text_limit or 0
        for item in draft.media:
            if len(item.alt) > alt_limit:
                message = f"The alt text has {len(item.alt)} characters; X allows {alt_limit}."
                yield self._violation("alt_too_long", message, "alt", item.name)

    def _violation(self, code: str, message: str, field: str = "text", file: str | None = None) -> Violation:
        return Violation(code, message, field, file or None, self.name)

    # --- Publishing ---------------------------------------------------------------------------------------

    def cost(self, draft: Draft) -> Cost | None:
        """What the post costs by X's price list."""
        return cost(draft)

    def needs_prepare(self, draft: Draft) -> bool:
        """True where there are media to upload."""
        return bool(draft.media)

    def wants_url(self, draft: Draft) -> bool:  # noqa: ARG002 - the same for every draft
        """Never: X takes bytes."""
        return False

    def publishing_call(self, draft: Draft) -> PublishingCall:  # noqa: ARG002 - the same for every draft
        """``POST /2/tweets``: no idempotency key, so doubt is settled by reading the account's posts."""
        return PublishingCall("POST /2/tweets", ReconcileKind.LOOKUP, budget_s=30.0, read_lag_s=10.0)

    def prepare(self, call: Call, draft: Draft) -> PrepareOutcome:
        """Uploads the media and their alt texts; resumes from the checkpoint."""
        return upload.advance(call, draft)

    def poll(self, call: Call, draft: Draft) -> PollOutcome:
        """Asks whether X is done with the media, and goes on."""
        return upload.advance(call, draft)

    def publish(self, call: Call, draft: Draft) -> PublishOutcome:
        """Posts. ``NotSent`` (``media_not_ready``) where the uploaded media have run out meanwhile."""
        entries = upload.entries(call, draft)
        if not all(upload.is_ready(entry) for entry in entries):
            return NotSent("media_not_ready", "The media are not on X, or have run out there.")
        body = self._body(draft, [str(entry["id"]) for entry in entries])
        reply = api.request(call, "POST", "/2/tweets", effect=Effect.PUBLISHES, json=body)
        remote_id = api.data(reply).get("id")
        if not remote_id:
            return api.refusal_of_post(call, reply)
        return Published(str(remote_id), lookup.permalink(call.account.handle, str(remote_id)))

    def _body(self, draft: Draft, media_ids: list[str]) -> dict[str, Json]:
        options = Options.model_validate(dict(draft.options))
        body = options.model_dump(exclude_defaults=True, exclude={"tagged_user_ids"})
        # The text as the author wrote it: X normalises it by itself.
        body["text"] = draft.text
        if draft.reply_to is not None:
            body["reply"] = {"in_reply_to_tweet_id": draft.reply_to.remote_id}
        if media_ids:
            body["media"] = {"media_ids": media_ids}
            if options.tagged_user_ids:
                body["media"]["tagged_user_ids"] = options.tagged_user_ids
        return body

    def reconcile(self, call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
        """Compares the account's posts since the attempt with the draft."""
        return lookup.look_up(call, draft, doubt)

    # --- Accounts -----------------------------------------------------------------------------------------

    def identify(self, call: Call) -> Identity | AuthExpired | RateLimited | NotSent | Rejected:
        """Who the credentials belong to; costs one paid read of a user."""
        reply = api.request(call, "GET", "/2/users/me", effect=Effect.READ, params={"user.fields": _IDENTITY_FIELDS})
        user = api.data(reply)
        if not user.get("id"):
            return api.refusal(call, reply)
        granted = tuple(str(call.credentials.get("scope") or "").split())
        return Identity(
            remote_id=str(user["id"]),
            handle=str(user.get("username") or ""),
            facts={name: user[name] for name in _IDENTITY_FIELDS.split(",") if name != "username" and name in user},
            scopes=granted,
            missing_scopes=tuple(scope for scope in api.SCOPES if scope not in granted) if granted else (),
        )

    def refresh(self, call: Call) -> Refreshed | AuthExpired | RateLimited | NotSent | None:
        """New OAuth 2.0 tokens; None for OAuth 1.0a, whose tokens do not run out."""
        if not call.credentials.get("access_token"):
            return None
        return oauth.refresh(call, url=api.TOKEN_URL, public_client=True)

    def expires_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When the OAuth 2.0 access token runs out."""
        return oauth.expires_at(credentials)

    def access_ends_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When nothing renews the access any more."""
        return readiness.access_ends_at(credentials)
