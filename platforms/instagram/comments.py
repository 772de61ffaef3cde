"""The first comment: a call of its own once the post is public, with an attempt and a checkpoint of its own.

Source: Instagram Platform, IG Media comments reference, 2025-01.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from platforms.base import (
    Absent,
    AuthExpired,
    Call,
    Doubt,
    Draft,
    Effect,
    Found,
    Inconclusive,
    Published,
    PublishingCall,
    PublishOutcome,
    RateLimited,
    Reconciled,
    ReconcileKind,
    Rejected,
)
from platforms.instagram import api
from platforms.instagram.lookup import plain
from platforms.instagram.models import options_of
from platforms.outcomes import mapping, objects, utc

READ_LAG_S = 30.0
"""How long a new comment may be missing from its list. No document says; the crash suite runs with it."""
CLOCK_MARGIN = timedelta(seconds=60)
PAGE = 50
"""The most comments that one answer has. Source: IG Media comments reference, 2025-01."""
CALL = PublishingCall("POST /{ig-media}/comments", ReconcileKind.LOOKUP, budget_s=30.0, read_lag_s=READ_LAG_S)


def of(draft: Draft) -> tuple[Draft, ...]:
    """The comment that follows a post; none where none was asked for."""
    words = options_of(draft).first_comment
    return (replace(draft, text=words, media=(), options={}),) if words.strip() else ()


def is_comment(draft: Draft) -> bool:
    """Whether a draft is the comment, and not the post."""
    return draft.part > 0


def send(call: Call, draft: Draft) -> PublishOutcome:
    """Comments below the post."""
    if draft.reply_to is None:
        return Rejected("no_post", "There is no post to comment on.")
    path = f"/{draft.reply_to.remote_id}/comments"
    reply = api.request(call, "POST", path, effect=Effect.PUBLISHES, form={"message": draft.text})
    comment_id = api.id_of(reply)
    return Published(comment_id, draft.reply_to.url) if comment_id else api.refusal_of_publish(call, reply)


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Reads the post's comments, newest first, for the account's own with these words."""
    if draft.reply_to is None:
        return Inconclusive("There is no post whose comments could be read.")
    params = {"fields": "id,text,timestamp,username", "limit": str(PAGE)}
    reply = api.request(call, "GET", f"/{draft.reply_to.remote_id}/comments", effect=Effect.READ, params=params)
    answer = api.good(reply)
    if not isinstance(answer.get("data"), list):
        refused = api.refusal(call, reply)
        return refused if isinstance(refused, AuthExpired | RateLimited) else Inconclusive(refused.message)
    since = doubt.started_at - CLOCK_MARGIN
    for comment in objects(answer["data"]):
        comment_id, said_at = str(comment.get("id") or ""), utc(comment.get("timestamp"))
        author = str(comment.get("username") or call.account.handle)
        mine = author.casefold() == call.account.handle.casefold() or not call.account.handle
        if not comment_id or comment_id in doubt.taken_remote_ids or not mine:
            continue
        if plain(comment.get("text")) == plain(draft.text) and (said_at is None or said_at >= since):
            return Found(comment_id, draft.reply_to.url, said_at)
    if mapping(mapping(answer.get("paging")).get("cursors")).get("after") and len(answer["data"]) >= PAGE:
        # A post that many have commented on within a minute: ours may stand on a further page.
        return Inconclusive("The post has more comments than one page shows.", 30.0)
    return Absent()
