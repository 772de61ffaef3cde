"""Bluesky, and what speaks the AT Protocol like it: text, images, a video, link cards, reply rules."""

from __future__ import annotations

from platforms.bluesky.module import Bluesky

PLATFORM = Bluesky()
"""The face of Bluesky as a platform module."""
