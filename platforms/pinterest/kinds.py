"""The kinds of pin, and which medium of a draft is what: the image, the slides, the video, its cover."""

from __future__ import annotations

import enum

from platforms.base import AccountRef, Draft, Json, MediaItem, MediaKind
from platforms.kinds import PICTURE, VIDEO, KindOfPost

MAX_SLIDES = 5
"""Source: Pinterest API v5, OpenAPI 5.23.0 (2025-12), ``multiple_image_urls``."""


class Kind(enum.Enum):
    """What a draft becomes; the value is the key of its media rule."""

    IMAGE = "pin"
    CAROUSEL = "carousel"
    VIDEO = "video"


MEDIA_TYPES = {Kind.IMAGE: "image", Kind.CAROUSEL: "multiple_images", Kind.VIDEO: "video"}
"""How reads name each kind (``media.media_type`` of a pin)."""


def kind_of(draft: Draft) -> Kind:
    """By the media: a video makes a video pin, several pictures a carousel."""
    if any(item.kind is MediaKind.VIDEO for item in draft.media):
        return Kind.VIDEO
    return Kind.CAROUSEL if len(draft.media) > 1 else Kind.IMAGE


def video_of(draft: Draft) -> MediaItem:
    """The video of a video pin."""
    return next(item for item in draft.media if item.kind is MediaKind.VIDEO)


def pictures_of(draft: Draft) -> tuple[MediaItem, ...]:
    """The image, the slides, or the cover of a video."""
    return tuple(item for item in draft.media if item.kind is not MediaKind.VIDEO)


def alt_of(draft: Draft) -> str:
    """The alt text of the pin, which has one: a video's own (or its cover's); of slides all, one after the other."""
    if kind_of(draft) is Kind.VIDEO:
        return video_of(draft).alt or next((item.alt for item in pictures_of(draft)), "")
    return " | ".join(item.alt for item in draft.media if item.alt)


def _kind(name: str, *media: MediaItem, **options: Json) -> KindOfPost:
    account = AccountRef("pinterest", "")
    return KindOfPost(name, Draft("text", account, media, {"board": "1", **options}))


KINDS = (
    _kind("picture", PICTURE),
    _kind("picture, by URL", PICTURE, media="url"),
    _kind("carousel", PICTURE, PICTURE),
    _kind("video", VIDEO),
    _kind("video with a cover", VIDEO, PICTURE),
)
