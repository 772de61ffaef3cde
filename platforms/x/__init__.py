"""X, formerly Twitter: text, up to four images or one animated GIF, through API v2."""

from __future__ import annotations

from platforms.x.module import X

PLATFORM = X()
