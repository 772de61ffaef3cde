"""What an author may ask of TikTok, what kind of post that is, and what proves who posts."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from platforms.base import Draft, MediaKind

PUBLIC = "PUBLIC_TO_EVERYONE"
Privacy = Literal["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY"]

CAPTION_LIMIT = 2_200
DESCRIPTION_LIMIT = 4_000
TITLE_LIMIT = 90
"""UTF-16 units, of a video's caption, of a photo post's text, and of its title.
Source: Direct Post and Photo pages, 2026-08."""
MAX_PHOTOS = 35


def utf16_length(text: str) -> int:
    """UTF-16 units: an emoji outside of the first plane counts as two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _short_title(value: str) -> str:
    if utf16_length(value) > TITLE_LIMIT:
        raise ValueError(f"has more than {TITLE_LIMIT} UTF-16 units")
    return value


class Options(BaseModel):
    """The options of a post on TikTok. Source: Content Posting API v2, pages as of 2026-08."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["direct", "inbox"] = "direct"
    """``direct`` posts; ``inbox`` sends a draft that the creator finishes in the app."""
    privacy: Privacy | None = None
    """Who can see it. Required for a direct post, without a default: TikTok wants the author to choose."""
    title: Annotated[str, AfterValidator(_short_title)] | None = None
    """A photo post's title; the text is its description."""
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    cover_timestamp_ms: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """The video's frame that is its cover."""
    cover_index: int = Field(default=0, ge=0, lt=MAX_PHOTOS)
    """The photo that is the cover, from 0."""
    auto_add_music: bool = False
    """TikTok puts music under the photos."""
    brand_content: bool = False
    """Discloses a paid partnership with another brand."""
    brand_organic: bool = False
    """Discloses the promotion of the creator's own business."""
    ai_generated: bool = False
    media: Literal["auto", "upload", "url"] = "auto"
    """How TikTok gets a video: by upload (``auto`` as well), or from our store under a verified domain."""


class Credentials(BaseModel):
    """OAuth 2. With ``refresh_token``, ``client_key`` and ``client_secret`` the access renews itself."""

    model_config = ConfigDict(extra="forbid")

    access_token: str = Field(min_length=1)
    refresh_token: str | None = None
    client_key: str | None = None
    client_secret: str | None = None
    expires_at: str | float | None = None
    """When the access token runs out: ISO 8601, or seconds since 1970."""
    refresh_expires_at: str | float | None = None
    open_id: str | None = None
    scope: str | None = None
    """What was granted, separated by commas or blanks."""


class Kind(enum.Enum):
    """What is made, and how TikTok gets it: decides which request publishes."""

    UPLOADED_VIDEO = "uploaded video"
    """The last chunk publishes."""
    PULLED_VIDEO = "pulled video"
    """The init publishes."""
    PHOTOS = "photos"
    """The init publishes."""


def options_of(draft: Draft) -> Options:
    """The draft's options. :raises pydantic.ValidationError: they break the model."""
    return Options.model_validate(dict(draft.options))


def kind_of(draft: Draft) -> Kind:
    """By the media; what does not move is taken for photos. An animation becomes a video on its way to TikTok."""
    if any(item.kind is not MediaKind.IMAGE for item in draft.media):
        return Kind.PULLED_VIDEO if draft.options.get("media") == "url" else Kind.UPLOADED_VIDEO
    return Kind.PHOTOS


def is_direct(draft: Draft) -> bool:
    """Whether it is posted, not sent to the inbox."""
    return bool(draft.options.get("mode", "direct") == "direct")
