"""How X counts text and how it stores it: links become t.co, the markup signs are escaped.

Written apart from the client's own counter on purpose: two counters that agree are worth more than one that
is asked twice. It knows the common top-level domains only (and those of all countries), and emoji by their blocks.
A domain without a scheme and a path is a link, too: ``t.co``, ``foo.de``. Source: twitter-text 3.1.
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
    "team|tools|travel|wiki|work|zone"
)
_COUNTRIES = (
    "ac|ad|ae|af|ag|ai|al|am|an|ao|aq|ar|as|at|au|aw|ax|az|ba|bb|bd|be|bf|bg|bh|bi|bj|bl|bm|bn|bo|bq|br|bs|bt|bv|bw|by|"
    "bz|ca|cc|cd|cf|cg|ch|ci|ck|cl|cm|cn|co|cr|cu|cv|cw|cx|cy|cz|de|dj|dk|dm|do|dz|ec|ee|eg|eh|er|es|et|eu|fi|fj|fk|fm|"
    "fo|fr|ga|gb|gd|ge|gf|gg|gh|gi|gl|gm|gn|gp|gq|gr|gs|gt|gu|gw|gy|hk|hm|hn|hr|ht|hu|id|ie|il|im|in|io|iq|ir|is|it|je|"
    "jm|jo|jp|ke|kg|kh|ki|km|kn|kp|kr|kw|ky|kz|la|lb|lc|li|lk|lr|ls|lt|lu|lv|ly|ma|mc|md|me|mf|mg|mh|mk|ml|mm|mn|mo|mp|"
    "mq|mr|ms|mt|mu|mv|mw|mx|my|mz|na|nc|ne|nf|ng|ni|nl|no|np|nr|nu|nz|om|pa|pe|pf|pg|ph|pk|pl|pm|pn|pr|ps|pt|pw|py|qa|"
    "re|ro|rs|ru|rw|sa|sb|sc|sd|se|sg|sh|si|sj|sk|sl|sm|sn|so|sr|ss|st|su|sv|sx|sy|sz|tc|td|tf|tg|th|tj|tk|tl|tm|tn|to|"
    "tp|tr|tt|tv|tw|tz|ua|ug|uk|um|us|uy|uz|va|vc|ve|vg|vi|vn|vu|wf|ws|ye|yt|za|zm|zw"
)
_HOST = rf"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:{_TLDS}|{_COUNTRIES})(?![a-z0-9.-]*[a-z0-9])"
_REST = r"(?::\d{1,5})?(?:[/?#][^\s<>\"]*)?"
_LINK = re.compile(rf"(?<![@#$\w./-])(?:https?://)?{_HOST}{_REST}", re.IGNORECASE)
_TRAILING = ".,;:!?'\")]}"

_CASHTAG = re.compile(r"(?<![\w$])\$[a-z]{1,6}(?:[._][a-z]{1,2})?(?!\w)", re.IGNORECASE)
REFUSED_CHARACTERS = "\ufffe\ufeff\uffff"

_TONE = "\U0001f3fb-\U0001f3ff"
_PICTURE = "\U0001f000-\U0001f1e5\U0001f200-\U0001faff\u231a-\u23ff\u25aa-\u25fe\u2600-\u27bf\u2b05-\u2b55"
_EMOJI = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}"
    f"|[0-9#*]\ufe0f?\u20e3"
    f"|(?:[{_PICTURE}]|[^\\s\\w]\ufe0f)[\ufe0f{_TONE}]?[\U000e0020-\U000e007f]*"
    f"(?:\u200d[{_PICTURE}][\ufe0f{_TONE}]?)*"
)


def links(text: str) -> list[tuple[int, int]]:
    """Where the links are: start and end."""
    found = []
    for match in _LINK.finditer(text):
        start, end = match.span()
        while end > start and text[end - 1] in _TRAILING:
            end -= 1
        found.append((start, end))
    return found


def cashtags(text: str) -> int:
    """How many names of stocks are marked."""
    return len(_CASHTAG.findall(text))


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
