"""Containers, ahead of the post: made, filled, waited for. Nobody sees them, and one publishes at most once.

The checkpoint has ``items`` (one entry per file) and, for a carousel, ``parent``. A container lives 24 hours; an
account may make 400 of them in that time.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TypeGuard

from platforms.base import (
    Call,
    Draft,
    Effect,
    Json,
    MediaItem,
    NotSent,
    PrepareOutcome,
    Processing,
    RateLimited,
    Ready,
    Rejected,
)
from platforms.instagram import api, rupload
from platforms.instagram.models import Kind, Options, by_upload, kind_of, moves, options_of
from platforms.outcomes import mapping, objects, utc

LIFETIME = timedelta(hours=24)
MARGIN = timedelta(minutes=10)
LIMIT_FRESH = timedelta(minutes=10)
"""How long the reading of the day's limit serves one post."""
MAX_REBUILDS = 3
LOOKS = ((timedelta(seconds=30), 5.0), (timedelta(minutes=2), 20.0))
"""By age: seconds until the next look. Older ones once a minute, as Instagram advises."""
SLOW_LOOK_S = 60.0
_SUBCODE = re.compile(r"\b(2207\d{3})\b")

Entry = dict[str, Json]
Stop = api.Refusal | Processing


def entries(call: Call, draft: Draft) -> list[Entry]:
    """What the checkpoint knows of the draft's files, one entry each; empty where unknown, changed or run out."""
    kept = objects(call.checkpoint.get("items"))
    found: list[Entry] = []
    for index, item in enumerate(draft.media):
        entry = kept[index] if index < len(kept) else {}
        found.append(dict(entry) if entry.get("sha256") == item.sha256 and not _is_over(entry, call.now()) else {})
    return found


def parent_of(call: Call, known: list[Entry]) -> Entry:
    """The carousel's own container, as long as it is made of these."""
    parent = dict(mapping(call.checkpoint.get("parent")))
    same = parent.get("children") == [entry.get("id") for entry in known]
    return parent if same and not _is_over(parent, call.now()) else {}


def _is_over(entry: Entry, now: datetime) -> bool:
    made = utc(entry.get("made_at"))
    return made is not None and made + LIFETIME - MARGIN <= now


def creation_id(call: Call, draft: Draft) -> str | None:
    """The container that ``media_publish`` shall publish; None where it is not finished."""
    known = entries(call, draft)
    if not known or any(entry.get("state") != "finished" for entry in known):
        return None
    last = parent_of(call, known) if kind_of(draft) is Kind.CAROUSEL else known[0]
    return str(last["id"]) if last.get("state") == "finished" else None


def drop(call: Call) -> bool:
    """Gives the containers up, so that the next visit makes others; False: that was done too often."""
    return _drop(call, {})


def is_in_doubt(tried: Entry) -> bool:
    """Whether a container may have published: one of its sendings was not refused as one without effect."""
    return tried.get("count") != tried.get("refused")


def _give_up(call: Call) -> bool:
    """As ``drop``, for what is wrong with containers that were not sent: it tells nothing of one that was."""
    tried = mapping(call.checkpoint.get("tried"))
    return _drop(call, tried if is_in_doubt(tried) else {})


def _drop(call: Call, tried: Entry) -> bool:
    rebuilds = int(call.checkpoint.get("rebuilds") or 0) + 1
    call.save(items=[], parent={}, tried=dict(tried), rebuilds=rebuilds)
    return rebuilds <= MAX_REBUILDS


# --- Going forward ------------------------------------------------------------------------------------------


def advance(call: Call, draft: Draft) -> PrepareOutcome:
    """Goes on from the checkpoint as far as it can; ``Processing`` where Instagram still works."""
    user = _user(call)
    if not isinstance(user, str):
        return user
    known = entries(call, draft)
    stopped = _limit(call, user) if not any(known) else None
    if stopped is not None:
        return stopped
    waits: list[float] = []
    for index, item in enumerate(draft.media):
        halted = _one(call, draft, user, item, known, index)
        # A file that has no container yet cannot have lost it.
        if known[index] and _is_lost(halted):
            return _rebuilt(call, draft, halted)
        if isinstance(halted, Processing):
            waits.append(halted.poll_after_s)
        elif halted is not None:
            return halted
    if waits:
        return Processing(max(waits))
    if kind_of(draft) is Kind.CAROUSEL:
        halted = _parent(call, draft, user, known)
        if _is_lost(halted):
            return _rebuilt(call, draft, halted)
        if halted is not None:
            return halted
    made = [time for entry in known if (time := utc(entry.get("made_at"))) is not None]
    return Ready(min(made, default=call.now()) + LIFETIME - MARGIN)


