"""``schedulerx dead-letters ...``: the desk."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from scheduler import dead_letters as desk
from scheduler.api import database
from scheduler.cli.known import must_exist
from scheduler.cli.output import account_cell, ago, console, emit, say, shortened, told, who
from scheduler.errors import NotAllowed, Refused

app = typer.Typer(no_args_is_help=True, help="What needs a person, why, and what to do about it.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Number = Annotated[int, typer.Argument(metavar="ID", help="The dead letter's id, or its scheduled post's.")]
Code = Annotated[str | None, typer.Option(help="Only this code, e.g. missed.")]
Account = Annotated[str | None, typer.Option(help="Only this account, PLATFORM:NAME.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1)] = 50,
    resolved: bool = False,
    code: Code = None,
    account: Account = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the oldest first. Example: schedulerx dead-letters list --code missed"""
    with told(as_json=as_json), database() as conn:
        rows = desk.listing(conn, limit=limit, resolved=resolved, code=code, account=account)
        if account and not rows:
            must_exist(conn, account)
    if as_json:
        emit([row.as_json() for row in rows])
        return
    if not rows:
        if code or account:
            every = "schedulerx dead-letters list" + (" --resolved" if resolved else "")
            say(f"No {'settled' if resolved else 'open'} dead letter matches that filter; all of them: {every}")
        else:
            say("No dead letter was settled yet." if resolved else "Nothing needs you.")
        return
    table = Table(header_style="bold")
    for heading in ("id", "post", "account", "text", "since", "what", "why", "what to do"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            str(row.id),
            str(row.post_id),
            account_cell(row.account, row.api_url),
            Text(shortened(row.text)),
            ago(row.created_at),
            f"{row.status}: {row.plain}",
            Text(row.message),
            row.next_action,
        )
    console().print(table)


@app.command()
def show(number: Number, as_json: Json = False) -> None:
    """Show a dead letter with all attempts. Example: schedulerx dead-letters show 3"""
    with told(as_json=as_json), database() as conn:
        letter, tries = desk.show(conn, number)
    if as_json:
        emit({**letter.as_json(), "attempts": [dict(row._mapping) for row in tries]})
        return
    test = " (test)" if letter.api_url else ""
    say(f"{letter.account}{test}, post {letter.post_id}: {letter.plain} [{letter.code}]")
    say(f"  {letter.message}")
    if letter.resolution is not None and letter.resolved_at is not None:
        say(
            f"  settled: {letter.resolution.replace('_', ' ')} by {letter.resolved_by or 'nobody named'} at"
            f" {letter.resolved_at:%Y-%m-%d %H:%M:%S} UTC; the post is {letter.now} now"
        )
    else:
        say(f"  what to do: {letter.next_action}")
    for row in tries:
        say(
            f"  try at {row.started_at:%Y-%m-%d %H:%M:%S} UTC: {row.outcome or 'under way'} {row.http_status or ''}"
            f" {row.error_code or ''} {row.error_message or ''} {('settled: ' + row.settled) if row.settled else ''}"
        )


@app.command()
def replay(
    number: Annotated[int | None, typer.Argument(metavar="ID")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="All that --code and --account leave; never one that may be public.")
    ] = False,
    code: Code = None,
    account: Account = None,
    resend: Annotated[
        bool, typer.Option("--resend", help="Although it may be public already: you have looked, it is not.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put posts back on their way. Example: schedulerx dead-letters replay --all --code missed"""
    done, refused = [], []
    with told(as_json=as_json):
        if (number is None) == (not all_):
            raise Refused("Name one dead letter, or use --all")
        if all_ and resend:
            raise Refused("--resend is for one dead letter at a time: look at the profile first")
        if number is not None:
            with database() as conn:
                done.append(desk.replay(conn, number, by=who(), resend=resend))
        else:
            with database() as conn:
                rows = desk.listing(conn, limit=100_000, code=code, account=account)
                if account and not rows:
                    must_exist(conn, account)
            for row in rows:
                try:
                    with database() as conn:
                        done.append(desk.replay(conn, row.id, by=who()))
                except NotAllowed as error:
                    refused.append((row.id, str(error)))
    if as_json:
        emit(
            {
                "replayed": [row.as_json() for row in done],
                "refused": [{"id": one, "message": why} for one, why in refused],
            }
        )
        return
    for row in done:
        say(f"{row.id}: {row.account}, post {row.post_id} is on its way again")
    for _, why in refused:
        say(why)
    if not done and not refused:
        say("Nothing to replay.")


@app.command("mark-published")
def mark_published(
    number: Number,
    url: Annotated[str | None, typer.Argument(help="Where it is.")] = None,
    as_json: Json = False,
) -> None:
    """You have seen it on the profile. Example: schedulerx dead-letters mark-published 3 https://x.com/acme/status/1"""
    with told(as_json=as_json), database() as conn:
        letter = desk.mark_published(conn, number, by=who(), url=url)
    if as_json:
        emit(letter.as_json())
    else:
        say(f"{letter.id}: marked as published")


@app.command()
def discard(number: Number, as_json: Json = False) -> None:
    """Let it be. Example: schedulerx dead-letters discard 3"""
    with told(as_json=as_json), database() as conn:
        letter = desk.discard(conn, number, by=who())
    if as_json:
        emit(letter.as_json())
    else:
        say(f"{letter.id}: discarded")
