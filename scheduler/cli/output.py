"""How the command speaks: tables for people, JSON for machines, colour only on a terminal.

Exit codes: 0 fine, 1 failed, 2 wrong usage or refused input.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from scheduler.errors import InvalidPost, NotConfigured, Refused, SchedulerXError

if TYPE_CHECKING:
    from scheduler.posts import ScheduledPost

FAILED = 1
REFUSED = 2

COLOURS = {
    "published": "green",
    "failed": "red",
    "missed": "red",
    "held": "yellow",
    "unknown": "yellow",
    "retrying": "yellow",
    "canceled": "dim",
    "publishing": "cyan",
    "processing": "cyan",
}


def console(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal; wide enough for tables where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS", "200"))
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def say(message: str) -> None:
    """A line for people, on standard output."""
    console().print(message, markup=False)


def emit(value: Any) -> None:
    """JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


@contextlib.contextmanager
def told(*, as_json: bool = False) -> Iterator[None]:
    """Turns our errors into a message and an exit code; anything else is a bug and keeps its traceback."""
    try:
        yield
    except SchedulerXError as error:
        code = REFUSED if isinstance(error, Refused | NotConfigured) else FAILED
        if as_json:
            emit({"ok": False, "error": error_json(error)})
        else:
            err = console(stderr=True)
            if isinstance(error, InvalidPost):
                err.print("Refused; nothing was stored:", style="bold red")
                for one in error.violations:
                    where = ", ".join(word for word in (one.platform, one.field, one.file) if word)
                    err.print(f"  - {one.message}  ({where}) \\[{one.code}]", markup=True)
            else:
                err.print(f"{'Refused' if code == REFUSED else 'Failed'}: {error}", style="red", markup=False)
        raise typer.Exit(code) from None


def error_json(error: SchedulerXError) -> dict[str, Any]:
    """An error for machines."""
    plain: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, InvalidPost):
        plain["violations"] = [
            {
                "code": one.code,
                "message": one.message,
                "field": one.field,
                "file": one.file,
                "platform": one.platform,
            }
            for one in error.violations
        ]
    return plain


def who() -> str:
    """The person at the keyboard, for the record."""
    try:
        return f"person:{getpass.getuser()}"
    except (KeyError, OSError):
        return "person"


def ago(when: datetime | None) -> str:
    """A time, relative to now, in few words."""
    if when is None:
        return "-"
    seconds = (when - datetime.now(UTC)).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if size >= length:
            amount = f"{size / length:.0f} {unit}"
            break
    else:
        amount = f"{size:.0f} s"
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


def posts_table(rows: Sequence[ScheduledPost], *, title: str | None = None) -> Table:
    """Scheduled posts, a line each."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("id", "post", "account", "status", "due (UTC)"):
        table.add_column(heading, no_wrap=heading != "status")
    table.add_column("late", justify="right")
    table.add_column("tries", justify="right")
    table.add_column("link or reason", overflow="fold")
    for row in rows:
        status = f"{row.status} ({row.held_for})" if row.held_for else row.status
        if row.paused and not row.published_at:
            status += " (paused)"
        colour = COLOURS.get(row.status, "")
        last = row.url if row.status == "published" else row.error_message or row.url
        if not last and row.not_ready:
            last = "not ready: " + row.not_ready[0]["message"]
        account = row.account + (" [dim](test)[/dim]" if row.api_url else "")
        table.add_row(
            str(row.id),
            str(row.post_id),
            account,
            f"[{colour}]{status}[/{colour}]" if colour else status,
            f"{row.due_at:%Y-%m-%d %H:%M:%S}",
            "-" if row.lateness_s is None else f"{row.lateness_s:.2f} s",
            str(row.attempts),
            (last or "").replace("[", "\\["),
        )
    return table