def _user(call: Call) -> str | api.Refusal:
    known = api.ig_user(call)
    if known is not None:
        return known
    reply = api.request(call, "GET", "/me", effect=Effect.READ, params={"fields": "user_id,username"})
    user = api.good(reply).get("user_id")
    if not user:
        return api.refusal(call, reply)
    call.save(ig_user=str(user))
    return str(user)


def limit(call: Call, user: str) -> RateLimited | api.Refusal | None:
    """Reads how many posts of the last 24 hours count; None: there is a place."""
    fields = {"fields": "quota_usage,config"}
    reply = api.request(call, "GET", f"/{user}/content_publishing_limit", effect=Effect.READ, params=fields)
    rows = objects(api.good(reply).get("data"))
    if not rows:
        return api.refusal(call, reply)
    used, total = rows[0].get("quota_usage"), mapping(rows[0].get("config")).get("quota_total")
    if isinstance(used, int) and isinstance(total, int) and used >= total > 0:
        message = f"Instagram takes {total} posts in 24 hours, and has taken {used}."
        return RateLimited(call.now() + api.QUOTA_WAIT, message)
    return None


def _limit(call: Call, user: str) -> RateLimited | api.Refusal | None:
    read_at = utc(call.checkpoint.get("limit_read_at"))
    if read_at is not None and read_at + LIMIT_FRESH > call.now():
        return None
    stopped = limit(call, user)
    if stopped is None:
        call.save(limit_read_at=call.now().isoformat())
    return stopped


def _save(call: Call, known: list[Entry]) -> None:
    call.save(items=[dict(entry) for entry in known])


def _one(call: Call, draft: Draft, user: str, item: MediaItem, known: list[Entry], index: int) -> Stop | None:
    """Brings one file's container forward; None: it is finished."""
    if not known[index]:
        uploads = by_upload(draft, call.account)
        if not uploads and item.url is None:
            return NotSent("no_url", "The file has no address that Instagram could fetch it from.")
        made = _make(call, user, _fields(draft, item, index, uploads))
        if not isinstance(made, dict):
            return made
        known[index] = {**made, "sha256": item.sha256, "state": "empty" if uploads else "made"}
        _save(call, known)
    entry = known[index]
    if entry["state"] == "empty":
        again = bool(entry.get("begun"))
        if not again:
            entry["begun"] = True
            _save(call, known)
        stopped = rupload.send(call, item, str(entry.get("uri") or ""), str(entry["id"]), again=again)
        if isinstance(stopped, Rejected) and again and _give_up(call):
            # The bytes may have arrived before, and are not taken twice. Nobody sees the container: another one.
            return NotSent("upload_lost", stopped.message, stopped.http_status)
        if stopped is not None:
            return stopped
        entry["state"] = "made"
        _save(call, known)
    if entry["state"] == "made":
        halted = _look(call, entry)
        if halted is None:
            entry["state"] = "finished"
            _save(call, known)
        return halted
    return None


def _parent(call: Call, draft: Draft, user: str, known: list[Entry]) -> Stop | None:
    parent = parent_of(call, known)
    if not parent:
        children = [str(entry["id"]) for entry in known]
        fields = {"media_type": "CAROUSEL", "children": ",".join(children), **_words(draft, options_of(draft))}
        made = _make(call, user, fields)
        if not isinstance(made, dict):
            return made
        parent = {**made, "children": children, "state": "made"}
        call.save(parent=dict(parent))
    if parent["state"] == "made":
        halted = _look(call, parent)
        if halted is not None:
            return halted
        parent["state"] = "finished"
        call.save(parent=dict(parent))
    return None


def _is_lost(halted: Stop | None) -> TypeGuard[NotSent]:
    return isinstance(halted, NotSent) and halted.code == "container_not_found"


def _rebuilt(call: Call, draft: Draft, refused: NotSent) -> PrepareOutcome:
    """The containers are gone, if the token is good: nobody has seen them, and others are made at once.

    Not while the sending of one is in doubt: that one is sent again, and needs no others.
    """
    if is_in_doubt(mapping(call.checkpoint.get("tried"))):
        return refused
    trouble = api.token_trouble(call)
    if trouble is not None:
        return trouble
    if drop(call):
        return advance(call, draft)
    return Rejected("container_lost", f"Instagram lost the containers {MAX_REBUILDS} times. {refused.message}")


