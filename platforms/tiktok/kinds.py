"""The kinds of post on TikTok: who can see it, and how TikTok gets the media, decide which call publishes."""

from __future__ import annotations

from platforms.base import AccountRef, Draft, Json, MediaItem
from platforms.kinds import PICTURE, VIDEO, KindOfPost
from platforms.tiktok import api
from platforms.tiktok.models import PUBLIC

_ACCOUNT = AccountRef("tiktok", "", facts={"scopes": list(api.SCOPES)})
_PHOTOS = (PICTURE, PICTURE)


def _kind(name: str, media: tuple[MediaItem, ...], /, **options: Json) -> KindOfPost:
    # TikTok keeps no caption with a video for the inbox.
    text = "" if options.get("mode") == "inbox" else "text"
    return KindOfPost(name, Draft(text, _ACCOUNT, media, options))


KINDS = (
    _kind("video, uploaded", (VIDEO,), privacy=PUBLIC),
    _kind("video by URL, public", (VIDEO,), privacy=PUBLIC, media="url"),
    _kind("video by URL, not public", (VIDEO,), privacy="SELF_ONLY", media="url"),
    _kind("photos, public", _PHOTOS, privacy=PUBLIC),
    _kind("photos, not public", _PHOTOS, privacy="SELF_ONLY"),
    _kind("video to the inbox", (VIDEO,), mode="inbox"),
    _kind("video to the inbox by URL", (VIDEO,), mode="inbox", media="url"),
    _kind("photos to the inbox", _PHOTOS, mode="inbox"),
)
