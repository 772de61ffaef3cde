"""Media for X, ahead of the post: initialize, append, finalize, wait, alt text.

Every step is in the checkpoint (``media``: one entry per file) before the next request, so a crash costs one
request. Nothing here is visible to anybody; what is left behind runs out by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import BinaryIO

from platforms.base import (
    Call,
    Draft,
    Effect,
    Json,
    MediaItem,
    MediaKind,
    NotSent,
    PrepareOutcome,
    Processing,
    Ready,
    Rejected,
    Reply,
)
from platforms.outcomes import mapping, objects, utc
from platforms.x import api

CHUNK = 1024 * 1024
"""Bytes. Official samples use 1 MiB; 5 MB was answered with 413 (seen 2026-05)."""
SMALLEST_CHUNK = 64 * 1024
MAX_SEGMENTS = 1_000
"""``segment_index`` runs from 0 to 999. Source: X API v2, OpenAPI 2.167, 2026-08."""
CATEGORIES = {MediaKind.IMAGE: "tweet_image", MediaKind.GIF: "tweet_gif", MediaKind.VIDEO: "tweet_video"}
LIFETIME = timedelta(hours=24)
"""Of a finished upload, where the answer does not say (seen 2026-08: 86,400 s)."""
MARGIN = timedelta(minutes=10)
"""Taken off the lifetime, so that the post is not sent with media that are about to go."""
POLL_S = 2.0
LONGEST_POLL_S = 60.0

Entry = dict[str, Json]
Stop = api.Refusal | Processing


def entries(call: Call, draft: Draft) -> list[Entry]:
    """What the checkpoint knows of the draft's media, one entry per file; empty where unknown or run out."""
    kept = objects(call.checkpoint.get("media"))
    result: list[Entry] = []
    for index, item in enumerate(draft.media):
        entry = kept[index] if index < len(kept) else {}
        usable = entry.get("sha256") == item.sha256 and not _is_over(entry, call.now())
        result.append(dict(entry) if usable else {})
    return result


def _is_over(entry: Entry, now: datetime) -> bool:
    until = utc(entry.get("expires_at"))
    return until is not None and until <= now


def is_ready(entry: Entry) -> bool:
    """Whether a file is on X and may be attached."""
    return entry.get("state") == "ready"


def advance(call: Call, draft: Draft) -> PrepareOutcome:
    """Goes on from the checkpoint as far as it can; ``Processing`` where X still works on a file."""
    known = entries(call, draft)
    waits: list[float] = []
    for index in range(len(draft.media)):
        stopped = _one(call, draft.media[index], known, index)
        if isinstance(stopped, Processing):
            waits.append(stopped.poll_after_s)
        elif stopped is not None:
            return stopped
    if waits:
        return Processing(max(waits))
    ends = [until for entry in known if (until := utc(entry.get("expires_at"))) is not None]
    return Ready(min(ends, default=None))


def _save(call: Call, known: list[Entry]) -> None:
    call.save(media=[dict(entry) for entry in known])


def _one(call: Call, item: MediaItem, known: list[Entry], index: int) -> Stop | None:
    """Brings one file forward; None: it is ready."""
    resumed = bool(known[index])
    stopped: Stop | None = None
    if known[index].get("state") in {None, "uploading"}:
        stopped = _upload(call, item, known, index)
    elif known[index]["state"] == "processing":
        stopped = _look(call, known, index)
    if isinstance(stopped, Rejected) and resumed and stopped.http_status in {400, 404}:
        # The session was opened on an earlier visit and X no longer knows it: begin anew at the next one.
        known[index] = {}
        _save(call, known)
        return NotSent("upload_lost", "X has forgotten an upload that was under way.", stopped.http_status)
    if stopped is not None:
        return stopped
    if item.alt and "alt_set" not in known[index]:
        return _describe(call, item, known, index)
    if not is_ready(known[index]):
        known[index]["state"] = "ready"
        _save(call, known)
    return None


