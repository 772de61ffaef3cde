"""What X says ahead of time: nothing for free.

``GET /2/users/me`` is charged as a user read ($0.010; the same user once within a UTC day. Source: X API pricing,
2026-08), and X tells of no quota without a post. So the identity is only read where no post and no earlier look of
the last day has shown that the access works; quotas are counted by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from platforms import oauth
from platforms.base import Json


def access_ends_at(credentials: Mapping[str, Json]) -> datetime | None:
    """The end of an OAuth 2.0 access that has no refresh token; OAuth 1.0a has none."""
    return None if oauth.renewable(credentials) else oauth.expires_at(credentials)
