"""Files of the Mastodon emulator: upload, wait, describe. A file belongs to one status at most."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.clip import read_clip
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.mastodon_words import MastodonWords
from platforms.sandbox.media_store import Media, NotMediaError
from platforms.sandbox.wire import Request, Response, json_response, multipart

WRITE = "write:media"
UPLOADS = (30, 1800)
TYPES = (
    "image/jpeg", "image/png", "image/gif", "image/webp", "image/heic", "image/heif", "image/avif",
    "video/mp4", "video/webm", "video/quicktime",
)  # fmt: skip
GIF_PIXELS = 921_600
VIDEO_PIXELS = 8_294_400
USED = "used"
"""The category of a file that a status has."""


class MastodonMedia:
    """The calls around files."""

    def __init__(self, emulator: MastodonWords) -> None:
        self._mastodon = emulator
        self._world = emulator.world

    def routes(self) -> Sequence[Route]:
        one = "/api/v1/media/{id}"
        return (
            Route("POST", "/api/v2/media", "upload", "prepare", self.upload, UPLOADS),
            Route("GET", one, "media", "prepare", self.show),
            Route("PUT", one, "describe", "prepare", self.describe),
        )

    async def upload(self, request: Request) -> Response:
        account = self._mastodon.in_scope(signed_in(request), WRITE)
        parts = {part.name: part for part in multipart(request)}
        if "file" not in parts:
            raise self._mastodon.refuse(422, "Validation failed: File can't be blank")
        data = parts["file"].data
        alt = parts["description"].data.decode("utf-8", "replace") if "description" in parts else ""
        self._check_alt(alt)
        try:
            sha, facts = await self._world.media.add(data)
        except NotMediaError:
            raise self._mastodon.refuse(422, "Validation failed: File content type is invalid") from None
        limits = self._mastodon.limits
        most = limits["video_size_limit" if facts.is_video else "image_size_limit"]
        if facts.mime not in TYPES:
            raise self._mastodon.refuse(422, "Validation failed: File content type is invalid")
        if len(data) > most:
            raise self._mastodon.refuse(422, f"Validation failed: File must be less than {most} bytes")
        if not facts.is_video and facts.width * facts.height > limits["image_matrix_limit"]:
            size = f"{facts.width}x{facts.height}"
            raise self._mastodon.refuse(422, f"Validation failed: {size} images are not supported")
        animated = facts.mime == "image/gif" and facts.frames > 1
        if animated and facts.width * facts.height > GIF_PIXELS:
            raise self._mastodon.refuse(422, "Validation failed: GIF is larger than 921600 pixels")
        film = read_clip(data) if facts.mime in {"video/mp4", "video/quicktime"} else None
        if film is not None and film.width * film.height > VIDEO_PIXELS:
            size = f"{film.width}x{film.height}"
            raise self._mastodon.refuse(422, f"Validation failed: {size} videos are not supported")
        slow = facts.is_video or animated
        media = self._world.media.save(
            Media(
                self._world.next_id(),
                "mastodon",
                account.name,
                parts["file"].content_type,
                "gifv" if animated else "video" if facts.is_video else "image",
                len(data),
                time.time() + self._world.settings.media_ttl_s,
                finalized=True,
                ready_at=time.time() + (self._world.settings.processing_s if slow else 0.0),
                sha256=sha,
                mime=facts.mime,
                width=facts.width,
                height=facts.height,
                size=len(data),
                alt=alt,
            )
        )
        return json_response(self.shown(media), 200 if self.is_ready(media) else 202)

    async def show(self, request: Request) -> Response:
        media = self._mine(self._mastodon.in_scope(signed_in(request), WRITE), request.args["id"])
        return json_response(self.shown(media), 200 if self.is_ready(media) else 206)

    async def describe(self, request: Request) -> Response:
        media = self._mine(self._mastodon.in_scope(signed_in(request), WRITE), request.args["id"])
        alt = str(self._mastodon.body(request).get("description") or "")
        self._check_alt(alt)
        media.alt = alt
        self._world.media.save(media)
        return json_response(self.shown(media))

    # --- what the status call needs ---

    def take(self, account: Account, ids: Sequence[str]) -> list[Media]:
        """The files that a new status names. :raises RefusedError: one is not there, taken, or not ready."""
        found = [self._world.media.get("mastodon", media_id) for media_id in ids]
        missing = [
            media_id
            for media_id, media in zip(ids, found, strict=True)
            if media is None or media.account != account.name or media.expired or media.owners == [USED]
        ]
        if missing:
            named = ", ".join(missing)
            raise self._mastodon.refuse(422, f"Media {named} not found or already attached to another post")
        files = [media for media in found if media is not None]
        if len(files) > self._mastodon.limits["max_media_attachments"]:
            raise self._mastodon.refuse(422, "Validation failed: Cannot attach more than 4 files")
        if len(files) > 1 and any(media.category != "image" for media in files):
            raise self._mastodon.refuse(422, "Cannot attach a video to a post that already contains images")
        if not all(self.is_ready(media) for media in files):
            words = "Cannot attach files that have not finished processing. Try again in a moment!"
            raise self._mastodon.refuse(422, words)
        return files

    def attach(self, media: Media) -> None:
        """The file belongs to a status from now on, and stays as long as that."""
        media.owners = [USED]
        media.expires_at = time.time() + 10 * 365 * 86_400.0
        self._world.media.save(media)

    def shown(self, media: Media) -> dict[str, Any]:
        """A file as answers show it; without its address while it is processed."""
        url = f"{self._world.url}/_sandbox/blob/{media.sha256}" if self.is_ready(media) else None
        size = {"width": media.width, "height": media.height} if media.width else {}
        return {
            "id": media.media_id,
            "type": media.category,
            "url": url,
            "preview_url": url,
            "remote_url": None,
            "description": media.alt or None,
            "blurhash": None,
            "meta": {"original": {**size, "aspect": media.width / media.height}} if media.height else {},
        }

    def is_ready(self, media: Media) -> bool:
        """Whether the server is done with the file."""
        return time.time() >= media.ready_at

    def _check_alt(self, alt: str) -> None:
        most = self._mastodon.limits["description_limit"]
        if len(alt) > most:
            raise self._mastodon.refuse(
                422, f"Validation failed: Description is too long (maximum is {most} characters)"
            )

    def _mine(self, account: Account, media_id: str) -> Media:
        media = self._world.media.get("mastodon", media_id)
        if media is None or media.account != account.name or media.expired or media.owners == [USED]:
            raise self._mastodon.refuse(404)
        return media
