"""``python -m workers worker -n publish@%h -Q publish -P threads -c 64``, ``... beat`` and ``... flower``.

The same programs as by the command ``celery``, which works too, with fewer words to say: that command loads all of
itself and what is plugged into it (Flower, tornado, a shell) into each process, 20 MB of it.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for, in Celery's own words."""
    parser = argparse.ArgumentParser(prog="python -m workers")
    kinds = parser.add_subparsers(dest="kind", required=True)
    worker = kinds.add_parser("worker", help="work on queues")
    worker.add_argument("-n", "--hostname", required=True, help="its name; %%h is this machine's")
    worker.add_argument("-Q", "--queues", required=True, help="names, separated by commas")
    worker.add_argument("-P", "--pool", choices=("threads", "prefork", "solo"), required=True)
    worker.add_argument("-c", "--concurrency", type=int, required=True, help="how many tasks at once, in all")
    worker.add_argument(
        "--processes",
        type=processes,
        default=1,
        help="how many share them, a worker each (threads only); empty: as many as `schedulerx up` takes",
    )
    worker.add_argument(
        "--beside",
        metavar="NAME:SLOTS:QUEUES",
        type=neighbour,
        action="append",
        default=[],
        help="one more worker of threads, forked from the same parent: saves the memory of a process of its own",
    )
    beat = kinds.add_parser("beat", help="send the ticks")
    beat.add_argument("--schedule", required=True, help="the file in which it remembers what it sent")
    kinds.add_parser("flower", help="look at the workers; its options are Flower's own")
    wanted, rest = parser.parse_known_args(argv)
    if rest and wanted.kind != "flower":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if wanted.kind == "worker" and wanted.processes < 1:
        parser.error("--processes: at least 1")
    if wanted.kind == "worker" and (wanted.processes > 1 or wanted.beside) and wanted.pool != "threads":
        parser.error("--processes and --beside are for pools of threads; prefork has processes of its own (-c)")
    wanted.rest = rest
    return wanted


def processes(words: str) -> int:
    """The value of ``--processes``. Empty, as an unset variable leaves it in a unit of systemd: the usual number."""
    from stack.programs import default_publishers

    return int(words or default_publishers())


@dataclass(frozen=True)
class Shape:
    """A worker of threads: its name, how much it does at once, and from which queues."""

    name: str
    slots: int
    queues: str
    place: str = ""
    """Which of several workers of one name it is."""


def neighbour(words: str) -> Shape:
    """The value of ``--beside``. :raises ValueError: it is none."""
    name, slots, queues = words.split(":", 2)
    return Shape(f"{name}@%h", int(slots), queues)


