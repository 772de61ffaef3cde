"""Whether a pin whose outcome is in doubt is there: the board's pins since the attempt, compared."""

from __future__ import annotations

import html
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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
from platforms.outcomes import objects, retry_after_s, utc
from platforms.pinterest import api

CLOCK_MARGIN = timedelta(seconds=60)
"""Our clock and Pinterest's may differ by as much."""
PAGE = 250
"""The largest that the API gives."""
MAX_PAGES = 12

_COMPARED = ("title", "description", "link", "alt_text")


def permalink(remote_id: str) -> str:
    """Where people see the pin."""
    return f"https://www.pinterest.com/pin/{remote_id}"


def _plain(name: str, value: Json) -> str:
    """A field for comparing: absent, null and empty are one, and so are the ways to write a blank."""
    text = " ".join(unicodedata.normalize("NFC", html.unescape(str(value or ""))).split())
    return text.rstrip("/") if name == "link" else text


def _likeness(pin: dict[str, Json], sought: dict[str, str]) -> tuple[bool, bool]:
    """Whether all fields are the same (and one says something), and whether any is.

    A pin without words is like every other: never the same, always similar.
    """
    pairs = [(_plain(name, pin.get(name)), sought[name]) for name in _COMPARED]
    if not any(sought.values()):
        return False, all(left == right for left, right in pairs)
    return all(left == right for left, right in pairs), any(left == right != "" for left, right in pairs)


@dataclass
class _Search:
    """What was seen so far."""

    sought: dict[str, str]
    doubt: Doubt
    since: datetime
    same: list[tuple[datetime, str]] = field(default_factory=list)
    similar: bool = False
    falling: bool = True
    """No pin so far was newer than one before it. The order of the list is not documented."""
    last: datetime | None = None

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
        same, similar = _likeness(pin, self.sought)
        if same and created is not None:
            self.same.append((created, remote_id))
        elif same or similar:
            # Pinterest may have written a field in another way than we did; a person can tell.
            self.similar = True


def look_up(call: Call, board: str, section: str | None, sought: dict[str, Json], doubt: Doubt) -> Reconciled:
    """Reads the board (and its section) until what is older than the attempt, or to the end.

    :param sought: the body of the pin that was to be made.
    """
    since = doubt.started_at - CLOCK_MARGIN
    search = _Search({name: _plain(name, sought.get(name)) for name in _COMPARED}, doubt, since)
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
        over = search.read(objects(answer["items"]))
        bookmark = answer.get("bookmark")
        if over or not bookmark:
            return None
    return Inconclusive(f"The board has more than {MAX_PAGES * PAGE} pins that would have to be read.")