def _upload(call: Call, item: MediaItem, known: list[Entry], index: int) -> Stop | None:
    chunk = int(known[index].get("chunk") or CHUNK)
    while True:
        if not known[index].get("id"):
            stopped = _initialize(call, item, known, index, chunk)
            if stopped is not None:
                return stopped
        reply = _append_all(call, item, known, index)
        if reply is None:
            return _finalize(call, known, index)
        least = max(SMALLEST_CHUNK, -(-item.size // MAX_SEGMENTS))
        if reply.status != 413 or chunk <= least:
            return api.refusal(call, reply)
        # 413 is about the segment, not the file. A new upload, so that all of its segments have one size.
        chunk = max(chunk // 2, least)
        known[index] = {}


def _initialize(call: Call, item: MediaItem, known: list[Entry], index: int, chunk: int) -> Stop | None:
    reply = api.request(
        call,
        "POST",
        "/2/media/upload/initialize",
        effect=Effect.PREPARES,
        json={
            "media_type": item.mime,
            "total_bytes": item.size,
            "media_category": CATEGORIES[item.kind],
        },
    )
    answer = api.data(reply)
    if not answer.get("id"):
        return api.refusal(call, reply)
    known[index] = {
        "id": str(answer["id"]),
        "media_key": answer.get("media_key"),
        "sha256": item.sha256,
        "chunk": chunk,
        "next_segment": 0,
        "state": "uploading",
        "expires_at": _expiry(call, answer),
    }
    _save(call, known)
    return None


def _expiry(call: Call, answer: Entry) -> str:
    seconds = answer.get("expires_after_secs")
    lifetime = timedelta(seconds=seconds) if isinstance(seconds, int) and seconds > 0 else LIFETIME
    return (call.now() + max(lifetime - MARGIN, timedelta())).isoformat()


def _append_all(call: Call, item: MediaItem, known: list[Entry], index: int) -> Reply | None:
    """Sends what is left of the file; None when it is all there, the answer where X refused a segment."""
    entry = known[index]
    for segment in _segments(item, entry["next_segment"], entry["chunk"]):
        reply = api.request(
            call,
            "POST",
            f"/2/media/upload/{entry['id']}/append",
            effect=Effect.PREPARES,
            form={"segment_index": str(entry["next_segment"])},
            files={"media": ("media", segment, "application/octet-stream")},
        )
        if not 200 <= reply.status < 300:
            return reply
        entry["next_segment"] += 1
        # Also renews the lease: a large video takes longer than one.
        _save(call, known)
    return None


def _segments(item: MediaItem, first: int, size: int) -> Iterator[bytes]:
    """The file from segment ``first`` on, one segment in memory at a time."""
    if first and item.read_range is not None:
        for offset in range(first * size, item.size, size):
            yield item.read_range(offset, min(size, item.size - offset))
        return
    if item.read is None:
        raise ValueError("X takes bytes, and this draft's media cannot be read.")
    with item.read() as source:
        # Read and dropped, not sought: what is opened may be a stream.
        for _ in range(first):
            _exactly(source, size)
        while segment := _exactly(source, size):
            yield segment


def _exactly(source: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer only at the end: a stream may give less than it was asked for."""
    pieces: list[bytes] = []
    missing = size
    while missing and (piece := source.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _finalize(call: Call, known: list[Entry], index: int) -> Stop | None:
    entry = known[index]
    reply = api.request(call, "POST", f"/2/media/upload/{entry['id']}/finalize", effect=Effect.PREPARES)
    answer = api.data(reply)
    if not answer.get("id"):
        return api.refusal(call, reply)
    entry["media_key"] = answer.get("media_key") or entry.get("media_key")
    entry["expires_at"] = _expiry(call, answer)
    return _settle(call, known, index, answer)


def _look(call: Call, known: list[Entry], index: int) -> Stop | None:
    reply = api.request(
        call,
        "GET",
        "/2/media/upload",
        effect=Effect.READ,
        params={"command": "STATUS", "media_id": str(known[index]["id"])},
    )
    answer = api.data(reply)
    if not answer:
        return api.refusal(call, reply)
    return _settle(call, known, index, answer)


def _settle(call: Call, known: list[Entry], index: int, answer: Entry) -> Stop | None:
    """Notes how far X's own work on the file is. No ``processing_info`` means that there is none to do."""
    info = mapping(answer.get("processing_info"))
    match info.get("state"):
        case "failed":
            why = mapping(info.get("error")).get("message") or "no reason given"
            return Rejected("media_failed", f"X could not process the media: {str(why)[:200]}")
        case "pending" | "in_progress":
            known[index]["state"] = "processing"
            _save(call, known)
            seconds = info.get("check_after_secs")
            wait = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else POLL_S
            return Processing(min(wait, LONGEST_POLL_S))
    known[index]["state"] = "uploaded"
    _save(call, known)
    return None


def _describe(call: Call, item: MediaItem, known: list[Entry], index: int) -> Stop | None:
    reply = api.request(
        call,
        "POST",
        "/2/media/metadata",
        effect=Effect.PREPARES,
        json={"id": known[index]["id"], "metadata": {"alt_text": {"text": item.alt}}},
    )
    taken = 200 <= reply.status < 300
    # Only pictures and animations are documented to have one: a video goes out without rather than not at all.
    if not taken and not (item.kind is MediaKind.VIDEO and reply.status in {400, 403}):
        return api.refusal(call, reply)
    known[index].update(alt_set=taken, state="ready")
    _save(call, known)
    return None
