"""What the creator may do just now: asked before every direct post, and held against the draft.

TikTok's guidelines ask for it, and the answer changes: a creator who makes the account private loses a privacy
level, and one who has reached the day's cap is told so here, before anything is uploaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from platforms.base import Call, Draft, Effect, Json, MediaKind, NotSent, Rejected, Reply, Violation
from platforms.outcomes import mapping, utc
from platforms.tiktok import api
from platforms.tiktok.models import is_direct, options_of

FRESH = timedelta(minutes=55)
"""How long an answer serves one post: as long as its prepared upload (``doubt.LIFETIME`` less its margin)."""
MISMATCH = "privacy_level_option_mismatch"
KEPT = (
    "creator_username", "creator_nickname", "privacy_level_options", "comment_disabled", "duet_disabled",
    "stitch_disabled", "max_video_post_duration_sec",
)  # fmt: skip


def ask(call: Call) -> dict[str, Json] | api.Refusal:
    """The creator's present options."""
    reply = api.post(call, f"{api.PUBLISH}/creator_info/query/", effect=Effect.READ)
    info = api.data(reply)
    if not isinstance(info.get("privacy_level_options"), list):
        return api.refusal(call, reply)
    return {name: info[name] for name in KEPT if name in info}


def ensure(call: Call, draft: Draft) -> api.Refusal | None:
    """Asks unless this post has a fresh answer; None: the draft may be posted as it is.

    A draft for the inbox has no privacy and needs no scope for posting, so nothing is asked for it.
    """
    if not is_direct(draft):
        return None
    kept = mapping(call.checkpoint.get("creator"))
    asked_at = utc(kept.get("asked_at"))
    if asked_at is None or asked_at + FRESH <= call.now():
        info = ask(call)
        if not isinstance(info, dict):
            return info
        call.learn({"creator": info})
        kept = {**info, "asked_at": call.now().isoformat()}
        call.save(creator=kept)
    for violation in violations(draft, kept):
        return Rejected(violation.code, violation.message)
    return None


def mismatch(call: Call, draft: Draft, reply: Reply) -> api.Refusal | None:
    """What follows from an init that was refused for its privacy level; None: it was not.

    The creator's options changed since they were asked for, so they are asked for once more before giving up.
    """
    if api.error_code(reply) != MISMATCH:
        return None
    if call.checkpoint.get("mismatched"):
        return Rejected(MISMATCH, "TikTok refused the privacy level twice, although it offers it.", reply.status)
    call.save(creator={}, mismatched=True)
    stopped = ensure(call, draft)
    message = "TikTok refused the privacy level, which it now offers."
    return stopped if stopped is not None else NotSent(MISMATCH, message, reply.status)


def of(call: Call) -> dict[str, Json]:
    """The answer for this post; what ``identify`` found where there is none."""
    return mapping(call.checkpoint.get("creator")) or mapping(call.account.facts.get("creator"))


def violations(draft: Draft, creator: dict[str, Json]) -> Iterator[Violation]:
    """What the creator may not do of what the draft asks; nothing where nothing is known."""
    options = options_of(draft)
    offered = creator.get("privacy_level_options")
    if options.privacy is not None and isinstance(offered, list) and options.privacy not in offered:
        names = ", ".join(str(level) for level in offered) or "none"
        message = f"TikTok offers this creator the privacy levels {names}; not {options.privacy}."
        yield Violation("privacy_not_offered", message, "options.privacy", platform="tiktok")
    longest = creator.get("max_video_post_duration_sec")
    for item in draft.media:
        if item.kind is not MediaKind.VIDEO or item.duration_s is None or not isinstance(longest, int):
            continue
        if longest > 0 and item.duration_s > longest:
            message = f"The video takes {item.duration_s:.0f} s; this creator may post up to {longest} s."
            yield Violation("video_too_long", message, "media", item.name or None, "tiktok")
