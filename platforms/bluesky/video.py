"""Bluesky's service for videos: a pass for it, the upload, and what its answers mean.

The service encodes a video and hands the result to the account's server, which gives a pass for that. It has errors
of its own, which say nothing about the account's session: its words for them are those that Bluesky's own app
compares (social-app, src/state/.../video, 2026; lexicon app.bsky.video.startUpload, 2026-08).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from platforms.base import AuthExpired, Call, Effect, Json, NotSent, RateLimited, Rejected, Reply
from platforms.bluesky import api
from platforms.outcomes import mapping

if TYPE_CHECKING:
    from platforms.bluesky.body import FileBody

ORIGIN = f"https://{api.VIDEO_HOST}"
SERVICE = f"did:web:{api.VIDEO_HOST}"
PASS_LIFE = timedelta(minutes=30)
"""Of a pass; at most an hour is allowed (getServiceAuth, reference PDS, 2026-08)."""
PASS_PAUSE_S = 30.0
"""Until a pass that was refused is replaced by another."""
DAILY_PAUSE_S = 900.0
"""Between two tries where the day's videos are used up. When the day ends for the service is not documented."""

_MAIL = re.compile(r"e-?mail", re.IGNORECASE)
_DAILY = re.compile(r"daily upload", re.IGNORECASE)
_FORBIDDEN = re.compile(r"not allowed to upload|not old enough", re.IGNORECASE)
_LATER = re.compile(r"disabled at the moment|upload stats", re.IGNORECASE)
_LATER_ERRORS = frozenset({"ServiceOverloaded", "TooManyOpenUploads"})


@dataclass(frozen=True)
class Job:
    """How far the service is with a video."""

    number: str
    blob: dict[str, Json] = field(default_factory=dict)
    """What a post names it by; empty while the service works, and where it says that it is done without telling."""
    completed: bool = False


def get_pass(call: Call, token: str, *, audience: str, method: str) -> str | api.Refusal:
    """A token by which a service may act for the account: for one method, for a short time."""
    until = int((call.now() + PASS_LIFE).timestamp())
    reply = api.xrpc(
        call,
        "GET",
        "com.atproto.server.getServiceAuth",
        effect=Effect.READ,
        token=token,
        params={"aud": audience, "lxm": method, "exp": str(until)},
    )
    found = api.good(reply).get("token")
    return found if isinstance(found, str) and found else api.refusal(call, reply)


def upload(call: Call, body: FileBody, *, pass_token: str, did: str, name: str, timeout_s: float) -> Job | api.Refusal:
    """Hands a video over."""
    reply = api.xrpc(
        call,
        "POST",
        "app.bsky.video.uploadVideo",
        effect=Effect.PREPARES,
        token=pass_token,
        at=ORIGIN,
        params={"did": did, "name": name},
        content=body,
        mime="video/mp4",
        timeout_s=timeout_s,
    )
    found = _job(reply)
    # To a video that it knows already it answers with an error that names the job all the same.
    if found is not None and (isinstance(found, NotSent | Rejected) or _tells(reply, found)):
        return found
    return _refused_upload(call, reply)


def look(call: Call, number: str) -> Job | api.Refusal | None:
    """How far a job is; None: the service does not know it (any more)."""
    reply = api.xrpc(
        call, "GET", "app.bsky.video.getJobStatus", effect=Effect.READ, at=ORIGIN, params={"jobId": number}
    )
    found = _job(reply)
    if found is not None and (isinstance(found, NotSent | Rejected) or _tells(reply, found)):
        return found
    if reply.status in {400, 404}:
        # The only thing that was asked for is the job.
        return None
    refused = api.refusal(call, reply)
    if isinstance(refused, AuthExpired | Rejected):
        # It was asked without a token: what it lacks is not the account's session, nor a fault of the post.
        return NotSent("video_unanswered", f"Bluesky does not say how far the video is: {api.message_of(reply)}")
    return refused


def _tells(reply: Reply, job: Job) -> bool:
    return bool(job.blob) or 200 <= reply.status < 300 or reply.status == 409


def _job(reply: Reply) -> Job | NotSent | Rejected | None:
    """The job in an answer; None: there is none. The live service leaves out the wrapper that its lexicon has."""
    answer = mapping(reply.json())
    job = mapping(answer.get("jobStatus")) or answer
    blob, state, number = mapping(job.get("blob")), job.get("state"), job.get("jobId")
    if blob:
        return Job(str(number or ""), blob, completed=True)
    if state == "JOB_STATE_FAILED":
        why = str(job.get("message") or job.get("error") or job.get("failureCode") or "no reason given")[:200]
        if job.get("failureCode") in {"pds_upload_failure", "generic_failure"}:
            return NotSent("video_failed", f"Bluesky could not finish the video: {why}", retry_after_s=60.0)
        return Rejected("video_failed", f"Bluesky could not process the video: {why}")
    if isinstance(number, str) and number:
        return Job(number, completed=state == "JOB_STATE_COMPLETED")
    return None


def _refused_upload(call: Call, reply: Reply) -> api.Refusal:
    """What it means that a video was not taken."""
    error, message, status = api.error_of(reply), api.message_of(reply), reply.status
    unconfirmed = status in {401, 403} and call.account.facts.get("email_confirmed") is False
    if 400 <= status < 500 and (_MAIL.search(f"{error} {message}") or unconfirmed):
        words = "Bluesky takes videos only from accounts whose e-mail address is confirmed."
        return Rejected("email_unconfirmed", words, status)
    if error == "DailyLimitExceeded" or _DAILY.search(message):
        # Its other posts do not have to wait for its videos.
        words = f"Bluesky takes no more videos from this account today: {message}"
        return RateLimited(call.now() + timedelta(seconds=DAILY_PAUSE_S), words, status, scope="post")
    if error == "UploadForbidden" or _FORBIDDEN.search(message):
        return Rejected("video_forbidden", f"Bluesky takes no videos from this account: {message}", status)
    if error in _LATER_ERRORS or _LATER.search(message):
        return NotSent("video_busy", f"Bluesky does not take the video now: {message}", status, retry_after_s=60.0)
    refused = api.refusal(call, reply)
    if isinstance(refused, AuthExpired) and not refused.permanent:
        # What it did not take is the pass; the session, which got that pass, is good.
        words = f"Bluesky's video service did not take the pass for it: {message}"
        return NotSent("video_pass_refused", words, status, retry_after_s=PASS_PAUSE_S)
    return refused
