"""Whether a post whose ``media_publish`` is in doubt is there: the container knows, the recent media have its id."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta

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
    Repeatable,
    Reply,
)
from platforms.clock_skew import ClockUnusableError, earlier, skew
from platforms.instagram import api, containers
from platforms.instagram.models import Kind, kind_of
from platforms.outcomes import mapping, objects, utc

CLOCK_MARGIN = timedelta(seconds=60)
"""How much earlier than the attempt a post may seem to be. What the clocks differ by is allowed for before; this is for
what an answer does not tell: one without a ``Date``, a clock that was set in between."""
LISTED_AFTER = timedelta(minutes=10)
"""A published container whose post is not in the lists by then is counted as found without an id."""
PAGE = 25
LOOK_S = 30.0
FIELDS = "id,caption,timestamp,permalink,media_product_type"
_PRODUCTS = {Kind.REEL: "REELS", Kind.STORY: "STORY"}


def permalink(call: Call, media_id: str) -> str | None:
    """The page of a post; None where Instagram does not say."""
    reply = api.request(call, "GET", f"/{media_id}", effect=Effect.READ, params={"fields": "permalink"})
    link = api.good(reply).get("permalink")
    return link if isinstance(link, str) and link else None


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Asks the container that was sent; never makes another."""
    media_id = call.checkpoint.get("media_id")
    if media_id:
        return Found(str(media_id), permalink(call, str(media_id)))
    container = mapping(call.checkpoint.get("tried")).get("id") or containers.creation_id(call, draft)
    if not container:
        # Nothing was ever sent to be published: the container is noted before.
        return Absent()
    found = containers.status_of(call, str(container))
    if not isinstance(found, tuple):
        if isinstance(found, AuthExpired | RateLimited):
            return found
        return Inconclusive(found.message, getattr(found, "retry_after_s", None))
    match found[0]:
        case "PUBLISHED":
            return _published(call, draft, doubt)
        case "FINISHED":
            # Not published; and the same container again is the same post.
            return Repeatable()
        case "ERROR" | "EXPIRED":
            return Absent()
    return Inconclusive(f"The container is {found[0]}.", LOOK_S)


def _published(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """It is public for certain; only its id has to be found."""
    since = doubt.started_at - CLOCK_MARGIN
    matches = _search(call, draft, doubt, since)
    if not isinstance(matches, list):
        return matches
    if matches:
        # The oldest attempt is asked about first and takes the oldest post.
        return min(matches, key=lambda one: one.published_at or since)
    if call.now() < doubt.started_at + LISTED_AFTER:
        return Inconclusive("Instagram says that it is published, and does not list it yet.", LOOK_S)
    return Found(None)  # public, but its id is not to be had


def plain(text: Json) -> str:
    return " ".join(unicodedata.normalize("NFC", str(text or "")).split())


def _listed(call: Call, kind: Kind, since: datetime) -> Reply:
    params = {"fields": FIELDS, "limit": str(PAGE)}
    if kind is not Kind.STORY:
        params["since"] = str(int(since.timestamp()))
    edge = "stories" if kind is Kind.STORY else "media"
    return api.request(call, "GET", f"/{api.ig_user(call)}/{edge}", effect=Effect.READ, params=params)


def _search(call: Call, draft: Draft, doubt: Doubt, since: datetime) -> list[Found] | Reconciled:
    kind = kind_of(draft)
    reply = _listed(call, kind, since)
    try:
        shift = skew(reply, call.now())
    except ClockUnusableError as error:
        return Inconclusive(str(error))
    since = earlier(since, shift)
    if shift < timedelta() and kind is not Kind.STORY:
        # By Instagram's clock the attempt was earlier: some of what counts was left out.
        reply = _listed(call, kind, since)
    answer = api.good(reply)
    if not isinstance(answer.get("data"), list):
        refused = api.refusal(call, reply)
        return refused if isinstance(refused, AuthExpired | RateLimited) else Inconclusive(refused.message)
    same: list[Found] = []
    alike: list[Found] = []
    for media in objects(answer["data"]):
        posted, media_id = utc(media.get("timestamp")), str(media.get("id") or "")
        product = str(media.get("media_product_type") or "")
        if not media_id or media_id in doubt.taken_remote_ids or posted is None or posted < since:
            continue
        if product and product != _PRODUCTS.get(kind, "FEED"):
            continue
        one = Found(media_id, str(media.get("permalink") or "") or None, posted)
        if media.get("caption") is None and draft.text.strip() and kind is not Kind.STORY:
            # With Instagram Login captions may be missing: then time and type have to do.
            alike.append(one)
        elif kind is Kind.STORY or plain(media.get("caption")) == plain(draft.text):
            same.append(one)
    if not same and len(alike) > 1:
        return Inconclusive("It is published; several posts of that time have no caption to tell them apart.", LOOK_S)
    return same or alike
