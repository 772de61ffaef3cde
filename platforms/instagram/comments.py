"""The first comment: a call of its own once the post is public, with an attempt and a checkpoint of its own.

Source: Instagram Platform, IG Media comments reference, 2025-01.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    Json,
    Published,
    PublishingCall,
    PublishOutcome,
    RateLimited,
    Reconciled,
    ReconcileKind,
    Rejected,
    Violation,
)
from platforms.clock_skew import ClockUnusableError, earlier, skew
from platforms.instagram import api
from platforms.instagram.lookup import plain
from platforms.instagram.models import Options, options_of
from platforms.outcomes import mapping, objects, utc

READ_LAG_S = 30.0
"""How long a new comment may be missing from its list. No document says; the crash suite runs with it."""
CLOCK_MARGIN = timedelta(seconds=60)
"""How much earlier than the attempt a comment may seem to be. What the clocks differ by is allowed for before; this
is for what an answer does not tell: one without a ``Date``, a clock that was set in between."""
PAGE = 50
"""The most comments that one answer has. Source: IG Media comments reference, 2025-01."""
NOT_ALLOWED = "The access does not allow first comments."
CALL = PublishingCall("POST /{ig-media}/comments", ReconcileKind.LOOKUP, budget_s=30.0, read_lag_s=READ_LAG_S)


def of(draft: Draft) -> tuple[Draft, ...]:
    """The comment that follows a post; none where none was asked for."""
    words = options_of(draft).first_comment
    return (replace(draft, text=words, media=(), options={}),) if words.strip() else ()


def is_comment(draft: Draft) -> bool:
    """Whether a draft is the comment, and not the post."""
    return draft.part > 0


def allowed(login: str, granted: Sequence[str]) -> bool:
    """Whether these scopes are enough for a comment."""
    return api.COMMENT_SCOPES[login] in granted


def violations(draft: Draft, options: Options) -> Iterator[Violation]:
    """A comment that the account's access is known not to allow: the post would go out without it.

    Only while it is scheduled. Once its files can be read the post was accepted: it goes out, and only its comment
    fails (``send``).
    """
    if any(item.read is not None for item in draft.media):
        return
    facts = draft.account.facts
    login = "facebook" if facts.get("login") == "facebook" else "instagram"
    granted = facts.get("scopes")
    if options.first_comment.strip() and isinstance(granted, list) and not allowed(login, granted):
        message = (
            f"The account's access lacks {api.COMMENT_SCOPES[login]}, which a first comment needs; connect it again."
        )
        yield Violation("scope_missing", message, "options.first_comment", None, "instagram")


def send(call: Call, draft: Draft) -> PublishOutcome:
    """Comments below the post. That comments are not allowed is no reason to doubt the account: its posts go out."""
    if draft.reply_to is None:
        return Rejected("no_post", "There is no post to comment on.")
    path = f"/{draft.reply_to.remote_id}/comments"
    reply = api.request(call, "POST", path, effect=Effect.PUBLISHES, form={"message": draft.text})
    comment_id = api.id_of(reply)
    if comment_id:
        return Published(comment_id, draft.reply_to.url)
    outcome = api.refusal_of_publish(call, reply)
    if isinstance(outcome, AuthExpired) and outcome.code == api.PERMISSION_MISSING:
        return Rejected(outcome.code, f"{NOT_ALLOWED} {outcome.message}", outcome.http_status)
    return outcome


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Reads the post's comments, newest first, for the account's own with these words.

    A comment of the account since the attempt that has other words may be ours, changed by Instagram; one with our
    words under another name may be ours, as accounts are renamed. Neither is absence.
    """
    if draft.reply_to is None:
        return Inconclusive("There is no post whose comments could be read.")
    params = {"fields": "id,text,timestamp,username", "limit": str(PAGE)}
    reply = api.request(call, "GET", f"/{draft.reply_to.remote_id}/comments", effect=Effect.READ, params=params)
    answer = api.good(reply)
    if not isinstance(answer.get("data"), list):
        return _unread(api.refusal(call, reply))
    try:
        since = earlier(doubt.started_at - CLOCK_MARGIN, skew(reply, call.now()))
    except ClockUnusableError as error:
        return Inconclusive(str(error))
    similar = ""
    for comment in objects(answer["data"]):
        comment_id, said_at = str(comment.get("id") or ""), utc(comment.get("timestamp"))
        if comment_id in {"", *doubt.taken_remote_ids} or (said_at is not None and said_at < since):
            continue
        same_words = plain(comment.get("text")) == plain(draft.text)
        named = _may_be_ours(comment, call.account.handle)
        if same_words and named:
            return Found(comment_id, draft.reply_to.url, said_at)
        if same_words:
            similar = "Somebody has commented since in these words; it is the account's own if that was renamed."
        elif named:
            similar = similar or "The account has commented since, in other words."
    if mapping(mapping(answer.get("paging")).get("cursors")).get("after") and len(answer["data"]) >= PAGE:
        # A post that many have commented on within a minute: ours may stand on a further page.
        return Inconclusive("The post has more comments than one page shows.", 30.0)
    return Inconclusive(similar) if similar else Absent()


def _may_be_ours(comment: dict[str, Json], handle: str) -> bool:
    author = str(comment.get("username") or handle)
    return not handle or author.casefold() == handle.casefold()


def _unread(refused: api.Refusal) -> Reconciled:
    missing = isinstance(refused, AuthExpired) and refused.code == api.PERMISSION_MISSING
    if isinstance(refused, AuthExpired | RateLimited) and not missing:
        return refused
    return Inconclusive(refused.message)
