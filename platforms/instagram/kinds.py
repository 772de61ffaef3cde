"""The kinds of post on Instagram, and how Instagram gets their media with each of Meta's two logins."""

from __future__ import annotations

from platforms.base import AccountRef, Draft, Json, MediaItem
from platforms.kinds import PICTURE, VIDEO, KindOfPost

_ACCOUNT = AccountRef("instagram", "", facts={"login": "instagram"})
_FACEBOOK = AccountRef("instagram", "", facts={"login": "facebook"})


def _kind(name: str, *media: MediaItem, account: AccountRef = _ACCOUNT, **options: Json) -> KindOfPost:
    # A story shows no caption.
    text = "" if options.get("placement") == "story" else "text"
    return KindOfPost(name, Draft(text, account, media, options))


KINDS = (
    _kind("picture", PICTURE),
    _kind("carousel", PICTURE, VIDEO),
    _kind("reel", VIDEO),
    _kind("reel, Facebook Login", VIDEO, account=_FACEBOOK),
    _kind("story, picture", PICTURE, placement="story"),
    _kind("story, video", VIDEO, placement="story"),
    KindOfPost("first comment", Draft("text", _ACCOUNT, part=1, parts=2)),
)
