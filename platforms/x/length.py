"""How long X counts a text: the weighted length of twitter-text v3.

The text is normalised to NFC; a link counts 23, an emoji sequence 2, a character of the ranges below 1, any
other character 2; the limit is 280. Source of ranges and weights: twitter-text, config v3 (read 2026-11).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import emoji

from platforms.x.tlds import TLDS

LIMIT = 280
URL_LENGTH = 23
LIGHT_RANGES = ((0x0000, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))
"""Code points that weigh 1; all others weigh 2."""
INVALID_CHARACTERS = frozenset("\ufffe\ufeff\uffff")
"""X refuses a text that holds one of these."""

_MAX_URL = 4096
_MAX_LABEL = 63
_MAX_TCO_SLUG = 40
_LONGEST_SCANNED_LABEL = 250
"""Bounds the search for links; a label over 63 is no domain anyway."""
_LONGEST_SCANNED_TEXT = 5_000
"""A longer text is over the limit whatever links it holds (but for one made of links of 400 letters and
more); it is counted by its letters, so that no input takes seconds."""


@dataclass(frozen=True)
class Link:
    """A link as X finds it; ``start`` and ``end`` are code points in the NFC text."""

    start: int
    end: int
    url: str


_SPACES = r"\x09-\x0d\x20\x85\xa0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NONCHARACTERS = r"\ufffe\ufeff\uffff"
_DIRECTIONS = r"\u202a-\u202e\u061c\u200e\u200f\u2066-\u2069"
_PUNCTUATION = r"!'#%&()*+,\\\-./:;<=>?@\[\]^_{|}~$"
_ACCENTS = (
    r"\xc0-\xd6\xd8-\xf6\xf8-\xff\u0100-\u024f\u0253\u0254\u0256\u0257\u0259\u025b\u0263\u0268\u026f\u0272"
    r"\u0289\u028b\u02bb\u0300-\u036f\u1e00-\u1eff"
)
_CYRILLIC = r"\u0400-\u04ff"

_LETTER = f"[^{_PUNCTUATION}{_SPACES}{_NONCHARACTERS}{_DIRECTIONS}]"
_INNER = f"{{0,{_LONGEST_SCANNED_LABEL}}}"
_SUBDOMAIN = rf"(?:(?:{_LETTER}(?:[_-]|{_LETTER}){_INNER})?{_LETTER}\.)"
_NAME = rf"(?:(?:{_LETTER}(?:-|{_LETTER}){_INNER})?{_LETTER}\.)"
# The longest name first: "co" must not win where "com" stands.
_TLD = rf"(?:(?:{'|'.join(sorted(TLDS, reverse=True))})(?=[^0-9a-zA-Z@+-]|$)|xn--[-0-9a-z]+)"
DOMAIN = rf"(?:{_SUBDOMAIN}{{0,60}}{_NAME}{_TLD})"
"""A domain, as a regular expression that ignores case."""

_PATH_CHAR = rf"[a-z{_CYRILLIC}0-9!*';:=+,.$/%#\[\]\-\u2013_~@|&{_ACCENTS}]"
_PARENS = rf"\((?:{_PATH_CHAR}+|{_PATH_CHAR}*\({_PATH_CHAR}+\){_PATH_CHAR}*)\)"
_PATH_END = rf"(?:[+\-a-z{_CYRILLIC}0-9=_#/{_ACCENTS}]|{_PARENS})"
_PATH = rf"(?:(?:{_PATH_CHAR}*(?:{_PARENS}{_PATH_CHAR}*)*{_PATH_END})|(?:@{_PATH_CHAR}+/))"
_QUERY = r"\?[a-z0-9!?*'@();:&=+$/%#\[\]\-_.,~|]*[a-z0-9\-_&=#/]"

_URL = re.compile(
    rf"(?P<before>[^A-Za-z0-9@\uff20$#\uff03{_NONCHARACTERS}]|^)"
    rf"(?P<url>(?P<scheme>https?://)?(?P<domain>{DOMAIN})(?::[0-9]+)?(?P<path>/{_PATH}*)?(?:{_QUERY})?)",
    re.IGNORECASE,
)
_ASCII_DOMAIN = re.compile(rf"(?:[\-a-z0-9{_ACCENTS}]+\.)+{_TLD}", re.IGNORECASE)
_TCO = re.compile(rf"https?://t\.co/([a-z0-9]+)(?:{_QUERY})?", re.IGNORECASE)


def normalize(text: str) -> str:
    """``text`` in NFC, the form that X counts and keeps."""
    return unicodedata.normalize("NFC", text)


def is_domain(url: str, domain: str) -> bool:
    """Whether every label fits into 63 bytes of IDNA, and the whole into 4,096 characters.

    What begins as an encoded domain has to be one: twitter-text finds no link where other letters follow.
    """
    if domain.startswith("xn--") and not _ASCII_DOMAIN.search(domain):
        return False
    size = 0
    for label in domain.split("."):
        encoded = len(label) if label.isascii() else len(label.encode("punycode")) + len("xn--")
        if encoded > _MAX_LABEL:
            return False
        size += encoded + 1
    return len("https://") + len(url) - len(domain) + size - 1 <= _MAX_URL


def _without_scheme(match: re.Match[str]) -> list[Link]:
    """The links in a match that has no scheme: there only ASCII (and accented Latin) domains count."""
    if match["before"][-1:] in {"-", "_", ".", "/"}:
        return []
    offset = match.start("domain")
    found = [
        Link(offset + part.start(), offset + part.end(), part[0]) for part in _ASCII_DOMAIN.finditer(match["domain"])
    ]
    if found and match["path"]:
        last = found[-1]
        end = match.end("url")
        found[-1] = Link(last.start, end, match.string[last.start : end])
    return found


def links(text: str) -> list[Link]:
    """The links that X will shorten, in order, with or without a scheme. ``text`` must be in NFC."""
    if "." not in text or len(text) > _LONGEST_SCANNED_TEXT:
        return []
    found: list[Link] = []
    for match in _URL.finditer(text):
        url = match["url"]
        if not is_domain(url, match["domain"]):
            continue
        if not match["scheme"]:
            found.extend(_without_scheme(match))
            continue
        start, end = match.span("url")
        tco = _TCO.match(url)
        if tco is not None:
            # Nothing may follow the slug of X's own shortener.
            if len(tco[1]) > _MAX_TCO_SLUG:
                continue
            end = start + tco.end()
        found.append(Link(start, end, text[start:end]))
    return found


def _weight(character: str) -> int:
    point = ord(character)
    return 1 if any(low <= point <= high for low, high in LIGHT_RANGES) else 2


def _emoji_ends(text: str) -> dict[int, int]:
    """Start -> end of each emoji sequence. A lone light character (the copyright sign) is text, not emoji."""
    if text.isascii():
        return {}
    return {
        found["match_start"]: found["match_end"]
        for found in emoji.emoji_list(text)
        if found["match_end"] - found["match_start"] > 1 or _weight(found["emoji"]) > 1
    }


@dataclass(frozen=True)
class Counted:
    """How a text was counted."""

    length: int
    """As X counts it; up to ``LIMIT`` may be posted."""
    links: int
    """Those that count ``URL_LENGTH``."""
    heavy: int
    """Characters and emoji that count 2."""


def count(text: str) -> Counted:
    """How long X counts ``text``, and what made it so."""
    text = normalize(text)
    link_ends = {link.start: link.end for link in links(text)}
    emoji_ends = _emoji_ends(text)
    total = position = heavy = 0
    while position < len(text):
        if position in link_ends:
            total += URL_LENGTH
            position = link_ends[position]
            continue
        weight = 2 if position in emoji_ends else _weight(text[position])
        position = emoji_ends.get(position, position + 1)
        total += weight
        heavy += weight > 1
    return Counted(total, len(link_ends), heavy)


def weighted_length(text: str) -> int:
    """How long X counts ``text``; up to ``LIMIT`` may be posted."""
    return count(text).length


def too_long(text: str) -> str:
    """Says by how much ``text`` is too long, and why it counts more than it seems to; empty where it fits."""
    found = count(text)
    if found.length <= LIMIT:
        return ""
    reasons = []
    if found.heavy:
        reasons.append(f"{found.heavy} of the text count{'s' if found.heavy == 1 else ''} 2")
    if found.links:
        reasons.append(f"a link counts {URL_LENGTH}, whatever its length")
    told = f"X counts {found.length} characters, {found.length - LIMIT} more than the {LIMIT} that it allows"
    return f"{told}: {', and '.join(reasons)}." if reasons else f"{told}."
