"""A video's way to Pinterest, ahead of the pin: register, send the file to the store that is named, wait.

The file goes as one form to Amazon S3 (nothing there can be resumed), read while it is sent. The form's fields are
a pass for this one upload: they are used at once and kept nowhere, so an upload that was broken off is registered
anew. What is left behind is seen by nobody. Source: Pinterest API v5, OpenAPI 5.23.0 (2025-12), ``POST /media``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import BinaryIO

from platforms.base import Call, Draft, Effect, Json, MediaItem, NotSent, PrepareOutcome, Processing, Ready, Rejected
from platforms.multipart import FormUpload
from platforms.outcomes import mapping, retry_after_s, utc
from platforms.pinterest import api
from platforms.pinterest.kinds import video_of

LIFETIME = timedelta(hours=24)
"""How long an upload is relied on. Not documented; a day is what other platforms give."""
FIRST_LOOKS = timedelta(seconds=60)
FIRST_LOOK_S = 5.0
"""Between two looks in the first minute; small videos are done by then."""
LOOK_S = 20.0
"""Afterwards. Not documented; other clients wait as long."""
REGISTERED_LONGEST = timedelta(minutes=10)
"""How long an upload that the store has taken may be unknown to Pinterest before it is begun anew."""
BEAT = timedelta(seconds=30)
"""How often a long upload says that it is alive, which renews the lease."""
SLOWEST = 250_000
"""Bytes in a second; an upload that is slower than this is given up."""
LEAST_S = 60.0

Entry = dict[str, Json]


def _entry(call: Call, item: MediaItem) -> Entry:
    """What is known of the upload; empty where there is none, or one that was too long ago."""
    entry = dict(mapping(call.checkpoint.get("video")))
    begun = utc(entry.get("uploaded_at"))
    if entry.get("sha256") != item.sha256 or begun is None or call.now() - begun >= LIFETIME:
        return {}
    return entry


def ready_id(call: Call, item: MediaItem) -> str | None:
    """The media id of a video that Pinterest has processed; None: there is none."""
    entry = _entry(call, item)
    return str(entry["media_id"]) if entry.get("state") == "succeeded" else None


def advance(call: Call, draft: Draft) -> PrepareOutcome:
    """Goes on from the checkpoint; ``Processing`` while Pinterest works on the video."""
    item = video_of(draft)
    entry = _entry(call, item)
    if not entry:
        return _upload(call, item)
    if entry.get("state") != "succeeded":
        stopped = _look(call, entry)
        if stopped is not None:
            return stopped
    begun = utc(entry["uploaded_at"])
    return Ready(begun + LIFETIME if begun else None)


def _upload(call: Call, item: MediaItem) -> PrepareOutcome:
    reply = api.request(call, "POST", "/v5/media", effect=Effect.PREPARES, json={"media_type": "video"})
    answer = api.good(reply)
    fields = mapping(answer.get("upload_parameters"))
    if not (answer.get("media_id") and answer.get("upload_url") and fields):
        return api.refusal(call, reply)
    if item.read is None:
        return NotSent("no_bytes", "The video cannot be read.")
    with item.read() as file:
        sent = _send(call, item, str(answer["upload_url"]), {str(k): str(v) for k, v in fields.items()}, file)
    if sent is not None:
        return sent
    call.save(
        video={
            "media_id": str(answer["media_id"]),
            "sha256": item.sha256,
            "state": "uploaded",
            "uploaded_at": call.now().isoformat(),
        }
    )
    return Processing(FIRST_LOOK_S)


def _send(call: Call, item: MediaItem, url: str, fields: dict[str, str], file: BinaryIO) -> Rejected | NotSent | None:
    """The form: every field that Pinterest gave, then the file. No token of ours goes there."""
    last = [call.now()]

    def beat() -> None:
        if call.now() - last[0] >= BEAT:
            last[0] = call.now()
            call.save(uploading_since=last[0].isoformat())

    form = FormUpload(fields, file, item.size, name="file", file_name="video", mime=item.mime, beat=beat)
    reply = call.http.request(
        "POST",
        url,
        effect=Effect.PREPARES,
        headers={"Content-Type": form.content_type},
        content=form,
        timeout_s=LEAST_S + item.size / SLOWEST,
    )
    if 200 <= reply.status < 300:
        return None
    if reply.status == 400 and b"EntityTooLarge" in reply.body:
        return Rejected("media_too_large", "Pinterest's store refused the video: it is too large.", 400)
    # A pass that has run out (403), a store that is busy: the next try gets a new pass.
    return NotSent(
        "upload_refused",
        f"Pinterest's store answered {reply.status} to the video.",
        reply.status,
        retry_after_s(reply, call.now()),
    )


def _look(call: Call, entry: Entry) -> PrepareOutcome | None:
    """How far Pinterest is with the video; None: done."""
    reply = api.request(call, "GET", f"/v5/media/{entry['media_id']}", effect=Effect.READ)
    if reply.status == 404:
        return _lost(call, 404)
    state = api.good(reply).get("status")
    since = call.now() - (utc(entry["uploaded_at"]) or call.now())
    match state:
        case "succeeded":
            call.save(video={**entry, "state": "succeeded"})
            return None
        case "failed":
            # Forgotten, so that a person who replays the post sends the file once more.
            call.save(video={})
            return Rejected("media_failed", "Pinterest could not process the video.")
        case "registered" if since > REGISTERED_LONGEST:
            return _lost(call, None)
        case "registered" | "processing":
            return Processing(FIRST_LOOK_S if since < FIRST_LOOKS else LOOK_S)
    return api.refusal(call, reply)


def _lost(call: Call, status: int | None) -> NotSent:
    call.save(video={})
    return NotSent("upload_lost", "Pinterest does not know of the video that was uploaded.", status)
