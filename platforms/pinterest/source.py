"""The ``media_source`` of a pin: how Pinterest gets its image, its slides, or the cover of its video.

A picture travels by URL where our store is public and by bytes (base64, inside the request) otherwise; a video
always by an upload of its own. Source: Pinterest API v5, OpenAPI 5.23.0 (2025-12).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from platforms.base import Call, Draft, Json, MediaItem, NotSent, Rejected
from platforms.pinterest import pictures, upload
from platforms.pinterest.kinds import Kind, kind_of, pictures_of, video_of
from platforms.pinterest.models import Options

BYTES_MIMES = ("image/jpeg", "image/png")
"""What base64 may hold."""

Source = dict[str, Json]


def source_of(call: Call, draft: Draft, options: Options) -> Source | Rejected | NotSent:
    """The ``media_source``; or why there is none, and then nothing was sent."""
    items = pictures_of(draft)
    kind = kind_of(draft)
    if kind is Kind.VIDEO:
        return _video(call, draft, options, items)
    sent = _pictures(call, items, options.media)
    if not isinstance(sent, list):
        return sent
    by_url = "url" in sent[0]
    if kind is Kind.IMAGE:
        return {"source_type": "image_url" if by_url else "image_base64", **sent[0]}
    for place, slide in enumerate(options.slides[: len(sent)]):
        sent[place] |= {name: value for name, value in slide.model_dump().items() if value}
    source: Source = {"source_type": "multiple_image_urls" if by_url else "multiple_image_base64", "items": sent}
    return {**source, "index": options.first_slide} if options.first_slide else source


def _video(call: Call, draft: Draft, options: Options, covers: Sequence[MediaItem]) -> Source | Rejected | NotSent:
    """A video that was uploaded, and its cover: a picture of the author's, or a moment of the video itself."""
    media_id = upload.ready_id(call, video_of(draft))
    if media_id is None:
        return NotSent("media_not_ready", "The video is not on Pinterest, or was too long ago.")
    source: Source = {"source_type": "video_id", "media_id": media_id}
    if not covers:
        # A video pin without a cover is refused: the first picture serves where nothing was chosen.
        return {**source, "cover_image_key_frame_time": options.cover_time_s or 0}
    sent = _pictures(call, covers[:1], options.media)
    if not isinstance(sent, list):
        return sent
    cover = sent[0]
    if "url" in cover:
        return {**source, "cover_image_url": cover["url"]}
    return {**source, "cover_image_content_type": cover["content_type"], "cover_image_data": cover["data"]}


def may_be_bytes(draft: Draft) -> bool:
    """Whether pictures may have to travel inside the request: what the draft itself does not rule out."""
    return draft.options.get("media") != "url" and bool(pictures_of(draft))


def must_be_bytes(draft: Draft) -> bool:
    """Whether pictures travel inside the request, as far as is known: the store's addresses come with the media."""
    wanted = draft.options.get("media") == "bytes" or any(item.url is None for item in pictures_of(draft))
    return may_be_bytes(draft) and wanted


def body_size(draft: Draft) -> int:
    """Bytes of the request's pictures, at most; base64 makes four of three."""
    return sum(item.size for item in pictures_of(draft)) * 4 // 3 if may_be_bytes(draft) else 0


def fetch_ahead(call: Call, draft: Draft) -> None:
    """Has the pictures that will travel inside the request at hand; what is wrong with them is told when it is due."""
    items = pictures_of(draft)
    covers = items[:1] if kind_of(draft) is Kind.VIDEO else items
    if _by_url(call, covers, str(draft.options.get("media", "auto"))) or draft.options.get("media") == "url":
        return
    for item in covers:
        if _fits(item):
            pictures.bytes_of(item)


def _fits(item: MediaItem) -> bool:
    return item.read is not None and item.mime in BYTES_MIMES


def _by_url(call: Call, items: Sequence[MediaItem], wanted: str) -> bool:
    by_url = all(item.url is not None for item in items) and wanted != "bytes"
    unreachable = wanted == "auto" and bool(call.checkpoint.get("url_unreachable")) and all(map(_fits, items))
    return by_url and not unreachable


def _pictures(call: Call, items: Sequence[MediaItem], wanted: str) -> list[Source] | Rejected | NotSent:
    """The pictures, all by URL or all by bytes: the slides of a carousel cannot be mixed."""
    if _by_url(call, items, wanted):
        return [{"url": item.url} for item in items]
    if wanted == "url":
        return NotSent("no_url", "The picture has no address that Pinterest could fetch it from.")
    for item in items:
        if item.read is None:
            return NotSent("no_bytes", "The picture cannot be read.")
        if item.mime not in BYTES_MIMES:
            return Rejected("media_type", f"Pinterest takes {item.mime} by URL only.")
    return [_in_the_request(item) for item in items]


def _in_the_request(item: MediaItem) -> Source:
    return {"content_type": item.mime, "data": base64.b64encode(pictures.bytes_of(item)).decode("ascii")}
