"""A video's bytes for a container of Facebook Login: read while they are sent, and gone on with where that broke off.

Source: content publishing guide, resumable uploads, 2026-03; ``video_status`` of a container: Meta's SDK
specification, 2026-04.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from platforms.base import Call, Effect, MediaItem, NotSent, Rejected
from platforms.instagram import api
from platforms.outcomes import mapping, retry_after_s
from platforms.rest import Rest

BEAT = timedelta(seconds=30)
"""How often a long upload says that it is alive, which renews the lease."""
SLOWEST = 250_000
"""Bytes in a second; an upload that is slower than this is given up, and gone on with."""
LEAST_S = 60.0


def send(call: Call, item: MediaItem, uri: str, container: str, *, again: bool) -> api.Refusal | None:
    """Uploads the file; None: it is there. The address is the one that Instagram gave with the container.

    :param again: an earlier upload may have broken off: what arrived is asked for, and the rest is sent.
    """
    if item.read is None:
        return NotSent("no_bytes", "The video cannot be read.")
    offset = _arrived(call, container, item.size) if again else 0
    if offset == item.size:
        return None
    headers = {
        # Not Bearer: this host has a word of its own.
        "Authorization": f"OAuth {call.credentials['access_token']}",
        "Content-Type": "application/octet-stream",
        "offset": str(offset),
        "file_size": str(item.size),
    }
    left = item.size - offset
    with item.read() as source:
        source.seek(offset)
        reply = call.http.request(
            "POST",
            uri or f"https://{api.UPLOAD_HOST}/ig-api-upload/{api.version(call.credentials)}/{container}",
            effect=Effect.PREPARES,
            headers=headers,
            content=Rest(source, left, _beat(call)),
            timeout_s=LEAST_S + left / SLOWEST,
        )
    answer = mapping(reply.json())
    if 200 <= reply.status < 300 and answer.get("success") is True:
        return None
    trouble = mapping(answer.get("debug_info"))
    if not trouble:
        return api.refusal(call, reply)
    message = f"Instagram: {str(trouble.get('message') or trouble.get('type') or 'the upload failed')[:300]}"
    if trouble.get("retriable") is False:
        return Rejected("upload_refused", message, reply.status)
    return NotSent("upload_failed", message, reply.status, retry_after_s(reply, call.now()))


def _arrived(call: Call, container: str, size: int) -> int:
    """How many bytes Instagram has; none where it does not say."""
    reply = api.request(call, "GET", f"/{container}", effect=Effect.READ, params={"fields": "video_status"})
    phase = mapping(mapping(api.good(reply).get("video_status")).get("uploading_phase"))
    found = phase.get("bytes_transferred")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= size else 0


def _beat(call: Call) -> Callable[[], None]:
    last = [call.now()]

    def beat() -> None:
        if call.now() - last[0] >= BEAT:
            last[0] = call.now()
            call.save(uploading_since=last[0].isoformat())

    return beat
