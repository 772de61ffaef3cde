"""The media of posts that wait: made, still in our store, and to be fetched by a stranger where a platform does that.

What was made public long ago is asked for again here: a domain that ran out, a bucket that was closed or cleaned, a
certificate that ended since then shows up before the post is due, not as its failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, text

from media.errors import MediaRefused, RemoteUnavailable, StoreUnavailable
from platforms.base import Violation
from scheduler.checking import reachable
from scheduler.settings import Settings
from workers import outside
from workers.context import store
from workers.work import Work

YOUNG_S = 600.0
"""A file that was asked for so recently may still be on its way without a fault."""

FILES = text("""
    SELECT m.scheduled_post_id, m.position, a.name, r.id AS rendition_id, r.state, r.storage_key, r.size, r.mime,
           coalesce(r.error_code, a.error_code) AS error_code,
           coalesce(r.error_message, a.error_message) AS error_message,
           extract(epoch FROM clock_timestamp() - greatest(r.touched_at, r.created_at, a.touched_at)) AS age_s
      FROM scheduled_post_media m
      JOIN media_assets a ON a.id = m.asset_id
      LEFT JOIN renditions r ON r.id = m.rendition_id
     WHERE m.scheduled_post_id = ANY(:ids) ORDER BY m.scheduled_post_id, m.position
""")


@dataclass
class Seen:
    """What a look found."""

    wrong: list[Violation] = field(default_factory=list)
    unanswered: list[Violation] = field(default_factory=list)
    """What could not be told just now; said only if it stays so."""


def files_of(conn: Connection, ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    """The media of these scheduled posts, by post."""
    found: dict[int, list[Row[Any]]] = {}
    for row in conn.execute(FILES, {"ids": list(ids)}):
        found.setdefault(row.scheduled_post_id, []).append(row)
    return found


class Looker:
    """Looks at files; each object once in a pass, however many posts need it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._known: dict[tuple[str, str], Seen] = {}

    def look(self, work: Work, files: Sequence[Row[Any]], *, last: bool) -> Seen:
        """What is wrong with a post's media.

        :param last: nobody looks again before it is due, so what is still being made counts.
        """
        found = Seen()
        pulled = outside.pulled_places(work)
        for row in files:
            seen = self._stored(work, row, row.position in pulled) if row.state == "ready" else _unmade(row, last=last)
            found.wrong += seen.wrong
            found.unanswered += seen.unanswered
        return found

    def _stored(self, work: Work, row: Row[Any], pulled: bool) -> Seen:
        platform = str(work.row.platform)
        known = (str(row.storage_key), platform if pulled else "")
        if known not in self._known:
            self._known[known] = self._fetchable(platform, row) if pulled else self._there(row)
        return self._known[known]

    def _fetchable(self, platform: str, row: Row[Any]) -> Seen:
        if not reachable(self.settings, platform):
            message = f"{platform} fetches {row.name} from our store, which cannot be reached from outside"
            return Seen([Violation("store_not_public", message, "media", row.name, platform)])
        try:
            outside.check(self.settings, platform, row.storage_key, size=row.size, mime=row.mime)
        except MediaRefused as error:
            message = f"{platform} will not be able to fetch {row.name} from our store: {error.message} [{error.code}]"
            return Seen([Violation("media_not_public", message, "media", row.name, platform)])
        except RemoteUnavailable as error:
            message = f"{platform} may not be able to fetch {row.name} from our store: {error}"
            return Seen(unanswered=[Violation("media_not_public", message, "media", row.name, platform)])
        return Seen()

    def _there(self, row: Row[Any]) -> Seen:
        try:
            if store().exists(row.storage_key):
                return Seen()
        except StoreUnavailable as error:
            return Seen(unanswered=[Violation("store_unavailable", f"{row.name}: {error}", "media", row.name)])
        return Seen([Violation("media_lost", f"{row.name} is no longer in our store", "media", row.name)])


def _unmade(row: Row[Any], *, last: bool) -> Seen:
    if row.error_code is not None:
        message = f"{row.name} is not ready: {row.error_message or row.error_code}"
        return Seen([Violation("media_not_ready", message, "media", row.name)])
    if not last:
        return Seen()  # hours are left, and somebody looks again
    bad = Violation("media_not_ready", f"{row.name} is still being made or uploaded", "media", row.name)
    return Seen(unanswered=[bad]) if row.age_s < YOUNG_S else Seen([bad])
