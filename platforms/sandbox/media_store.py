"""Uploaded files: their bytes, what they turned out to be, and the uploads under way."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from platforms.sandbox.journal import Journal

MAX_PIXELS = 80_000_000
INLINE_BYTES = 64 * 1024
"""A picture up to this size is decoded at once; a larger one in a thread, so that others need not wait."""

_MIMES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp",
    "BMP": "image/bmp", "TIFF": "image/tiff", "MPO": "image/jpeg",
}  # fmt: skip


class NotMediaError(ValueError):
    """The bytes cannot be decoded as what they claim to be."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What some bytes are, by their content."""

    mime: str
    width: int = 0
    height: int = 0
    frames: int = 1

    @property
    def is_video(self) -> bool:
        return self.mime.startswith("video/")


def inspect(data: bytes) -> Facts:
    """Decodes a picture in full; a video is known by its container alone.

    :raises NotMediaError: it is neither.
    """
    if data[4:8] == b"ftyp":
        return Facts("video/quicktime" if data[8:10] == b"qt" else "video/mp4")
    if data[:4] == b"\x1aE\xdf\xa3":
        return Facts("video/webm")
    try:
        with Image.open(io.BytesIO(data)) as image:
            mime, width, height = _MIMES.get(image.format or ""), image.width, image.height
            frames = getattr(image, "n_frames", 1)
            sound = mime is not None and width * height <= MAX_PIXELS
            if sound:
                image.seek(0)
                image.load()
    except Exception as error:
        # Pillow's decoders raise what they like at damaged bytes.
        raise NotMediaError("the bytes are not a picture that can be decoded") from error
    if mime is None or not sound:
        raise NotMediaError("the picture has a format or a size that platforms do not take")
    return Facts(mime, width, height, frames)


@dataclass(slots=True)
class Media:
    """One upload."""

    media_id: str
    platform: str
    account: str
    declared_type: str
    category: str
    total_bytes: int
    expires_at: float
    owners: list[str] = field(default_factory=list)
    """User ids that may use it beside its account."""
    finalized: bool = False
    ready_at: float = 0.0
    """When its processing is over."""
    failed: str = ""
    sha256: str = ""
    mime: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    duration_s: float = 0.0
    alt: str = ""

    @property
    def expired(self) -> bool:
        return time.time() >= self.expires_at

    @property
    def is_video(self) -> bool:
        return self.mime.startswith("video/")


class MediaStore:
    """Uploads by platform and id, and blobs by their sha256.

    With a folder, blobs and segments are files there, so that a restarted sandbox goes on with an upload that
    was half done; without, they are in memory.
    """

    def __init__(self, journal: Journal, folder: Path | None) -> None:
        self._journal = journal
        self._folder = folder
        self._media: dict[tuple[str, str], Media] = {}
        self._blobs: dict[str, bytes] = {}
        self._facts: dict[str, Facts | NotMediaError] = {}
        self._segments: dict[tuple[str, str], dict[int, bytes]] = {}
        if folder is not None:
            (folder / "blobs").mkdir(parents=True, exist_ok=True)
            (folder / "segments").mkdir(parents=True, exist_ok=True)
        journal.on("media", self._replay)

    # --- blobs ---

    async def add(self, data: bytes) -> tuple[str, Facts]:
        """Keeps the bytes and says what they are. The same bytes are decoded once.

        :raises NotMediaError: they are no picture and no video.
        """
        sha = hashlib.sha256(data).hexdigest()
        facts = self._facts.get(sha)
        if facts is None:
            try:
                facts = inspect(data) if len(data) <= INLINE_BYTES else await asyncio.to_thread(inspect, data)
            except NotMediaError as error:
                facts = error
            self._facts[sha] = facts
            if isinstance(facts, Facts):
                self._keep_blob(sha, data)
        if isinstance(facts, NotMediaError):
            raise NotMediaError(str(facts))
        return sha, facts

    def blob(self, sha: str) -> bytes | None:
        """The bytes of that sha256, if they were kept."""
        if self._folder is None or not all(letter in "0123456789abcdef" for letter in sha) or len(sha) != 64:
            return self._blobs.get(sha)
        path = self._folder / "blobs" / sha
        return path.read_bytes() if path.exists() else None

    # --- uploads ---

    def get(self, platform: str, media_id: str) -> Media | None:
        return self._media.get((platform, media_id))

    def of_account(self, platform: str, account: str) -> list[Media]:
        return [media for media in self._media.values() if media.platform == platform and media.account == account]

    def save(self, media: Media) -> Media:
        """Creates or replaces."""
        self._journal.write("media", {"media": asdict(media)})
        self._media[media.platform, media.media_id] = media
        return media

    def put_segment(self, media: Media, index: int, data: bytes) -> None:
        """Keeps one segment; the same index again replaces it."""
        if self._folder is not None:
            path = self._segment_folder(media) / str(index)
            path.parent.mkdir(exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)
            return
        self._segments.setdefault((media.platform, media.media_id), {})[index] = data

    def segment_sizes(self, media: Media) -> dict[int, int]:
        """Segment index -> bytes."""
        if self._folder is not None:
            folder = self._segment_folder(media)
            if not folder.exists():
                return {}
            with os.scandir(folder) as entries:
                return {int(entry.name): entry.stat().st_size for entry in entries if entry.name.isdigit()}
        held = self._segments.get((media.platform, media.media_id), {})
        return {index: len(data) for index, data in held.items()}

    def take_segments(self, media: Media) -> bytes:
        """All segments in order, which are dropped."""
        indices = sorted(self.segment_sizes(media))
        if self._folder is not None:
            folder = self._segment_folder(media)
            whole = b"".join((folder / str(index)).read_bytes() for index in indices)
            for index in indices:
                (folder / str(index)).unlink()
            if folder.exists():
                folder.rmdir()
            return whole
        held = self._segments.pop((media.platform, media.media_id), {})
        return b"".join(held[index] for index in indices)

    def clear(self) -> None:
        """Forgets uploads; blob files stay, they are named by their content."""
        self._media.clear()
        self._segments.clear()

    def _segment_folder(self, media: Media) -> Path:
        folder = self._folder or Path()
        return folder / "segments" / f"{media.platform}-{media.media_id}"

    def _keep_blob(self, sha: str, data: bytes) -> None:
        if self._folder is None:
            self._blobs[sha] = data
            return
        path = self._folder / "blobs" / sha
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)

    def _replay(self, record: Mapping[str, Any]) -> None:
        media = Media(**record["media"])
        self._media[media.platform, media.media_id] = media
