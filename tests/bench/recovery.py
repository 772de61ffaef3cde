"""How long a killed publish worker delays the posts that it had in hand, with leases and quarantine as they come.

A post whose call had not left, or whose answer was lost, is looked for only after its lease (budget 30 s and
margins), and believed absent only after the quarantine (a minute from its attempt) and a second look a read lag
later: that is where the time goes. What the platform had already is found by the first look.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from db.session import transaction
from tests.bench import posts, pss
from tests.bench.figures import Figure, Target, percentile
from tests.bench.world import sandbox, stack, wait_for

TARGET = Target(90.0, at_most=True)
LATENCY_MS = 1500.0
"""Long enough that the worker is killed in the middle of its calls."""


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """Kills the publish worker once, with all of its calls under way; seconds from the kill to published."""
    count = 20 if quick else 60
    with sandbox(where) as page, stack(where, page) as running:
        from scheduler.settings import current

        settings = current()
        url = settings.database()
        names = posts.add_accounts(settings, count)
        page.latency(LATENCY_MS)
        ids, _ = posts.add_posts("recovery", names, count)
        posts.make_due(url, ids, 2.0)

        def under_way() -> bool:
            with transaction(url) as conn:
                found = conn.execute(
                    text("SELECT count(*) FROM scheduled_posts WHERE id = ANY(:ids) AND status = 'publishing'"),
                    {"ids": ids},
                ).scalar_one()
            return int(found) >= count // 2

        wait_for("calls under way", 60.0, under_way, pause_s=0.02)
        for one in pss.family(running.programs()["publish"]):  # the parent first: it would begin them anew
            one.kill()
        with transaction(url) as conn:
            killed_at = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
        page.latency(0.0)
        posts.until_published(url, ids, 240.0, running.log)
        delays = [(row.published_at - killed_at).total_seconds() for row in posts.times(url, ids)]
        doubled = len(page.summary()["doubled"])
    hit = sorted(one for one in delays if one > 0)
    p99 = percentile(hit, 0.99)
    return {
        "recovery_p99": Figure(
            p99,
            "s",
            hit[0],
            hit[-1],
            len(hit),
            target=TARGET,
            note=f"kill -9 of the publish worker in mid-call, until published; {count} posts, {doubled} doubled",
        )
    }
