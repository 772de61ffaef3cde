"""``schedulerx webhooks ...``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from scheduler import webhooks
from scheduler.api import database
from scheduler.cli.output import FAILED, ago, console, emit, read_input, say, told, who
from scheduler.errors import Refused
from scheduler.settings import current

app = typer.Typer(no_args_is_help=True, help="Receivers that are told what becomes of posts (docs/webhooks.md).")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Number = Annotated[int, typer.Argument(metavar="ID", help="The webhook's id; see: schedulerx webhooks list")]
SPANS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(words: str) -> float:
    """``90m``, ``24h`` or ``7d`` in seconds. :raises Refused: it is none of these."""
    length = SPANS.get(words[-1:])
    number = words[:-1]
    if length is None or not number.isascii() or not number.isdigit() or not 0 < int(number) <= 100_000:
        raise Refused(f"{words!r} is no span of time; write 90m, 24h or 7d")
    return int(number) * length


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where to post to; - reads it from standard input.")],
    event: Annotated[list[str] | None, typer.Option(help="Only this event; repeat for more. All otherwise.")] = None,
    as_json: Json = False,
) -> None:
    """Add a receiver. Its key is made here and shown this once.

    Example: schedulerx webhooks add https://example.com/hooks/posts --event post.failed --event post.published
    """
    with told(as_json=as_json):
        settings = current()
        settings.secret()  # before a name is resolved
        given = read_input(line=True).strip() if url == "-" else url
        origin = webhooks.check_url(settings, given)
        with database(settings) as conn:
            number, key = webhooks.add(conn, settings, given, origin=origin, events=event or [], by=who())
    if as_json:
        emit({"id": number, "origin": origin, "events": event or ["*"], "key": key})
    else:
        say(f"Webhook {number} is stored. Its key, which is not shown again:")
        say(key)
        say(f"Try it: schedulerx webhooks test {number}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List receivers, with the deliveries of the last 24 hours. Example: schedulerx webhooks list"""
    with told(as_json=as_json), database() as conn:
        rows = webhooks.listing(conn)
    if as_json:
        emit([row.as_json() for row in rows])
        return
    if not rows:
        say("No webhook yet. Example: schedulerx webhooks add https://example.com/hooks/posts")
        return
    table = Table(header_style="bold")
    for heading in ("id", "receiver", "events", "delivered", "waiting", "failed", "failing since", "last error"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            str(row.id),
            Text(row.origin),
            Text(", ".join(row.events) or "all"),
            str(row.delivered),
            str(row.waiting),
            str(row.failed),
            ago(row.failing_since),
            Text(row.last_error or "-"),
        )
    console().print(table)


@app.command()
def remove(number: Number, as_json: Json = False) -> None:
    """Stop telling a receiver; its key is wiped and what waits for it is dropped.

    Example: schedulerx webhooks remove 1
    """
    with told(as_json=as_json), database() as conn:
        origin = webhooks.remove(conn, number, by=who())
    if as_json:
        emit({"removed": number, "origin": origin})
    else:
        say(f"Webhook {number} ({origin}) is removed.")


@app.command()
def replay(
    number: Number,
    since: Annotated[str, typer.Option(help="How far back: 90m, 24h, 7d.")] = "24h",
    everything: Annotated[bool, typer.Option("--all", help="Also what was delivered.")] = False,
    as_json: Json = False,
) -> None:
    """Send deliveries again that failed, under their own ids. Example: schedulerx webhooks replay 1 --since 3d"""
    with told(as_json=as_json):
        back = seconds(since)
        with database() as conn:
            count = webhooks.replay(conn, number, since_s=back, everything=everything, by=who())
    if as_json:
        emit({"webhook": number, "replayed": count})
    else:
        say(f"{count} deliveries are on their way again.")


@app.command("test")
def send_test(number: Number, as_json: Json = False) -> None:
    """Send a test event, now, and say what came of it. Example: schedulerx webhooks test 1"""
    from scheduler.webhook_calls import call

    with told(as_json=as_json):
        settings, me = current(), who()
        with database(settings) as conn:
            url, key = webhooks.target(conn, settings, number)
            delivery = webhooks.make_test(conn, settings, number, by=me)
        answer = call(settings, url, key, delivery)
        with database(settings) as conn:
            if answer.taken:
                webhooks.delivered(conn, delivery, answer.status or 0, by=me)
            else:
                webhooks.not_delivered(conn, settings, delivery, answer.error, by=me, status=answer.status, final=True)
    if as_json:
        emit({"webhook": number, "ok": answer.taken, "status": answer.status, "error": answer.error or None})
    else:
        say(f"Webhook {number}: {'taken' if answer.taken else answer.error}")
    if not answer.taken:
        raise typer.Exit(FAILED)
