"""``schedulerx audit``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from scheduler import audit as trail
from scheduler.api import database
from scheduler.cli.output import console, emit, say, told


def audit(
    subject: Annotated[
        str | None, typer.Argument(metavar="[SUBJECT]", help="Such as post:12, account:x:acme, webhook:1 or all.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as post.canceled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Who did what, the newest first. Example: schedulerx audit post:12"""
    with told(as_json=as_json), database() as conn:
        rows = trail.listing(conn, subject=subject, action=action, limit=limit)
    if as_json:
        emit([{**vars(row), "at": row.at.isoformat()} for row in rows])
        return
    if not rows:
        if subject or action:
            say(
                "Nothing is written there: no entry matches. Subjects are such as post:12, account:x:acme, webhook:1 or"
                " all; every entry: schedulerx audit"
            )
        else:
            say("Nothing is written there.")
        return
    table = Table(header_style="bold")
    for heading in ("when (UTC)", "who", "did", "to", "before", "after"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        before, after = (json.dumps(one, ensure_ascii=False) for one in (row.before, row.after))
        cells = (f"{row.at:%Y-%m-%d %H:%M:%S}", row.by, row.action, row.subject, before, after)
        table.add_row(*map(Text, cells))
    console().print(table)
