"""What the platforms charge for a post, by their own price lists: shown before it is sent, and in its listing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from platforms import registry
from platforms.base import Draft, MediaItem, MediaKind, Platform
from platforms.cost import Cost, HasCost
from scheduler import accounts
from scheduler.content import parts_of
from scheduler.settings import current


@dataclass(frozen=True)
class Charge:
    """What publishing all parts of a post once on one account costs. Look-ups of a doubtful post cost beside."""

    amount: Decimal
    currency: str
    words: str
    source: str

    def as_json(self) -> dict[str, str]:
        """The amount as text: it is exact."""
        return {
            "amount": str(self.amount),
            "currency": self.currency,
            "words": self.words,
            "source": self.source,
        }

    def __str__(self) -> str:
        return f"costs {self.amount} {self.currency} ({self.words}; {self.source})"


def charge(module: Platform, drafts: Sequence[Draft]) -> Charge | None:
    """What these drafts cost together; None where the platform charges nothing, or a stand-in takes its place.

    :raises ValueError: the module names more than one currency for one post.
    """
    return None if current().api_url(module.name) else _priced(module, drafts)


def _priced(module: Platform, drafts: Sequence[Draft]) -> Charge | None:
    if not isinstance(module, HasCost):
        return None
    found = [one for draft in drafts if (one := module.cost(draft)) is not None]
    if not found:
        return None
    if len({one.currency for one in found}) > 1:
        raise ValueError(f"{module.name} charges one post in several currencies")
    words = "; ".join(_told(place, one, len(drafts)) for place, one in enumerate(found, 1))
    return Charge(sum((one.amount for one in found), Decimal(0)), found[0].currency, words, found[0].source)


def _told(place: int, one: Cost, parts: int) -> str:
    return f"part {place}: {one.words}" if parts > 1 else one.words


def of_post(conn: Connection, post_id: int) -> dict[int, Charge | None]:
    """Scheduled post -> what it costs, for all of a post, each with the version that it stands at."""
    rows = conn.execute(
        text("""
            SELECT s.id, s.platform, s.api_url, a.name, v.text, v.media, v.options
              FROM scheduled_posts s JOIN accounts a ON a.id = s.account_id JOIN post_versions v ON v.id = s.version_id
             WHERE s.post_id = :id ORDER BY s.id
        """),
        {"id": post_id},
    ).all()
    found: dict[int, Charge | None] = {}
    for row in rows:
        found[row.id] = None
        # A test costs nothing; and of a package that was taken away posts are still listed.
        if row.api_url is not None or row.platform not in registry.names():
            continue
        module = registry.get(row.platform)
        account = accounts.reference(accounts.find(conn, f"{row.platform}:{row.name}"))
        items = dict(enumerate(_item(one) for one in row.media))
        found[row.id] = _priced(module, parts_of(row.text, items, len(items), row.options, module, account).drafts)
    return found


def _item(stored: dict[str, Any]) -> MediaItem:
    """A file of a version as far as a price depends on it: that it is there, and whether it has an alt text."""
    return MediaItem(
        MediaKind.IMAGE, "", 0, 0, 0, sha256="", alt=stored.get("alt") or "", name=stored.get("name") or ""
    )
