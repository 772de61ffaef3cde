"""The records that make a post: their key, the post itself, the rules for replies and quotes.

The key is ours. Written with ``swapRecord: null`` a record is made once or not at all, however often it is sent:
the same bytes again change nothing, other bytes are refused (atproto reference PDS, 2026-08, measured).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from platforms.base import Call, Draft, Json, MediaKind
from platforms.bluesky import text
from platforms.bluesky.models import Options
from platforms.outcomes import mapping, utc

POST = "app.bsky.feed.post"
THREADGATE = "app.bsky.feed.threadgate"
POSTGATE = "app.bsky.feed.postgate"

STALE = timedelta(minutes=10)
"""After so long a post that was provably not sent gets a new time: readers would see an old one otherwise. Should
an earlier try be there after all, its key refuses the other bytes."""

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_CLOCK_BITS = 10
_RULES = {"mentioned": "mentionRule", "followers": "followerRule", "following": "followingRule"}


def tid(at: datetime, key: str) -> str:
    """A record key of the kind ``tid``: the same for the same time and key.

    64 bits, the first 0, then 53 of microseconds since 1970, then 10 of a clock's number; base 32 that sorts as
    time does. The millisecond is that of ``at``; the microseconds in it and the clock's number come from ``key``,
    so that two posts of one millisecond have two keys.
    """
    drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    milliseconds = int(at.timestamp() * 1000)
    number = ((milliseconds * 1000 + drawn % 1000) << _CLOCK_BITS) | (drawn // 1000 % (1 << _CLOCK_BITS))
    return "".join(_ALPHABET[number >> (5 * place) & 31] for place in reversed(range(13)))


def timestamp(at: datetime) -> str:
    """A time as records have it: UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def kept(call: Call) -> dict[str, Json]:
    """What was fixed for this content: ``rkey`` and ``made_at``, and once it was sent ``created_at``."""
    entry = mapping(call.checkpoint.get("record"))
    return entry if entry.get("key") == call.platform_key and entry.get("rkey") else {}


def fix(call: Call, *, sending: bool) -> dict[str, Json]:
    """Fixes key and time for this content, in the checkpoint, before anything is sent that names them."""
    entry = dict(kept(call))
    now = call.now()
    before = dict(entry)
    if not entry:
        entry = {"key": call.platform_key, "rkey": tid(now, call.platform_key), "made_at": timestamp(now)}
    if sending:
        created = utc(entry.get("created_at"))
        if created is None or now - created > STALE:
            entry["created_at"] = timestamp(now)
    if entry != before:
        call.save(record=entry)
    return entry


def address(did: str, rkey: str) -> str:
    """The post's AT URI."""
    return f"at://{did}/{POST}/{rkey}"


def permalink(name: str, rkey: str) -> str:
    """Where people see the post. :param name: handle or DID."""
    return f"https://bsky.app/profile/{name}/post/{rkey}"


# --- The post ---------------------------------------------------------------------------------------------


def post(draft: Draft, *, created_at: str, dids: Mapping[str, Json], blobs: list[Json]) -> dict[str, Json]:
    """The record of the post.

    :param dids: handle -> DID; a handle that leads nowhere stays plain text.
    :param blobs: what the server said of each uploaded file, in order.
    """
    options = Options.model_validate(dict(draft.options))
    record: dict[str, Json] = {"$type": POST, "text": draft.text, "createdAt": created_at}
    facets = _facets(draft.text, dids)
    if facets:
        record["facets"] = facets
    embed = _embed(draft, options, blobs)
    if embed is not None:
        record["embed"] = embed
    if options.langs:
        record["langs"] = list(options.langs)
    if options.labels:
        values = [{"val": label} for label in options.labels]
        record["labels"] = {"$type": "com.atproto.label.defs#selfLabels", "values": values}
    if options.tags:
        record["tags"] = list(options.tags)
    return record


def _facets(words: str, dids: Mapping[str, Json]) -> list[Json]:
    facets: list[Json] = []
    for span in text.spans(words):
        kind = f"app.bsky.richtext.facet#{span.kind}"
        feature: dict[str, Json]
        if span.kind == "mention":
            did = dids.get(span.value)
            if not did:
                continue
            feature = {"$type": kind, "did": did}
        else:
            feature = {"$type": kind, ("uri" if span.kind == "link" else "tag"): span.value}
        index = {
            "byteStart": text.byte_offset(words, span.start),
            "byteEnd": text.byte_offset(words, span.end),
        }
        facets.append({"index": index, "features": [feature]})
    return facets


def _embed(draft: Draft, options: Options, blobs: list[Json]) -> Json:
    if not draft.media:
        return _card(draft, options)
    pairs = list(zip(draft.media, blobs, strict=True))
    if draft.media[0].kind is MediaKind.VIDEO:
        item, blob = pairs[0]
        video: dict[str, Json] = {"$type": "app.bsky.embed.video", "video": blob}
        if item.alt:
            video["alt"] = item.alt
        if item.width > 0 and item.height > 0:
            video["aspectRatio"] = {"width": item.width, "height": item.height}
        if options.presentation != "default":
            video["presentation"] = options.presentation
        return video
    images = []
    for item, blob in pairs:
        image: dict[str, Json] = {"alt": item.alt, "image": blob}
        if item.width > 0 and item.height > 0:
            image["aspectRatio"] = {"width": item.width, "height": item.height}
        images.append(image)
    return {"$type": "app.bsky.embed.images", "images": images}


def card_link(words: str, options: Options) -> str | None:
    """The link of the card that was asked for; None where it is not told, or not one."""
    if options.card_url is not None:
        return text.uri_of(options.card_url)
    found = text.links(words)
    return found[0] if len(found) == 1 else None


def _card(draft: Draft, options: Options) -> Json:
    if not options.wants_card:
        return None
    uri = card_link(draft.text, options)
    if uri is None:
        return None  # validate has named it
    external = {
        "uri": uri,
        "title": options.card_title or (urlsplit(uri).hostname or uri),
        "description": options.card_description,
    }
    return {"$type": "app.bsky.embed.external", "external": external}


# --- Who may reply and quote --------------------------------------------------------------------------------


def gates(options: Options, uri: str, made_at: str) -> list[dict[str, Json]]:
    """The records beside the post that bound replies and quotes; they have its key."""
    found: list[dict[str, Json]] = []
    if options.replies != "everyone":
        rules = [] if options.replies == "nobody" else [_rule(rule) for rule in options.replies]
        found.append({"$type": THREADGATE, "post": uri, "allow": rules, "createdAt": made_at})
    if not options.quotes:
        rules = [{"$type": f"{POSTGATE}#disableRule"}]
        found.append({"$type": POSTGATE, "post": uri, "embeddingRules": rules, "createdAt": made_at})
    return found


def _rule(rule: str) -> dict[str, Json]:
    if rule in _RULES:
        return {"$type": f"{THREADGATE}#{_RULES[rule]}"}
    return {"$type": f"{THREADGATE}#listRule", "list": rule}
