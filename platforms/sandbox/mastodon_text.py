"""How a Mastodon server counts a text and what it makes of it: paragraphs, links, mentions, tags as HTML.

Written apart from the client's own counter on purpose.
"""

from __future__ import annotations

import re
from html import escape

from platforms.sandbox.bluesky_record import clusters

URL_LENGTH = 23
_HOST = r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}|xn--[a-z0-9-]+"
_URL = re.compile(rf"https?://(?:{_HOST})(?::\d+)?(?:[/?#][^\s<>\"]*)?", re.IGNORECASE)
_MENTION = re.compile(r"(?<![=/\w])@(\w+(?:[\w.-]+\w+)?)(?:@([\w.-]+\w))?", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r"(?<![\w/&])#(\w*[^\W\d]\w*)")
_TRAILING = ".,;:!?'\")]}"
SHOWN = 30
"""Letters of a link that are shown; the rest is there, but hidden."""


def _links(text: str) -> list[tuple[int, int]]:
    found = []
    for match in _URL.finditer(text):
        end = match.end()
        while end > match.start() and text[end - 1] in _TRAILING:
            balanced = text[end - 1] == ")" and text[match.start() : end].count("(") >= text[match.start() : end].count(
                ")"
            )
            if balanced:
                break
            end -= 1
        found.append((match.start(), end))
    return found


def length(text: str) -> int:
    """Characters as people see them; a link counts as reserved, a mention without its server."""
    total, at = 0, 0
    for start, end in _links(text):
        total += clusters(_MENTION.sub(r"@\1", text[at:start])) + URL_LENGTH
        at = end
    return total + clusters(_MENTION.sub(r"@\1", text[at:]))


def tags(text: str) -> list[str]:
    """The hashtags of a text, without their sign."""
    return list(dict.fromkeys(match[1].lower() for match in _TAG.finditer(text)))


def as_html(text: str, origin: str) -> str:
    """The text as the server shows it."""
    if not text.strip():
        return ""
    paragraphs = re.split(r"\n{2,}", text.strip())
    return "".join(f"<p>{_marked_up(part, origin).replace(chr(10), '<br />')}</p>" for part in paragraphs)


def _marked_up(text: str, origin: str) -> str:
    pieces, at = [], 0
    for start, end in _links(text):
        pieces += [_words(text[at:start], origin), _link(text[start:end])]
        at = end
    return "".join([*pieces, _words(text[at:], origin)])


def _link(url: str) -> str:
    scheme, _, rest = url.partition("://")
    prefix = f"{scheme}://" + ("www." if rest.startswith("www.") else "")
    shown, hidden = url[len(prefix) : len(prefix) + SHOWN], url[len(prefix) + SHOWN :]
    return (
        f'<a href="{escape(url)}" target="_blank" rel="nofollow noopener" translate="no">'
        f'<span class="invisible">{escape(prefix)}</span><span class="{"ellipsis" if hidden else ""}">{escape(shown)}'
        f'</span><span class="invisible">{escape(hidden)}</span></a>'
    )


def _words(text: str, origin: str) -> str:
    marked = escape(text, quote=False)
    marked = _MENTION.sub(lambda match: _mention(match, origin), marked)
    return _TAG.sub(
        lambda match: (
            f'<a href="{origin}/tags/{match[1].lower()}" class="mention hashtag" rel="tag">#<span>{match[1]}</span></a>'
        ),
        marked,
    )


def _mention(match: re.Match[str], origin: str) -> str:
    where = f"https://{match[2]}" if match[2] else origin
    return (
        f'<span class="h-card" translate="no"><a href="{where}/@{match[1]}" class="u-url mention">'
        f"@<span>{match[1]}</span></a></span>"
    )
