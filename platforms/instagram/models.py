"""What an author may ask of Instagram, what kind of post that is, and what proves who posts."""

from __future__ import annotations

import enum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from platforms.base import AccountRef, Draft, MediaItem, MediaKind

API_VERSION = "v26.0"
"""The newest Graph version seen. Source: Graph API changelog, 2026-07-29."""
CAPTION_LIMIT = 2_200
MAX_HASHTAGS = 30
MAX_MENTIONS = 20
ALT_LIMIT = 1_000
MAX_CHILDREN = 10
"""Source of these limits: IG User Media reference, 2026-09."""
COMMENT_LIMIT = 2_200
"""Source: none is documented (IG Media comments reference, 2025-01); the caption's is taken."""

Username = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._]{1,30}$")]
Numeric = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]


class UserTag(BaseModel):
    """Who is in a picture, and where: from 0, 0 (left, top) to 1, 1. In a reel people have no place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    username: Username
    x: float | None = Field(default=None, ge=0, le=1)
    y: float | None = Field(default=None, ge=0, le=1)
    item: int = Field(default=0, ge=0, lt=MAX_CHILDREN)
    """Which file of a carousel, from 0."""

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.x is None) != (self.y is None):
            raise ValueError("x and y belong together")
        return self


class Options(BaseModel):
    """The options of a post on Instagram. Source: IG User Media reference, 2026-09, and Meta's SDK, 2026-04."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    placement: Literal["auto", "feed", "reel", "story"] = "auto"
    """``auto``: one picture or several go to the feed, one video is a reel."""
    location_id: Numeric | None = None
    collaborators: list[Username] = Field(default_factory=list, max_length=3)
    """Accounts that are asked to co-author it; not the account itself."""
    user_tags: list[UserTag] = Field(default_factory=list, max_length=20)
    share_to_feed: bool = True
    """A reel also stands in the feed."""
    cover_url: str | None = Field(default=None, pattern=r"^https?://[\x21-\x7e]+$", max_length=2_048)
    """A reel's cover (JPEG); wins over ``thumb_offset_ms``."""
    thumb_offset_ms: int | None = Field(default=None, ge=0)
    """The frame that is a reel's cover."""
    audio_name: str | None = Field(default=None, min_length=1, max_length=200)
    trial: Literal["MANUAL", "SS_PERFORMANCE"] | None = None
    """Shows a reel to non-followers first; how it graduates."""
    first_comment: str = Field(default="", max_length=COMMENT_LIMIT)
    """The account's own comment below the post, by a call of its own once the post is public. The token needs the
    scope ``instagram_business_manage_comments`` (Facebook Login: ``instagram_manage_comments``)."""
    media: Literal["auto", "url", "bytes"] = "auto"
    """How Instagram gets a single video: from our store, or (Facebook Login only) by upload. ``auto``: by upload only
    where our store has no public address."""


class Credentials(BaseModel):
    """A token of Instagram Login, or a Page's (or user's) token of Facebook Login with the Instagram account's id."""

    model_config = ConfigDict(extra="forbid")

    access_token: str = Field(min_length=1)
    login: Literal["instagram", "facebook"] = "instagram"
    """Which of Meta's two logins gave the token; decides the host."""
    ig_user_id: Numeric | None = None
    """The professional account's id. Instagram Login finds it by itself."""
    expires_at: str | float | None = None
    """When the token runs out: ISO 8601, or seconds since 1970. A Page's token has no end."""
    issued_at: str | float | None = None
    """Since when the token is there: one younger than 24 hours is not renewed by Instagram."""
    data_access_ends_at: str | float | None = None
    """Facebook Login: until when the app may act without a new sign-in; kept by ``accounts connect``."""
    scope: str | None = None
    api_version: str | None = Field(default=None, pattern=r"^v[0-9]{2}\.[0-9]$")
    """Holds the account to a Graph version; without it the account moves on with each release of ours."""

    @field_validator("ig_user_id", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        # Meta gives the id as a number here and there; it does not fit into what JavaScript calls one.
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _knows_its_account(self) -> Self:
        if self.login == "facebook" and not self.ig_user_id:
            raise ValueError("with login=facebook, ig_user_id (instagram_business_account.id) is needed")
        return self


class Kind(enum.Enum):
    """What is made; the value is the media rule's placement."""

    IMAGE = "feed"
    CAROUSEL = "carousel"
    REEL = "reel"
    STORY = "story"


def options_of(draft: Draft) -> Options:
    """The draft's options. :raises pydantic.ValidationError: they break the model."""
    return Options.model_validate(dict(draft.options))


def moves(item: MediaItem) -> bool:
    """Whether Instagram gets a video: one, or an animation, which becomes one on its way."""
    return item.kind is not MediaKind.IMAGE


def kind_of(draft: Draft) -> Kind:
    """By the placement and the media. A single video in the feed is always a reel."""
    placement = draft.options.get("placement", "auto")
    if placement == "story":
        return Kind.STORY
    if len(draft.media) > 1:
        return Kind.CAROUSEL
    if placement == "reel" or (draft.media and moves(draft.media[0])):
        return Kind.REEL
    return Kind.IMAGE


def by_upload(draft: Draft, account: AccountRef) -> bool:
    """Whether the bytes are uploaded: single videos of Facebook Login, unless a URL is wanted or at hand."""
    wanted = draft.options.get("media", "auto")
    single = kind_of(draft) in {Kind.REEL, Kind.STORY} and len(draft.media) == 1 and moves(draft.media[0])
    if not single or account.facts.get("login") != "facebook" or wanted == "url":
        return False
    return wanted == "bytes" or draft.media[0].url is None
