"""Posts a second through the whole pipeline, beside what Celery alone does on the same broker and kind of worker."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench import cpu, posts
from tests.bench.figures import Figure, Target, median_of, ratio_of
from tests.bench.world import ROOT, Stack, plain_environment, process, sandbox, stack, wait_for

TARGET = Target(60.0, at_most=False)
ACCOUNTS = 200
LEAD_S = 3.0


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """Alternates Celery alone and the pipeline, so that both meet the same noise."""
    rounds, count = (1, 500) if quick else (3, 2000)
    raw: list[float] = []
    whole: list[float] = []
    accepted: list[float] = []
    used: dict[str, float] = {}
    with sandbox(where) as page, stack(where, page) as running:
        from scheduler.settings import current

        settings = current()
        names = posts.add_accounts(settings, ACCOUNTS)
        with raw_worker(where, settings.broker()) as run_raw:
            run_raw(64)  # connections and threads of the worker exist before anything is counted
            for number in range(rounds):
                raw.append(run_raw(count))
                rate, spent, scheduled = pipeline(running, settings, names, f"round {number}", count)
                whole.append(rate)
                accepted.append(scheduled)
                for name, seconds in spent.items():
                    used[name] = used.get(name, 0.0) + seconds
    each = {name: round(1000 * seconds / (rounds * count), 2) for name, seconds in used.items()}
    each = dict(sorted(each.items(), key=lambda one: -one[1]))
    return {
        "pipeline_rate": median_of(
            whole,
            "posts/s",
            target=TARGET,
            note=f"{count} text posts due at once, from the first to the last published",
            more={"cpu_ms_per_post": each, "cpu_ms_per_post_total": round(sum(each.values()), 2)},
        ),
        "celery_noop_rate": median_of(raw, "tasks/s", note="sent and done at once; one sender, threads pool of 64"),
        "pipeline_to_noop": ratio_of(whole, raw, note="posts for each no-op task"),
        "schedule_rate": median_of(accepted, "posts/s", note="calls of schedule() by one script, one after the other"),
    }


def pipeline(
    running: Stack, settings: Any, accounts: list[str], words: str, count: int
) -> tuple[float, dict[str, float], float]:
    """(posts a second, CPU seconds by program, posts scheduled a second)."""
    url = settings.database()
    ids, scheduled = posts.add_posts(words, accounts, count)
    posts.make_due(url, ids, LEAD_S)
    programs = {name: one for name, one in running.programs().items() if name != "supervisor"}
    if running.page is not None:
        programs["sandbox"] = running.page.process
    before = cpu.read(programs)
    posts.until_published(url, ids, 600.0, running.log)
    spent = cpu.spent(before, cpu.read(programs))
    ends = sorted(row.published_at for row in posts.times(url, ids))
    return (count - 1) / (ends[-1] - ends[0]).total_seconds(), spent, scheduled


@contextlib.contextmanager
def raw_worker(where: Path, broker: str) -> Iterator[Callable[[int], float]]:
    """A worker as the stack has them, with a task that does nothing; a function that runs so many of them."""
    file = where / "noop.json"
    env = {
        **plain_environment(),
        **{name: value for name, value in os.environ.items() if name.startswith("SCHEDULERX_")},
        "REDIS_URL": broker,
        "SX_BENCH_NOOP_FILE": str(file),
        "PYTHONPATH": str(ROOT),
        "MALLOC_ARENA_MAX": "2",
    }
    argv = [
        sys.executable,
        "-m",
        "celery",
        "--quiet",
        "-A",
        "tests.bench.noop",
        "worker",
        "-n",
        "bench@%h",
        "-Q",
        "bench",
        "-P",
        "threads",
        "-c",
        "64",
        "--without-gossip",
        "--without-mingle",
    ]
    with process(argv, where / "noop.log", env, stop_s=30.0):
        from tests.bench.noop import noop

        def run(total: int) -> float:
            file.unlink(missing_ok=True)
            began = time.time()
            for _ in range(total):
                noop.apply_async(args=(total,), ignore_result=True)
            wait_for("the no-op tasks", 120.0, file.exists, pause_s=0.02)
            return total / (json.loads(file.read_text())["last"] - began)

        yield run
        noop.app.close()
