"""The claim of 500 due rows: whether it costs the same whatever waits behind it, or stands in front of it.

Three databases of one server with the real schema, measured in turn, so that noise meets all of them alike:
10 thousand waiting rows; 1 million; and 10 thousand with 50,000 in front that are due and cannot go.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy import table as sql_table

from db.session import engine, transaction
from tests.bench.figures import Figure, Target, median_of, ratio_of
from tests.bench.world import BenchBroken, settings

TARGET = Target(1.5)
BATCH = 500
RUNS = 25
WARM = 3
SPARE = 10
ACCOUNTS = 1000
FEW, MANY, BLOCKED = 10_000, 1_000_000, 50_000
ROOM_TO_LOCK = 300_000

PEOPLE = text("""
    INSERT INTO accounts (platform, name, credentials, limited_until)
    SELECT 'x', :name || n, '\\x00', CASE WHEN :limited THEN clock_timestamp() + interval '1 day' END
      FROM generate_series(1, :count) AS n RETURNING id
""")
CONTENT = text("""
    WITH p AS (INSERT INTO posts (correlation_id) SELECT 'bench' FROM generate_series(1, :count) RETURNING id)
    INSERT INTO post_versions (post_id, number, text, media, options, sha256)
    SELECT id, 1, 'what this costs', '[]', '{}', '' FROM p
""")
ROWS = text("""
    INSERT INTO scheduled_posts (post_id, version_id, account_id, platform, due_at, available_at, window_ends_at,
                                 media_ready, needs_prepare)
    SELECT v.post_id, v.id, a.id, 'x', t.due, t.due, t.due + interval '1 day', true, false
      FROM (SELECT id, post_id, row_number() OVER (ORDER BY id) AS n FROM post_versions) v
     CROSS JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM accounts WHERE name LIKE :name || '%') a
     CROSS JOIN LATERAL (SELECT clock_timestamp()
                                 + make_interval(secs => :from_s + random() * :span_s + 0 * (v.n + a.n)) AS due) t
     WHERE v.n BETWEEN :first AND :last
