"""Where the time of a publish worker goes: CPU of one post by kind of code, and what 64 threads wait for.

In this process and without Celery, so that the rest (``cpu_ms_per_post`` of the throughput) is the broker's.
Both are samples: of the CPU by a timer that counts CPU time, of the threads by a look at all of them.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from tests.bench import posts
from tests.bench.figures import Figure
from tests.bench.world import sandbox, settings

# The first match from the innermost frame outwards decides; frames that match nothing are passed over.
KINDS = (
    (
        "database: waiting for Postgres",
        ("do_execute", "do_commit", "do_rollback", "do_ping", "do_begin", "connect"),
        ("sqlalchemy/engine/default", "psycopg2/"),
    ),
    ("database: waiting for a connection", (), ("sqlalchemy/pool/", "sqlalchemy/util/queue")),
    ("database: building statements", (), ("sqlalchemy/",)),
    ("encryption", (), ("cryptography/", "db/crypto")),
    ("logging", (), ("structlog/", "logging/__init__", "scheduler/logging")),
    (
        "HTTP",
        (),
        (
            "requests/",
            "urllib3/",
            "http/client",
            "platforms/http",
            "platforms/connections",
            "platforms/deadline",
            "/socket.py",
            "/ssl.py",
        ),
    ),
    ("broker", (), ("celery/", "kombu/", "redis/", "billiard/")),
    ("platform rules", (), ("platforms/", "pydantic", "emoji/", "oauthlib/")),
    ("our own code", (), ("workers/", "scheduler/", "db/", "media/")),
)
EVERY_S = 0.002
POSTS = 400
THREADS = 64


def kind_of(frames: Iterator[tuple[str, str]]) -> str:
    """Which kind of code a stack is in; ``frames`` are (file, function), innermost first."""
    for file, function in frames:
        for kind, functions, files in KINDS:
            if any(part in file for part in files) and (not functions or function in functions):
                return kind
    return "other"


def frames_of(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """(file, function) from the innermost frame outwards."""
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_code.co_name
        frame = frame.f_back


def hottest(frame: FrameType | None) -> str:
    """The innermost frame, as file and function."""
    if frame is None:
        return "?"
    return "/".join(Path(frame.f_code.co_filename).parts[-2:]) + ":" + frame.f_code.co_name


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """Two figures: CPU of one post, and time of one post among 64 threads; each with its parts."""
    from db import migrate
    from db.crypto import new_key
    from stack.embedded import EmbeddedStack

    count = 100 if quick else POSTS
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
            _quiet(where)
            names = posts.add_accounts(mine, 50)
            claimed(mine, names, "warm", 20, each=lambda one: deliver(mine, one))
            cpu = one_thread(mine, names, count)
            wall = many_threads(mine, names, count)
    return {"deliver_cpu": cpu, "deliver_wall": wall}


def _quiet(where: Path) -> None:
    """Logs as a worker writes them, into a file."""
    import logging

    from scheduler import logging as logs

    logs.configure(form="json", level="INFO")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream((where / "deliver.log").open("a"))


def deliver(mine: Any, one: Any) -> None:
    """What the task does."""
    from workers.publish import deliver as real

    real(mine, one.id, one.generation)


def claimed(mine: Any, names: list[str], words: str, count: int, *, each: Any, pool: Any = map) -> float:
    """Schedules, claims as dispatch does, and hands each claim to ``each``; the seconds that this took."""
    from db.session import transaction
    from scheduler import dispatch

    ids, _ = posts.add_posts(words, names, count)
    posts.make_due(mine.database(), ids, 0.0)
    with transaction(mine.database()) as conn:
        taken, _ = dispatch.claim(conn, mine, "x", prepare=False, room=count, by="dispatch:bench")
    began = time.monotonic()
    list(pool(each, taken))
    took = time.monotonic() - began
    posts.until_published(mine.database(), ids, 30.0)
    return took


def one_thread(mine: Any, names: list[str], count: int) -> Figure:
    """CPU of one post, sampled by a timer that runs only while this process does."""
    kinds: Counter[str] = Counter()
    spots: Counter[str] = Counter()
    spent: list[float] = []

    def sample(_number: int, frame: FrameType | None) -> None:
        kinds[kind_of(frames_of(frame))] += 1
        spots[hottest(frame)] += 1

    def each(one: Any) -> None:
        began = time.process_time()
        deliver(mine, one)
        spent.append(1000 * (time.process_time() - began))

    before = signal.signal(signal.SIGPROF, sample)

    def sampled(work: Any, taken: Any) -> list[None]:
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
        try:
            return [work(one) for one in taken]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    try:
        claimed(mine, names, "one thread", count, each=each, pool=sampled)
    finally:
        signal.signal(signal.SIGPROF, before)
    mean = sum(spent) / len(spent)
    return Figure(
        mean,
        "ms CPU/post",
        min(spent),
        max(spent),
        len(spent),
        note="one thread, mean; shares sampled",
        more={"shares": shares(kinds), "hottest": shares(spots, 12)},
    )


def many_threads(mine: Any, names: list[str], count: int) -> Figure:
    """What the threads of a worker are at while all of them have work; waiting for the interpreter is within each."""
    kinds: Counter[str] = Counter()
    stop = threading.Event()
    took: list[float] = []

    def look() -> None:
        own = threading.get_ident()
        while not stop.wait(0.01):
            for number, frame in sys._current_frames().items():
                stack = list(frames_of(frame))
                if number != own and any(function == "deliver" for _, function in stack):
                    kinds[kind_of(iter(stack))] += 1

    def each(one: Any) -> None:
        began = time.monotonic()
        deliver(mine, one)
        took.append(1000 * (time.monotonic() - began))

    with ThreadPoolExecutor(THREADS) as threads:
        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        whole = claimed(mine, names, "many threads", count, each=each, pool=threads.map)
        stop.set()
        watcher.join()
    took.sort()
    return Figure(
        took[len(took) // 2],
        "ms/post",
        took[0],
        took[-1],
        len(took),
        note=f"{THREADS} threads in one process: {count / whole:.0f} posts/s without Celery",
        more={"shares": shares(kinds)},
    )


def shares(counts: Counter[str], most: int = 20) -> dict[str, float]:
    """Per cent of all samples, the largest first."""
    whole = sum(counts.values()) or 1
    return {name: round(100 * number / whole, 1) for name, number in counts.most_common(most)}