def shapes(wanted: argparse.Namespace) -> list[Shape]:
    """The workers that were asked for. "publish@1-host": the queue in front, the host behind, told apart between."""
    found: list[Shape] = []
    count = wanted.processes
    for number in range(1, count + 1):
        place = f"{number}-" if count > 1 else ""
        # The first ones get what is left over.
        slots = max((wanted.concurrency + count - number) // count, 1)
        found.append(Shape(wanted.hostname.replace("@", f"@{place}", 1), slots, wanted.queues, place))
    return [*found, *wanted.beside]


def work(wanted: argparse.Namespace) -> int:
    """Works until told to stop; the exit code."""
    app = importlib.import_module("workers.app").app
    if "publish" in wanted.queues.split(","):
        # Loaded by whoever sends first; the first post after a start shall not wait for it. Reading the certificates is
        # most of it, and comes after the intent: on a busy machine it used up what the fence allows.
        importlib.import_module("platforms.http")
        importlib.import_module("platforms.connections").trust(None)
    workers = shapes(wanted)
    if len(workers) == 1:
        return run_worker(app, wanted.pool, workers[0])
    return work_together(app, wanted.hostname, workers)


def run_worker(app: Any, pool: str, shape: Shape, kind: type | None = None) -> int:
    """One worker in this process, of Celery's usual ``kind`` unless told otherwise; its exit code."""
    from celery import concurrency
    from celery.utils.nodenames import default_nodename, host_format

    worker = (kind or app.Worker)(
        **({"app": app} if kind else {}),
        hostname=host_format(default_nodename(shape.name)),
        pool_cls=concurrency.get_implementation(pool),
        concurrency=shape.slots,
        queues=shape.queues,
        quiet=True,  # seven banners are not part of one readable log
        # Gossip and mingle are chatter between workers that nothing here needs, and slow the start.
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def work_together(app: Any, name: str, workers: Sequence[Shape]) -> int:
    """Several workers, forked from this process once it has loaded what they need; the exit code."""
    from celery.utils.nodenames import default_nodename, host_format

    from workers import family, signals

    signals.set_up_logging()
    preload(app)
    warm(app)

    def member(number: int, ready: Callable[[], None]) -> int:
        from celery.apps.worker import Worker
        from celery.signals import worker_ready

        from workers.context import role

        class Member(Worker):  # type: ignore[misc]  # celery ships no types
            def install_platform_tweaks(self, worker: Any) -> None:
                super().install_platform_tweaks(worker)
                family.ignore_terminal()

        worker_ready.connect(lambda **_: ready(), weak=False)
        shape = workers[number - 1]
        role["place"] = shape.place
        return run_worker(app, "threads", shape, Member)

    return family.Family(member, len(workers), host_format(default_nodename(name))).run()


def preload(app: Any) -> None:
    """What a worker of threads loads as it starts, without connecting to anything."""
    for name in (*LOADED_BY_WORKERS, "workers.broker"):
        importlib.import_module(name)
    app.loader.import_default_modules()
    app.finalize()


def tick(wanted: argparse.Namespace) -> int:
    """Sends the ticks until told to stop; the exit code."""
    app = importlib.import_module("workers.light").app
    app.Beat(schedule=wanted.schedule, quiet=True).run()
    return 0


def watch(wanted: argparse.Namespace) -> int:
    """Flower, as a command of a group that has nothing else in it."""
    import click
    from celery.bin.base import CLIContext
    from flower.command import flower

    app = importlib.import_module("workers.light").app

    @click.group()
    @click.pass_context
    def group(context: click.Context) -> None:
        context.obj = CLIContext(app=app, no_color=None, workdir=None, quiet=True)

    group.add_command(flower)
    group(["flower", *wanted.rest], prog_name="celery")
    return 0


def warm(app: Any) -> None:
    """Connects to Postgres and to the broker, and closes again before anybody is forked.

    What their libraries set up at a first connection is 6 MB, which the children then share. Only that is lost where
    one of them does not answer now: a child connects, and complains, for itself.
    """
    from kombu.exceptions import OperationalError as BrokerError
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    from db import session
    from scheduler.settings import current

    try:
        with session.transaction(current().database()) as conn:
            conn.execute(text("SELECT 1"))
        with app.connection_for_read() as broker:
            broker.ensure_connection(max_retries=1, reraise_as_library_errors=True)
            broker.default_channel.client.ping()
    except (DBAPIError, BrokerError, OSError) as error:
        logging.getLogger(__name__).info("not warmed up: %s", type(error).__name__)
    finally:
        session.close()


LOADED_BY_WORKERS = (
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.app.routes",
    "celery.apps.worker",
    "celery.concurrency.thread",
    "celery.events.dispatcher",
    "celery.events.receiver",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.control",
    "celery.worker.loops",
    "celery.worker.pidbox",
    "celery.worker.strategy",
    "kombu.mixins",
    "psycopg2.extras",
)
"""Modules that Celery, kombu and SQLAlchemy load at their first use, which in a family is after the fork."""

KINDS = {"worker": work, "beat": tick, "flower": watch}


def main(argv: Sequence[str]) -> int:
    """The command."""
    wanted = arguments(argv)
    return KINDS[wanted.kind](wanted)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
