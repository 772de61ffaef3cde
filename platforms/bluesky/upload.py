"""What has to be on Bluesky before the post: files, the DIDs of who is mentioned, the rules for replies.

Every step is in the checkpoint before the next request, so a crash costs one request. Nobody sees any of it: a
blob that no record names is dropped by the server, a rule for a post that does not exist does nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from platforms.base import (
    AuthExpired,
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
from platforms.bluesky import api, record, text
from platforms.bluesky.models import Options, is_loopback
from platforms.outcomes import mapping, objects, utc

LIFETIME = timedelta(minutes=30)
"""How long an upload that no record names is relied on. The lexicon says "minutes" (uploadBlob, 2026-08)."""
POLL_S = 2.0
TOKEN_LIFE = timedelta(minutes=30)
"""Of the token for the video service; at most an hour is allowed (getServiceAuth, reference PDS, 2026-08)."""
SLOWEST = 250_000
"""Bytes a second that an upload is given time for."""
LONGEST_S = 600.0

Entry = dict[str, Json]
Stop = api.Refusal | Processing


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


def is_done(call: Call, draft: Draft) -> bool:
    """Whether everything that the post names is there."""
    return (
        all(entry.get("blob") for entry in entries(call, draft))
        and not _unresolved(call, draft)
        and not _missing_gates(call, draft)
    )


def advance(call: Call, draft: Draft) -> PrepareOutcome:
    """Goes on from the checkpoint as far as it can; ``Processing`` while the video service works."""
    token = api.access(call)
    if isinstance(token, AuthExpired):
        return token
    stopped = _resolve(call, draft) or _set_gates(call, draft, token)
    if stopped is not None:
        return stopped
    known = entries(call, draft)
    waits: list[float] = []
    for index, item in enumerate(draft.media):
        found = _one(call, item, known, index, token)
        if isinstance(found, Processing):
            waits.append(found.poll_after_s)
        elif found is not None:
            return found
    if waits:
        return Processing(max(waits))
    ends = [until for entry in known if (until := utc(entry.get("expires_at"))) is not None]
    return Ready(min(ends, default=None))


def timeout_for(size: int) -> float:
    """Seconds that an upload may take."""
    return min(30.0 + size / SLOWEST, LONGEST_S)


# --- Mentions and rules -------------------------------------------------------------------------------------


def resolved(call: Call) -> dict[str, Json]:
    """Handle -> DID, as far as it was asked; None for one that leads nowhere."""
    return mapping(call.checkpoint.get("dids"))


def _unresolved(call: Call, draft: Draft) -> list[str]:
    return [handle for handle in text.handles(draft.text) if handle not in resolved(call)]


def _resolve(call: Call, draft: Draft) -> Stop | None:
    """Asks whom the handles belong to. One that leads nowhere stays plain text, as in Bluesky's own client."""
    for handle in _unresolved(call, draft):
        reply = api.xrpc(
            call,
            "GET",
            "com.atproto.identity.resolveHandle",
            effect=Effect.READ,
            params={"handle": handle},
        )
        did = api.good(reply).get("did")
        if not (isinstance(did, str) and did.startswith("did:")):
            if reply.status != 400:
                return api.refusal(call, reply)
            did = None
        call.save(dids={**resolved(call), handle: did})
    return None


def _missing_gates(call: Call, draft: Draft) -> list[str]:
    """The kinds of rules that the draft asks for and that are not there under its key."""
    options = Options.model_validate(dict(draft.options))
    wanted = [record.THREADGATE] if options.replies != "everyone" else []
    wanted += [] if options.quotes else [record.POSTGATE]
    there = mapping(call.checkpoint.get("gates"))
    rkey = record.kept(call).get("rkey")
    return [kind for kind in wanted if rkey is None or there.get(kind) != rkey]


def _set_gates(call: Call, draft: Draft, token: str) -> Stop | None:
    """Writes the rules ahead of the post, under its key: nobody can reply in between."""
    missing = _missing_gates(call, draft)
    if not missing:
        return None
    did = own_did(call)
    fixed = record.fix(call, sending=False)
    rkey = str(fixed["rkey"])
    options = Options.model_validate(dict(draft.options))
    for gate in record.gates(options, record.address(did, rkey), str(fixed["made_at"])):
        kind = str(gate["$type"])
        if kind not in missing:
            continue
        # Without swapRecord: the same rule again is no change.
        body = {"repo": did, "collection": kind, "rkey": rkey, "record": gate}
        reply = api.xrpc(call, "POST", "com.atproto.repo.putRecord", effect=Effect.PREPARES, token=token, json=body)
        if not api.good(reply).get("uri"):
            return api.refusal(call, reply)
        call.save(gates={**mapping(call.checkpoint.get("gates")), kind: rkey})
    return None


