"""``schedulerx report``: tables with small bars for a terminal, JSON for machines, a page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from scheduler import report as figures
from scheduler.api import database
from scheduler.cli.output import console, emit, file_errors, say, told
from scheduler.cli.webhooks import seconds
from scheduler.report import Group, Report

BAR = 16


def report(
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d, 30d.")] = "7d",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page for a browser.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """What came out, what did not and why, how late, what was saved, what it may cost.

    Example: schedulerx report --since 30d --html report.html
    """
    with told(as_json=as_json):
        span = seconds(since)
        with database() as conn:
            made = figures.make(conn, since_s=span)
        if html is not None:
            from scheduler.report_html import page

            with file_errors(str(html), to="written"):
                html.write_text(page(made), encoding="utf-8")
    if as_json:
        emit(made.as_json())
    elif html is not None:
        say(f"{html} is written.")
    else:
        _show(made)


def bar(share: float | None) -> str:
    """A share as a bar of a fixed width, in eighths of a character."""
    if share is None:
        return "-".ljust(BAR)
    eighths = round(max(0.0, min(1.0, share)) * BAR * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(BAR)


def percent(share: float | None) -> str:
    """A share in percent; never 100 where something is missing, nor 0 where something is there."""
    if share is None:
        return "-"
    shown = f"{share * 100:.1f}"
    if share < 1 and shown == "100.0":
        return "99.9 %"
    return "0.1 %" if share > 0 and shown == "0.0" else f"{shown} %"


def size(count: float) -> str:
    """Bytes in few digits."""
    sign, count = ("-" if count < 0 else ""), abs(count)
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{sign}{count:.0f} {unit}" if unit == "B" else f"{sign}{count:.1f} {unit}"
        count /= 1000
    return f"{sign}{count:.1f} GB"


def duration(value: float) -> str:
    """Seconds in few digits."""
    if value < 60:
        return f"{value:.2f} s"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def _show(made: Report) -> None:
    out = console()
    out.print(
        f"[bold]{made.since:%Y-%m-%d %H:%M} to {made.until:%Y-%m-%d %H:%M} UTC[/bold]"
        + (f"  ({made.test_posts} of these posts went to test addresses)" if made.test_posts else "")
    )
    if not made.total.ended and not made.total.attempts:
        say("Nothing ended in this time.")
        return
    out.print(_groups("By platform", made.platforms, made.total))
    out.print(_groups("By account", made.accounts, None))
    if made.reasons:
        table = _table("Why not", "status", "reason", "platform", "posts", "example")
        for one in made.reasons:
            cells = (one["status"], one["code"], one["platform"], one["posts"], _cut(one["example"]))
            table.add_row(*(Text(str(cell)) for cell in cells))
        out.print(table)
    if made.lateness:
        table = _table("Lateness: request sent minus due", "platform", "posts", "median", "p90", "p95", "p99", "worst")
        for one in made.lateness:
            shares = [duration(one[name]) for name in ("p50", "p90", "p95", "p99", "max")]
            table.add_row(one["name"], str(one["posts"]), *shares)
        out.print(table)
    media = made.media
    if media["files"]:
        say(
            f"Media: {media['files']} files, {size(media['original_bytes'])} became {size(media['sent_bytes'])}"
            f" ({percent(media['saved_share'])} saved), {media['unchanged']} stayed as they were."
        )
    for cost in made.costs:
        parts = ", ".join(
            f"{one['count']} {one['what']} at ${one['each']:.3f}" for one in cost["parts"] if one["count"]
        )
        say(f"{cost['platform']}: about ${cost['dollars']:.2f} ({parts}; {cost['source']}).")


def _groups(title: str, groups: list[Group], total: Group | None) -> Table:
    table = _table(title, "", "published", "failed", "missed", "held", "canceled", "success", "", "retries", "errors")
    for group in [*groups, *([total] if total is not None and len(groups) > 1 else [])]:
        colour = "green" if (group.success or 0) >= 0.99 else "yellow" if (group.success or 0) >= 0.9 else "red"
        table.add_row(
            Text(group.name),
            *(str(count) for count in (group.published, group.failed, group.missed, group.held, group.canceled)),
            percent(group.success),
            Text(bar(group.success), style=colour),
            str(group.retries),
            percent(group.error_rate),
        )
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", title_style="bold")
    text = {"", "status", "reason", "platform", "example"}
    for heading in headings:
        table.add_column(heading, justify="left" if heading in text else "right", overflow="fold")
    return table


def _cut(words: Any) -> str:
    plain = str(words or "")
    return plain if len(plain) <= 80 else plain[:79] + "…"
