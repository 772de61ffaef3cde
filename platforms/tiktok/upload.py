"""A video's way to TikTok: init, chunks, and the last chunk, which publishes.

The checkpoint's ``job`` holds the publish_id from the moment TikTok gives it; it names one post for good, so a
doubtful last chunk is settled by asking for that id's status, and sending it again makes the same post (``doubt``).
"""

from __future__ import annotations

from datetime import timedelta

from platforms.base import Call, Draft, Effect, Json, MediaItem, NotSent, Processing, Rejected, Reply, Streamed, Unknown
from platforms.errors import FenceExpired, TransportError
from platforms.outcomes import mapping, retry_after_s, utc
from platforms.tiktok import api, creator, doubt
from platforms.tiktok.chunks import Cut, cut, held
from platforms.tiktok.doubt import LIFETIME, MARGIN, Job
from platforms.tiktok.models import is_direct, options_of
from platforms.tiktok.pieces import Alive, beat_of, opened
from platforms.tiktok.tails import TAILS

BUDGET_S = 120.0
"""For one chunk, seconds: 10 MB at less than 1 Mbit/s."""
FIRST_LOOK_S = 10.0
FORGOTTEN = "TikTok has forgotten the upload, or its URL has run out."
RESEND_PAUSE = timedelta(seconds=30)
"""Between two sendings of the last chunk, from the second resend on."""

Stop = api.Refusal


def job_of(call: Call) -> Job:
    """What is known of the post on TikTok; empty where nothing was begun."""
    return dict(mapping(call.checkpoint.get("job")))


def post_info(call: Call, draft: Draft) -> dict[str, Json]:
    """The words of a video: caption, privacy, what others may do with it, disclosures."""
    options = options_of(draft)
    now = creator.of(call)
    info: dict[str, Json] = {
        "title": draft.text,
        "privacy_level": options.privacy,
        # What the creator has switched off stays off, whatever the draft says.
        "disable_comment": options.disable_comment or now.get("comment_disabled") is True,
        "disable_duet": options.disable_duet or now.get("duet_disabled") is True,
        "disable_stitch": options.disable_stitch or now.get("stitch_disabled") is True,
        "brand_content_toggle": options.brand_content,
        "brand_organic_toggle": options.brand_organic,
        "is_aigc": options.ai_generated,
    }
    if options.cover_timestamp_ms is not None:
        info["video_cover_timestamp_ms"] = options.cover_timestamp_ms
    return info


def init_path(draft: Draft) -> str:
    """Which init takes a video of this draft."""
    return f"{api.PUBLISH}/video/init/" if is_direct(draft) else f"{api.PUBLISH}/inbox/video/init/"


def init_body(call: Call, draft: Draft, source: dict[str, Json]) -> dict[str, Json]:
    """The inbox takes a source and nothing else."""
    return {"post_info": post_info(call, draft), "source_info": source} if is_direct(draft) else {"source_info": source}


# --- Before the last chunk ----------------------------------------------------------------------------------


def advance(call: Call, draft: Draft) -> Stop | None:
    """Brings all chunks but the last to TikTok, from the checkpoint on; None: they are there.

    Nothing is begun anew beside an upload whose last chunk may have arrived: its status comes first.
    """
    item = draft.media[0]
    job = job_of(call)
    if doubt.is_in_doubt(job) and not doubt.is_open(job, item, call.now()):
        return None
    if _is_over(call, job, item):
        begun = _init(call, draft, item)
        if not isinstance(begun, dict):
            return begun
        job = begun
    plan = Cut(job["size"], job["chunk"], job["count"])
    key = (item.sha256, plan.span(plan.count - 1)[0])
    if job["next"] >= plan.count - 1 and TAILS.get(key) is not None:
        return None
    beat = beat_of(call)
    with opened(item, beat) as read:
        while read is not None:
            begin, end = plan.span(job["next"])
            data = read(begin, end)
            if len(data) != end - begin:
                break
            if job["next"] >= plan.count - 1:
                TAILS.keep(key, data)
                return None
            stopped = _answered(call, job, plan, _put(call, item, job, plan, Alive(data, beat), Effect.PREPARES))
            if stopped is not None:
                return stopped
    return NotSent("no_bytes", "The video cannot be read, or not all of it.")


def _is_over(call: Call, job: Job, item: MediaItem) -> bool:
    """Whether a new upload is needed. One whose last chunk may have been sent is never given up here."""
    if not job or doubt.is_in_doubt(job):
        return not job
    until = utc(job.get("expires_at"))
    return job.get("sha256") != item.sha256 or (until is not None and until <= call.now())


def _init(call: Call, draft: Draft, item: MediaItem) -> Job | Stop:
    plan = cut(item.size)
    source: dict[str, Json] = {
        "source": "FILE_UPLOAD",
        "video_size": plan.size,
        "chunk_size": plan.chunk,
        "total_chunk_count": plan.count,
    }
    # An init for an upload makes nothing public, and an abandoned one never does.
    reply = api.post(call, init_path(draft), effect=Effect.PREPARES, json=init_body(call, draft, source))
    answer = api.data(reply)
    if not (answer.get("publish_id") and answer.get("upload_url")):
        return creator.mismatch(call, draft, reply) or api.refusal(call, reply)
    job: Job = {
        "publish_id": str(answer["publish_id"]),
        "url": str(answer["upload_url"]),
        "sha256": item.sha256,
        "size": plan.size,
        "chunk": plan.chunk,
        "count": plan.count,
        "next": 0,
        "tries": 0,
        "expires_at": (call.now() + LIFETIME - MARGIN).isoformat(),
    }
    call.save(job=job)
    return job


