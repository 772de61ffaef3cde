"""Files for a status, ahead of it: upload with alt text, wait until the server has processed them.

A file is read while it is sent, never into memory as a whole. Every step is in the checkpoint (``media``: one entry
per file) before the next request; a long upload is noted there as well, which renews the lease. An upload that was
not heard of again leaves a file behind that nobody sees; the server drops it by itself.

``sent`` in an entry says that a status with the file may have been made: a try was begun, and was not answered with a
refusal. ``lost`` says that the server then did not know the file any more.
"""

from __future__ import annotations

from datetime import timedelta

from platforms.base import Call, Draft, Effect, Json, MediaItem, NotSent, PrepareOutcome, Processing, Ready, Rejected
from platforms.mastodon import api
from platforms.multipart import FormUpload
from platforms.outcomes import objects, utc

LIFETIME = timedelta(hours=12)
"""How long a file without a status is relied on; servers drop it after a day. Source: server source, 2026
(MediaAttachmentsVacuum), unverified for other software."""
POLL_S = 2.0
SLOWEST = 250_000
"""Bytes a second that an upload is given time for."""
LONGEST_S = 600.0
"""Seconds; slower servers and larger files do not fit ahead of a post."""
BEAT = timedelta(seconds=30)
"""How often a long upload says that it is alive, which renews the lease."""

Entry = dict[str, Json]
Stop = api.Refusal | Processing

_ENDINGS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
}


def entries(call: Call, draft: Draft) -> list[Entry]:
    """What the checkpoint knows of the draft's media, one entry per file; empty where unknown or run out."""
    known = objects(call.checkpoint.get("media"))
    result: list[Entry] = []
    for index, item in enumerate(draft.media):
        entry = known[index] if index < len(known) else {}
        until = utc(entry.get("expires_at"))
        usable = entry.get("sha256") == item.sha256 and until is not None and until > call.now()
        result.append(dict(entry) if usable else {})
    return result


def is_ready(entry: Entry) -> bool:
    """Whether a file may be attached."""
    return entry.get("state") == "ready"


def note_sending(call: Call, known: list[Entry]) -> bool:
    """Notes that the files are about to be attached; whether that was noted before."""
    before = any(entry.get("sent") for entry in known)
    if known and not before:
        _save(call, [{**entry, "sent": True} for entry in known])
    return before


def note_refused(call: Call, known: list[Entry]) -> None:
    """Notes that no status was made of the try that ``note_sending`` had noted."""
    if known:
        _save(call, [{name: value for name, value in entry.items() if name != "sent"} for entry in known])


def note_lost(call: Call, known: list[Entry]) -> None:
    """Notes that the server does not know the files, or has attached them."""
    _save(call, [{**entry, "lost": True} for entry in known])


def are_lost(known: list[Entry]) -> bool:
    """Whether that was noted at an earlier try."""
    return any(entry.get("lost") for entry in known)


def forget(call: Call) -> None:
    """Has the files uploaded anew."""
    _save(call, [])


def advance(call: Call, draft: Draft) -> PrepareOutcome:
    """Goes on from the checkpoint as far as it can; ``Processing`` while the server works on a file."""
    known = entries(call, draft)
    waits: list[float] = []
    for index, item in enumerate(draft.media):
        if is_ready(known[index]):
            continue
        stopped = _look(call, known, index) if known[index].get("id") else _send(call, item, known, index)
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


def _send(call: Call, item: MediaItem, known: list[Entry], index: int) -> Stop | None:
    if item.read is None:
        raise ValueError("Mastodon takes bytes, and this draft's media cannot be read.")
    # A name of our own: the author's may tell what nobody else shall know.
    name = f"{item.sha256[:24] or 'file'}.{_ENDINGS.get(item.mime, 'bin')}"
    fields = {"description": item.alt} if item.alt else {}
    last = [call.now()]

    def beat() -> None:
        if call.now() - last[0] >= BEAT:
            last[0] = call.now()
            call.save(uploading_since=last[0].isoformat())

    with item.read() as source:
        form = FormUpload(fields, source, item.size, name="file", file_name=name, mime=item.mime, beat=beat)
        reply = api.request(
            call,
            "POST",
            "/api/v2/media",
            effect=Effect.PREPARES,
            headers={"Content-Type": form.content_type},
            content=form,
            timeout_s=min(30.0 + item.size / SLOWEST, LONGEST_S),
        )
    media_id = api.good(reply).get("id")
    if not media_id:
        return api.refusal(call, reply)
    known[index] = {
        "id": str(media_id),
        "sha256": item.sha256,
        "state": "processing" if reply.status == 202 else "ready",
        "expires_at": (call.now() + LIFETIME).isoformat(),
    }
    _save(call, known)
    return Processing(POLL_S) if reply.status == 202 else None


def _look(call: Call, known: list[Entry], index: int) -> Stop | None:
    reply = api.request(call, "GET", f"/api/v1/media/{known[index]['id']}", effect=Effect.READ)
    if reply.status == 206:
        return Processing(POLL_S)
    if reply.status == 200:
        known[index]["state"] = "ready"
        _save(call, known)
        return None
    if reply.status == 404:
        # Forgotten, or not ours any more: uploaded anew at the next visit.
        known[index] = {}
        _save(call, known)
        return NotSent("upload_lost", "The server has forgotten a file that it was processing.", 404)
    if reply.status == 422:
        return Rejected("media_failed", f"The server could not process the file: {api.message_of(reply)}", 422)
    return api.refusal(call, reply)
