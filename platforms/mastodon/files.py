"""What files an instance takes, by what it says of itself; what it does not say is as on mastodon.social."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from platforms.base import AccountRef
from platforms.mastodon.limits import Limits

if TYPE_CHECKING:
    from media.rules import MediaRule


def media_rule(rule: MediaRule, account: AccountRef) -> MediaRule:
    """The rule with the limits of the account's instance, so that files are made for that one."""
    limits = Limits.of(account.facts)
    images = tuple(mime for mime in rule.image_mimes if limits.takes(mime))
    gifs = limits.takes("image/gif")
    videos = tuple(mime for mime in rule.video.containers if limits.takes(mime)) if rule.video else ()
    video = rule.video and replace(
        rule.video, containers=videos, max_bytes=limits.video_size_limit, max_pixels=limits.video_matrix_limit
    )
    # What is made is MP4: without it an instance gets no video, and the module says so.
    plays = "video/mp4" in videos
    return replace(
        rule,
        image_mimes=images or rule.image_mimes,
        max_image_bytes=limits.image_size_limit,
        max_image_pixels=limits.image_matrix_limit,
        max_gif_bytes=limits.image_size_limit if gifs else None,
        gif_to_video=plays and not gifs,
        max_count=min(rule.max_count, limits.max_media_attachments),
        video=video if plays else None,
    )
