"""Instagram: images, carousels, reels and stories of professional accounts, through the Graph API."""

from __future__ import annotations

from platforms.instagram.module import Instagram

PLATFORM = Instagram()
