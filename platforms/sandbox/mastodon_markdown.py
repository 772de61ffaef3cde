"""What a server that speaks Mastodon's API may make of a text: Markdown, pictures for shortcodes, cleaned links.

Much simpler than any real one, but as unlike the text that was sent: marks and numbers of lists are gone, a link has
other words than its address, parameters that follow people around are taken out, a shortcode is a picture.
"""

from __future__ import annotations

import re
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_TOKEN = re.compile(
    r"!\[(?P<alt>[^\]]*)\]\((?P<image>\S+?)\)|\[(?P<words>[^\]]*)\]\((?P<target>\S+?)\)|(?P<link>https?://[^\s<>]+)"
    r"|:(?P<code>[a-z0-9_]+):|`(?P<verbatim>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|[*_](?P<em>[^*_\s][^*_]*)[*_]"
)
_ITEM = re.compile(r"(?:[-*]|(?P<number>\d+)[.)])\s+(?P<rest>.*)")
_HEADING = re.compile(r"(#{1,6})\s+(.*)")


def as_html(text: str, origin: str) -> str:
    """The text as such a server shows it."""
    return "".join(_block(block, origin) for block in re.split(r"\n{2,}", text.strip()) if block)


def _block(block: str, origin: str) -> str:
    lines = block.split("\n")
    if heading := _HEADING.fullmatch(block):
        size = len(heading[1])
        return f"<h{size}>{_inline(heading[2], origin)}</h{size}>"
    if all(line.startswith(">") for line in lines):
        said = "<br>".join(_inline(line.removeprefix(">").strip(), origin) for line in lines)
        return f"<blockquote><p>{said}</p></blockquote>"
    items = [_ITEM.fullmatch(line) for line in lines]
    if all(items):
        kind = "ol" if items[0] and items[0]["number"] else "ul"
        rows = "".join(f"<li>{_inline(item['rest'], origin)}</li>" for item in items if item)
        return f"<{kind}>{rows}</{kind}>"
    return f"<p>{'<br>'.join(_inline(line, origin) for line in lines)}</p>"


def _inline(text: str, origin: str) -> str:
    pieces, at = [], 0
    for match in _TOKEN.finditer(text):
        pieces += [escape(text[at : match.start()], quote=False), _shown(match, origin)]
        at = match.end()
    return "".join([*pieces, escape(text[at:], quote=False)])


def _shown(match: re.Match[str], origin: str) -> str:
    kind = match.lastgroup or ""
    inner = escape(match[kind])
    match kind:
        case "image":
            return f'<img src="{inner}" alt="{escape(match["alt"])}">'
        case "target":
            return f'<a href="{escape(_clean(match[kind]))}">{escape(match["words"])}</a>'
        case "link":
            link = escape(_clean(match[kind]))
            return f'<a href="{link}">{link}</a>'
        case "code":
            return f'<img class="emoji" alt=":{inner}:" title=":{inner}:" src="{origin}/emoji/{inner}.png">'
        case "verbatim":
            return f"<code>{inner}</code>"
    return f"<{kind}>{inner}</{kind}>"


def _clean(link: str) -> str:
    """The link without the parameters by which campaigns are counted."""
    parts = urlsplit(link)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if not name.startswith("utm_")]
    return urlunsplit(parts._replace(query=urlencode(kept)))
