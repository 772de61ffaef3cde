"""TikTok: videos by upload or by URL and photos by URL, posted directly or into the creator's inbox."""

from __future__ import annotations

from platforms.tiktok.module import TikTok

PLATFORM = TikTok()
