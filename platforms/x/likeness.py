"""How a post of X's feed compares with a draft: by what it answers, by media keys, by its words.

X decides what in a text is a link: by a list of top-level domains that grows, in any letter case, with and without
a scheme. So which token of ours is a link is never taken from our own list alone: every token that could be one is
left open on both sides, and the same words around open tokens are no proof that a post is another.
"""

from __future__ import annotations

import enum
import html
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

from platforms.base import Call, Draft, Json
from platforms.outcomes import mapping, objects
from platforms.x.length import links, normalize

_OPEN = "\0"
"""Stands for a token that holds a link, or could."""
_LINK_LIKE = re.compile(r"://|\.[^\W\d_]\S")
"""A scheme, or a dot and what may be a top-level domain: a letter (of any script), and something after it."""
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_SIGNS = re.compile(r"[\W_]+")
_MEDIA_PAGE = re.compile(r"/status/(\d+)/(?:photo|video)/\d+/?$")
_MAY_SHOW_MEDIA = re.compile(r"/status(?:es)?/\d+/(?:photo|video)\b|\bt\.co/", re.IGNORECASE)
"""A link in a text of ours to the page of a post's picture or video, or one that X resolves to it: X attaches what is
there to the post that links to it."""


class Likeness(enum.Enum):
    """How a post of the feed compares with the draft."""

    SAME = "same"
    OTHER = "other"
    UNDECIDED = "undecided"


def _canonical(url: str) -> str:
    """One form for the links that X shows with a scheme and a slash although the author wrote neither."""
    host, slash, path = _SCHEME.sub("", url).partition("/")
    # Escapes of what is no letter of a URL are X's own.
    return (host.casefold() + slash + unquote(path)).rstrip("/")


def _exact(text: str) -> str:
    """The text with each token that may hold a link in one form, and its blanks as one."""
    return " ".join(_canonical(word) if _LINK_LIKE.search(word) else word for word in normalize(text).split())


def _loose(text: str) -> str:
    """Letters and digits, whatever case; of a token that may hold a link, only that it is there."""
    words = normalize(text).split()
    found = "".join(_OPEN if _LINK_LIKE.search(word) else _SIGNS.sub("", word).casefold() for word in words)
    # A text of nothing but signs (emoji) is compared by these, without what nobody sees.
    return found or "".join(sign for sign in "".join(words) if unicodedata.category(sign) not in {"Cc", "Cf", "Mn"})


def written(text: str) -> tuple[frozenset[str], str]:
    """The draft's text for comparing: with its links in one form, and with its links left open.

    Of the one form there are two, as a link may end where we see its end, or with its token.
    """
    plain = normalize(text)
    for link in reversed(links(plain)):
        plain = plain[: link.start] + _canonical(link.url) + plain[link.end :]
    return frozenset({_exact(plain), _exact(text)}), _loose(text)


def shown(post: dict[str, Json]) -> tuple[str, str]:
    """The feed's text in the same forms. Links to its own media, which X appends, are taken out.

    A link to another post's media was written by the author, and stays.
    """
    plain = blind = html.unescape(str(post.get("text") or ""))
    entities = objects(mapping(post.get("entities")).get("urls"))
    # The longest first: one short link may be the beginning of another.
    for entity in sorted(entities, key=lambda one: len(str(one.get("url") or "")), reverse=True):
        target, short = str(entity.get("expanded_url") or ""), str(entity.get("url") or "")
        if target and short:
            page = _MEDIA_PAGE.search(target)
            own = page is not None and page.group(1) == str(post.get("id") or "")
            plain = plain.replace(short, "" if own else _canonical(target))
            # Another short link is as open as the token that it stands in.
            blind = blind.replace(short, "") if own else blind
    return _exact(plain), _loose(blind)


@dataclass(frozen=True)
class Sought:
    """The draft, ready to be compared."""

    texts: frozenset[str]
    blind: str
    media_ids: frozenset[str]
    media_count: int
    links_to_media: bool
    """Whether X may attach the media of another post, which a link of the text names."""
    answers: str
    """The post it answers, for a part of a thread; else empty."""

    @classmethod
    def of(cls, call: Call, draft: Draft) -> Sought:
        ids: set[str] = set()
        # Also entries that have run out by now: they may have been attached in time.
        for entry in objects(call.checkpoint.get("media")):
            ids |= {str(entry[name]) for name in ("id", "media_key") if entry.get(name)}
        answers = draft.reply_to.remote_id if draft.reply_to else ""
        links_to_media = _MAY_SHOW_MEDIA.search(normalize(draft.text)) is not None
        return cls(*written(draft.text), frozenset(ids), len(draft.media), links_to_media, answers)

    def compare(self, post: dict[str, Json]) -> Likeness:
        """What it answers has to be the same. Then media decide where there are any: their keys are ours alone.
        Else the text.
        """
        told = post.get("referenced_tweets", post.get("referenced_posts"))
        answered = [str(one.get("id")) for one in objects(told) if one.get("type") == "replied_to"]
        if told is not None and answered != ([self.answers] if self.answers else []):
            return Likeness.OTHER
        likeness = self._compare_content(post)
        if told is None and self.answers and likeness is Likeness.SAME:
            # A post that answers none has no such field; but one that does should have told.
            return Likeness.UNDECIDED
        return likeness

    def _compare_content(self, post: dict[str, Json]) -> Likeness:
        keys = [str(key) for key in mapping(post.get("attachments")).get("media_keys") or []]
        if keys and not self.media_count and not self.links_to_media:
            return Likeness.OTHER
        if keys and self.media_ids:
            # A media key is "<type>_<media id>".
            names = {*keys, *(key.rpartition("_")[2] for key in keys)}
            return Likeness.SAME if names & self.media_ids else Likeness.OTHER
        text, blind = shown(post)
        if text in self.texts:
            # Our media should be named here. Where they are not, the text alone is too little.
            return Likeness.SAME if len(keys) == self.media_count else Likeness.UNDECIDED
        same_words = {self.blind}
        if self.media_count:
            # The link to the media, which X appends, where it is not told to be one.
            same_words.add(self.blind + _OPEN)
        if self.links_to_media:
            # X shows the media in place of a link at the end.
            same_words.add(self.blind.rstrip(_OPEN))
        # X may write a link, or a sign, in another way than its author did.
        return Likeness.UNDECIDED if blind in same_words else Likeness.OTHER
