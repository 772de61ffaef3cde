"""Whether a status whose outcome is in doubt is there: our own recent ones, compared by media, then by text.

Some servers ignore ``Idempotency-Key``, and all forget it after an hour: so the look-up decides, and the key only
guards against what it cannot see.
"""

from __future__ import annotations

import enum
import html
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from html.parser import HTMLParser

from platforms.base import (
    Absent,
    AuthExpired,
    Call,
    Doubt,
    Draft,
    Effect,
    Found,
    Inconclusive,
    Json,
    RateLimited,
    Reconciled,
    Reply,
)
from platforms.mastodon import api
from platforms.mastodon.models import Options
from platforms.outcomes import mapping, objects, retry_after_s, utc
from platforms.x.length import normalize

CLOCK_MARGIN = timedelta(seconds=60)
"""Our clock and the server's may differ by as much."""
PAGE = 40
"""The most that a server gives at once. Source: OpenAPI 4.7.0, 2026-08."""
MAX_PAGES = 10


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

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parser's
        if tag in {"br", "p", "div", "li", "blockquote", "pre"}:
            self.pieces.append("\n")


def plain(markup: str) -> str:
    """The text of a status from its HTML."""
    parser = _Plain()
    parser.feed(markup)
    parser.close()
    return "".join(parser.pieces)


_REMOTE = re.compile(r"(@[\w.-]*\w)@[\w.-]*\w")
_SIGNS = re.compile(r"[\W_]+")


def tidy(text: str) -> str:
    """One form for a text as it was sent and as it is shown: blanks as one, mentions without their server."""
    return " ".join(_REMOTE.sub(r"\1", normalize(html.unescape(text))).split())


def bare(text: str) -> str:
    """Only letters and digits: the same for a text whose marks a server has turned into markup."""
    return _SIGNS.sub("", tidy(text)).casefold()


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
        shown = tuple(tidy(str(choice.get("title"))) for choice in objects(mapping(status.get("poll")).get("options")))
        if shown != self.choices:
            return Likeness.OTHER
        text = tidy(plain(str(status.get("content") or "")))
        if text == self.text and tidy(str(status.get("spoiler_text") or "")) == self.warning:
            return Likeness.SAME
        return Likeness.UNDECIDED if bare(text) == self.bare else Likeness.OTHER


# --- Reading the account's statuses -------------------------------------------------------------------------


def _page(call: Call, user: str, before: str | None) -> Reply:
    params = {"limit": str(PAGE), "exclude_reblogs": "true"} | ({"max_id": before} if before else {})
    path = f"/api/v1/accounts/{user}/statuses"
    return api.request(call, "GET", path, effect=Effect.READ, params=params)


def _failure(call: Call, reply: Reply) -> Reconciled:
    refused = api.refusal(call, reply)
    if isinstance(refused, AuthExpired | RateLimited):
        return refused
    return Inconclusive(refused.message, retry_after_s(reply, call.now()))


def _own_id(call: Call) -> str | Reconciled:
    if call.account.remote_id:
        return call.account.remote_id
    reply = api.request(call, "GET", "/api/v1/accounts/verify_credentials", effect=Effect.READ)
    user = api.good(reply).get("id")
    return str(user) if user else _failure(call, reply)


@dataclass
class _Search:
    """What was found so far."""

    sought: Sought
    doubt: Doubt
    since: datetime
    same: list[tuple[datetime, Found]]
    undecided: bool = False

    def read(self, statuses: list[dict[str, Json]]) -> bool:
        """Takes a page in; True where it reaches back far enough."""
        reached = False
        for status in statuses:
            remote_id = str(status.get("id") or "")
            created = utc(status.get("created_at"))
            if created is not None and created < self.since:
                # Pinned ones are in their place by time, so all that follows is older.
                reached = True
                continue
            if not remote_id or remote_id in self.doubt.taken_remote_ids:
                continue
            likeness = self.sought.compare(status)
            if likeness is Likeness.SAME and created is not None:
                url = status.get("url") or status.get("uri")
                self.same.append((created, Found(remote_id, str(url) if url else None, created)))
            elif likeness is not Likeness.OTHER:
                self.undecided = True
        return reached


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Reads back to a minute before the attempt began, and no less: only then ``Absent`` counts."""
    user = _own_id(call)
    if not isinstance(user, str):
        return user
    search = _Search(Sought.of(call, draft), doubt, doubt.started_at - CLOCK_MARGIN, [])
    before: str | None = None
    for _ in range(MAX_PAGES):
        reply = _page(call, user, before)
        answer = reply.json()
        if reply.status != 200 or not isinstance(answer, list):
            return _failure(call, reply)
        statuses = objects(answer)
        reached = search.read(statuses)
        last = str(statuses[-1].get("id") or "") if statuses else ""
        # A short page is no end: servers take out what they do not show. An empty one is.
        if reached or not last or last == before:
            return _decide(search)
        before = last
    return Inconclusive(f"More than {MAX_PAGES * PAGE} statuses since the attempt; not all were read.")


def _decide(search: _Search) -> Reconciled:
    if search.same:
        # The oldest attempt is asked about first and takes the oldest status.
        return min(search.same, key=lambda pair: pair[0])[1]
    if search.undecided:
        return Inconclusive("A status with these words is there, but it could not be compared exactly.")
    return Absent()
