"""How far a post is, by its publish_id; and what that means for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from platforms.base import AuthExpired, Call, Draft, Effect, Json, NotSent, Processing, Published, RateLimited, Rejected
from platforms.outcomes import utc
from platforms.tiktok import api, creator, upload
from platforms.tiktok.models import PUBLIC, Kind, is_direct, kind_of, options_of

POLL_S = 15.0
"""Mean processing of 512 MB takes less than 30 s; 30 status calls a minute are allowed. Source: Get Post Status."""
ID_WAIT = timedelta(minutes=10)
"""How long a public post's id is waited for after TikTok says it is complete: moderation gives it, usually within a
minute, sometimes after hours. The post counts as published without it."""
RETRY_S = 60.0
MAX_FAILURES = 3

_RETRY = frozenset({"internal", "video_pull_failed", "photo_pull_failed"})
_CAPS = frozenset({"spam_risk_too_many_posts"})
_REVOKED = frozenset({"auth_removed"})
"""Fail reasons that another try may mend: at once, after the day's cap, with new access. All others are for good.
Source: Get Post Status, 2026-08."""

Settled = Published | Processing | Rejected | RateLimited | AuthExpired


class Stage(enum.Enum):
    """Where a post is."""

    UPLOADING = "uploading"
    """TikTok lacks bytes: nothing is begun."""
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    """It will not appear."""


@dataclass(frozen=True)
class State:
    """What TikTok says of a publish_id."""

    stage: Stage
    post_id: str | None = None
    reason: str = ""


def read(call: Call, draft: Draft) -> State | api.Refusal:
    """Asks for the status of the post's publish_id."""
    job = upload.job_of(call)
    reply = api.post(
        call, f"{api.PUBLISH}/status/fetch/", effect=Effect.READ, json={"publish_id": job.get("publish_id")}
    )
    answer = api.data(reply)
    match answer.get("status"):
        case "PUBLISH_COMPLETE":
            return State(Stage.DONE, _first_id(answer.get("publicaly_available_post_id")))
        case "SEND_TO_USER_INBOX" if not is_direct(draft):
            return State(Stage.DONE)
        case "FAILED":
            return State(Stage.FAILED, reason=str(answer.get("fail_reason") or "unknown"))
        case "PROCESSING_UPLOAD" if kind_of(draft) is Kind.UPLOADED_VIDEO:
            has = answer.get("uploaded_bytes")
            lacks = isinstance(has, int) and has < int(job.get("size") or 0)
            return State(Stage.UPLOADING if lacks else Stage.WORKING)
        case str():
            # Also a status that is newer than this module: neither done nor failed.
            return State(Stage.WORKING)
    return api.refusal(call, reply)


def _first_id(value: Json) -> str | None:
    """The post's id, as text: it does not fit into what JavaScript calls a number."""
    ids = value if isinstance(value, list) else [value]
    found = [
        str(one) for one in ids if isinstance(one, str | int) and not isinstance(one, bool) and str(one).isdecimal()
    ]
    return found[0] if found and found[0] != "0" else None


def permalink(call: Call, draft: Draft, post_id: str) -> str | None:
    """Where people see the post; None where the creator's name is not known."""
    name = str(creator.of(call).get("creator_username") or call.account.handle or "")
    what = "photo" if kind_of(draft) is Kind.PHOTOS else "video"
    return f"https://www.tiktok.com/@{name}/{what}/{post_id}" if name else None


def published(call: Call, draft: Draft, state: State) -> Published:
    """The post as TikTok shows it; a private one has no id."""
    post_id = state.post_id
    return Published(post_id, permalink(call, draft, post_id) if post_id else None)


def waits_for_id(call: Call, draft: Draft, state: State) -> bool:
    """Whether the id of a complete post may still come, and is worth waiting for."""
    if state.post_id is not None or not is_direct(draft) or options_of(draft).privacy != PUBLIC:
        return False
    since = utc(call.checkpoint.get("complete_at"))
    if since is None:
        since = call.now()
        call.save(complete_at=since.isoformat())
    return call.now() < since + ID_WAIT


def settled(call: Call, draft: Draft, state: State) -> Settled | None:
    """What a state means for a post that TikTok took; None: failed in a way that may be tried anew at once.

    Where it may be tried again the checkpoint is ready for a new init: a failed publish_id never becomes a post.
    """
    if state.stage is Stage.DONE:
        return Processing(POLL_S) if waits_for_id(call, draft, state) else published(call, draft, state)
    if state.stage is not Stage.FAILED:
        return Processing(POLL_S)
    message = f"TikTok could not make the post: {state.reason}."
    if state.reason in _CAPS:
        call.save(job={})
        return RateLimited(call.now() + api.CAP_WAIT, message)
    if state.reason in _REVOKED:
        call.save(job={})
        return AuthExpired(state.reason, f"{message} Connect the account again.", permanent=True)
    failures = int(call.checkpoint.get("failures") or 0) + 1
    if state.reason not in _RETRY or failures >= MAX_FAILURES:
        return Rejected(state.reason, message)
    call.save(job={}, failures=failures)
    return None


def unread(refused: api.Refusal) -> api.Refusal:
    """A refusal to tell the status says nothing about the post: never "rejected"."""
    if isinstance(refused, Rejected):
        return NotSent(refused.code, refused.message, refused.http_status)
    return refused


def created_at(value: Json) -> datetime | None:
    """``create_time``: seconds since 1970, UTC."""
    return utc(value)
