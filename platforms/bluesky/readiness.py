"""What Bluesky says ahead of time: how many videos an account may still upload today, and when its session ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from platforms.base import AuthExpired, Call, Draft, Effect, Json, MediaKind, NotSent, RateLimited, Rejected, Violation
from platforms.bluesky import api, oauth_session, proven, video
from platforms.hosts import is_loopback
from platforms.outcomes import utc
from platforms.readiness import Looked, Waiting

LIMITS = "app.bsky.video.getUploadLimits"
DAY = timedelta(hours=24)
"""What is used up today is free again for whatever is due later."""


def access_ends_at(credentials: Mapping[str, Json]) -> datetime | None:
    """When nothing renews the access any more.

    A session of an app password is renewed, or made anew, without end. An OAuth session ends some time after it began,
    whatever is renewed; of one that was connected before that time was kept, it is not known.
    """
    began = utc(credentials.get("session_began_at"))
    if not proven.is_oauth(credentials) or began is None:
        return None
    return began + oauth_session.session_life(credentials)


def check(call: Call, waiting: Sequence[Waiting]) -> Looked:
    """Whether the videos among these posts will be taken; nothing is asked where there are none."""
    answer: list[list[Violation]] = [[] for _ in waiting]
    host = urlsplit(api.origin(call.credentials)).hostname or ""
    films = [(place, one) for place, one in enumerate(waiting) if _has_video(one.draft)]
    if not films or is_loopback(host):
        return answer
    limits = _limits(call)
    if not isinstance(limits, dict):
        return limits
    videos, size, can = limits.get("remainingDailyVideos"), limits.get("remainingDailyBytes"), limits.get("canUpload")
    if can is False and not (videos == 0 or size == 0):
        why = limits.get("message") or limits.get("error") or "no reason given"
        for place, _ in films:
            answer[place].append(_violation("video_forbidden", f"Bluesky takes no videos from this account: {why}"))
        return answer
    until = call.now() + DAY
    for place, one in sorted(films, key=lambda film: film[1].due_at):
        if one.due_at > until:
            continue
        videos = _less(videos, 1)
        size = _less(size, sum(item.size for item in one.draft.media if item.kind is MediaKind.VIDEO))
        if (videos is not None and videos < 0) or (size is not None and size < 0):
            what = "number" if videos is not None and videos < 0 else "size"
            message = f"with the videos before it this one is over the {what} that Bluesky takes of the account today"
            answer[place].append(_violation("daily_videos", message))
    return answer


def _has_video(draft: Draft) -> bool:
    return any(item.kind is MediaKind.VIDEO for item in draft.media)


def _less(left: Json, used: int) -> int | None:
    """What is left of a limit; None: there is none that is known."""
    return left - used if isinstance(left, int) and not isinstance(left, bool) else None


def _limits(call: Call) -> dict[str, Json] | AuthExpired | RateLimited | NotSent | Rejected:
    """What the video service says of the account; empty where it does not say."""
    token = api.access(call)
    if isinstance(token, AuthExpired):
        return token
    given = video.get_pass(call, token, audience=video.SERVICE, method=LIMITS)
    if not isinstance(given, str):
        # Nothing that keeps a post from going out: a session without that right is told by its scopes.
        return {} if isinstance(given, Rejected) else given
    reply = api.xrpc(call, "GET", LIMITS, effect=Effect.READ, token=given, at=video.ORIGIN)
    if reply.status == 429:
        return api.limited(call, reply)
    if reply.status >= 500 and reply.status != 501:
        return NotSent("server_error", f"Bluesky's video service answered {reply.status}.", reply.status)
    return api.good(reply)


def _violation(code: str, message: str) -> Violation:
    return Violation(code, message, "media", None, "bluesky")
