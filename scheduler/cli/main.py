"""The command ``schedulerx``: puts its parts together."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from scheduler import audit as trail
from scheduler import logging as logs
from scheduler.cli import (
    accounts,
    alerts,
    audit,
    dead_letters,
    demo,
    doctor,
    health,
    media,
    output,
    posts,
    report,
    system,
    transfer,
    webhooks,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames would print local variables, and those may be secrets
    help="Publishes people's posts to their social accounts: on time, never lost, never doubled.",
    epilog="First steps: schedulerx up (in one terminal), then schedulerx accounts add x acme, then schedulerx post"
    " 'Hello' --to x:acme. Exit codes: 0 fine, 1 failed, 2 wrong usage or refused input.",
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"schedulerx {version('schedulerx')}\n")
        raise typer.Exit


@app.callback()
def start(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
) -> None:
    """Sets logging up before any command runs."""
    logs.configure(level="INFO" if verbose else "WARNING")
    trail.act_as(output.who())


app.command()(system.up)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(health.health)
app.command()(health.monitor)
app.command("migrate")(system.migrate_)
app.command()(posts.post)
app.command()(posts.check)
app.command()(system.pause)
app.command()(system.resume)
app.command()(system.prune)
app.command("secret-key")(system.secret_key)
app.command()(report.report)
app.command("audit")(audit.audit)
app.command("export")(transfer.export)
app.command("import")(transfer.import_)
app.add_typer(posts.app, name="posts")
app.add_typer(accounts.app, name="accounts")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(media.app, name="media")
app.add_typer(alerts.app, name="alerts")
app.add_typer(webhooks.app, name="webhooks")


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
