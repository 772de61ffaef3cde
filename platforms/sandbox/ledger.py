"""Every post that the sandbox accepted: the judge of the crash tests.

A double is found by content, never by ids: two posts of one account whose readers would see the same thing
have one fingerprint, however they were sent.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from platforms.sandbox.journal import Journal

Key = tuple[str, str]
"""Platform and account name."""


@dataclass(slots=True)
class Picture:
    """One attached file as it was received."""

    sha256: str
    alt: str = ""
    mime: str = ""
    width: int = 0
    height: int = 0


@dataclass(slots=True)
class Post:
    """A post that was accepted."""

    platform: str
    account: str
    remote_id: str
    text: str
    """As it was sent."""
    pictures: list[Picture]
    accepted_at: float
    """Epoch seconds."""
    request_began_at: float
    """Epoch seconds when the first byte of its request arrived."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Further content of the platform that a reader sees: title, link, board, the post replied to."""
    private: dict[str, Any] = field(default_factory=dict)
    """What the emulator needs to show it again: media keys, wrapped text."""
    fingerprint: str = ""
    deleted_at: float | None = None

    def public(self) -> dict[str, Any]:
        """As the judge reports it."""
        return {
            "platform": self.platform,
            "account": self.account,
            "remote_id": self.remote_id,
            "content": {
                "text": self.text,
                "pictures": [{"sha256": picture.sha256, "alt": picture.alt} for picture in self.pictures],
                **self.fields,
            },
            "fingerprint": self.fingerprint,
            "accepted_at": self.accepted_at,
            "request_began_at": self.request_began_at,
            "deleted_at": self.deleted_at,
        }


def fingerprint(platform: str, account: str, text: str, shas: Iterable[str], fields: Mapping[str, Any]) -> str:
    """One value for what readers of the account would take for the same post.

    Alt text is left out on purpose: a post that was sent a second time without its alt text is a double.
    """
    content = json.dumps([platform, account, text, list(shas), dict(fields)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _record(row: Post | Picture) -> dict[str, Any]:
    # dataclasses.asdict copies every value deeply, which cost more than the rest of a request (measured).
    record = {name: getattr(row, name) for name in row.__slots__}
    if isinstance(row, Post):
        record["pictures"] = [_record(picture) for picture in row.pictures]
    return record


class Ledger:
    """The posts, in the order they were accepted. Read from other threads; written by the server's thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._posts: list[Post] = []
        self._by_id: dict[tuple[str, str], Post] = {}
        self._by_account: dict[Key, list[Post]] = {}
        journal.on("post", self._replay_post)
        journal.on("deleted", self._replay_deleted)

    def accept(self, post: Post) -> Post:
        """Takes a post: into the journal, then into memory."""
        shas = [picture.sha256 for picture in post.pictures]
        post.fingerprint = fingerprint(post.platform, post.account, post.text, shas, post.fields)
        self._journal.write("post", _record(post))
        self._keep(post)
        return post

    def delete(self, post: Post) -> None:
        """It is gone from the platform, but it was public: the judge still counts it."""
        post.deleted_at = time.time()
        record = {"platform": post.platform, "remote_id": post.remote_id, "at": post.deleted_at}
        self._journal.write("deleted", record)

    def find(self, platform: str, remote_id: str) -> Post | None:
        """The post of that id, unless it was deleted."""
        post = self._by_id.get((platform, remote_id))
        return None if post is None or post.deleted_at is not None else post

    def newest_first(self, platform: str, account: str, *, lag_s: float = 0.0) -> list[Post]:
        """What an account shows; without posts younger than ``lag_s``."""
        shown_until = time.time() - lag_s
        posts = self._by_account.get((platform, account), ())
        return [post for post in reversed(posts) if post.deleted_at is None and post.accepted_at <= shown_until]

    def accounts(self) -> list[Key]:
        """Accounts that have posts, in the order of their first."""
        with self._lock:
            return list(self._by_account)

    def accepted(self, platform: str | None = None, account: str | None = None) -> list[Post]:
        """Everything that was accepted, also what was deleted since, oldest first."""
        with self._lock:
            posts = list(self._posts)
        return [
            post
            for post in posts
            if (not platform or post.platform == platform) and (not account or post.account == account)
        ]

    def summary(self) -> dict[str, Any]:
        """Counts, and every content that was accepted more than once."""
        seen: dict[str, list[Post]] = {}
        posts = self.accepted()
        for post in posts:
            seen.setdefault(post.fingerprint, []).append(post)
        accounts: dict[Key, dict[str, Any]] = {}
        for same in seen.values():
            key = (same[0].platform, same[0].account)
            row = accounts.setdefault(key, {"platform": key[0], "account": key[1], "accepted": 0, "distinct": 0})
            row["accepted"] += len(same)
            row["distinct"] += 1
        doubled = [
            {
                "fingerprint": mark,
                "platform": same[0].platform,
                "account": same[0].account,
                "text": same[0].text,
                "count": len(same),
                "remote_ids": [post.remote_id for post in same],
                "accepted_at": [post.accepted_at for post in same],
            }
            for mark, same in seen.items()
            if len(same) > 1
        ]
        return {
            "accepted": len(posts),
            "distinct": len(seen),
            "accounts": [accounts[key] for key in sorted(accounts)],
            "doubled": doubled,
        }

    def clear(self) -> None:
        with self._lock:
            self._posts.clear()
            self._by_id.clear()
            self._by_account.clear()

    def _keep(self, post: Post) -> None:
        with self._lock:
            self._posts.append(post)
            self._by_id[post.platform, post.remote_id] = post
            self._by_account.setdefault((post.platform, post.account), []).append(post)

    def _replay_post(self, record: Mapping[str, Any]) -> None:
        values = {name: value for name, value in record.items() if name != "kind"}
        values["pictures"] = [Picture(**picture) for picture in values["pictures"]]
        self._keep(Post(**values))

    def _replay_deleted(self, record: Mapping[str, Any]) -> None:
        post = self._by_id.get((record["platform"], record["remote_id"]))
        if post is not None:
            post.deleted_at = record["at"]
