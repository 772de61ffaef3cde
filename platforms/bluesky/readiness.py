"""What Bluesky says ahead of time: who the account is, and no more. There is no quota that could be read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from platforms.base import Json


def access_ends_at(credentials: Mapping[str, Json]) -> datetime | None:  # noqa: ARG001 - the same for all of them
    """None: a session is renewed, or made anew by the app password; when a person takes it back, nobody can see."""
    return None
