"""What Instagram says ahead of time: how many posts of the last 24 hours count, also those made elsewhere.

``content_publishing_limit`` has the count as it is now; its window rolls on. So it is only held against posts that
are due so soon that little of it can have rolled out of the window; for later ones our own count has to do.
Source: Content publishing guide, 2026-06.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from platforms.base import Call, Effect, Json, Violation
from platforms.instagram import api
from platforms.oauth import expires_at
from platforms.outcomes import mapping, objects, utc
from platforms.readiness import Looked, Waiting

SOON = timedelta(hours=2)
"""Posts due within it are held against the present count."""


def check(call: Call, waiting: Sequence[Waiting]) -> Looked:
    """Posts for which the account's day has no place left."""
    soon = sorted((one.due_at, index) for index, one in enumerate(waiting) if one.due_at - call.now() <= SOON)
    user = api.ig_user(call)
    if not soon or user is None:
        return [[] for _ in waiting]
    fields = {"fields": "quota_usage,config"}
    reply = api.request(call, "GET", f"/{user}/content_publishing_limit", effect=Effect.READ, params=fields)
    rows = objects(api.good(reply).get("data"))
    if not rows:
        return api.refusal(call, reply)
    used, total = rows[0].get("quota_usage"), mapping(rows[0].get("config")).get("quota_total")
    found: list[list[Violation]] = [[] for _ in waiting]
    if isinstance(used, int) and isinstance(total, int) and total > 0:
        message = f"Instagram takes {total} posts in 24 hours, and counts {used} now."
        for _, index in soon[max(total - used, 0) :]:
            found[index].append(Violation("quota_full", message, "account", platform="instagram"))
    return found


def access_ends_at(credentials: Mapping[str, Json]) -> datetime | None:
    """A token of Instagram Login renews itself as long as it lives; one of Facebook Login ends when it says, and at
    the latest with the 90 days for which an app may act for somebody who does not sign in again.
    """
    if api.login_of(credentials) != "facebook":
        return None
    ends = (expires_at(credentials), utc(credentials.get("data_access_ends_at")))
    return min((end for end in ends if end is not None), default=None)
