"""Pinterest: image, carousel and video pins, through API v5."""

from __future__ import annotations

from platforms.pinterest.module import Pinterest

PLATFORM = Pinterest()
