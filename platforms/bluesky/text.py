"""How Bluesky counts a text, and what in it is a link, a mention or a hashtag.

The post's text stays as it is; what is clickable is told beside it, by UTF-8 byte offsets (lexicon
app.bsky.richtext.facet, 2026-08). Which words become clickable is the client's choice: this follows Bluesky's own
client (atproto packages/api, rich-text/detection.ts, 2026-08), and goes further for links with a scheme, for
names that are not ASCII, and for brackets and quotes around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

import regex

from platforms.x.tlds import TLDS

LIMIT = 300
"""Grapheme clusters of a text. Source: lexicon app.bsky.feed.post, 2026-08."""
MAX_BYTES = 3_000
"""Bytes of a text in UTF-8. Same source."""
MAX_TAG = 64
MAX_TAG_BYTES = 640
_LONGEST_URI = 8_192
"""Of the lexicons' format ``uri``."""

_CLUSTER = regex.compile(r"\X")

_STOP = (
    r"\s<>\"`\u201c\u201d\u201e\u00ab\u00bb\u200b\u2060\ufeff"
    r"\u3001\u3002\u300c-\u3011\uff01\uff08\uff09\uff0c\uff1b\uff1f"
)
"""Where a link ends in any case: blanks, quotes, the punctuation of Chinese and Japanese."""
_TAIL = rf"[/?#](?:(?![,;]https?://)[^{_STOP}])*"
"""Path, query and fragment. Another link right behind a comma is one of its own."""
_LABEL = r"[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?"
_WITH_SCHEME = regex.compile(
    r"(?<![A-Za-z0-9@])(?P<scheme>https?://)"
    r"(?:(?P<address>\[[0-9a-f:.]{2,45}\])|(?P<host>[\p{L}\p{M}\p{N}._-]{1,512}+))"
    rf"(?P<user>(?=[^/?#{_STOP}]{{0,64}}@))?(?P<rest>(?P<port>:\d{{1,5}})?(?:{_TAIL})?)",
    regex.IGNORECASE,
)
"""The host takes only what names are made of: an emoji, a dash or an apostrophe behind it is the sentence's."""
_SCHEMELESS = regex.compile(
    rf"(?<![\w@./:#$&=+~%-])(?P<domain>(?>{_LABEL}(?:\.{_LABEL})+))(?!@)(?P<rest>(?::\d{{1,5}})?(?:{_TAIL})?)"
)
_MENTION = regex.compile(
    r"(?<![\w@./-])@(?P<handle>(?>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+))"
    r"(?![\w@-])",
    regex.IGNORECASE,
)
_INVISIBLE = r"\u00ad\u2060\u200a\u200b\u200c\u200d\u20e2"
_TAG = regex.compile(
    rf"(?<![^\s(])[#\uff03](?![\ufe0f\u20e3])(?P<tag>[^\s{_INVISIBLE}]*[^\d\s\p{{P}}{_INVISIBLE}][^\s{_INVISIBLE}]*)"
)
_TRAILING = regex.compile(r"[.,;:!?'\u2019\u2026]+$")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_MARKUP = "*_~|"
"""Signs that people put around a link, as in other places that format text by them."""


def graphemes(text: str) -> int:
    """How many characters people see: extended grapheme clusters."""
    return len(_CLUSTER.findall(text))


@dataclass(frozen=True)
class Span:
    """Something clickable; ``start`` and ``end`` are code points of the text."""

    start: int
    end: int
    kind: Literal["link", "mention", "tag"]
    value: str
    """The link in full, the handle without its sign, the tag without its sign."""


def byte_offset(text: str, position: int) -> int:
    """A position in code points as one in bytes of UTF-8."""
    return len(text[:position].encode())


# --- Links ------------------------------------------------------------------------------------------------


def _trimmed(link: str) -> str:
    """Without the punctuation of the sentence that the link stands in."""
    while link:
        shorter = _TRAILING.sub("", link)
        opening = _BRACKETS.get(shorter[-1:])
        if opening is not None and shorter.count(shorter[-1]) > shorter.count(opening):
            shorter = shorter[:-1]
        if shorter == link:
            return link
        link = shorter
    return link


