"""How a status compares with a draft: by media, then by its words, as servers of many kinds may show them.

Mastodon shows a text as it was sent. Others that speak its API make markup of it: Markdown, pictures in the place of
shortcodes, links without the parameters that follow people around. What such a server shows is never taken for
another text because of that: the same words are at least left undecided.
"""

from __future__ import annotations

import enum
import html
import re
from dataclasses import dataclass
from html.parser import HTMLParser

from platforms.base import Call, Draft, Json
from platforms.mastodon.models import Options
from platforms.outcomes import mapping, objects
from platforms.x.length import normalize


class Likeness(enum.Enum):
    """How a status compares with the draft."""

    SAME = "same"
    OTHER = "other"
    UNDECIDED = "undecided"


# --- Text -------------------------------------------------------------------------------------------------


class _Plain(HTMLParser):
    """The text of a status without its markup. Shortened links keep their hidden parts, so nothing is lost."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"br", "p", "div", "li", "blockquote", "pre", "tr", "hr", "h1", "h2", "h3", "h4", "h5", "h6"}:
            self.pieces.append("\n")
        elif tag in {"td", "th"}:
            self.pieces.append(" ")
        elif tag == "img":
            # A picture in the text stands for what was written there: an emoji, a shortcode with or without its colons.
            told = dict(attrs)
            alt = told.get("alt") or ""
            is_code = "emoji" in (told.get("class") or "") and re.fullmatch(r"[\w+-]+", alt, re.ASCII)
            self.pieces.append(f":{alt}:" if is_code else alt)


def plain(markup: str) -> str:
    """The text of a status from its HTML."""
    parser = _Plain()
    parser.feed(markup)
    parser.close()
    return "".join(parser.pieces)


_REMOTE = re.compile(r"(@[\w.-]*\w)@[\w.-]*\w")
_SIGNS = re.compile(r"[\W_]+")
_MARKDOWN_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
_SHORTCODE = re.compile(r":[\w+-]+:")
_NUMBER_OF_A_LIST = re.compile(r"^[ \t>]*\d{1,9}[.)](?=\s)", re.MULTILINE)
_FENCE = re.compile(r"^[ \t>]*(?:```|~~~).*$", re.MULTILINE)
_LINK_LIKE = re.compile(r"://|\.[^\W\d_]\S")
"""A scheme, or a dot and what may be a top-level domain."""


def tidy(text: str) -> str:
    """One form for a text as it was sent and as it is shown: blanks as one, mentions without their server."""
    return " ".join(_REMOTE.sub(r"\1", normalize(html.unescape(text))).split())


def bare(text: str) -> str:
    """What is left of a text however a server has rendered it: letters and digits of its words, whatever case.

    Out are all signs, and with them the marks of Markdown; links, of which a Markdown link leaves its words;
    shortcodes; the numbers of a list.
    """
    text = normalize(html.unescape(text))
    for mark in (_FENCE, _NUMBER_OF_A_LIST):
        text = mark.sub("", text)
    text = _SHORTCODE.sub(" ", _MARKDOWN_LINK.sub(r"\1", text))
    words = (word for word in _REMOTE.sub(r"\1", text).split() if not _LINK_LIKE.search(word))
    return "".join(_SIGNS.sub("", word).casefold() for word in words)


# --- Comparing --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sought:
    """The draft, ready to be compared."""

    text: str
    bare: str
    warning: str
    media_ids: frozenset[str]
    media_count: int
    choices: tuple[str, ...]
    answers: str
    """The status it answers, for a part of a thread; else empty."""

    @classmethod
    def of(cls, call: Call, draft: Draft) -> Sought:
        options = Options.model_validate(dict(draft.options))
        # Also entries that have run out by now: they may have been attached in time.
        ids = {str(entry["id"]) for entry in objects(call.checkpoint.get("media")) if entry.get("id")}
        choices = tuple(tidy(choice) for choice in options.poll.options) if options.poll else ()
        return cls(
            tidy(draft.text),
            bare(draft.text),
            tidy(options.spoiler_text),
            frozenset(ids),
            len(draft.media),
            choices,
            draft.reply_to.remote_id if draft.reply_to else "",
        )

    def compare(self, status: dict[str, Json]) -> Likeness:
        """Media decide where there are any: their ids are ours alone. Else text, warning and poll."""
        if status.get("reblog") or str(status.get("in_reply_to_id") or "") != self.answers:
            return Likeness.OTHER
        files = objects(status.get("media_attachments"))
        if self.media_count and self.media_ids:
            return Likeness.SAME if {str(file.get("id")) for file in files} & self.media_ids else Likeness.OTHER
        if bool(files) != bool(self.media_count):
            return Likeness.OTHER
        if [*map(bare, _choices(status))] != [*map(bare, self.choices)]:
            return Likeness.OTHER
        text = plain(str(status.get("content") or ""))
        if self.has_choices_of(status) and self.says(text, str(status.get("spoiler_text") or "")):
            return Likeness.SAME
        return Likeness.UNDECIDED if bare(text) == self.bare else Likeness.OTHER

    def has_choices_of(self, status: dict[str, Json]) -> bool:
        """Whether the poll's choices are the same; also where neither has a poll."""
        return _choices(status) == self.choices

    def says(self, text: str, warning: str) -> bool:
        """Whether a text with its warning is the draft's, but for its blanks and the servers of mentions."""
        return tidy(text) == self.text and tidy(warning) == self.warning


def _choices(status: dict[str, Json]) -> tuple[str, ...]:
    """The choices of a status's poll; none where it has no poll."""
    return tuple(tidy(str(choice.get("title"))) for choice in objects(mapping(status.get("poll")).get("options")))
