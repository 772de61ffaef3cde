"""How a video is cut for TikTok: the floor rule, as arithmetic.

``total_chunk_count = floor(video_size / chunk_size)``; all chunks have ``chunk_size`` but the last, which takes the
remainder as well. Each has 5 to 64 MB, the last up to 128 MB; below 5 MB a video is one chunk of its own size; 1 to
1,000 chunks, in order. Whether MB means 1,000,000 or 1,048,576 is not said, so both readings are kept.
Source: Media Transfer Guide, 2026-08.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SMALLEST = 5 * 1024 * 1024
"""Bytes: five of the larger megabytes."""
MAX_COUNT = 1_000
_RANGE = re.compile(r"\s*bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)\s*")


@dataclass(frozen=True)
class Cut:
    """How one video is cut."""

    size: int
    chunk: int
    count: int

    def span(self, index: int) -> tuple[int, int]:
        """First byte of a chunk, and the byte after its last."""
        begin = index * self.chunk
        return begin, self.size if index == self.count - 1 else begin + self.chunk

    def content_range(self, index: int) -> str:
        """The header of a chunk."""
        begin, end = self.span(index)
        return f"bytes {begin}-{end - 1}/{self.size}"


def cut(size: int) -> Cut:
    """Chunks of nearly one size, as small as allowed: the last one is what is left to send at the due second.

    With n = floor(size / SMALLEST) chunks of floor(size / n) bytes each, less than n bytes remain for the last, so
    floor(size / chunk) is n again, and no chunk has fewer than SMALLEST or more than twice as many bytes.

    :raises ValueError: an empty file.
    """
    if size <= 0:
        raise ValueError("an empty video cannot be cut")
    count = min(max(size // SMALLEST, 1), MAX_COUNT)
    return Cut(size, size // count, count)


def held(content_range: str | None) -> int | None:
    """How many bytes TikTok has, as a 416 says in ``Content-Range``; None where it does not say."""
    found = _RANGE.fullmatch(content_range or "")
    if found is None:
        return None
    return int(found[2]) + 1 if found[2] else 0
