"""How X counts text and how it stores it: links become t.co, the markup signs are escaped.

Written apart from the client's own counter on purpose: two counters that agree are worth more than one that
is asked twice. It knows the common top-level domains only, and emoji by their blocks.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

URL_WEIGHT = 23
LIMIT = 280
LIMIT_PREMIUM = 25_000

_TLDS = (
    "com|org|net|edu|gov|mil|int|info|biz|name|pro|app|dev|page|blog|shop|store|site|online|tech|cloud|agency|"
    "design|studio|media|news|live|tv|fm|xyz|club|world|today|art|photo|video|music|games|social|link|life|"
    "academy|education|email|events|finance|health|house|jobs|market|museum|network|solutions|space|systems|"
    "team|tools|travel|wiki|work|zone|[a-z]{2}"
)
_HOST = rf"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:{_TLDS})(?![a-z0-9.-]*[a-z0-9])"
_REST = r"(?::\d{1,5})?(?:[/?#][^\s<>\"]*)?"
_LINK = re.compile(rf"(?<![@#$\w./-])(?:https?://)?{_HOST}{_REST}", re.IGNORECASE)
_TRAILING = ".,;:!?'\")]}"

_TONE = "\U0001f3fb-\U0001f3ff"
_PICTURE = "\U0001f000-\U0001f1e5\U0001f200-\U0001faff\u231a-\u23ff\u25aa-\u25fe\u2600-\u27bf\u2b05-\u2b55"
_EMOJI = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}"
    f"|[0-9#*]\ufe0f?\u20e3"
    f"|(?:[{_PICTURE}]|[^\\s\\w]\ufe0f)[\ufe0f{_TONE}]?[\U000e0020-\U000e007f]*"
    f"(?:\u200d[{_PICTURE}][\ufe0f{_TONE}]?)*"
)


def links(text: str) -> list[tuple[int, int]]:
    """Where the links are: start and end. A schemeless two-letter domain without a path is not one."""
    found = []
    for match in _LINK.finditer(text):
        start, end = match.span()
        while end > start and text[end - 1] in _TRAILING:
            end -= 1
        link = text[start:end]
        bare = "://" not in link
        if bare and "/" not in link and re.fullmatch(r"[^.]+\.[A-Za-z]{2}", link):
            continue
        found.append((start, end))
    return found


def weighted_length(text: str) -> int:
    """As X counts: Latin and its like 1, the rest 2, an emoji 2, a link 23."""
    normal = unicodedata.normalize("NFC", text)
    total, at = 0, 0
    for start, end in links(normal):
        total += _plain(normal[at:start]) + URL_WEIGHT
        at = end
    return total + _plain(normal[at:])


def _plain(text: str) -> int:
    rest, emoji = _EMOJI.subn("", text)
    return 2 * emoji + sum(_weight(ord(letter)) for letter in rest)


def _weight(code: int) -> int:
    light = code <= 0x10FF or 0x2000 <= code <= 0x200D or 0x2010 <= code <= 0x201F or 0x2032 <= code <= 0x2037
    return 1 if light else 2


def stored(text: str, post_id: str, username: str, media_keys: Sequence[str]) -> tuple[str, list[dict[str, Any]]]:
    """The text as reads return it, and its ``entities.urls``. Attached media add a link of their own."""
    pieces: list[str] = []
    urls: list[dict[str, Any]] = []
    length, at = 0, 0

    def add(piece: str) -> None:
        nonlocal length
        pieces.append(piece)
        length += len(piece)

    def add_link(expanded: str, shown: str, *keys: str) -> None:
        short = f"https://t.co/{_code(post_id, expanded, len(urls))}"
        place = {"start": length, "end": length + len(short), "url": short}
        add(short)
        for key in keys or ("",):
            url = {**place, "expanded_url": expanded, "display_url": shown}
            urls.append({**url, "media_key": key} if key else url)

    for start, end in links(text):
        add(_escape(text[at:start]))
        link = text[start:end]
        expanded = link if "://" in link else f"http://{link}"
        shown = expanded.partition("://")[2].removeprefix("www.")
        add_link(expanded, shown if len(shown) <= 27 else f"{shown[:26]}…")
        at = end
    add(_escape(text[at:]))
    if media_keys:
        if length:
            add(" ")
        expanded = f"https://x.com/{username}/status/{post_id}/photo/1"
        add_link(expanded, f"pic.x.com/{_code(post_id, expanded, 0)}", *media_keys)
    return "".join(pieces), urls


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(*words: object) -> str:
    number = int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:8], "big")
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    code = ""
    for _ in range(10):
        number, place = divmod(number, len(letters))
        code += letters[place]
    return code
