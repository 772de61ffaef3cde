"""What one instance allows, as it says itself, and how it counts a text.

Source: Mastodon API documentation, 2026-07; the defaults are those of mastodon.social, 2026-08. Servers differ, so
the account's own are read by ``identify`` and kept with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

from platforms.base import Json
from platforms.outcomes import mapping
from platforms.x.length import links, normalize

FACT = "limits"
"""The key among the account's facts."""

_MENTION = re.compile(
    r"(?<![=/\w])@([a-z0-9_]+(?:[a-z0-9_.-]+[a-z0-9_]+)?)(?:@[\w.-]+\w+)?",
    re.IGNORECASE,
)
"""As the server's own Account::MENTION_RE, 2026."""


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

    @classmethod
    def of(cls, facts: Mapping[str, Json]) -> Limits:
        """The limits that were kept with an account; the defaults for what is missing."""
        kept = mapping(facts.get(FACT))
        found = {
            field.name: kept[field.name]
            for field in fields(cls)
            if field.name != "supported_mime_types" and _is_count(kept.get(field.name))
        }
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
        return cls.of({FACT: merged})

    def as_facts(self) -> dict[str, Json]:
        """For the account's facts."""
        return {**asdict(self), "supported_mime_types": list(self.supported_mime_types)}

    def takes(self, mime: str) -> bool:
        """Whether the instance says that it takes files of a type, or says nothing."""
        return not self.supported_mime_types or mime in self.supported_mime_types

    def length(self, text: str) -> int:
        """How long the instance counts a text: a link as reserved, a mention without its server.

        Newer servers count what people see (grapheme clusters), older ones and others code points. The code
        points are never fewer, so what fits here fits everywhere.
        """
        return len(_shortened(normalize(text), self.characters_reserved_per_url))


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _shortened(text: str, per_url: int) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in _urls(text):
        pieces += [_without_servers(text[at:start]), "x" * per_url]
        at = end
    return "".join([*pieces, _without_servers(text[at:])])


def _urls(text: str) -> Iterable[tuple[int, int]]:
    """Links with a scheme; Mastodon finds no others. Its rule is twitter-text's, as X's is."""
    for link in links(text):
        if link.url.lower().startswith(("http://", "https://")):
            yield link.start, link.end


def _without_servers(text: str) -> str:
    return _MENTION.sub(lambda match: f"@{match[1]}", text)
