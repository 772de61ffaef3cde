"""Accounts and posts for the measurements, made by the program's own ``schedule()``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db.session import transaction
from tests.bench.world import BenchBroken, wait_for

FAR = timedelta(days=2)


def add_accounts(settings: Any, count: int) -> list[str]:
    """Accounts ``x:bench-0`` and so on, checked with the (emulated) platform as a person would."""
    from scheduler import accounts
    from scheduler.api import database

    names = [f"x:bench-{number}" for number in range(count)]
    for target in names:
        platform, name = target.split(":")
        with database() as conn:
            accounts.add(conn, settings, platform, name, {"access_token": f"sandbox-{platform}-{name}"})
            row = accounts.find(conn, target)
        identity = accounts.identify(settings, row)
        with database() as conn:
            accounts.keep_identity(conn, row.id, identity)
    return names


def add_posts(words: str, accounts: Sequence[str], count: int) -> tuple[list[int], float]:
    """Text posts, days ahead, in turn over the accounts; ids, and how many a second."""
    from scheduler import schedule

    at = datetime.now(UTC) + FAR
    began = time.monotonic()
    ids = [
        schedule(
            f"{words} {number}: what this costs https://example.com/{number}",
            to=accounts[number % len(accounts)],
            at=at,
        )
        .scheduled[0]
        .id
        for number in range(count)
    ]
    return ids, count / (time.monotonic() - began)


def make_due(url: str, ids: Sequence[int], seconds: float) -> None:
    """All of them become due at one moment, that many seconds from now, as if they had been scheduled for it."""
    with transaction(url) as conn:
        conn.execute(
            text("""
                UPDATE scheduled_posts SET due_at = t.due, available_at = t.due,
                       window_ends_at = t.due + interval '1 hour'
                  FROM (SELECT clock_timestamp() + make_interval(secs => :s) AS due) t WHERE id = ANY(:ids)
            """),
            {"ids": list(ids), "s": seconds},
        )


def until_published(url: str, ids: Sequence[int], seconds: float, log: Path | None = None) -> None:
    """Waits for all of them. :raises BenchBroken: one ended otherwise, or time is up; says how they stand."""

    def look() -> bool:
        with transaction(url) as conn:
            rows = conn.execute(
                text("SELECT status, count(*) AS n FROM scheduled_posts WHERE id = ANY(:ids) GROUP BY status"),
                {"ids": list(ids)},
            ).all()
        found = {row.status: row.n for row in rows}
        ended = sum(found.get(one, 0) for one in ("failed", "missed", "canceled", "held"))
        if ended:
            raise BenchBroken(f"not all were published: {found}")
        stand[:] = [str(found)]
        return found.get("published") == len(ids)

    stand: list[str] = []
    try:
        # Rarely: looking is work for the same two cores.
        wait_for("publishing", seconds, look, pause_s=0.5)
    except BenchBroken as error:
        told = log.read_text(errors="replace")[-3000:] if log else ""
        raise BenchBroken(f"{error} {stand}\n{told}") from None


def times(url: str, ids: Sequence[int]) -> list[Any]:
    """due_at, first_sent_at, published_at and lateness (seconds) of each, in order of sending."""
    with transaction(url) as conn:
        return list(
            conn.execute(
                text("""
                    SELECT id, due_at, first_sent_at, published_at,
                           CAST(extract(epoch FROM first_sent_at - due_at) AS float8) AS late_s
                      FROM scheduled_posts WHERE id = ANY(:ids) ORDER BY first_sent_at
                """),
                {"ids": list(ids)},
            ).all()
        )