def _host_of(run: str) -> str:
    """How much of a run of letters, digits, dots and dashes is the host; empty: nothing of it.

    Where people write without blanks, the sentence goes on right behind it ("https://example.comをご覧ください"): then
    the host is the longest beginning that ends in a top-level domain, as on X, where no ASCII letter follows. A name of
    ASCII alone is taken as it stands, whatever it ends in: its scheme says that it is meant.
    """
    run = run.rstrip(".-_")
    if run.isascii() or run.rpartition(".")[2].lower() in TLDS:
        return run
    for end in range(len(run) - 1, 0, -1):
        following = run[end]
        if following.isascii() and (following.isalnum() or following in "-_"):
            continue
        name, dot, ending = run[:end].rpartition(".")
        if dot and name and ending.lower() in TLDS:
            return run[:end]
    if run.rpartition(".")[2].isascii():
        return run  # nothing was written right behind it; its top-level domain is newer than our list
    # A name of somebody's own network, or an address in digits.
    ascii_only = regex.match(r"[\x00-\x7f]*", run)
    return ascii_only[0].rstrip(".-_") if ascii_only else ""


def _ascii_host(host: str) -> str | None:
    """The host as the network knows it; None where it cannot be one."""
    try:
        encoded = host.encode("idna").decode("ascii") if not host.isascii() else host
    except UnicodeError:
        return None
    labels = encoded.lower().removesuffix(".").split(".")
    good = all(regex.fullmatch(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", label) for label in labels)
    return encoded.lower() if good and len(encoded) <= 253 else None


def uri_of(link: str) -> str | None:
    """``link`` (with its scheme) as a URI of ASCII alone; None where it is no web address."""
    try:
        parts = urlsplit(link)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    if "@" in parts.netloc or not host:
        return None
    known = f"[{host}]" if ":" in host else _ascii_host(host)
    if known is None or ("." not in known and known != "localhost" and ":" not in known):
        return None
    # What is already encoded stays; what people write in their own script is encoded.
    tail = quote(parts.path, safe="/%:@!$&'()*+,;=~-._[]|")
    if parts.query or link.endswith("?"):
        tail += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._[]|?")
    if parts.fragment:
        tail += "#" + quote(parts.fragment, safe="/%:@!$&'()*+,;=~-._[]|?#")
    uri = f"{parts.scheme.lower()}://{known}{f':{port}' if port is not None else ''}{tail}"
    return uri if len(uri) <= _LONGEST_URI else None


def _links(text: str) -> Iterator[Span]:
    for match in _WITH_SCHEME.finditer(text):
        run = match["host"] or ""
        host = match["address"] or _host_of(run)
        link = match["scheme"] + host
        if not run or host == run:
            if match["user"] is not None:
                continue  # what looks like the host is a user's name: no link that looks like another
            link = _trimmed(link + match["rest"])
        before = text[match.start() - 1 : match.start()]
        if before and before in _MARKUP:
            link = link.rstrip(before)
        uri = uri_of(link)
        if uri is not None:
            yield Span(match.start(), match.start() + len(link), "link", uri)
    for match in _SCHEMELESS.finditer(text):
        domain = match["domain"]
        # As Bluesky's client: only lower-case endings, so that "end.It" of a hasty sentence is no link.
        if not _is_domain(domain):
            continue
        link = _trimmed(match[0]) if match["rest"] else domain
        uri = uri_of(f"https://{link}")
        if uri is not None:
            yield Span(match.start(), match.start() + len(link), "link", uri)


def _is_domain(domain: str) -> bool:
    first, _, _ = domain.partition(".")
    ending = domain.rpartition(".")[2]
    return ending in TLDS and any(letter.isalpha() for letter in first)


# --- Everything -------------------------------------------------------------------------------------------


def _mentions(text: str) -> Iterator[Span]:
    for match in _MENTION.finditer(text):
        handle = match["handle"].lower()
        ending = handle.rpartition(".")[2]
        if (ending in TLDS or ending == "test") and len(handle) <= 253:
            yield Span(match.start(), match.end(), "mention", handle)


def _tags(text: str) -> Iterator[Span]:
    for match in _TAG.finditer(text):
        tag = regex.sub(r"\p{P}+$", "", match["tag"])
        if tag and graphemes(tag) <= MAX_TAG and len(tag.encode()) <= MAX_TAG_BYTES:
            yield Span(match.start(), match.start() + 1 + len(tag), "tag", tag)


def spans(text: str) -> list[Span]:
    """All that is clickable, in order, none over another (Bluesky's clients drop what overlaps)."""
    if len(text) > MAX_BYTES:
        return []  # over the limit whatever stands in it; no input shall take seconds
    found: list[Span] = []
    for span in [*_links(text), *_mentions(text), *_tags(text)]:
        if all(span.end <= other.start or span.start >= other.end for other in found):
            found.append(span)
    return sorted(found, key=lambda span: span.start)


def links(text: str) -> list[str]:
    """The web addresses in a text, in order, each once."""
    return list(dict.fromkeys(span.value for span in spans(text) if span.kind == "link"))


def handles(text: str) -> list[str]:
    """The handles that a text mentions, in order, each once."""
    return list(dict.fromkeys(span.value for span in spans(text) if span.kind == "mention"))
