"""The command ``schedulerx``: puts its parts together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import workers  # noqa: F401 - first: it loads structlog without rich, which the command wants for tables only
from scheduler import actor
from scheduler import logging as logs
from scheduler.cli.deferred import group_of
from scheduler.cli.output import who

COMMANDS = {
    "up": (
        "scheduler.cli.system:up",
        (
            "Run everything on this machine until Ctrl-C: embedded Postgres, Valkey and S3 unless DATABASE_URL,"
            " REDIS_URL or R2_* are set; migrations, beat, the workers, Flower. Restarts what dies."
        ),
    ),
    "demo": (
        "scheduler.cli.demo:demo",
        "Publish pictures and a video to all six platforms, emulated on this machine.",
    ),
    "doctor": (
        "scheduler.cli.doctor:doctor",
        "Say what is set, reachable, migrated and alive, and what is not. Exit 0 only if posts would go out.",
    ),
    "health": (
        "scheduler.cli.health:health",
        "Say how well it is. Exit 0: healthy or degraded, 1: down. Usable as a container's or a unit's health check.",
    ),
    "monitor": (
        "scheduler.cli.health:monitor",
        (
            "Serve /live, /ready and /metrics (Prometheus) until stopped. Listens on this machine only, unless told"
            " otherwise."
        ),
    ),
    "migrate": (
        "scheduler.cli.system:migrate_",
        "Bring the database's schema up to date. Safe to run from many machines at once.",
    ),
    "post": ("scheduler.cli.posts:post", "Schedule a post."),
    "check": (
        "scheduler.cli.posts:check",
        "Check a post against the rules of platforms, without storing anything.",
    ),
    "pause": ("scheduler.cli.system:pause", "The stop button: nothing is published from now on."),
    "resume": ("scheduler.cli.system:resume", "Release the stop button. What is inside its window goes out."),
    "prune": (
        "scheduler.cli.system:prune",
        "Clean up: old history, and media that no post needs any more (marked, a day later deleted).",
    ),
    "secret-key": ("scheduler.cli.system:secret_key", "Print a fresh key for SCHEDULERX_SECRET_KEY."),
    "report": (
        "scheduler.cli.report:report",
        "What came out, what did not and why, how late, what was saved, what it may cost.",
    ),
    "audit": ("scheduler.cli.audit:audit", "Who did what, the newest first."),
    "export": (
        "scheduler.cli.transfer:export",
        "Write everything but files and secrets as JSON lines. Pause first: schedulerx pause.",
    ),
    "import": (
        "scheduler.cli.transfer:import_",
        "Take an export into this (fresh) database. It stays paused until: schedulerx resume.",
    ),
    "posts": ("scheduler.cli.posts:app", "Look at and change scheduled posts."),
    "accounts": ("scheduler.cli.accounts:app", "Connected profiles and their credentials."),
    "platforms": ("scheduler.cli.platforms:app", "What each platform can do, its limits, its promises."),
    "dead-letters": ("scheduler.cli.dead_letters:app", "What needs a person, why, and what to do about it."),
    "media": ("scheduler.cli.media:app", "Look at files; list and prune what is stored."),
    "alerts": ("scheduler.cli.alerts:app", "What a person should know, and whether messages about it arrive."),
    "webhooks": ("scheduler.cli.webhooks:app", "Receivers that are told what becomes of posts (docs/webhooks.md)."),
}
"""Each command: where it is, and its line in the help (a test keeps it what the command says of itself)."""

app = typer.Typer(
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames would print local variables, and those may be secrets
    help="Publishes people's posts to their social accounts: on time, never lost, never doubled.",
    epilog="First steps: schedulerx up (in one terminal), then schedulerx accounts add x acme, then schedulerx post"
    " 'Hello' --to x:acme. Exit codes: 0 fine, 1 failed, 2 wrong usage or refused input.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

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
    # What a person should know of it the command says itself; a log line beside it would only repeat it.
    logs.configure(level="INFO" if verbose else "ERROR")
    actor.act_as(who())


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
