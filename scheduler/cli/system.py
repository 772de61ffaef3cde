"""``schedulerx up``, ``migrate``, ``pause``, ``resume``, ``prune``, ``secret-key``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import OperationalError

from scheduler import accounts
from scheduler.api import database
from scheduler.cli.output import emit, say, told, who
from scheduler.errors import NotConfigured, Unavailable
from scheduler.settings import current, environment_alone

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def up(
    home: Annotated[Path | None, typer.Option(help="The data folder; SCHEDULERX_HOME otherwise.")] = None,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="Flower, for a look at the workers.")] = True,
) -> None:
    """Run everything on this machine until Ctrl-C: embedded Postgres, Valkey and S3 unless DATABASE_URL,
    REDIS_URL or R2_* are set; migrations, beat, the workers, Flower. Restarts what dies.

    Example: schedulerx up
    """
    with told():
        # Without what an earlier stack wrote down: it is written again, so it may be damaged or of another version.
        settings = environment_alone()
        folder = home or settings.home
        if settings.database_url and not settings.secret_key:
            raise NotConfigured(
                "DATABASE_URL is set, so SCHEDULERX_SECRET_KEY has to be, too: make one with"
                " `schedulerx secret-key` and give it to every process"
            )

    # -P: what lies in the user's current folder must not be taken for a package of ours.
    argv = [sys.executable, "-P", "-m", "stack", str(folder), *([] if flower else ["--no-flower"])]
    sys.stdout.flush()
    os.execv(sys.executable, argv)  # noqa: S606 - no shell: our own interpreter, in our own place (see stack.__main__)


def migrate_() -> None:
    """Bring the database's schema up to date. Safe to run from many machines at once.

    Example: DATABASE_URL=postgresql://... schedulerx migrate
    """
    from db import migrate

    with told():
        url = current().database()
        try:
            before = migrate.current(url)
            migrate.upgrade(url)
        except OperationalError as error:
            told_ = str(error.orig or error).strip().splitlines()
            raise Unavailable(
                f"The database does not answer ({told_[0] if told_ else 'no reason given'});"
                f" {current().database_advice()}"
            ) from None
        say(f"The schema is at {migrate.current(url)} (it was at {before or 'nothing'}).")


def pause(
    account: Annotated[
        str | None, typer.Argument(metavar="[PLATFORM:NAME]", help="One account; all where none is named.")
    ] = None,
    why: Annotated[str, typer.Option(help="For the record.")] = "",
    as_json: Json = False,
) -> None:
    """The stop button: nothing is published from now on. Example: schedulerx pause x:acme --why "wrong campaign" """
    with told(as_json=as_json), database() as conn:
        stopped = accounts.pause(conn, account, by=who(), why=why)
    if as_json:
        emit({"paused": account or "all", "posts": stopped})
    else:
        say(
            f"{account or 'Everything'} is paused; {stopped} posts wait. A call that is under way is not called back."
            f" Release: schedulerx resume {account or ''}".rstrip()
        )


def resume(
    account: Annotated[
        str | None, typer.Argument(metavar="[PLATFORM:NAME]", help="One account; all where none is named.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Release the stop button. What is inside its window goes out. Example: schedulerx resume"""
    with told(as_json=as_json), database() as conn:
        freed = accounts.resume(conn, account, by=who())
        still = [] if account else [one.account for one in accounts.listing(conn) if one.paused]
        stopped = account is not None and accounts.everything_paused(conn)
    if as_json:
        emit({"resumed": account or "all", "posts": freed, "still_paused": still, "everything_paused": stopped})
    elif stopped:
        say(f"{account} is no longer paused, but everything still is. Release it with: schedulerx resume")
    elif still:
        say("The stop button for everything is released. Still paused, each by itself:")
        for one in still:
            say(f"  {one}: release it with: schedulerx resume {one}")
    else:
        say(f"{account or 'Everything'} goes on.")


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Clean up: old history, and media that no post needs any more (marked, a day later deleted).

    Example: schedulerx prune --dry-run
    """
    from scheduler import prune as cleaning

    with told(as_json=as_json):
        with database():
            pass
        done = cleaning.run(current(), dry_run=dry_run)
    if as_json:
        emit(
            {
                "transitions": done.transitions,
                "marked": done.marked,
                "deleted": done.deleted,
                "dry_run": done.dry_run,
            }
        )
    else:
        verb = "would be" if dry_run else "were"
        say(
            f"{done.transitions} history rows {verb} removed, {done.marked} files {verb} marked,"
            f" {done.deleted} deleted."
        )


def secret_key() -> None:
    """Print a fresh key for SCHEDULERX_SECRET_KEY. Example: export SCHEDULERX_SECRET_KEY=$(schedulerx secret-key)"""
    from db.crypto import new_key

    say(new_key())
