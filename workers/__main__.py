"""``python -m workers worker -n publish@%h -Q publish -P threads -c 64``, ``... beat`` and ``... flower``.

The same programs as by the command ``celery``, which works too, with fewer words to say: that command loads all of
itself and what is plugged into it (Flower, tornado, a shell) into each process, 20 MB of it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for, in Celery's own words."""
    parser = argparse.ArgumentParser(prog="python -m workers")
    kinds = parser.add_subparsers(dest="kind", required=True)
    worker = kinds.add_parser("worker", help="work on queues")
    worker.add_argument("-n", "--hostname", required=True, help="its name; %%h is this machine's")
    worker.add_argument("-Q", "--queues", required=True, help="names, separated by commas")
    worker.add_argument("-P", "--pool", choices=("threads", "prefork", "solo"), required=True)
    worker.add_argument("-c", "--concurrency", type=int, required=True, help="how many tasks at once")
    beat = kinds.add_parser("beat", help="send the ticks")
    beat.add_argument("--schedule", required=True, help="the file in which it remembers what it sent")
    kinds.add_parser("flower", help="look at the workers; its options are Flower's own")
    wanted, rest = parser.parse_known_args(argv)
    if rest and wanted.kind != "flower":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    wanted.rest = rest
    return wanted


def work(wanted: argparse.Namespace) -> int:
    """Works until told to stop; the exit code."""
    from celery import concurrency
    from celery.utils.nodenames import default_nodename, host_format

    app = importlib.import_module("workers.app").app
    if "publish" in wanted.queues.split(","):
        # Loaded by whoever sends first; the first post after a start shall not wait for it.
        importlib.import_module("platforms.http")
    worker = app.Worker(
        hostname=host_format(default_nodename(wanted.hostname)),
        pool_cls=concurrency.get_implementation(wanted.pool),
        concurrency=wanted.concurrency,
        queues=wanted.queues,
        quiet=True,  # seven banners are not part of one readable log
        # Gossip and mingle are chatter between workers that nothing here needs, and slow the start.
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


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


KINDS = {"worker": work, "beat": tick, "flower": watch}


def main(argv: Sequence[str]) -> int:
    """The command."""
    wanted = arguments(argv)
    return KINDS[wanted.kind](wanted)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
