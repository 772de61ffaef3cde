"""A last chunk that may have arrived: what "still uploading" means then, and what an upload host's no proves.

TikTok does not say what a finished upload answers to a chunk, nor how far its status may be behind its upload host.
So while a sending is in doubt a 400, 403 or 404 proves nothing, and "still uploading" is believed only later. The
publish_id is kept all the while: sent again to the same upload the chunk makes the same post, a new init makes another.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from platforms.base import Absent, Inconclusive, Json, MediaItem, Repeatable
from platforms.outcomes import utc

LIFETIME = timedelta(hours=1)
"""Of an upload URL. Source: Direct Post page, 2026-08."""
MARGIN = timedelta(minutes=5)
"""Taken off it: an upload is not begun so late that its last chunk might come after the end."""
STATUS_LAG = timedelta(seconds=60)
"""How long after a doubtful sending "still uploading" is not believed. Not documented: TikTok names 30 s as its mean
time for 512 MB (Get Post Status, 2026-08), so a minute covers what a status may be behind."""
GONE_AFTER = timedelta(minutes=10)
"""How long after a doubtful sending "still uploading" proves that nothing was posted, of an upload that takes no chunk
any more. Not documented: several times what TikTok needs for its largest video (4 GB: over 2 minutes, ibid.)."""

Job = dict[str, Json]


def is_in_doubt(job: Job) -> bool:
    """Whether a last chunk of this upload may have arrived."""
    return bool(job.get("tries"))


def is_open(job: Job, item: MediaItem, now: datetime) -> bool:
    """Whether the last chunk can still be sent: the upload takes it, and we have the file that it belongs to."""
    until = utc(job.get("expires_at"))
    over = until is not None and until + MARGIN <= now
    return not over and not job.get("closed") and job.get("sha256") == item.sha256


def lacking(
    job: Job, item: MediaItem, now: datetime, ended_at: datetime | None = None
) -> Absent | Repeatable | Inconclusive:
    """What is known of a post whose status says that bytes are missing.

    :param ended_at: when the doubtful attempt ended, where that is known: its sending may have taken a while.
    """
    if not is_in_doubt(job):
        return Repeatable()  # the counter is written before the chunk is sent
    earliest, latest = _sent_between(job, now, ended_at)
    # Sent too early once more it is the same post; another upload is another, so for that the latest time counts.
    quiet, silent = now - earliest, now - latest
    if quiet < STATUS_LAG:
        return _later("TikTok says that it is still uploading, which may be old news.", STATUS_LAG - quiet)
    if is_open(job, item, now):
        return Repeatable()
    if silent < GONE_AFTER:
        return _later("The upload takes no more; its status may still learn of the last part.", GONE_AFTER - silent)
    return Absent()


def _sent_between(job: Job, now: datetime, ended_at: datetime | None) -> tuple[datetime, datetime]:
    """When the last chunk was sent, at the earliest and at the latest."""
    noted = [time for time in (utc(job.get("sent_at")), ended_at) if time is not None]
    if noted:
        return max(noted), max(noted)
    # Uploads of earlier releases have no time of their sending: between their begin and their end.
    until = utc(job.get("expires_at"))
    return (now, now) if until is None else (until - LIFETIME + MARGIN, until + MARGIN)


def _later(message: str, pause: timedelta) -> Inconclusive:
    return Inconclusive(message, pause.total_seconds())