def _make(call: Call, user: str, fields: dict[str, str]) -> Entry | api.Refusal:
    reply = api.request(call, "POST", f"/{user}/media", effect=Effect.PREPARES, form=fields)
    made = api.id_of(reply)
    if made is None:
        return api.refusal(call, reply)
    uri = api.good(reply).get("uri")
    return {"id": made, "made_at": call.now().isoformat()} | ({"uri": uri} if isinstance(uri, str) else {})


def status_of(call: Call, container: str) -> tuple[str, str] | api.Refusal:
    """``status_code`` and ``status`` of a container."""
    fields = {"fields": "status_code,status"}
    reply = api.request(call, "GET", f"/{container}", effect=Effect.READ, params=fields)
    answer = api.good(reply)
    code = answer.get("status_code")
    return (code, str(answer.get("status") or "")) if isinstance(code, str) else api.refusal(call, reply)


def _look(call: Call, entry: Entry) -> Stop | None:
    """Asks whether Instagram is done with a container; None: it is."""
    found = status_of(call, str(entry["id"]))
    if not isinstance(found, tuple):
        return found
    code, words = found
    match code:
        case "FINISHED":
            return None
        case "IN_PROGRESS":
            age = call.now() - (utc(entry.get("made_at")) or call.now())
            return Processing(next((wait for until, wait in LOOKS if age < until), SLOW_LOOK_S))
        case "PUBLISHED":
            # Only ``media_publish`` does that, and nobody has called it as long as the container is not finished.
            return NotSent("container_published", "Instagram says that the container is published already.")
    return _failed(call, code, words)


def _failed(call: Call, code: str, words: str) -> api.Refusal:
    """A container in ERROR or EXPIRED: another one, unless the file itself is at fault."""
    told = _SUBCODE.search(words)
    message = f"Instagram: {words[:300] or code}"
    known = api.media_refusal(int(told[1]) if told else None, message, None, call.now())
    if isinstance(known, Rejected):
        return known
    if not _give_up(call):
        return Rejected("media_failed", f"Instagram could not process the media, {MAX_REBUILDS} times. {message}")
    return known if known is not None else NotSent("container_failed", message)


# --- What a container says ----------------------------------------------------------------------------------


def _words(draft: Draft, options: Options) -> dict[str, str]:
    """Fields of the container that is published, of whatever kind but a story."""
    words = {"caption": draft.text, "location_id": options.location_id or ""}
    if options.collaborators:
        words["collaborators"] = json.dumps(options.collaborators)
    return {name: text for name, text in words.items() if text}


def _fields(draft: Draft, item: MediaItem, index: int, uploads: bool) -> dict[str, str]:
    """The form of one file's container."""
    options, kind = options_of(draft), kind_of(draft)
    fields: dict[str, str] = {}
    if uploads:
        fields["upload_type"] = "resumable"
    elif item.url is not None:
        fields["video_url" if moves(item) else "image_url"] = item.url
    if kind is Kind.STORY:
        return {**fields, "media_type": "STORIES"}
    if kind is Kind.CAROUSEL:
        fields["is_carousel_item"] = "true"
        if moves(item):
            fields["media_type"] = "VIDEO"
    else:
        fields |= _words(draft, options)
    if kind is Kind.REEL:
        fields |= _reel(options)
    elif item.alt and not moves(item):
        fields["alt_text"] = item.alt
    tags = [tag.model_dump(exclude={"item"}, exclude_none=True) for tag in options.user_tags if tag.item == index]
    if tags:
        fields["user_tags"] = json.dumps(tags)
    return fields


def _reel(options: Options) -> dict[str, str]:
    fields = {"media_type": "REELS", "share_to_feed": "true" if options.share_to_feed else "false"}
    if options.cover_url:
        fields["cover_url"] = options.cover_url
    elif options.thumb_offset_ms is not None:
        fields["thumb_offset"] = str(options.thumb_offset_ms)
    if options.audio_name:
        fields["audio_name"] = options.audio_name
    if options.trial:
        fields["trial_params"] = json.dumps({"graduation_strategy": options.trial})
    return fields
