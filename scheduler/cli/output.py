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
from rich.text import Text

from db.redaction import clean
from scheduler.errors import InvalidPost, NotConfigured, Refused, SchedulerXError, Unavailable

if TYPE_CHECKING:
    from scheduler.posts import ScheduledPost

FAILED = 1
REFUSED = 2

WIDE = 130
"""Columns from which a terminal shows a text and a link beside each other, each in one line."""

READ_ONLY = "25006"
"""Postgres' code for a write in a read-only transaction."""

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
    chosen = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else int(chosen) if chosen.isdecimal() and int(chosen) else 200
    return Console(file=stream, width=width, highlight=False, soft_wrap=False, emoji=False)


def say(message: str, *, stderr: bool = False, style: str = "") -> None:
    """A line for people, as it is: brackets are no markup, and whoever shows it breaks it where it is too long."""
    console(stderr=stderr).print(Text(message, style=style), soft_wrap=True)


def marked(mark: str, colour: str, name: str, message: str) -> None:
    """A line of a check: its result in colour, what was looked at, and a sentence that is never broken."""
    console().print(Text.assemble((mark, colour), f"  {name:<14} {message}".rstrip()), soft_wrap=True)


def account_cell(account: str, api_url: str | None) -> Text:
    """An account in a table; what was made against an override of its platform's address is marked."""
    return Text.assemble(account, (" (test)", "dim")) if api_url else Text(account)


def read_input(*, line: bool = False) -> str:
    """All of standard input, or its next line. :raises Refused: it is no text in UTF-8."""
    try:
        return (sys.stdin.buffer.readline() if line else sys.stdin.buffer.read()).decode()
    except UnicodeDecodeError:
        raise Refused("Standard input is not text in UTF-8") from None


@contextlib.contextmanager
def file_errors(file: str, *, to: str) -> Iterator[None]:
    """Files that a person named and that cannot be used. :raises Refused: says which, and why."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{file} cannot be {to}: {error.strerror or error}") from None


def emit(value: Any) -> None:
    """JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=_as_text) + "\n")


def _as_text(value: Any) -> str:
    """What JSON has no form for; times look the same wherever they stand."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextlib.contextmanager
def told(*, as_json: bool = False) -> Iterator[None]:
    """Turns our errors into a message and an exit code; anything else is a bug and keeps its traceback."""
    try:
        yield
    except Exception as met:
        error = _ours(met)
        if error is None:
            raise
        if as_json:
            emit({"ok": False, "error": error_json(error)})
        elif isinstance(error, InvalidPost):
            say("Refused; nothing was stored:", stderr=True, style="bold red")
            for one in error.violations:
                where = ", ".join(word for word in (one.platform, one.field, one.file) if word)
                say(f"  - {one.message}  ({where}) [{one.code}]", stderr=True)
        else:
            say(f"{'Refused' if error.exit_code == REFUSED else 'Failed'}: {error}", stderr=True, style="red")
        raise typer.Exit(error.exit_code) from None


def _ours(error: Exception) -> SchedulerXError | None:
    """An error in our words; None: it is a bug. Here, since these come from layers that do not know the command."""
    if isinstance(error, SchedulerXError):
        return error
    if isinstance(error, typer.Exit):
        return None
    # Imported late: whoever asks for help, or is told that all is well, needs none of them.
    from sqlalchemy.exc import DBAPIError

    from db.crypto import SecretKeyError
    from db.session import lost_connection
    from stack.home import StackError

    if isinstance(error, SecretKeyError | StackError):
        return NotConfigured(str(error))
    if isinstance(error, DBAPIError) and lost_connection(error):
        from scheduler.settings import current

        reason = str(error.orig or error).strip().splitlines() or ["no reason given"]
        return Unavailable(f"The database does not answer ({reason[0]}); {current().database_advice()}")
    if isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) == READ_ONLY:
        reason = str(error.orig).strip().splitlines()
        return Unavailable(
            f"The database takes no writes ({reason[0]}): it is a standby, or was set to read-only. Let DATABASE_URL"
            " name the primary, or turn default_transaction_read_only off"
        )
    return None


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


def shortened(words: str, *, size: int = 30) -> str:
    """The beginning of a text, in one line, without what looks like a secret."""
    line = " ".join(clean(words)[: 20 * size].split())
    return line if len(line) <= size else line[: size - 1].rstrip() + "…"


def posts_table(rows: Sequence[ScheduledPost], *, title: str | None = None, words: bool = False) -> Table:
    """Scheduled posts, a line each.

    :param words: with how each begins; a narrow terminal then shows that in place of what fits wide ones alone.
    """
    if words and (width := console().width) < WIDE:
        return _narrow_table(rows, width)
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("id", "post", "account", "status", "due (UTC)"):
        table.add_column(heading, no_wrap=heading != "status")
    if words:
        table.add_column("text", no_wrap=True)
    table.add_column("late", justify="right")
    table.add_column("tries", justify="right")
    table.add_column("link or reason", overflow="fold")
    for row in rows:
        last = row.url if row.status == "published" else row.error_message or row.url
        if not last and row.not_ready:
            last = "not ready: " + row.not_ready[0]["message"]
        table.add_row(
            str(row.id),
            str(row.post_id),
            account_cell(row.account, row.api_url),
            _status_cell(row),
            f"{row.due_at:%Y-%m-%d %H:%M:%S}",
            *((Text(shortened(row.text)),) if words else ()),
            "-" if row.lateness_s is None else f"{row.lateness_s:.2f} s",
            str(row.attempts),
            Text(last or ""),
        )
    return table


def _narrow_table(rows: Sequence[ScheduledPost], width: int) -> Table:
    """What tells posts apart, in so many columns; the text gets what the others leave."""
    table = Table(header_style="bold", caption_justify="left")
    table.caption = "A wider terminal shows more, and so does: schedulerx posts show ID"
    cells = [
        (str(row.id), account_cell(row.account, row.api_url), _status_cell(row), f"{row.due_at:%Y-%m-%d %H:%M}")
        for row in rows
    ]
    for place, heading in enumerate(("id", "account", "status", "due (UTC)")):
        told = [heading, *(str(line[place]) for line in cells)]
        # Accounts and states may be broken between their words.
        parts = told if heading in {"id", "due (UTC)"} else " ".join(told).split()
        longest = min(max(map(len, parts)), 24)
        table.add_column(heading, width=longest, overflow="fold")
        width -= longest + 3
    left = max(min(width - 4, 30), 8)
    table.add_column("text", width=left, no_wrap=True, overflow="ellipsis")
    for line, row in zip(cells, rows, strict=True):
        table.add_row(*line, Text(shortened(row.text, size=left)))
    return table


def _status_cell(row: ScheduledPost) -> Text:
    """The state of a post, with what it waits for."""
    status = f"{row.status} ({row.held_for})" if row.held_for else row.status
    if row.paused and not row.published_at:
        status += " (paused)"
    elif row.everything_paused:
        status += " (everything is paused)"
    return Text(status, style=COLOURS.get(row.status, ""))
