"""``schedulerx demo``: the main job, on this machine, before your eyes.

A data folder of its own, real Postgres, Valkey and S3, real Celery workers, the real platform modules; only
the platforms are emulated (``platforms.sandbox``), on this machine's loopback. Nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler.cli import demo_posts
from scheduler.cli.output import FAILED, console, posts_table, say

LEAD_S = 10.0
"""From scheduling to the first post, seconds: so long the media have to be made and uploaded."""
ENDS = ("published", "failed", "missed", "canceled", "held")
START_S = 90.0
FINISH_S = 120.0
STOP_S = 120.0


class DemoFailed(Exception):
    """Something of the demo did not come up or did not end."""


def demo(
    posts: Annotated[int, typer.Option(min=1, max=50, help="How many posts with a picture.")] = 4,
    out: Annotated[Path, typer.Option(help="Where the result is written, as JSON.")] = Path("demo.json"),
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, to look around, until Ctrl-C.")] = False,
) -> None:
    """Publish pictures and a video to all six platforms, emulated on this machine.

    Takes a minute or two, more on a slow machine.

    Example: schedulerx demo --keep
    """
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="sx-demo-"))
    folder.chmod(0o755)  # as root, Postgres runs as another user and has to pass through
    try:
        with _sandbox(folder) as page, _stack(folder, page) as log:
            rows = _run(folder, posts, page, log)
            _result(rows, page, folder, out)
            if keep:
                say(f"Still up. The profiles: {page}  Flower: {_flower(folder)}  Stop with Ctrl-C.")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    except DemoFailed as error:
        console(stderr=True).print(f"The demo failed: {error}", style="red", markup=False)
        raise typer.Exit(FAILED) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = sum(row["status"] == "published" for row in rows)
    say(f"published {done} of {len(rows)}")
    if done != len(rows):
        raise typer.Exit(FAILED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the demo as Ctrl-C does: what it started is stopped in order."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def _process(argv: list[str], log: Path, env: dict[str, str], stop_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C reaches us alone and we end it in order."""
    with log.open("wb") as stream:
        child = subprocess.Popen(argv, stdout=stream, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(stop_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait(what: str, seconds: float, child: subprocess.Popen[bytes], log: Path, done: Any) -> Any:
    """What ``done`` returns, once it is true. :raises DemoFailed: the child ended, or time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = done()
        if found:
            return found
        if child.poll() is not None:
            raise DemoFailed(f"{what} ended at once:\n{_tail(log)}")
        time.sleep(0.05)
    raise DemoFailed(f"{what} was not ready within {seconds:.0f} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-25:])


@contextlib.contextmanager
def _sandbox(folder: Path) -> Iterator[str]:
    """The emulated platforms; their page's address."""
    ready, log = folder / "sandbox.json", folder / "sandbox.log"
    argv = [
        sys.executable,
        "-m",
        "platforms.sandbox",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--data",
        str(folder / "sandbox"),
        "--ready-file",
        str(ready),
    ]
    with _process(argv, log, dict(os.environ), 10.0) as child:
        _wait("the sandbox", START_S, child, log, ready.exists)
        yield str(json.loads(ready.read_text())["url"])


@contextlib.contextmanager
def _stack(folder: Path, page: str) -> Iterator[Path]:
    """``schedulerx up`` in the demo's own folder, pointed at the sandbox; its log."""
    ours = ("DATABASE_URL", "REDIS_URL", "R2_", "SCHEDULERX_", "FLOWER_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env.update(
        {
            "SCHEDULERX_HOME": str(folder / "home"),
            "SCHEDULERX_SPOOL_ID": f"demo-{os.getpid()}",
            **{f"SCHEDULERX_{platform.upper()}_API_URL": page for platform in demo_posts.PLATFORMS},
            "SCHEDULERX_LOG_FORMAT": "console",
            # The demo posts more in a minute than a careful person would in an hour.
            "SCHEDULERX_BURST_COUNT": "1000",
        }
    )
    for name in [name for name in os.environ if name.startswith(ours)]:
        del os.environ[name]
    os.environ.update({name: value for name, value in env.items() if name.startswith("SCHEDULERX_")})
    log = folder / "up.log"
    say("Starting Postgres, Valkey, S3, beat, the workers and Flower ...")
    with _process([sys.executable, "-m", "scheduler.cli.main", "up"], log, env, STOP_S) as child:
        _wait(
            "schedulerx up",
            START_S,
            child,
            log,
            lambda: "schedulerx is up" in log.read_text(errors="replace"),
        )
        yield log
        say("Stopping in order: beat, workers, Flower, then the services ...")


def _run(folder: Path, count: int, page: str, log: Path) -> list[dict[str, Any]]:
    """What a user's script does: accounts, pictures, posts; then watches."""
    from scheduler import posts as store
    from scheduler.api import database
    from scheduler.errors import SchedulerXError

    total = demo_posts.expected(count)
    try:
        who = demo_posts.connect(page)
        say(f"Scheduling {count} posts with pictures and one with a video on six platforms. The profiles: {page}")
        ids = demo_posts.post_all(folder, count, timedelta(seconds=LEAD_S), who)
    except SchedulerXError as error:
        raise DemoFailed(f"{error}\n{_tail(log)}") from None

    def look() -> list[store.ScheduledPost]:
        with database() as conn:
            rows = store.listing(conn, limit=1000)
        return sorted((row for row in rows if row.post_id in ids), key=lambda row: (row.due_at, row.id))

    out = console()
    bar = Progress(
        TextColumn("published"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=out,
    )
    task = bar.add_task("published", total=total)
    end = time.monotonic() + FINISH_S
    with (
        Live(console=out, refresh_per_second=5, transient=True) if out.is_terminal else contextlib.nullcontext() as live
    ):
        while True:
            rows = look()
            bar.update(task, completed=sum(row.status == "published" for row in rows))
            if live is not None:
                live.update(Group(posts_table(rows), bar))
            if all(row.status in ENDS for row in rows):
                break
            if time.monotonic() > end:
                say(f"Not all ended within {FINISH_S:.0f} s; the last lines of the log:\n{_tail(log)}")
                break
            time.sleep(0.2)
    return [row.as_json() for row in rows]


def _result(rows: list[dict[str, Any]], page: str, folder: Path, out: Path) -> None:
    """The table, the figures, and the file."""
    from scheduler import posts as store
    from scheduler.api import database

    ids = {row["id"] for row in rows}
    with database() as conn:
        table = [row for row in store.listing(conn, limit=1000) if row.id in ids]
    console().print(posts_table(sorted(table, key=lambda row: (row.due_at, row.id)), title="What was published"))
    late = sorted(row["lateness_s"] for row in rows if row["lateness_s"] is not None)
    if late:
        say(f"Lateness (request sent minus due): median {late[len(late) // 2]:.2f} s, worst {late[-1]:.2f} s")
    say(f"Flower was at {_flower(folder)} (with `schedulerx up` it stays; `schedulerx demo --keep` stays, too)")
    say(f"The profiles with the pictures were at {page}")
    partial = out.with_suffix(out.suffix + ".part")
    partial.write_text(json.dumps(rows, indent=2, default=str) + "\n")
    partial.replace(out)


def _flower(folder: Path) -> str:
    from stack.home import load_stack

    info = load_stack(folder / "home")
    return (info.flower_url if info else None) or "off"
