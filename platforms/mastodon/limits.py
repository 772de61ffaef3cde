"""What one instance allows, as it says itself, and so how it counts a text.

Source: Mastodon API documentation, 2026-07; the defaults are those of mastodon.social, 2026-08. Servers differ, so
the account's own are read by ``identify`` and kept with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from platforms.base import Json
from platforms.mastodon.length import characters, shortened, urls
from platforms.outcomes import mapping

FACT = "limits"
"""The key among the account's facts."""


@dataclass(frozen=True)
class Limits:
    """The limits of an instance; bytes, pixels, seconds, characters."""

    max_characters: int = 500
    max_media_attachments: int = 4
    characters_reserved_per_url: int = 23
    image_size_limit: int = 16_777_216
    image_matrix_limit: int = 33_177_600
    video_size_limit: int = 103_809_024
    video_matrix_limit: int = 8_294_400
    description_limit: int = 1_500
    max_options: int = 4
    max_characters_per_option: int = 50
    min_expiration: int = 300
    max_expiration: int = 2_629_746
    supported_mime_types: tuple[str, ...] = ()
    """Empty: not told."""
    counts_as_seen: bool = False
    """True: what people see is a character (grapheme clusters), as Mastodon itself counts. Of other software that
    speaks its API that is not known; code points are never fewer, so what fits by them fits everywhere."""

    @classmethod
    def of(cls, facts: Mapping[str, Json]) -> Limits:
        """The limits that were kept with an account; the defaults for what is missing."""
        kept = mapping(facts.get(FACT))
        found = {
            field.name: kept[field.name]
            for field in fields(cls)
            if field.type == "int" and _is_count(kept.get(field.name))
        }
        if kept.get("characters_reserved_per_url") == 0:
            # Some reserve nothing: a link counts as it is written.
            found["characters_reserved_per_url"] = 0
        found["counts_as_seen"] = kept.get("counts_as_seen") is True
        mimes = kept.get("supported_mime_types")
        if isinstance(mimes, list | tuple):
            found["supported_mime_types"] = tuple(str(mime) for mime in mimes)
        return cls(**found)

    @classmethod
    def read(cls, instance: Mapping[str, Json]) -> Limits:
        """The limits in the answer of ``/api/v2/instance`` or ``/api/v1/instance``."""
        configuration = mapping(instance.get("configuration"))
        merged: dict[str, Json] = {}
        for part in ("statuses", "media_attachments", "polls"):
            merged |= mapping(configuration.get(part))
        # Pleroma and its kin, and the older servers, say it at the top.
        for theirs, ours in (("max_toot_chars", "max_characters"), ("description_limit", "description_limit")):
            if ours not in merged and _is_count(instance.get(theirs)):
                merged[ours] = instance[theirs]
        old_polls = mapping(instance.get("poll_limits"))
        for theirs, ours in (("max_options", "max_options"), ("max_option_chars", "max_characters_per_option")):
            if ours not in merged and _is_count(old_polls.get(theirs)):
                merged[ours] = old_polls[theirs]
        # Only Mastodon tells the version of its own API (since 4.3).
        merged["counts_as_seen"] = _is_count(mapping(instance.get("api_versions")).get("mastodon"))
        return cls.of({FACT: merged})

    def as_facts(self) -> dict[str, Json]:
        """For the account's facts."""
        return {**asdict(self), "supported_mime_types": list(self.supported_mime_types)}

    def takes(self, mime: str) -> bool:
        """Whether the instance says that it takes files of a type, or says nothing."""
        return not self.supported_mime_types or mime in self.supported_mime_types

    def count(self, text: str) -> int:
        """How many characters a text has for the instance, links and mentions as they are written."""
        return characters(text, as_seen=self.counts_as_seen)

    def length(self, text: str) -> int:
        """How long the instance counts a text: a link as reserved, a mention without its server."""
        return self.count(shortened(text, self.characters_reserved_per_url))

    def why(self, text: str) -> str:
        """What makes the length of a text another than its letters, to be said after it; empty: nothing."""
        reserved = self.characters_reserved_per_url
        reasons = [f"a link counts {reserved}, whatever its length"] if reserved and any(urls(text)) else []
        if not self.counts_as_seen and characters(text, as_seen=True) < characters(text, as_seen=False):
            reasons.append("of an emoji or a letter that is put together each part counts")
        return f": {', and '.join(reasons)}" if reasons else ""


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
