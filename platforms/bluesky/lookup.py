"""Whether a post whose outcome is in doubt is there: the record under our key is asked for."""

from __future__ import annotations

from platforms.base import (
    AuthExpired,
    Call,
    Draft,
    Effect,
    Found,
    Inconclusive,
    Json,
    NotSent,
    RateLimited,
    Reconciled,
    Rejected,
    Repeatable,
)
from platforms.bluesky import api, record, session
from platforms.bluesky.upload import own_did
from platforms.outcomes import mapping, retry_after_s, utc


def look_up(call: Call, draft: Draft) -> Reconciled:
    """``Found``, or ``Repeatable``: whatever is still under way would make the same record."""
    rkey = record.kept(call).get("rkey")
    if not rkey:
        return Repeatable()  # the key is fixed before the first byte, so none was sent
    did = own_did(call)
    reply = api.xrpc(
        call,
        "GET",
        "com.atproto.repo.getRecord",
        effect=Effect.READ,
        params={"repo": did, "collection": record.POST, "rkey": str(rkey)},
    )
    found = api.good(reply)
    value = mapping(found.get("value"))
    if found.get("uri") and value:
        if value.get("text") != draft.text:
            return Inconclusive("Another post stands under this post's key.")
        name = session.shown_handle(call.account.handle, did)
        return Found(record.address(did, str(rkey)), record.permalink(name, str(rkey)), utc(value.get("createdAt")))
    if _is_absent(api.error_of(reply), api.message_of(reply)) and reply.status in {400, 404}:
        return Repeatable()
    refused = api.refusal(call, reply)
    if isinstance(refused, AuthExpired | RateLimited):
        return refused
    return Inconclusive(refused.message, retry_after_s(reply, call.now()))


def references(call: Call, draft: Draft) -> dict[str, Json] | AuthExpired | RateLimited | NotSent | Rejected:
    """The ``reply`` of a thread's part: its first post and the one before, each with the hash of its content.

    Kept in the checkpoint: sent again, the part has to be the same bytes. Empty where nothing is answered.
    """
    if draft.reply_to is None:
        return {}
    kept = mapping(call.checkpoint.get("reply"))
    if kept:
        return {"reply": kept}
    found: dict[str, Json] = {}
    for name, uri in (("root", draft.reply_to.root_id), ("parent", draft.reply_to.remote_id)):
        reference = _reference(call, uri)
        if not isinstance(reference, dict):
            return reference
        found[name] = reference
    call.save(reply=found)
    return {"reply": found}


def _reference(call: Call, uri: str) -> dict[str, Json] | AuthExpired | RateLimited | NotSent | Rejected:
    did, _, rkey = uri.removeprefix("at://").partition(f"/{record.POST}/")
    params = {"repo": did, "collection": record.POST, "rkey": rkey}
    reply = api.xrpc(call, "GET", "com.atproto.repo.getRecord", effect=Effect.READ, params=params)
    cid = api.good(reply).get("cid")
    if cid:
        return {"uri": uri, "cid": str(cid)}
    if _is_absent(api.error_of(reply), api.message_of(reply)) and reply.status in {400, 404}:
        return Rejected("parent_gone", "The part before was deleted; there is nothing to answer.", reply.status)
    return api.refusal(call, reply)


def _is_absent(error: str, message: str) -> bool:
    """Servers from before 2024 name the error otherwise. Source: atproto reference PDS, getRecord."""
    return error == "RecordNotFound" or (error == "InvalidRequest" and message.startswith("Could not locate record"))