def _put(call: Call, item: MediaItem, job: Job, plan: Cut, data: bytes | Streamed, effect: Effect) -> Reply:
    """One chunk. Without a Bearer token: the URL carries its own."""
    index = plan.count - 1 if effect is Effect.PUBLISHES else job["next"]
    headers = {"Content-Type": item.mime, "Content-Range": plan.content_range(index)}
    return call.http.request("PUT", job["url"], effect=effect, headers=headers, content=data, timeout_s=BUDGET_S)


def _answered(call: Call, job: Job, plan: Cut, reply: Reply) -> Stop | None:
    """Notes what became of a chunk before the last; None: go on."""
    has = held(reply.headers.get("content-range")) if reply.status == 416 else None
    if reply.status == 201 or has == plan.size:
        # Nobody can have sent the last chunk yet. Should TikTok see it so, its status comes before all else.
        job.update(next=plan.count - 1, tries=max(job["tries"], 1), sent_at=call.now().isoformat())
        call.save(job=dict(job))
        return NotSent("upload_complete", "TikTok says that the upload is complete already.", reply.status)
    match reply.status:
        case 206:
            job["next"] += 1
        case 416:
            if has is None or has % plan.chunk or has // plan.chunk == job["next"]:
                return _lost(call, "TikTok holds another part of the upload than we sent.", 416)
            # An answer was lost: TikTok has the chunk, or lacks one before it.
            job["next"] = has // plan.chunk
        case 403 | 404 if doubt.is_in_doubt(job):
            call.save(job={**job, "closed": True})
            pause = doubt.GONE_AFTER.total_seconds()
            return NotSent("upload_doubtful", "The upload takes no more, and may be complete.", reply.status, pause)
        case 403 | 404:
            return _lost(call, FORGOTTEN, reply.status)
        case 400:
            return Rejected("upload_refused", "TikTok refused a chunk of the video.", 400)
        case _:
            return NotSent(
                "upload_failed",
                f"TikTok's upload answered {reply.status}.",
                reply.status,
                retry_after_s(reply, call.now()),
            )
    call.save(job=dict(job))
    return None


def _lost(call: Call, message: str, status: int) -> NotSent:
    forget(call)
    return NotSent("upload_lost", message, status)


def forget(call: Call) -> None:
    """The upload is given up; the next visit begins another. Only where no last chunk can have been taken."""
    call.save(job={})


# --- The last chunk -----------------------------------------------------------------------------------------


def send_last(call: Call, draft: Draft) -> Processing | Stop | Unknown:
    """Sends the chunk that starts the posting. ``advance`` has gone before."""
    item = draft.media[0]
    job = job_of(call)
    plan = Cut(job["size"], job["chunk"], job["count"])
    last = plan.count - 1
    key = (item.sha256, plan.span(last)[0])
    data = TAILS.get(key)
    if data is None:
        return NotSent("no_bytes", "The last part of the video is not at hand.")
    sent_at = utc(job.get("sent_at"))
    if job["tries"] > 1 and sent_at is not None and sent_at + RESEND_PAUSE > call.now():
        return NotSent("resend_pause", "TikTok did not take the last chunk twice.", None, RESEND_PAUSE.total_seconds())
    before = dict(job)
    # Known before it is sent: whoever comes next asks for the status first.
    job.update(tries=job["tries"] + 1, sent_at=call.now().isoformat())
    call.save(job=dict(job))
    try:
        reply = _put(call, item, job, plan, data, Effect.PUBLISHES)
    except FenceExpired:
        call.save(job=before)  # nothing left this machine
        raise
    except TransportError as error:
        if not error.sent:
            call.save(job=before)
        raise
    has = held(reply.headers.get("content-range")) if reply.status == 416 else None
    if reply.status == 201 or has == plan.size:
        TAILS.drop(key)
        return Processing(FIRST_LOOK_S)
    if has is not None and has % plan.chunk == 0 and has // plan.chunk < last:
        call.save(job={**before, "next": has // plan.chunk})
        return NotSent("upload_incomplete", "TikTok lacks an earlier part of the video.", 416)
    if reply.status in {400, 403, 404}:
        return _closed(call, before, reply.status)
    message = f"TikTok's upload answered {reply.status} to the last chunk."
    again_s = retry_after_s(reply, call.now())
    return Unknown("upload_doubtful", message, reply.status, retry_after_s=again_s)


def _closed(call: Call, before: Job, status: int) -> Rejected | NotSent | Unknown:
    """The upload does not take the last chunk: it never had one, or it is complete, and that is how TikTok says so."""
    if doubt.is_in_doubt(before):
        call.save(job={**before, "closed": True})  # this sending did nothing; the one before it may have
        return Unknown("upload_doubtful", f"The upload takes no more ({status}), and may be complete.", status)
    if status != 400:
        return _lost(call, FORGOTTEN, status)
    forget(call)
    return Rejected("upload_refused", "TikTok refused the last chunk of the video.", status)
