"""What the platforms took, by content: each post (each part of a thread) exactly once, or something is wrong.

Never by ids of ours: by account, words, and what a post answers. The parts of one thread may say the same; what
they answer tells them apart. Two posts of one account must not, or one could pass for the other's double.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seen:
    """How often the parts of one scheduled post are public, in order, and what else has its words."""

    counts: tuple[int, ...]
    strangers: int = 0
    """Posts with these words that answer something else: out of order, or sent anew after the thread had begun."""
    stored_at: tuple[float, ...] = field(default=(), compare=False)
    """When each part was taken first (epoch seconds); those that are not there: infinity."""

    @property
    def doubled(self) -> int:
        """Posts that should not be there."""
        return sum(max(count - 1, 0) for count in self.counts) + self.strangers

    @property
    def whole(self) -> bool:
        """Everything is there, once, in order."""
        return self.doubled == 0 and all(count == 1 for count in self.counts)

    @property
    def begun(self) -> int:
        """How many parts are public, from the first on."""
        return next((place for place, count in enumerate(self.counts) if count == 0), len(self.counts))


class Judge:
    """Everything that was accepted, to be asked about one post after the other."""

    def __init__(self, accepted: Iterable[Mapping[str, Any]]) -> None:
        self._posts: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for post in accepted:
            account = f"{post['platform']}:{post['account']}"
            self._posts[account, post["content"]["text"]].append(post)

    def look(self, account: str, words: Sequence[str]) -> Seen:
        """What there is of a post (``words`` has one text) or of a thread; it is forgotten afterwards."""
        mine = [post for text in dict.fromkeys(words) for post in self._posts.pop((account, text), ())]
        before: set[Any] = {None}
        counts, stored_at = [], []
        for text in words:
            found = [
                post for post in mine if post["content"]["text"] == text and post["content"].get("reply_to") in before
            ]
            counts.append(len(found))
            stored_at.append(min((post.get("accepted_at", 0.0) for post in found), default=math.inf))
            before = {post["remote_id"] for post in found}
            mine = [post for post in mine if post not in found]
        return Seen(tuple(counts), len(mine), tuple(stored_at))

    def rest(self) -> dict[tuple[str, str], int]:
        """(account, words) -> how often; of what was never asked about."""
        return {key: len(posts) for key, posts in self._posts.items() if posts}
