"""How a server counts a text: what of it is a link, what a mention, and what a character.

Source: Mastodon's server source, StatusLengthValidator and config/initializers/twitter_regex.rb, 2026. Domains are
found as twitter-text finds them; in paths and queries, other than there, letters of every script count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from platforms.bluesky.text import graphemes
from platforms.x.length import DOMAIN, is_domain, normalize

_PATH_CHAR = r"[^\s<>()?]"
_PATH_END = r"[^\s()?!*\"'\u300c\u300d<>;:=,.$%\[\]~&|@]"
_PARENS = rf"\((?:{_PATH_CHAR}+|{_PATH_CHAR}*\({_PATH_CHAR}+\){_PATH_CHAR}*)\)"
_PATH = rf"(?:(?:{_PATH_CHAR}|{_PARENS})*(?:{_PATH_END}|{_PARENS}))?"
_OTHERS = r"\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\uffef\U00010000-\U0010fffd"
_QUERY = rf"\?[a-z0-9!?*'();:&=+$/%#\[\]\-_.,~|@\^{_OTHERS}]*[a-z0-9_&=#/\-{_OTHERS}]"
_BEGIN = re.compile(r"https?://", re.IGNORECASE)
_URL = re.compile(rf"https?://(?P<domain>{DOMAIN})(?::[0-9]+)?(?:/{_PATH})?(?:{_QUERY})?", re.IGNORECASE)
_NOT_BEFORE = re.compile(r"[A-Za-z0-9@\uff20$#\uff03\u202a-\u202e]")

_MENTION = re.compile(
    r"(?<![=/\w])@([a-z0-9_]+(?:[a-z0-9_.-]+[a-z0-9_]+)?)(?:@[\w.-]+\w+)?",
    re.IGNORECASE,
)
"""As the server's own Account::MENTION_RE, 2026."""


def urls(text: str) -> Iterator[tuple[int, int]]:
    """Where the links are: those with a scheme; Mastodon finds no others."""
    at = 0
    # From scheme to scheme, so that a long text takes no longer than its length.
    while begin := _BEGIN.search(text, at):
        at = begin.end()
        start = begin.start()
        if start and _NOT_BEFORE.match(text[start - 1]):
            continue
        match = _URL.match(text, start)
        if match is None:
            continue
        at = match.end()
        if is_domain(match[0], match["domain"]):
            yield start, at


def shortened(text: str, per_url: int) -> str:
    """The text as it is counted: a link as so many letters (0: as it is), a mention without its server."""
    pieces: list[str] = []
    at = 0
    for start, end in urls(text) if per_url else ():
        pieces += [_without_servers(text[at:start]), "x" * per_url]
        at = end
    return "".join([*pieces, _without_servers(text[at:])])


def _without_servers(text: str) -> str:
    return _MENTION.sub(lambda match: f"@{match[1]}", text)


def characters(text: str, *, as_seen: bool) -> int:
    """What people see as characters (grapheme clusters), or code points in NFC: never fewer of these.

    A text whose accents stand apart has more code points than that; a server that counts it raw is not known.
    """
    return graphemes(text) if as_seen else len(normalize(text))
