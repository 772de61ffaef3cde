"""A video's bytes for a container of Facebook Login: one request to the upload host.

Source: content publishing guide, resumable uploads, 2026-03.
"""

from __future__ import annotations

from platforms.base import Call, Effect, MediaItem, NotSent, Rejected
from platforms.instagram import api
from platforms.instagram.models import API_VERSION
from platforms.outcomes import mapping, retry_after_s

LEAST_TIMEOUT_S = 60.0
LONGEST_TIMEOUT_S = 240.0
"""Below the lease of preparing, which only a saved step renews."""
SLOWEST = 1_000_000
"""Bytes a second that are reckoned with."""


def send(call: Call, item: MediaItem, uri: str, container: str) -> api.Refusal | None:
    """Uploads the whole file; None: it is there. The address is the one that Instagram gave with the container."""
    if item.read is None:
        return NotSent("no_bytes", "The video cannot be read.")
    version = call.credentials.get("api_version") or API_VERSION
    headers = {
        # Not Bearer: this host has a word of its own.
        "Authorization": f"OAuth {call.credentials['access_token']}",
        "Content-Type": "application/octet-stream",
        "offset": "0",
        "file_size": str(item.size),
    }
    with item.read() as source:
        data = source.read()
    reply = call.http.request(
        "POST",
        uri or f"https://{api.UPLOAD_HOST}/ig-api-upload/{version}/{container}",
        effect=Effect.PREPARES,
        headers=headers,
        content=data,
        timeout_s=min(max(LEAST_TIMEOUT_S, item.size / SLOWEST), LONGEST_TIMEOUT_S),
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
