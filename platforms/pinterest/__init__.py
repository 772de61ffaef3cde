"""Pinterest: image pins, by URL or by bytes, through API v5."""

from __future__ import annotations

from platforms.pinterest.module import Pinterest

PLATFORM = Pinterest()
