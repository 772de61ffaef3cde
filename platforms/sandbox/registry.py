"""The platforms that the sandbox emulates; a further one is a line here."""

from __future__ import annotations

from platforms.sandbox.bluesky import Bluesky
from platforms.sandbox.emulator import Emulator
from platforms.sandbox.instagram import Instagram
from platforms.sandbox.mastodon import Mastodon
from platforms.sandbox.pinterest import Pinterest
from platforms.sandbox.tiktok import TikTok
from platforms.sandbox.x import X

EMULATORS: tuple[type[Emulator], ...] = (X, Pinterest, TikTok, Instagram, Bluesky, Mastodon)