""")


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """Times of the claim and their ratios."""
    from db import migrate
    from db.crypto import new_key
    from stack.embedded import EmbeddedStack

    stack = EmbeddedStack(where / "home")
    try:
        info = stack.start(only={"postgres"})
        told = {"DATABASE_URL": str(info.database_url), "REDIS_URL": "redis://127.0.0.1:1/0",
                "SCHEDULERX_SECRET_KEY": new_key(), "SCHEDULERX_HOME": str(where / "home")}  # fmt: skip
        with settings(**told) as mine:
            runs = 15 if quick else RUNS
            urls = {}
            for name in ("few", "many", "blocked"):
                urls[name] = _database(str(info.database_url), name)
                migrate.upgrade(urls[name])
            fill(urls["few"], waiting=FEW, due=(runs + WARM + SPARE) * BATCH)
            fill(urls["many"], waiting=100_000 if quick else MANY, due=(runs + WARM + SPARE) * BATCH)
            fill(urls["blocked"], waiting=FEW, due=(runs + WARM + SPARE) * BATCH, blocked=BLOCKED)
            settled_s, settled_in = settle(mine, urls["blocked"])
            taken: dict[str, list[float]] = {name: [] for name in urls}
            for number in range(runs + WARM):
                for name, url in urls.items():
                    took = 1000 * claim(mine, url)
                    if number >= WARM:
                        taken[name].append(took)
    finally:
        stack.stop(hurry=True)
    words = f"{BATCH} due rows claimed and committed"
    return {
        "claim_10k_waiting": median_of(taken["few"], "ms", note=words),
        "claim_1m_waiting": median_of(taken["many"], "ms", note="quick: 100 thousand waiting" if quick else words),
        "claim_1m_to_10k": ratio_of(taken["many"], taken["few"], target=TARGET),
        "claim_50k_blocked": median_of(
            taken["blocked"],
            "ms",
            note=f"25,000 paused and 25,000 of limited accounts in front; these were moved away in {settled_in} claims,"
            f" {settled_s:.1f} s, once",
        ),
        "claim_50k_blocked_to_10k": ratio_of(taken["blocked"], taken["few"], target=TARGET),
    }


def _database(url: str, name: str) -> str:
    """A further database of the same server; its URL."""
    with transaction(url) as conn:
        conn.exec_driver_sql("COMMIT")  # CREATE DATABASE must not be in a transaction
        conn.exec_driver_sql(f"CREATE DATABASE bench_{name}")
    return url.rpartition("/")[0] + f"/bench_{name}"


@contextmanager
def _patient(url: str) -> Iterator[Any]:
    """A transaction in which a statement may take its time: filling is not what is measured."""
    with transaction(url) as conn:
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        yield conn


def fill(url: str, *, waiting: int, due: int, blocked: int = 0) -> None:
    """Rows of the future in random order of time, rows that are due, and in front of them those that cannot go."""
    from scheduler import accounts

    with _patient(url) as conn:
        conn.execute(PEOPLE, {"name": "bench", "count": ACCOUNTS, "limited": False})
        posts = max(waiting, due) // ACCOUNTS + due // ACCOUNTS + 2
        conn.execute(CONTENT, {"count": posts})
    future = waiting // ACCOUNTS
    # In pieces: a foreign key is checked at the end of each statement, and these checks need memory.
    step = ROOM_TO_LOCK // ACCOUNTS
    for first in range(1, future + 1, step):
        last = min(first + step - 1, future)
        _rows(url, "bench", first, last, from_s=86_400, span_s=30 * 86_400)
    _rows(url, "bench", future + 1, future + -(-due // ACCOUNTS), from_s=-600, span_s=60)
    if blocked:
        with _patient(url) as conn:
            conn.execute(PEOPLE, {"name": "paused", "count": 50, "limited": False})
            conn.execute(PEOPLE, {"name": "limited", "count": 50, "limited": True})
            conn.execute(CONTENT, {"count": blocked // 100})
        last = _count(url, "post_versions")
        for name in ("paused", "limited"):
            _rows(url, name, last - blocked // 100 + 1, last, from_s=-1200, span_s=60)
        with _patient(url) as conn:
            for number in range(1, 51):
                accounts.pause(conn, f"x:paused{number}", by="bench")
    with engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("SET statement_timeout = 0"))
        conn.execute(text("VACUUM ANALYZE"))


def _rows(url: str, name: str, first: int, last: int, *, from_s: float, span_s: float) -> None:
    with _patient(url) as conn:
        conn.execute(ROWS, {"name": name, "first": first, "last": last, "from_s": from_s, "span_s": span_s})


def _count(url: str, table: str) -> int:
    with transaction(url) as conn:
        return int(conn.execute(select(func.count()).select_from(sql_table(table))).scalar_one())


def claim(mine: Any, url: str) -> float:
    """One claim of a full batch, with its commit; seconds."""
    from scheduler import dispatch

    began = time.perf_counter()
    with transaction(url) as conn:
        taken, _ = dispatch.claim(conn, mine, "x", prepare=False, room=BATCH, by="dispatch:bench")
    took = time.perf_counter() - began
    if len(taken) != BATCH:
        raise BenchBroken(f"{len(taken)} rows were claimed instead of {BATCH}")
    return took


def settle(mine: Any, url: str) -> tuple[float, int]:
    """Claims until what cannot go is out of the way; (seconds, claims)."""
    from scheduler import dispatch

    began = time.perf_counter()
    for number in range(200):
        with transaction(url) as conn:
            conn.execute(text("SET LOCAL statement_timeout = 0"))
            taken, seen = dispatch.claim(conn, mine, "x", prepare=False, room=BATCH, by="dispatch:bench")
        if len(taken) == seen:
            return time.perf_counter() - began, number + 1
    raise BenchBroken("what cannot go is still in front after 200 claims")
