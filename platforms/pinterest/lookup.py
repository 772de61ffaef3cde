"""Whether a pin whose outcome is in doubt is there: the board's pins since the attempt, compared."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

from platforms.base import (
    Absent,
    AuthExpired,
    Call,
    Doubt,
    Effect,
    Found,
    Inconclusive,
    Json,
    RateLimited,
    Reconciled,
)
from platforms.clock_skew import ClockUnusableError, earlier, later, skew
from platforms.outcomes import mapping, objects, retry_after_s, utc
from platforms.pinterest import api

CLOCK_MARGIN = timedelta(seconds=60)
"""How much earlier than the attempt a pin may seem to be. What the clocks differ by is allowed for before; this is for
what an answer does not tell: one without a ``Date``, a clock that was set in between."""
PAGE = 250
"""The largest that the API gives."""
MAX_PAGES = 12

_COMPARED = ("title", "description", "link", "alt_text")
_OF_A_SLIDE = ("title", "description", "link")


def permalink(remote_id: str) -> str:
    """Where people see the pin."""
    return f"https://www.pinterest.com/pin/{remote_id}"


def _plain(name: str, value: Json) -> str:
    """A field for comparing: absent, null and empty are one, and so are the ways to write a blank."""
    text = " ".join(unicodedata.normalize("NFC", html.unescape(str(value or ""))).split())
    return _plain_link(text) if name == "link" else text


def _plain_link(link: str) -> str:
    """Scheme and host in small letters, as they mean the same (RFC 3986, 6.2.2.1), without a slash at the end."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return link.rstrip("/")
    return urlunsplit(parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower())).rstrip("/")


@dataclass(frozen=True)
class Sought:
    """The pin that was to be made, ready to be compared."""

    words: Mapping[str, str]
    media_type: str
    slides: Sequence[Mapping[str, str]]
    """Of a carousel: the words of each picture."""
    count: int
    """Pictures of a carousel; 0 otherwise."""

    @classmethod
    def of(cls, words: Mapping[str, Json], media_type: str, slides: Sequence[Mapping[str, Json]], count: int) -> Sought:
        """:param words: the body of the pin. :param slides: what was said of the first pictures."""
        told = [*slides, *({} for _ in range(count - len(slides)))]
        return cls(
            {name: _plain(name, words.get(name)) for name in _COMPARED},
            media_type,
            [{name: _plain(name, slide.get(name)) for name in _OF_A_SLIDE} for slide in told[:count]],
            count,
        )

    def may_be(self, pin: dict[str, Json]) -> bool:
        """Whether a pin may be the sought one, whatever it says: ours, of its kind, with as many slides.

        Words are no proof that it is another: Pinterest cuts them, fills them in from the linked page, rewrites links.
        A video pin may be shown before its video is known: what is missing is not compared.
        """
        media = mapping(pin.get("media"))
        items = media.get("items")
        # On a group board, the others' pins are listed as well.
        if pin.get("is_owner") is False or media.get("media_type") not in {None, self.media_type}:
            return False
        return not (self.count and isinstance(items, list) and len(items) != self.count)

    def says_the_same(self, pin: dict[str, Json]) -> bool:
        """Whether all words are the same, and one says something: a pin without words is like every other."""
        items = objects(mapping(pin.get("media")).get("items"))
        pairs = [(_plain(name, pin.get(name)), self.words[name]) for name in _COMPARED]
        for shown, slide in zip(items, self.slides, strict=False):
            pairs += [(_plain(name, shown[name]), slide[name]) for name in _OF_A_SLIDE if name in shown]
        return all(left == right for left, right in pairs) and any(right for _, right in pairs)


@dataclass
class _Search:
    """What was seen so far."""

    sought: Sought
    doubt: Doubt
    since: datetime
    until: datetime
    """After it no pin was made by the attempt."""
    same: list[tuple[datetime, str]] = field(default_factory=list)
    similar: bool = False
    falling: bool = True
    """No pin so far was newer than one before it. The order of the list is not documented."""
    last: datetime | None = None
    clock_known: bool = False
    """Whether ``since`` and ``until`` allow for Pinterest's clock; till then they are by ours."""

    def go_by(self, difference: timedelta) -> None:
        """Takes what has to be added to a time of ours to get Pinterest's."""
        self.since, self.until = earlier(self.since, difference), later(self.until, difference)
        self.clock_known = True

    def read(self, pins: list[dict[str, Json]]) -> bool:
        """Takes a page in; True where everything after it must be older than the attempt."""
        older = 0
        for pin in pins:
            created = utc(pin.get("created_at"))
            if created is not None:
                self.falling = self.falling and (self.last is None or created <= self.last)
                self.last = created
                if created < self.since:
                    older += 1
                    continue
            self._compare(pin, created)
        return self.falling and older == len(pins) > 0

    def _compare(self, pin: dict[str, Json], created: datetime | None) -> None:
        remote_id = str(pin.get("id") or "")
        if not remote_id or remote_id in self.doubt.taken_remote_ids:
            return
        if not self.sought.may_be(pin):
            return
        if created is not None and self.sought.says_the_same(pin):
            self.same.append((created, remote_id))
        elif created is None or created <= self.until:
            # Pinterest may have written a field in another way than we did; a person can tell.
            self.similar = True


def look_up(
    call: Call, board: str, section: str | None, sought: Sought, doubt: Doubt, *, budget_s: float
) -> Reconciled:
    """Reads the board (and its section) until what is older than the attempt, or to the end.

    :param budget_s: how long the attempt may have been under way.
    """
    since, until = doubt.started_at - CLOCK_MARGIN, doubt.started_at + timedelta(seconds=budget_s) + 2 * CLOCK_MARGIN
    search = _Search(sought, doubt, since, until)
    paths = [f"/v5/boards/{board}/sections/{section}/pins"] if section else []
    for path in [*paths, f"/v5/boards/{board}/pins"]:
        stopped = _read_list(call, path, search)
        if stopped is not None and not search.same:
            return stopped
    if search.same:
        # The oldest attempt is asked about first and takes the oldest pin.
        created, remote_id = min(search.same)
        return Found(remote_id, permalink(remote_id), created)
    if search.similar:
        return Inconclusive("A pin of that time is like this one, but not the same.")
    return Absent()


def _read_list(call: Call, path: str, search: _Search) -> Reconciled | None:
    """Reads one list as far as needed; what stopped it otherwise."""
    bookmark: str | None = None
    search.falling, search.last = True, None
    for _ in range(MAX_PAGES):
        params = {"page_size": str(PAGE)} | ({"bookmark": bookmark} if bookmark else {})
        reply = api.request(call, "GET", path, effect=Effect.READ, params=params)
        answer = api.good(reply)
        if not isinstance(answer.get("items"), list):
            refused = api.refusal(call, reply)
            if isinstance(refused, AuthExpired | RateLimited):
                return refused
            return Inconclusive(refused.message, retry_after_s(reply, call.now()))
        if not search.clock_known:
            try:
                search.go_by(skew(reply, call.now()))
            except ClockUnusableError as error:
                return Inconclusive(str(error))
        over = search.read(objects(answer["items"]))
        bookmark = answer.get("bookmark")
        if over or not bookmark:
            return None
    return Inconclusive(f"The board has more than {MAX_PAGES * PAGE} pins that would have to be read.")
