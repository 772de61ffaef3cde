"""Whether a post whose outcome is in doubt is on X: our own recent posts since the attempt, compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
    RateLimited,
    Reconciled,
    Reply,
)
from platforms.clock_skew import ClockUnusableError, earlier, skew
from platforms.outcomes import mapping, objects, retry_after_s, utc
from platforms.x import api
from platforms.x.likeness import Likeness, Sought

CLOCK_MARGIN = timedelta(seconds=60)
"""How much earlier than the attempt a post may seem to be. What the clocks differ by is allowed for before; this is for
what an answer does not tell: one without a ``Date``, a clock that was set in between."""
PAGE = 100
MAX_PAGES = 8
"""800 posts since the attempt; more than X lets anybody write in a day."""
FIELDS = "attachments,created_at,entities,referenced_tweets"
EXPANSIONS = "attachments.media_keys"
FIELDS_BY_THE_DOCUMENT = "attachments,created_at,entities"
EXPANSIONS_BY_THE_DOCUMENT = "attachments.media_keys,referenced_posts"
"""As OpenAPI 2.167 names them: what a post answers is an expansion there."""


def permalink(handle: str, remote_id: str) -> str:
    """Where people see the post."""
    return f"https://x.com/{handle or 'i'}/status/{remote_id}"


# --- Reading the feed -------------------------------------------------------------------------------------


def _page(call: Call, user: str, since: datetime, token: str | None) -> Reply:
    """One page of the account's own posts, newest first.

    The guides and all known clients say ``tweet.fields``; the OpenAPI document 2.167 says ``post.fields``.
    The second name is tried where X refuses the first.
    """
    params = {
        "start_time": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_results": str(PAGE),
        "exclude": "retweets",
    }
    if token:
        params["pagination_token"] = token
    path = f"/2/users/{user}/tweets"
    asked = {"tweet.fields": FIELDS, "expansions": EXPANSIONS}
    reply = api.request(call, "GET", path, effect=Effect.READ, params={**params, **asked})
    if reply.status == 400 and b"tweet.fields" in reply.body:
        asked = {"post.fields": FIELDS_BY_THE_DOCUMENT, "expansions": EXPANSIONS_BY_THE_DOCUMENT}
        reply = api.request(call, "GET", path, effect=Effect.READ, params={**params, **asked})
    return reply


def _failure(call: Call, reply: Reply) -> Reconciled:
    refused = api.refusal(call, reply)
    if isinstance(refused, AuthExpired | RateLimited):
        return refused
    return Inconclusive(refused.message, retry_after_s(reply, call.now()))


def _own_id(call: Call) -> str | Reconciled:
    if call.account.remote_id:
        return call.account.remote_id
    reply = api.request(call, "GET", "/2/users/me", effect=Effect.READ)
    user = api.data(reply).get("id")
    return str(user) if user else _failure(call, reply)


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Reads the feed back to a minute before the attempt began, and no less: only then ``Absent`` counts."""
    user = _own_id(call)
    if not isinstance(user, str):
        return user
    since = asked = doubt.started_at - CLOCK_MARGIN
    reply = _page(call, user, asked, None)
    try:
        shift = skew(reply, call.now())
    except ClockUnusableError as error:
        return Inconclusive(str(error))
    since = earlier(since, shift)
    if shift < timedelta() and reply.status in {200, 400}:
        # By X's clock the attempt was earlier: some of what counts was left out, or the time was still to come.
        asked = since
        reply = _page(call, user, asked, None)
    posts: list[dict[str, Json]] = []
    for page in range(1, MAX_PAGES + 1):
        answer = mapping(reply.json())
        meta = mapping(answer.get("meta"))
        if reply.status != 200 or not ("data" in answer or "result_count" in meta):
            return _failure(call, reply)
        posts += objects(answer.get("data"))
        token = meta.get("next_token")
        if not token:
            return _decide(call, Sought.of(call, draft), posts, doubt, since)
        if page < MAX_PAGES:
            reply = _page(call, user, asked, token)
    return Inconclusive(f"More than {MAX_PAGES * PAGE} posts since the attempt; not all were read.")


def _decide(call: Call, sought: Sought, posts: list[dict[str, Json]], doubt: Doubt, since: datetime) -> Reconciled:
    undecided = False
    same: list[Found] = []
    for post in posts:
        remote_id = str(post.get("id") or "")
        created = utc(post.get("created_at"))
        if not remote_id.isdecimal() or remote_id in doubt.taken_remote_ids or (created and created < since):
            continue
        likeness = sought.compare(post)
        undecided = undecided or likeness is Likeness.UNDECIDED
        if likeness is Likeness.SAME:
            same.append(Found(remote_id, permalink(call.account.handle, remote_id), created))
    if same:
        # The oldest attempt is asked about first and takes the oldest post; ids grow with time.
        return min(same, key=lambda found: int(found.remote_id or 0))
    if undecided:
        return Inconclusive("A post with this text is there, but its links or media could not be compared.")
    return Absent()
