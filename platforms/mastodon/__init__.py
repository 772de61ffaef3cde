"""Mastodon, and the servers that speak its API: text, images, a video, polls, content warnings."""

from __future__ import annotations

from platforms.mastodon.module import Mastodon

PLATFORM = Mastodon()
"""The face of Mastodon as a platform module."""
