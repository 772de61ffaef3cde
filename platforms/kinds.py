"""The kinds of post that a module makes, each by an example: what is told about a platform is asked of the module.

Optional: a module says which kinds it knows by an attribute ``kinds_of_post``. Placement, transport, the call
that publishes and the promise about doubles then follow from the module's own answers for the example, so they
cannot say something else than what the workers do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from platforms.base import AccountRef, Draft, MediaItem, MediaKind, Platform

PICTURE = MediaItem(MediaKind.IMAGE, "image/jpeg", 200_000, 1_080, 1_080, sha256="")
VIDEO = MediaItem(MediaKind.VIDEO, "video/mp4", 5_000_000, 1_080, 1_920, sha256="", duration_s=15.0)
ANIMATION = MediaItem(MediaKind.GIF, "image/gif", 200_000, 480, 480, sha256="")


@dataclass(frozen=True)
class KindOfPost:
    """One kind of post, in plain words, and a draft of that kind. The draft need not be valid in all else."""

    name: str
    example: Draft


@runtime_checkable
class HasKindsOfPost(Protocol):
    """A module that names its kinds of post."""

    kinds_of_post: tuple[KindOfPost, ...]


def kinds_of(module: Platform) -> tuple[KindOfPost, ...]:
    """What the module names; otherwise a text and one post for each placement, by what its media rule takes."""
    if isinstance(module, HasKindsOfPost):
        return module.kinds_of_post
    return tuple(kind for placement, kind in _by_rules(module) if _is_offered(module, placement, kind.example))


def _is_offered(module: Platform, placement: str | None, example: Draft) -> bool:
    """Whether the module puts it there, and does not refuse the media that the rule would take."""
    refused = any(violation.field == "media" for violation in module.validate(example))
    return not refused and placement in {None, module.placement(example)}


def _by_rules(module: Platform) -> Iterator[tuple[str | None, KindOfPost]]:
    """Kinds with the placement that they are meant for; the module may put them elsewhere."""
    account = AccountRef(module.name, "")
    rules = module.capabilities.media
    if not rules or min(rule.min_count for rule in rules.values()) == 0:
        yield None, KindOfPost("text", Draft("text", account))
    for placement, rule in rules.items():
        count = max(1, rule.min_count)
        if rule.image_mimes:
            yield placement, KindOfPost(f"{placement} of pictures", Draft("text", account, (PICTURE,) * count))
        if rule.max_gif_bytes is not None:
            yield placement, KindOfPost(f"{placement} of an animated GIF", Draft("text", account, (ANIMATION,)))
        if rule.video is not None:
            yield placement, KindOfPost(f"{placement} of a video", Draft("text", account, (VIDEO,)))
