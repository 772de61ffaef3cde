"""``schedulerx doctor``: what is set, reachable, migrated and alive; exit 0 only if posts would go out.

The looking is health's (``scheduler.health``); doctor adds what concerns a person who sets things up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError

from db.crypto import Cipher, SecretKeyError
from db.session import engine
from platforms import registry
from scheduler import health
from scheduler.cli.output import FAILED, emit, marked, say
from scheduler.errors import NotConfigured
from scheduler.health import Check, State
from scheduler.settings import Settings, from_environment
from stack.home import killed_holder, recorded_pids


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
    found = [*_supervisor(settings), *(_finding(one) for one in checks)]
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


def _supervisor(settings: Settings) -> list[Finding]:
    """Whether what `up` started goes on without it: all is well then, until the first of it dies."""
    holder = killed_holder(settings.home)
    if holder is None:
        return []
    from stack.processes import recorded  # not at the top: it loads psutil, for this rare case

    alone = sorted(name for name, record in recorded_pids(settings.home).items() if recorded(record))
    if not alone:
        return []
    message = (
        f"`schedulerx up` (process {holder}) was killed; {', '.join(alone)} go on without it, and nothing restarts"
        " what dies. Run `schedulerx up` again: it ends them in order and starts everything"
    )
    return [Finding("supervisor", ok=False, message=message, needed=False)]


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


ACCOUNTS = """
    SELECT state, paused_at IS NOT NULL AS paused, credentials FROM accounts WHERE deleted_at IS NULL ORDER BY id
"""
ORIGINS = """
    SELECT platform, api_url IS NOT NULL AS test, count(*) AS n FROM (
        SELECT platform, api_url FROM scheduled_posts
         WHERE status IN ('scheduled', 'preparing', 'ready', 'queued', 'retrying')
            OR (status = 'held' AND held_for <> 'outcome_unknown')
         ORDER BY window_ends_at, id LIMIT 10000) w
     GROUP BY 1, 2 ORDER BY 1, 2
"""
"""Of the posts that end first, in the words of the index that finds them among millions."""


def _people(settings: Settings) -> list[Finding]:
    """Accounts, dead letters, and platforms that are pointed elsewhere."""
    with engine(settings.database()).connect() as conn:
        rows = conn.execute(text(ACCOUNTS)).all()
        desk = conn.execute(text("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL")).scalar_one()
        origins = conn.execute(text(ORIGINS)).all()
    found = [_accounts(settings, rows)]
    message = f"{desk} open" + ("; see: schedulerx dead-letters list" if desk else "")
    found.append(Finding("dead letters", ok=desk == 0, message=message, needed=False))
    overridden = [name for name in registry.names() if settings.api_url(name)]
    if overridden:
        message = f"{', '.join(overridden)} point at another address (a sandbox), not at the real platform"
        found.append(Finding("platforms", ok=False, message=message, needed=False))
    # As the workers look at it: one sandbox is as good as another, but what is a test must not become public.
    strays = [row for row in origins if row.test != (settings.api_url(row.platform) is not None)]
    return found + [_elsewhere(row) for row in strays]


def _accounts(settings: Settings, rows: Sequence[Row[Any]]) -> Finding:
    """How many can publish: nothing goes out where there are some, and none of them can."""
    if not rows:
        return Finding("accounts", ok=False, message="none yet; add one with: schedulerx accounts add", needed=False)
    why = Counter(_hindrance(settings, row) for row in rows)
    good = why.pop("", 0)
    message = f"{good} of {len(rows)} can publish"
    message += f"; {', '.join(f'{count} {reason}' for reason, count in sorted(why.items()))}" if why else ""
    return Finding("accounts", ok=good > 0, message=message)


def _hindrance(settings: Settings, row: Row[Any]) -> str:
    """What keeps an account from publishing; empty: nothing."""
    if row.state != "active":
        return "to be connected again (schedulerx accounts list)"
    if row.paused:
        return "paused (schedulerx resume PLATFORM:NAME)"
    try:
        Cipher(settings.secret()).open(row.credentials)
    except (NotConfigured, SecretKeyError):
        return "whose credentials SCHEDULERX_SECRET_KEY does not open"
    return ""


def _elsewhere(row: Row[Any]) -> Finding:
    """Posts that a worker with these settings refuses."""
    name = f"SCHEDULERX_{row.platform.upper().replace('-', '_')}_API_URL"
    meant, here = ("a test address", "the real platform") if row.test else ("the real platform", "a test address")
    message = (
        f"{row.n} waiting posts were scheduled for {meant}, these settings lead to {here}; workers with these settings"
        f" hold them (other_origin). {'Set' if row.test else 'Unset'} {name}, or schedule them again"
    )
    return Finding(f"posts of {row.platform}", ok=False, message=message, needed=False)


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
        for one in found:
            mark, colour = ("ok", "green") if one.ok else ("no", "red") if one.needed else ("note", "yellow")
            marked(f"{mark:>5}", colour, one.name, one.message)
        say(
            "Posts would go out." if good else "Posts would NOT go out.",
            style="bold green" if good else "bold red",
        )
    if not good:
        raise typer.Exit(FAILED)
