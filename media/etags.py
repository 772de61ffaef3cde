"""The tags (ETags) by which stores name what they have: MD5 sums of the file, or of its parts.

An object that was put whole has the MD5 of its bytes; one that came in parts has the MD5 of the parts' MD5 sums (as
bytes, one after the other), a hyphen and the number of parts. Source: Cloudflare R2, multipart objects (uploads since
2023-06-21), and Amazon S3, checking object integrity. Some stores give the first to both (rclone), some neither
(buckets that encrypt by a key of their own): a tag that fits proves, one that does not fit proves nothing.
"""

from __future__ import annotations

import hashlib
from typing import Any


class Tags:
    """The tags that a file can have, made while it is read part by part."""

    def __init__(self) -> None:
        self._whole = hashlib.md5(usedforsecurity=False)
        self._parts = hashlib.md5(usedforsecurity=False)
        self._count = 0

    def add(self, part: bytes) -> bytes:
        """The next part, as it is (or would be) sent; its own MD5, for the request that sends it.

        MD5 guards against accidents on the way, not against attacks.
        """
        own = hashlib.md5(part, usedforsecurity=False).digest()
        self._whole.update(part)
        self._parts.update(own)
        self._count += 1
        return own

    def possible(self) -> frozenset[str]:
        """Without quotes, lower case."""
        return frozenset({self._whole.hexdigest(), f"{self._parts.hexdigest()}-{self._count}"})


def of(answer: Any) -> str:
    """The tag in a store's answer, without quotes, lower case; empty where there is none."""
    return str(answer.get("ETag") or "").strip('"').lower()
