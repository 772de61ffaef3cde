"""The one request that makes a post public: ``media_publish``, and what a container that was sent before allows.

The checkpoint's ``tried`` names the container that was sent last, how often (``count``) and how many of these sendings
were answered by a refusal that is listed as one without effect (``refused``). Only where all were is it proven that
the container never published; one whose sending was in doubt is kept, asked for its status, and sent again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from platforms.base import (
    AuthExpired,
    Call,
    Draft,
    Effect,
    Json,
    NotSent,
    Processing,
    PublishOutcome,
    Ready,
    Rejected,
    Reply,
    Unknown,
)
from platforms.errors import FenceExpired, TransportError
from platforms.instagram import api, containers
from platforms.outcomes import mapping, utc

RESEND_PAUSE = timedelta(seconds=30)
"""Between two sendings of one container, from the second resend on."""
UNKNOWN_TRIES = 2
"""How often a container that Instagram does not know yet (24/2207008) is sent before another one is made.
Source: Instagram error codes, 2026-06: once or twice again, then a new container."""


def publish(call: Call, draft: Draft) -> PublishOutcome:
    """Publishes the container. ``Processing`` where its page is still to be asked for, or a new one is made."""
    if call.checkpoint.get("media_id"):
        return Processing(1.0)
    tried = mapping(call.checkpoint.get("tried"))
    if tried:
        settled = _known(call, tried)
        if settled is not None:
            return settled
        tried = mapping(call.checkpoint.get("tried"))
    # One in doubt is not changed for another, not even for one that has longer to live.
    container = str(tried["id"]) if tried and not _proven(tried) else containers.creation_id(call, draft)
    if container is None:
        outcome = containers.advance(call, draft)
        container = containers.creation_id(call, draft)
        if not isinstance(outcome, Ready) or container is None:
            return outcome if not isinstance(outcome, Ready) else NotSent("not_ready", "The container is not ready.")
    return _send(call, container)


def _proven(tried: dict[str, Json]) -> bool:
    """Whether each sending of the container is known to have published nothing."""
    return not containers.is_in_doubt(tried)


def _known(call: Call, tried: dict[str, Json]) -> PublishOutcome | None:
    """What has become of a container that was sent before; None: it, or another one, may be sent now."""
    found = containers.status_of(call, str(tried["id"]))
    if not isinstance(found, tuple):
        # That it cannot be read says nothing about the post.
        return Unknown(found.code, found.message) if isinstance(found, Rejected) else found
    if found[0] in {"ERROR", "EXPIRED"}:
        # Never published, and it never will be.
        return None if containers.drop(call) else lost()
    if found[0] != "FINISHED":
        return Unknown("container_published", f"Instagram says that the container is {found[0]}.")
    before = utc(tried.get("at"))
    if int(tried.get("count") or 0) > 1 and before is not None and before + RESEND_PAUSE > call.now():
        message = "Instagram did not publish the container twice."
        return NotSent("resend_pause", message, None, RESEND_PAUSE.total_seconds())
    return None


def _send(call: Call, container: str) -> PublishOutcome:
    user = api.ig_user(call)
    if call.checkpoint.get("limit_hit"):
        stopped = containers.limit(call, str(user))
        if stopped is not None:
            return stopped
        call.save(limit_hit=False)
    before = mapping(call.checkpoint.get("tried"))
    tried: dict[str, Json] = {"count": 0, "refused": 0, "unknown": 0}
    if before.get("id") == container:
        tried |= before
    tried |= {"id": container, "at": call.now().isoformat(), "count": int(tried["count"]) + 1}
    # Noted before it is sent: whoever comes next asks the container first.
    call.save(tried=tried)
    try:
        reply = api.request(
            call, "POST", f"/{user}/media_publish", effect=Effect.PUBLISHES, form={"creation_id": container}
        )
    except FenceExpired:
        # Nothing left this machine: it was no sending.
        call.save(tried=before)
        raise
    except TransportError as error:
        if not error.sent:
            call.save(tried=before)
        raise
    media_id = api.id_of(reply)
    if media_id is not None:
        # With the outcome: it may not be lost because the database is away just now.
        return Processing(1.0, {"media_id": media_id})
    outcome = api.refusal_of_publish(call, reply)
    return outcome if isinstance(outcome, Unknown) else _refused(call, reply, tried, outcome)


def _refused(call: Call, reply: Reply, tried: dict[str, Json], outcome: api.Refusal) -> PublishOutcome:
    """After a refusal without effect: whether the container is of use any longer."""
    subcode = api.Problem(reply).subcode
    tried = {
        **tried,
        "refused": int(tried["refused"]) + 1,
        "unknown": int(tried["unknown"]) + (subcode == api.NOT_YET),
    }
    call.save(tried=tried, **({"limit_hit": True} if subcode == api.DAILY_LIMIT else {}))
    if subcode == api.NOT_FOUND:
        return _not_found(call, tried, outcome)
    tired = subcode == api.NOT_YET and tried["unknown"] >= UNKNOWN_TRIES
    if not _proven(tried) or not (tired or subcode == api.EXPIRED):
        return outcome
    # Another container may be made, but not for ever. It is made at once: there is nothing left to wait for.
    if not containers.drop(call):
        return lost()
    return replace(outcome, retry_after_s=None) if isinstance(outcome, NotSent) else outcome


def _not_found(call: Call, tried: dict[str, Json], outcome: api.Refusal) -> PublishOutcome:
    """A missing permission or a token that ran out is the likely cause (error codes, 2026-06): the token is checked
    first, and another container is made once.
    """
    try:
        trouble = api.token_trouble(call)
    except TransportError:
        return outcome  # the refusal stands; whether the token is good is seen at the next try
    if isinstance(trouble, AuthExpired):
        return trouble
    if trouble is not None or not _proven(tried):
        return outcome
    if call.checkpoint.get("not_found"):
        message = "Instagram does not find the post's container, although the access works: a permission may be missing"
        return Rejected("container_not_found", message, outcome.http_status)
    call.save(not_found=True)
    return outcome if containers.drop(call) else lost()


def lost() -> Rejected:
    """No container lasts."""
    return Rejected("container_lost", f"Instagram lost the containers more than {containers.MAX_REBUILDS} times.")
