"""``schedulerx doctor``: what is set, reachable, migrated and alive; exit 0 only if posts would go out.

The looking is health's (``scheduler.health``); doctor adds what concerns a person who sets things up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import engine
from platforms import registry
from scheduler import health
from scheduler.cli.output import FAILED, console, emit
from scheduler.errors import NotConfigured
from scheduler.health import Check, State
from scheduler.settings import Settings, from_environment


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    message: str
    needed: bool = True
    """Whether posts cannot go out without it."""


def examine(settings: Settings) -> list[Finding]:
    """Looks at everything; in the order in which one would mend it."""
    checks = health.examine(settings)
    found = [_finding(one) for one in checks]
    good = {one.name for one in checks if one.state is not State.DOWN}
    if "object store" in good:
        found.append(_public(settings))
    if {"database", "schema"} <= good:
        try:
            found += _people(settings)
        except DBAPIError as error:  # it went away between two looks
            found.append(Finding("accounts", ok=False, message=type(error).__name__, needed=False))
    return found


def _finding(check: Check) -> Finding:
    # Health calls a pressed stop button degraded, since nothing is broken; but posts do not go out.
    needed = check.state is State.DOWN or check.name == "stop button"
    return Finding(check.name, check.state is State.OK, check.message, needed=needed or check.state is State.OK)


def _public(settings: Settings) -> Finding:
    from media.storage import Store

    if Store(settings.store()).is_public():
        return Finding("public media", ok=True, message="platforms can fetch from the store", needed=False)
    return Finding(
        "public media",
        ok=False,
        message="the store is private: platforms that fetch media by URL are refused; set R2_PUBLIC_URL",
        needed=False,
    )


def _people(settings: Settings) -> list[Finding]:
    """Accounts, dead letters, and platforms that are pointed elsewhere: notes, not faults."""
    with engine(settings.database()).connect() as conn:
        good, bad = conn.execute(
            text(
                "SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state <> 'active')"
                " FROM accounts WHERE deleted_at IS NULL"
            )
        ).one()
        desk = conn.execute(text("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL")).scalar_one()
    message = f"{good} active" + (f", {bad} to be connected again" if bad else "")
    message += "" if good + bad else "; add one with: schedulerx accounts add"
    found = [Finding("accounts", ok=good > 0, message=message, needed=False)]
    message = f"{desk} open" + ("; see: schedulerx dead-letters list" if desk else "")
    found.append(Finding("dead letters", ok=desk == 0, message=message, needed=False))
    overridden = [name for name in registry.names() if settings.api_url(name)]
    if overridden:
        message = f"{', '.join(overridden)} point at another address (a sandbox), not at the real platform"
        found.append(Finding("platforms", ok=False, message=message, needed=False))
    return found


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Say what is set, reachable, migrated and alive, and what is not. Exit 0 only if posts would go out.

    Example: schedulerx doctor --json
    """
    try:
        found = examine(from_environment())
    except NotConfigured as error:
        found = [Finding("settings", ok=False, message=str(error))]
    good = all(one.ok for one in found if one.needed)
    if as_json:
        emit(
            {
                "ok": good,
                "findings": [
                    {"name": one.name, "ok": one.ok, "needed": one.needed, "message": one.message} for one in found
                ],
            }
        )
    else:
        out = console()
        for one in found:
            mark, colour = ("ok", "green") if one.ok else ("no", "red") if one.needed else ("note", "yellow")
            out.print(f"[{colour}]{mark:>5}[/{colour}]  {one.name:<14} {one.message.replace('[', chr(92) + '[')}")
        out.print(
            "Posts would go out." if good else "Posts would NOT go out.",
            style="bold green" if good else "bold red",
        )
    if not good:
        raise typer.Exit(FAILED)
