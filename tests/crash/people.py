"""Who uses the system in a soak: a script that schedules and does not give up, and people who change their minds."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from db.session import transaction
from scheduler import accounts as profiles
from tests.crash.rig import Rig

THREADS = 0.15
"""The share of posts that are threads, of two to four parts; on Pinterest there are none."""
SHARES = {"x": 30, "pinterest": 8, "keyed": 12, "clientid": 12, "twostep": 10, "polled": 8, "lookup": 14, "none": 6}
ACCOUNTS = {"x": 40, "pinterest": 4}
OTHER_ACCOUNTS = 5


@dataclass
class Script:
    """A user's script that schedules all posts and does not give up."""

    rig: Rig
    posts: int
    spread_s: float
    dice: random.Random
    picture: Path
    boards: Mapping[str, str]
    accepted: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Idempotency key -> (account, first text), once ``schedule`` has returned."""
    threads: int = 0
    repeated: int = 0
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """All posts, in random order of platforms; due over the whole time of the kills."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - told by the main thread, which decides
            self.failed.append(f"{type(error).__name__}: {error}")

    def _run(self) -> None:
        began = datetime.now(UTC)
        for number in range(self.posts):
            platform = self.dice.choices(list(SHARES), list(SHARES.values()))[0]
            account = f"{platform}:a{self.dice.randrange(ACCOUNTS.get(platform, OTHER_ACCOUNTS))}"
            due = began + timedelta(seconds=self.dice.uniform(0, self.spread_s))
            self._one(number, account, due)
            if self.stop.is_set():
                return

    def _one(self, number: int, account: str, due: datetime) -> None:
        from scheduler import schedule
        from scheduler.errors import InvalidTime, Unavailable

        due = max(due, datetime.now(UTC) + timedelta(seconds=15))
        platform = account.partition(":")[0]
        words = f"Post number {number} of this soak, for {account}"
        further: list[str] = []
        if platform != "pinterest" and self.dice.random() < THREADS:
            # They say the same: only what they answer tells them apart.
            further = [f"And so on, {number}"] * self.dice.randint(1, 3)
        options: dict[str, Any] = {"post": {"window_minutes": 1440, "thread": further}}
        media: list[Any] = []
        if platform == "pinterest":
            options["pinterest"] = {"board": self.boards[account], "title": f"Number {number}"}
            media = [str(self.picture)]
        elif platform == "x" and number % 10 == 0:
            media = [str(self.picture)]
        while not self.stop.is_set():
            try:
                schedule(words, to=account, at=due, media=media, options=options, idempotency_key=f"chaos-{number}")
            except (Unavailable, DBAPIError):
                self.repeated += 1
                self.stop.wait(0.5)
                continue
            except InvalidTime:
                due = datetime.now(UTC) + timedelta(seconds=15)  # it was away for long, and has stored nothing
                continue
            self.accepted[f"chaos-{number}"] = (account, words)
            self.threads += bool(further)
            return


@dataclass
class People:
    """Who change their minds about posts that are about to go out, and press the stop button now and then."""

    rig: Rig
    dice: random.Random
    leave: threading.Event
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def run(self) -> None:
        """One change a second or so."""
        while not self.leave.wait(self.dice.uniform(0.3, 1.2)):
            try:
                self._change()
            except Exception as error:  # noqa: BLE001 - told by the main thread, which decides
                self.failed.append(f"{type(error).__name__}: {error}")
                return

    def _change(self) -> None:
        from scheduler import cancel, edit, reschedule
        from scheduler.errors import Unavailable

        try:
            rows = self.rig.rows("""
                SELECT s.id, v.text, a.platform || ':' || a.name AS account FROM scheduled_posts s
                  JOIN post_versions v ON v.id = s.version_id JOIN accounts a ON a.id = s.account_id
                 WHERE s.finalized_at IS NULL AND s.due_at < clock_timestamp() + interval '3 seconds'
                   AND v.options -> 'post' -> 'thread' = '[]' ORDER BY s.due_at DESC LIMIT 10""")
            if not rows:
                return
            row = self.dice.choice(rows)
            what = self.dice.choice(["edit", "edit", "cancel", "reschedule", "pause"])
            if what == "pause":
                self._pause(row.account)
                self.done["pause, and resume"] += 1
                return
            in_20_s = datetime.now(UTC) + timedelta(seconds=20)
            told = {
                "edit": lambda: edit(row.id, text=f"{row.text} (edited)"),
                "cancel": lambda: cancel(row.id),
                "reschedule": lambda: reschedule(row.id, in_20_s),
            }[what]()
            self.done[f"{what}, {'done' if told.done else 'too late'}"] += 1
        except (Unavailable, DBAPIError):
            self.done["not reached"] += 1

    def _pause(self, account: str) -> None:
        with self._database() as conn:
            profiles.pause(conn, account, by="chaos")
        self.leave.wait(self.dice.uniform(0.2, 2.0))
        while not self.leave.is_set():
            try:
                with self._database() as conn:
                    profiles.resume(conn, account, by="chaos")
            except DBAPIError:
                self.leave.wait(0.5)
                continue
            return

    def resume_all(self) -> None:
        """After the soak nothing is left paused."""
        with self._database() as conn:
            for row in self.rig.rows(
                "SELECT platform || ':' || name AS account FROM accounts WHERE paused_at IS NOT NULL"
            ):
                profiles.resume(conn, row.account, by="chaos")

    def _database(self) -> contextlib.AbstractContextManager[Any]:
        return transaction(str(self.rig.info.database_url))
