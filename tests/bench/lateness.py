"""How late posts go out: request sent minus due, from the database, for lone posts and for a full minute."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench import posts
from tests.bench.figures import Figure, Target, percentiles_of
from tests.bench.world import sandbox, stack

LONE_TARGET = Target(1.5)
MINUTE_TARGET = Target(15.0)
ACCOUNTS = 100
LEAD_S = 10.0
APART_S = 1.5
SLOW_MS = 300.0


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """Both, on one stack."""
    lone, crowd = (10, 200) if quick else (48, 1000)
    with sandbox(where) as page, stack(where, page):
        from scheduler.settings import current

        settings = current()
        names = posts.add_accounts(settings, ACCOUNTS)
        late, with_pictures = alone(settings, names, lone, where)
        page.latency(SLOW_MS)
        crowded, span = full_minute(settings, names, crowd)
    return {
        **percentiles_of(
            "lone_lateness",
            late,
            "s",
            targets={"p99": LONE_TARGET},
            note=f"p99 of {lone} is the worst; every fourth has a picture (their worst {max(with_pictures):.2f} s)",
        ),
        **percentiles_of(
            "minute_lateness",
            crowded,
            "s",
            targets={"p99": MINUTE_TARGET},
            note=f"{crowd} posts due at the same instant, platform {SLOW_MS:.0f} ms; all sent within {span:.1f} s",
        ),
    }


def alone(settings: Any, accounts: list[str], count: int, where: Path) -> tuple[list[float], list[float]]:
    """Posts one at a time, at moments that have nothing to do with the ticks; (all, those with a picture)."""
    from PIL import Image

    from scheduler import schedule

    dice = random.Random(7)
    begin = datetime.now(UTC) + timedelta(seconds=LEAD_S)
    ids, pictured = [], set()
    for number in range(count):
        media = []
        if number % 4 == 3:
            picture = where / f"{number}.png"
            Image.new("RGB", (320, 200), (number, 90, 160)).save(picture)
            media = [picture]
        at = begin + timedelta(seconds=APART_S * number + dice.random())
        made = schedule(f"Lone post {number}", to=accounts[number % len(accounts)], at=at, media=media).scheduled[0].id
        ids.append(made)
        if media:
            pictured.add(made)
    posts.until_published(settings.database(), ids, LEAD_S + APART_S * count + 120.0)
    rows = posts.times(settings.database(), ids)
    return [row.late_s for row in rows], [row.late_s for row in rows if row.id in pictured]


def full_minute(settings: Any, accounts: list[str], count: int) -> tuple[list[float], float]:
    """Many posts due at one instant; their lateness, and the seconds from the first sent to the last."""
    ids, _ = posts.add_posts("Full minute", accounts, count)
    posts.make_due(settings.database(), ids, 3.0)
    posts.until_published(settings.database(), ids, 300.0)
    rows = posts.times(settings.database(), ids)
    return [row.late_s for row in rows], (rows[-1].first_sent_at - rows[0].first_sent_at).total_seconds()
