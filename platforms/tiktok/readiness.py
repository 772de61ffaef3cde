"""What TikTok says ahead of time: what the creator may do now, and whether the day's cap is reached.

``creator_info`` (20 requests a minute for each token. Source: Content Posting API v2, 2026-08) says both: the cap by
an error, the choices by its data. It is asked once for all posts of an account, and only for those that are posted
directly; a draft for the inbox has no privacy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import ValidationError

from platforms.base import Call, Json, Violation
from platforms.oauth import expires_at
from platforms.outcomes import utc
from platforms.readiness import Looked, Waiting
from platforms.tiktok import api, creator
from platforms.tiktok.models import is_direct


def check(call: Call, waiting: Sequence[Waiting]) -> Looked:
    """Posts that ask for what this creator is not offered; ``RateLimited`` where the cap is reached."""
    if not any(is_direct(one.draft) for one in waiting):
        return [[] for _ in waiting]
    info = creator.ask(call)
    if not isinstance(info, dict):
        return info
    return [_judged(one, info) for one in waiting]


def _judged(one: Waiting, info: dict[str, Json]) -> list[Violation]:
    try:
        return list(creator.violations(one.draft, info)) if is_direct(one.draft) else []
    except ValidationError:
        return []  # options that cannot be read are named by the rules


def access_ends_at(credentials: Mapping[str, Json]) -> datetime | None:
    """The end of the refresh token, where it says one: half a year after the creator signed in."""
    return utc(credentials.get("refresh_expires_at")) if api.renewable(credentials) else expires_at(credentials)
