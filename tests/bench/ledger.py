"""What the ledger costs: posts a second with the intent, the fence and the outcome, beside sending without them.

Without: the same post loaded and sent by the same module, and its row set to published by one statement. That
is what a scheduler does that loses or doubles a post when it is killed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db import migrate
from db.crypto import new_key
from db.session import transaction
from stack.embedded import EmbeddedStack
from tests.bench import profile
from tests.bench.figures import Figure, median_of, ratio_of
from tests.bench.world import sandbox, settings

THREADS = 16
BARE = text("""
    UPDATE scheduled_posts SET status = 'published', generation = generation + 1, lease_expires_at = NULL,
           leased_by = NULL, finalized_at = clock_timestamp(), published_at = clock_timestamp(), evidence = 'api',
           remote_id = :remote_id WHERE id = :id
""")


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """Alternates both ways in one process, without Celery, against platforms that answer at once."""
    rounds, count = (1, 100) if quick else (3, 400)
    kept: list[float] = []
    bare: list[float] = []
    with sandbox(where) as page, EmbeddedStack(where / "home") as info:
        told = {
            "DATABASE_URL": str(info.database_url),
            "REDIS_URL": str(info.redis_url),
            "SCHEDULERX_SECRET_KEY": new_key(),
            "SCHEDULERX_HOME": str(where / "home"),
            "SCHEDULERX_BURST_COUNT": "100000",
            "SCHEDULERX_X_API_URL": page.url,
        }
        with settings(**told) as mine:
            migrate.upgrade(mine.database())
            names = profile.posts.add_accounts(mine, 50)
            with ThreadPoolExecutor(THREADS) as pool:
                for number in range(rounds):
                    for words, rates, each in (("bare", bare, without), ("kept", kept, profile.deliver)):
                        took = profile.claimed(
                            mine,
                            names,
                            f"{words} {number}",
                            count,
                            each=lambda one, do=each: do(mine, one),
                            pool=pool.map,
                        )
                        rates.append(count / took)
    return {
        "ledger_rate": median_of(kept, "posts/s", note=f"{THREADS} threads in one process, with the ledger"),
        "no_ledger_rate": median_of(bare, "posts/s", note="the same, sent and marked without it"),
        "ledger_to_none": ratio_of(kept, bare, note="posts with the ledger for each without"),
    }


def without(mine: Any, one: Any) -> None:
    """Loads, sends and marks."""
    from workers.work import client, load

    with transaction(mine.database()) as conn:
        work = load(conn, mine, one.id)
    if work is None:
        raise ValueError(f"there is no scheduled post {one.id}")
    outcome = work.module.publish(work.call(client(mine, work)), work.draft)
    with transaction(mine.database()) as conn:
        conn.execute(BARE, {"id": one.id, "remote_id": outcome.remote_id})
