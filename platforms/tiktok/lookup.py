"""Whether a post whose outcome is in doubt is there: by its publish_id, or among the creator's public posts."""

from __future__ import annotations

import unicodedata
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
    Processing,
    RateLimited,
    Reconciled,
)
from platforms.clock_skew import ClockUnusableError, earlier, skew
from platforms.outcomes import objects
from platforms.tiktok import api, status, upload
from platforms.tiktok import doubt as doubts
from platforms.tiktok.models import PUBLIC, Kind, is_direct, kind_of, options_of

CLOCK_MARGIN = timedelta(seconds=60)
"""How much earlier than the attempt a post may seem to be. What the clocks differ by is allowed for before; this is for
what an answer does not tell: one without a ``Date``, a clock that was set in between."""
PAGE = 20
"""The largest that the API gives."""
MAX_PAGES = 10
SHOWN = 150
"""Characters of a caption that the list gives."""
FIELDS = "id,create_time,share_url,video_description,title,duration"


def can_search(draft: Draft) -> bool:
    """Whether a lost publish_id can be made up for: public posts are listed, given the scope."""
    scopes = draft.account.facts.get("scopes")
    listed = isinstance(scopes, list | tuple) and "video.list" in scopes
    return listed and is_direct(draft) and options_of(draft).privacy == PUBLIC


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """By the publish_id where TikTok has given one."""
    if upload.job_of(call).get("publish_id"):
        return _by_status(call, draft, doubt)
    if can_search(draft):
        return _search(call, draft, doubt)
    return Inconclusive("TikTok's answer was lost, and such a post is in no list that it gives: only you can tell.")


def _by_status(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    state = status.read(call, draft)
    if not isinstance(state, status.State):
        if isinstance(state, AuthExpired | RateLimited):
            return state
        return Inconclusive(state.message)
    match state.stage:
        case status.Stage.UPLOADING:
            # Where the last chunk is to be sent again, that goes on with the same publish_id.
            return doubts.lacking(upload.job_of(call), draft.media[0], call.now(), doubt.ended_at)
        case status.Stage.FAILED:
            return Absent()
        case status.Stage.WORKING:
            return Processing(status.POLL_S)
    if state.post_id is None:
        early = call.now() < doubt.started_at + status.ID_WAIT
        if early and is_direct(draft) and options_of(draft).privacy == PUBLIC:
            return Inconclusive("TikTok says that it is complete, and gives no id yet.", status.POLL_S)
        return Found(None)  # a private post has no id
    return Found(state.post_id, status.permalink(call, draft, state.post_id))


# --- Public posts -------------------------------------------------------------------------------------------


def _plain(text: Json) -> str:
    return " ".join(unicodedata.normalize("NFC", str(text or "")).split())


def _is_same(video: dict[str, Json], sought: list[str]) -> bool:
    """Whether a listed post begins with our words. Without words nothing can be compared."""
    for name in ("video_description", "title"):
        shown = _plain(video.get(name)).removesuffix("…").removesuffix("...").rstrip()
        for words in sought:
            # Shown is cut at SHOWN, perhaps counted in another way than ours.
            if shown and words.startswith(shown) and len(shown) >= min(len(words), SHOWN // 2):
                return True
    return False


def _search(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Reads the list back to the attempt. What is not in it may be in moderation still: never ``Absent``."""
    since = doubt.started_at - CLOCK_MARGIN
    sought = [words for words in (_plain(draft.text), _plain(options_of(draft).title)) if words]
    found: list[Found] = []
    wordless = False
    cursor: int | None = None
    for _ in range(MAX_PAGES):
        body: dict[str, Json] = {"max_count": PAGE} | ({"cursor": cursor} if cursor is not None else {})
        reply = api.post(call, "/v2/video/list/", effect=Effect.READ, params={"fields": FIELDS}, json=body)
        answer = api.data(reply)
        if not isinstance(answer.get("videos"), list):
            refused = api.refusal(call, reply)
            return refused if isinstance(refused, AuthExpired | RateLimited) else Inconclusive(refused.message)
        if cursor is None:
            try:
                since = earlier(since, skew(reply, call.now()))
            except ClockUnusableError as error:
                return Inconclusive(str(error))
        videos = objects(answer["videos"])
        for video in videos:
            created = status.created_at(video.get("create_time"))
            post_id = str(video.get("id") or "")
            if created is None or created < since or not post_id or post_id in doubt.taken_remote_ids:
                continue
            if _is_same(video, sought):
                found.append(Found(post_id, str(video.get("share_url") or "") or None, created))
            wordless = wordless or not sought
        times = [time for video in videos if (time := status.created_at(video.get("create_time"))) is not None]
        cursor = answer.get("cursor") if isinstance(answer.get("cursor"), int) else None
        if not answer.get("has_more") or cursor is None or (times and max(times) < since):
            break
    if found:
        # The oldest attempt is asked about first and takes the oldest post.
        return min(found, key=lambda one: one.published_at or since)
    if wordless:
        return Inconclusive("There is a post of that time, and no words of ours to know it by.")
    what = "photo post" if kind_of(draft) is Kind.PHOTOS else "video"
    return Inconclusive(f"No such public {what} is listed yet; TikTok may still be working on it or checking it.")