def own_did(call: Call) -> str:
    """The account's DID: from its session, which made the token."""
    return str(call.credentials.get("did") or call.account.remote_id)


# --- Files --------------------------------------------------------------------------------------------------


def _keep(call: Call, known: list[Entry], index: int, item: MediaItem, **values: Json) -> None:
    until: datetime = call.now() + LIFETIME
    known[index] = {"sha256": item.sha256, "expires_at": until.isoformat(), **values}
    call.save(media=[dict(entry) for entry in known])


def _one(call: Call, item: MediaItem, known: list[Entry], index: int, token: str) -> Stop | None:
    """Brings one file forward; None: the server has it."""
    if known[index].get("blob"):
        return None
    if known[index].get("job"):
        reply = api.xrpc(
            call,
            "GET",
            "app.bsky.video.getJobStatus",
            effect=Effect.READ,
            at=f"https://{api.VIDEO_HOST}",
            params={"jobId": str(known[index]["job"])},
        )
        return _settle_job(call, item, known, index, reply)
    host = urlsplit(api.origin(call.credentials)).hostname or ""
    # The video service could not give its result to a server on this machine; that one takes the file as it is.
    if item.kind is MediaKind.VIDEO and not is_loopback(host):
        return _upload_video(call, item, known, index, token, host)
    reply = api.xrpc(
        call,
        "POST",
        "com.atproto.repo.uploadBlob",
        effect=Effect.PREPARES,
        token=token,
        content=_bytes_of(item),
        mime=item.mime,
        timeout_s=timeout_for(item.size),
    )
    blob = api.good(reply).get("blob")
    if not isinstance(blob, dict):
        return api.refusal(call, reply)
    _keep(call, known, index, item, blob=blob)
    return None


def _bytes_of(item: MediaItem) -> bytes:
    if item.read is None:
        raise ValueError("Bluesky takes bytes, and this draft's media cannot be read.")
    with item.read() as source:
        return source.read()


def _upload_video(call: Call, item: MediaItem, known: list[Entry], index: int, token: str, host: str) -> Stop | None:
    """Hands a video to the service that encodes it and then gives it to the account's server."""
    until = int((call.now() + TOKEN_LIFE).timestamp())
    reply = api.xrpc(
        call,
        "GET",
        "com.atproto.server.getServiceAuth",
        effect=Effect.READ,
        token=token,
        params={"aud": f"did:web:{host}", "lxm": "com.atproto.repo.uploadBlob", "exp": str(until)},
    )
    pass_token = api.good(reply).get("token")
    if not isinstance(pass_token, str):
        return api.refusal(call, reply)
    reply = api.xrpc(
        call,
        "POST",
        "app.bsky.video.uploadVideo",
        effect=Effect.PREPARES,
        token=pass_token,
        at=f"https://{api.VIDEO_HOST}",
        params={"did": own_did(call), "name": f"{item.sha256[:24]}.mp4"},
        content=_bytes_of(item),
        mime="video/mp4",
        timeout_s=timeout_for(item.size),
    )
    return _settle_job(call, item, known, index, reply)


def _settle_job(call: Call, item: MediaItem, known: list[Entry], index: int, reply: Reply) -> Stop | None:
    """Notes how far the video service is. The live service answers without the wrapper that its lexicon has, and
    to a video that it knows already with an error that names it all the same."""
    answer = mapping(reply.json())
    job = mapping(answer.get("jobStatus")) or answer
    blob, state, number = job.get("blob"), job.get("state"), job.get("jobId")
    if isinstance(blob, dict) and blob:
        _keep(call, known, index, item, blob=blob)
        return None
    if state == "JOB_STATE_FAILED":
        why = job.get("message") or job.get("error") or job.get("failureCode") or "no reason given"
        known[index] = {}
        call.save(media=[dict(entry) for entry in known])
        if job.get("failureCode") in {"pds_upload_failure", "generic_failure"}:
            return NotSent("video_failed", f"Bluesky could not finish the video: {str(why)[:200]}", retry_after_s=60.0)
        return Rejected("video_failed", f"Bluesky could not process the video: {str(why)[:200]}")
    if isinstance(number, str) and number and (200 <= reply.status < 300 or reply.status == 409):
        _keep(call, known, index, item, job=number)
        return Processing(POLL_S)
    return api.refusal(call, reply)
