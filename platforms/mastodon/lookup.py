"""Whether a status whose outcome is in doubt is there: our own recent ones, compared by media, then by text.

Some servers ignore ``Idempotency-Key``, and all forget it after an hour: so the look-up decides, and the key only
guards against what it cannot see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

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
from platforms.clock_skew import ClockUnusableError, earlier, skew
from platforms.mastodon import api
from platforms.mastodon.likeness import Likeness, Sought
from platforms.outcomes import objects, retry_after_s, utc

CLOCK_MARGIN = timedelta(seconds=60)
"""How much earlier than the attempt a status may seem to be. What the clocks differ by is allowed for before; this is
for what an answer does not tell: one without a ``Date``, a clock that was set in between."""
PAGE = 40
"""The most that a server gives at once. Source: OpenAPI 4.7.0, 2026-08."""
MAX_PAGES = 10
MAX_SOURCES = 5
"""Statuses whose source is asked for, as the server may have rendered a text into something else."""


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

    call: Call
    sought: Sought
    doubt: Doubt
    since: datetime
    same: list[tuple[datetime, Found]] = field(default_factory=list)
    undecided: bool = False
    sources: int = 0

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
            if likeness is Likeness.UNDECIDED and self._was_written(remote_id, status):
                likeness = Likeness.SAME
            if likeness is Likeness.SAME and created is not None:
                url = status.get("url") or status.get("uri")
                self.same.append((created, Found(remote_id, str(url) if url else None, created)))
            elif likeness is not Likeness.OTHER:
                self.undecided = True
        return reached

    def _was_written(self, remote_id: str, status: dict[str, Json]) -> bool:
        """Whether the draft's text is the source of a status that shows the same words in another way.

        A source that differs proves nothing: a server may have changed it, too. Nor does one that is not told.
        """
        if self.sources >= MAX_SOURCES or not self.sought.has_choices_of(status):
            return False
        self.sources += 1
        path = f"/api/v1/statuses/{quote(remote_id, safe='')}/source"
        source = api.good(api.request(self.call, "GET", path, effect=Effect.READ))
        text = source.get("text")
        return isinstance(text, str) and self.sought.says(text, str(source.get("spoiler_text") or ""))


def look_up(call: Call, draft: Draft, doubt: Doubt) -> Reconciled:
    """Reads back to a minute before the attempt began, and no less: only then ``Absent`` counts."""
    user = _own_id(call)
    if not isinstance(user, str):
        return user
    search = _Search(call, Sought.of(call, draft), doubt, doubt.started_at - CLOCK_MARGIN)
    before: str | None = None
    for _ in range(MAX_PAGES):
        reply = _page(call, user, before)
        answer = reply.json()
        if reply.status != 200 or not isinstance(answer, list):
            return _failure(call, reply)
        if before is None:
            try:
                search.since = earlier(search.since, skew(reply, call.now()))
            except ClockUnusableError as error:
                return Inconclusive(str(error))
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
