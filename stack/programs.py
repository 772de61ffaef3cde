"""What runs: beat, one worker per queue, the monitor, Flower. The one place to change names, pools and flags.

`python -m stack.programs` prints the same list as a Procfile; a test keeps the file at the root equal.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FLOWER_PORT = 5555
MONITOR_PORT = 9808
"""Where nobody chose others: Flower's own default, and ours for the monitor."""

# Stop stages: beat makes new work, workers finish what they hold, Flower only watches.
BEAT, WORKERS, WATCHERS = 0, 1, 2


@dataclass(frozen=True)
class Program:
    """A program to keep running, or with `once` to run to its end before the others start."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 10.0
    order: int = WORKERS
    """Stopped from the lowest to the highest, those of one number together; started the other way."""
    once: bool = False
    orphans_grace_s: float = 0.0
    """What it leaves running when it dies by itself may go on for so long (its calls), before it is ended by force."""
    ready_text: str | None = None
    """Ready when a line of its output contains this; None: as soon as it runs."""


@dataclass(frozen=True)
class WorkerShape:
    """A worker process: the queues it takes from and how it works on them."""

    name: str
    pool: str
    slots: str
    grace_s: float
    queues: tuple[str, ...]
    processes: str = ""
    """How many share its slots, forked from one; "": one, without a parent."""
    beside: tuple[WorkerShape, ...] = ()
    """Further workers of threads that are forked from the same parent."""


def worker_shapes(cores: str, spool_id: str, publishers: str) -> tuple[WorkerShape, ...]:
    """Which workers there are.

    Grace: a call that publishes is never cut off, so thread workers get the longest call budget and ten
    seconds more (Celery's own soft shutdown does not bound threads, it waits for them).
    """
    return (
        WorkerShape("dispatch", "threads", "4", 20, ("dispatch",)),
        # Cutting it off costs a rendition that is made again.
        WorkerShape("media", "prefork", cores, 25, ("media",)),
        # Files that wait on this machine's disk can only be uploaded from here: hence a queue of its own.
        WorkerShape("upload", "threads", "8", 70, ("upload", f"upload.{spool_id}")),
        # The one that needs more than one core: threads of one process share its interpreter lock.
        WorkerShape("publish", "threads", "64", 130, ("publish",), processes=publishers),
        WorkerShape("followup", "threads", "8", 70, ("followup",)),
    )


def compact(shapes: tuple[WorkerShape, ...]) -> tuple[WorkerShape, ...]:
    """The same queues for one machine, in less memory. What waits for the network most of the time is done by one
    worker (uploads, polls, look-ups, tokens), and that one is forked from the parent of the publish workers, which
    has loaded the same. The queues stay apart, and each can be given a worker of its own. Saves about 120 MB.
    """
    found = {shape.name: shape for shape in shapes}
    upload, followup, publish = found.pop("upload"), found.pop("followup"), found["publish"]
    both = WorkerShape("upload", "threads", "16", upload.grace_s, (*upload.queues, *followup.queues))
    grace_s = max(publish.grace_s, upload.grace_s, followup.grace_s)
    found["publish"] = replace(publish, beside=(both,), grace_s=grace_s)
    return tuple(found.values())


def default_programs(
    *,
    beat_schedule: str,
    spool_id: str,
    cores: str | None = None,
    publishers: str | None = None,
    flower_port: str | None = str(FLOWER_PORT),
    flower_db: str = "flower.db",
    monitor_port: str = str(MONITOR_PORT),
    python: str = sys.executable,
    small: bool = False,
) -> list[Program]:
    """The programs of a whole installation; `flower_port=None` leaves Flower out, `small` is `compact`."""
    celery = (python, "-m", "workers")  # Celery without its command line, which costs each process 20 MB
    programs = [
        Program(
            "beat",
            (*celery, "beat", "--schedule", beat_schedule),
            order=BEAT,
        )
    ]
    shapes = worker_shapes(cores or str(os.cpu_count() or 1), spool_id, publishers or default_publishers())
    for shape in compact(shapes) if small else shapes:
        flags = ["-n", f"{shape.name}@%h", "-Q", ",".join(shape.queues), "-P", shape.pool, "-c", shape.slots]
        if shape.processes:
            flags += ["--processes", shape.processes]
        for other in shape.beside:
            flags += ["--beside", f"{other.name}:{other.slots}:{','.join(other.queues)}"]
        programs.append(
            Program(
                shape.name,
                (*celery, "worker", *flags),
                env={"MALLOC_ARENA_MAX": "2"},  # 64 threads would otherwise grow an arena each
                stop_grace_s=shape.grace_s,
                order=WORKERS,
                # Its children finish the calls that they have under way when their parent was killed.
                orphans_grace_s=shape.grace_s if shape.processes else 0.0,
                ready_text=f"{shape.name}@{socket.gethostname()} ready",
            )
        )
    # It proves that the others work, so it is none of them; light, since it runs everywhere and always.
    programs.append(
        Program(
            "monitor",
            (python, "-m", "scheduler.monitor", f"--port={monitor_port}"),
            env={"MALLOC_ARENA_MAX": "2"},
            stop_grace_s=5,
            order=WATCHERS,
            ready_text="monitor ready",
        )
    )
    if flower_port is not None:
        flower = (
            *celery,
            "flower",
            "--address=127.0.0.1",
            f"--port={flower_port}",
            # It only shows: the stop button is `schedulerx pause`, which Postgres remembers.
            "--read_only=True",
            "--persistent=True",
            f"--db={flower_db}",
            "--state_save_interval=60000",  # ms; it is ended by force, so it cannot save as it ends
            "--max_tasks=5000",
            "--purge_offline_workers=600",
        )
        # It has nothing to lose; asked politely it waits for answers of workers that have ended.
        quiet = {"FLOWER_UNAUTHENTICATED_API": "false"}
        programs.append(Program("flower", flower, quiet, stop_signal=signal.SIGKILL, stop_grace_s=5, order=WATCHERS))
    return programs


def default_publishers() -> str:
    """How many publish processes: two, unless there is one core only; a third has nothing to run on."""
    return str(min(2, os.cpu_count() or 1))


def migration(python: str = sys.executable) -> Program:
    """Brings the database to this version's tables before anything else runs."""
    return Program("migrate", (python, "-m", "db.migrate", "upgrade"), stop_grace_s=60, once=True)


def procfile() -> str:
    """The same list for honcho, foreman, overmind and the like, which run each line in a shell."""
    programs = default_programs(
        beat_schedule="${SCHEDULERX_BEAT_SCHEDULE:-celerybeat-schedule}",
        spool_id="${SCHEDULERX_SPOOL_ID:-$(hostname)}",
        cores="${SCHEDULERX_CORES:-2}",
        publishers="${SCHEDULERX_PUBLISH_PROCESSES:-2}",
        flower_port="${FLOWER_PORT:-" + str(FLOWER_PORT) + "}",
        flower_db="${FLOWER_DB:-flower.db}",
        monitor_port="${SCHEDULERX_MONITOR_PORT:-" + str(MONITOR_PORT) + "}",
        python="python",
    )
    head = [
        "# For those who bring their own process manager, Postgres and Redis: set DATABASE_URL, REDIS_URL,",
        "# R2_* and SCHEDULERX_SECRET_KEY, run `python -m db.migrate upgrade` once, then start this.",
        "# Give `publish` at least 130 s to stop: a call that is under way is never cut off.",
        "# Written by `python -m stack.programs`, so that it says the same as `schedulerx up`.",
    ]
    lines = [f"{program.name}: {shell_line(program)}" for program in programs]
    return "\n".join([*head, *lines]) + "\n"


def shell_line(program: Program) -> str:
    """Its command for a shell, with ${...} left for the shell to fill in."""
    words = [f'"{word}"' if "$" in word else shlex.quote(word) for word in program.argv]
    settings = [f"{name}={shlex.quote(value)}" for name, value in program.env.items()]
    return " ".join([*(["env", *settings] if settings else []), *words])


if __name__ == "__main__":
    sys.stdout.write(procfile())
