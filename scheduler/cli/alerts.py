"""``schedulerx alerts ...``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from scheduler import alerts
from scheduler.api import database
from scheduler.cli.output import FAILED, ago, console, emit, say, told, who
from scheduler.errors import NotConfigured
from scheduler.settings import current

app = typer.Typer(no_args_is_help=True, help="What a person should know, and whether messages about it arrive.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what is over.")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: Json = False,
) -> None:
    """List what is the matter. Example: schedulerx alerts list --all"""
    with told(as_json=as_json):
        settings = current()
        with database() as conn:
            rows = alerts.listing(conn, everything=everything, limit=limit)
    if as_json:
        emit({"channels": alerts.channel_names(settings), "alerts": [row.as_json() for row in rows]})
        return
    if not settings.channels():
        say("No channel: set SCHEDULERX_ALERT_URLS, so that somebody is told (docs/alerts.md).")
    if not rows:
        say("Nothing is the matter.")
        return
    table = Table(header_style="bold")
    for heading in ("id", "what", "since", "over", "told", "message"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        colour = "red" if row.severity == "critical" else "yellow"
        table.add_row(
            str(row.id),
            Text(row.rule, style=colour),
            ago(row.opened_at),
            ago(row.closed_at),
            ago(row.told_at),
            Text(row.message),
        )
    console().print(table)


@app.command("test")
def send_test(as_json: Json = False) -> None:
    """Send a test message to every channel, now.

    Example: SCHEDULERX_ALERT_URLS=ntfy://my-topic schedulerx alerts test
    """
    from scheduler import alert_channel

    with told(as_json=as_json):
        settings = current()
        names = alerts.channel_names(settings)
        if not names:
            raise NotConfigured("No channel: set SCHEDULERX_ALERT_URLS to URLs as apprise takes them (docs/alerts.md)")
        found = [
            {"channel": name, "error": alert_channel.send(url, "SchedulerX: a test", "Alerts arrive here.")}
            for name, url in zip(names, settings.channels(), strict=True)
        ]
    if as_json:
        emit([{"channel": one["channel"], "ok": not one["error"], "error": one["error"] or None} for one in found])
    else:
        for one in found:
            say(f"{one['channel']}: {one['error'] or 'taken'}")
    if any(one["error"] for one in found):
        raise typer.Exit(FAILED)


@app.command()
def watch(as_json: Json = False) -> None:
    """Look once and send what is to be told, without any worker: for a cron job on another machine.

    Example: */5 * * * * schedulerx alerts watch
    """
    with told(as_json=as_json):
        settings = current()
        with database(settings) as conn:
            done = alerts.watch(conn, settings)
        done["sent"] = alerts.send_all(settings, by=who())
    if as_json:
        emit(done)
    else:
        say(f"{done['opened']} opened, {done['closed']} over, {done['sent']} messages sent.")
