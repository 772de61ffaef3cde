"""What has to be on Bluesky before the post: files, the DIDs of who is mentioned, the rules for replies.

Every step is in the checkpoint before the next request, so a crash costs one request. Nobody sees any of it: a
blob that no record names is dropped by the server, a rule for a post that does not exist does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
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
)
from platforms.bluesky import api, record, text, video
from platforms.bluesky.body import FileBody
from platforms.bluesky.models import Options
from platforms.hosts import is_loopback
from platforms.outcomes import mapping, objects, utc

LIFETIME = timedelta(minutes=30)
"""How long an upload that no record names is relied on. The lexicon says "minutes" (uploadBlob, 2026-08)."""
POLL_S = 2.0
UNNAMED = timedelta(seconds=60)
"""How long the video service may say that it is done without naming the result. Not documented."""
LOST_PAUSE_S = 5.0
BEAT = timedelta(seconds=30)
"""How often a long upload says that it is alive: ten times in a lease for preparing."""
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


def _drop(call: Call, known: list[Entry], index: int) -> None:
    known[index] = {}
    call.save(media=[dict(entry) for entry in known])


def _one(call: Call, item: MediaItem, known: list[Entry], index: int, token: str) -> Stop | None:
    """Brings one file forward; None: the server has it."""
    entry = known[index]
    if entry.get("blob"):
        return None
    host = urlsplit(api.origin(call.credentials)).hostname or ""
    # The video service could not give its result to a server on this machine; that one takes the file as it is.
    if item.kind is not MediaKind.VIDEO or is_loopback(host) or entry.get("direct"):
        return _to_server(call, item, known, index, token)
    if entry.get("job"):
        found = video.look(call, str(entry["job"]))
    else:
        # The service uses the pass to give its result to the account's server.
        given = video.get_pass(call, token, audience=f"did:web:{host}", method="com.atproto.repo.uploadBlob")
        if not isinstance(given, str):
            return given
        with FileBody(item, _beat(call)) as body:
            found = video.upload(
                call,
                body,
                pass_token=given,
                did=own_did(call),
                name=f"{item.sha256[:24]}.mp4",
                timeout_s=timeout_for(item.size),
            )
    return _settle_job(call, item, known, index, token, found)


def _to_server(call: Call, item: MediaItem, known: list[Entry], index: int, token: str) -> Stop | None:
    """Gives a file to the account's server as it is."""
    with FileBody(item, _beat(call)) as body:
        reply = api.xrpc(
            call,
            "POST",
            "com.atproto.repo.uploadBlob",
            effect=Effect.PREPARES,
            token=token,
            content=body,
            mime=item.mime,
            timeout_s=timeout_for(item.size),
        )
    blob = api.good(reply).get("blob")
    if not isinstance(blob, dict):
        return api.refusal(call, reply)
    _keep(call, known, index, item, blob=blob)
    return None


def _beat(call: Call) -> Callable[[], None]:
    """Says now and then that an upload is alive, which renews the lease."""
    last = [call.now()]

    def beat() -> None:
        if call.now() - last[0] >= BEAT:
            last[0] = call.now()
            call.save(uploading_since=last[0].isoformat())

    return beat


def _settle_job(
    call: Call, item: MediaItem, known: list[Entry], index: int, token: str, found: video.Job | api.Refusal | None
) -> Stop | None:
    """Notes how far the video service is."""
    if found is None:
        _drop(call, known, index)
        return NotSent("upload_lost", "Bluesky's video service has forgotten the video.", retry_after_s=LOST_PAUSE_S)
    if isinstance(found, NotSent | Rejected) and found.code == "video_failed":
        _drop(call, known, index)
    if not isinstance(found, video.Job):
        return found
    if found.blob:
        _keep(call, known, index, item, blob=found.blob)
        return None
    if not found.completed:
        _keep(call, known, index, item, job=found.number)
        return Processing(POLL_S)
    # It says that it is done, but not under which address. That may come; if it does not, the account's server
    # takes the file as it is, and it is encoded once the post is public (bsky-docs, video tutorial, 2026-04).
    since = utc(known[index].get("completed_at")) or call.now()
    if call.now() - since < UNNAMED:
        _keep(call, known, index, item, job=found.number, completed_at=since.isoformat())
        return Processing(POLL_S)
    _keep(call, known, index, item, direct=True)
    return _to_server(call, item, known, index, token)
