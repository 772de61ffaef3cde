"""Raw Celery for comparison: the same broker, the same kind of worker, and a task that does nothing.

Run by ``tests.bench.throughput`` as ``celery -A tests.bench.noop worker``; none of our signals are connected.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

from celery import Celery

QUEUE = "bench"
FILE = "SX_BENCH_NOOP_FILE"
"""Where the worker writes when the first and the last task of a round have run."""

app = Celery("bench")
app.config_from_object("celeryconfig")
app.conf.update(imports=(), beat_schedule={}, task_routes={}, task_default_queue=QUEUE, task_queues=None)

_done = itertools.count(1)
_first: list[float] = []


@app.task(name="bench.noop", queue=QUEUE)
def noop(total: int) -> None:
    """Nothing, but for counting: the ``total``-th of a round says when it and the first ran."""
    number = next(_done)  # atomic under the interpreter's lock
    if number % total == 1 or total == 1:
        _first[:] = [time.time()]
    if number % total == 0:
        file = Path(os.environ[FILE])
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps({"first": _first[0], "last": time.time()}))
        partial.replace(file)
