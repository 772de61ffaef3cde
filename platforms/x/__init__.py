"""X, formerly Twitter: text, up to four images, one animated GIF or one video, polls, through API v2."""

from __future__ import annotations

from platforms.x.module import X

PLATFORM = X()
