"""``schedulerx doctor``: what is set, reachable, migrated and alive; exit 0 only if posts would go out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import migrate
from db.crypto import Cipher, SecretKeyError
from db.session import engine
from platforms import registry
from scheduler.cli.output import FAILED, console, emit
from scheduler.errors import NotConfigured
from scheduler.settings import Settings, from_environment

QUEUES = ("dispatch", "media", "upload", "publish", "followup")
ALIVE_S = 60
LATE_S = 120
ANSWER_S = 3.0


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
    found = [_secret(settings)]
    database = _guarded("database", lambda: _database(settings))
    found.append(database)
    if database.ok:
        found.append(_guarded("schema", lambda: _schema(settings)))
    found += [
        _guarded("broker", lambda: _broker(settings)),
        _guarded("object store", lambda: _store(settings)),
    ]
    if found[-1].ok:
        found.append(_public(settings))
    if database.ok and all(one.ok for one in found if one.name == "schema"):
        found += _alive(settings)
        found += _work(settings)
    return found


def _guarded(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except NotConfigured as error:
        return Finding(name, False, str(error))
    except (DBAPIError, OSError) as error:
        told = str(getattr(error, "orig", None) or error).strip().splitlines()
        return Finding(name, False, told[0][:200] if told else type(error).__name__)


def _secret(settings: Settings) -> Finding:
    try:
        Cipher(settings.secret())
    except (NotConfigured, SecretKeyError) as error:
        return Finding("secret key", False, str(error))
    return Finding("secret key", True, "set")


def _database(settings: Settings) -> Finding:
    with engine(settings.database()).connect() as conn:
        version = conn.execute(text("SHOW server_version")).scalar_one()
    return Finding("database", True, f"PostgreSQL {version}")


def _schema(settings: Settings) -> Finding:
    now, newest = migrate.current(settings.database()), migrate.head()
    if now != newest:
        return Finding("schema", False, f"at {now or 'nothing'}, newest is {newest}; run: schedulerx migrate")
    return Finding("schema", True, f"at {now}")


def _broker(settings: Settings) -> Finding:
    import redis

    client = redis.Redis.from_url(settings.broker(), socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
    try:
        info: Any = client.info()
        policy: Any = client.config_get("maxmemory-policy")
    except redis.RedisError as error:
        return Finding("broker", False, f"{type(error).__name__}: does not answer; check REDIS_URL")
    finally:
        client.close()
    version = info.get("valkey_version") or info.get("redis_version")
    keeps = policy.get("maxmemory-policy", "noeviction")
    if keeps != "noeviction":
        return Finding(
            "broker",
            False,
            f"maxmemory-policy is {keeps}; set it to noeviction, or hints vanish",
            needed=False,
        )
    return Finding("broker", True, f"{'Valkey' if 'valkey_version' in info else 'Redis'} {version}")


def _store(settings: Settings) -> Finding:
    from media.errors import MediaError
    from media.storage import Store

    try:
        Store(settings.store()).check()
    except MediaError as error:
        return Finding("object store", False, str(error))
    return Finding("object store", True, f"bucket {settings.r2_bucket}")


def _public(settings: Settings) -> Finding:
    from media.storage import Store

    if Store(settings.store()).is_public():
        return Finding("public media", True, "platforms can fetch from the store", needed=False)
    return Finding(
        "public media",
        False,
        "the store is private: platforms that fetch media by URL are refused; set R2_PUBLIC_URL",
        needed=False,
    )


def _alive(settings: Settings) -> list[Finding]:
    with engine(settings.database()).connect() as conn:
        rows = conn.execute(
            text("""
                SELECT queue, count(*) AS workers, sum(slots) AS slots,
                       EXTRACT(EPOCH FROM clock_timestamp() - max(seen_at)) AS age
                  FROM worker_beats WHERE seen_at > clock_timestamp() - make_interval(secs => :alive) GROUP BY queue
            """),
            {"alive": ALIVE_S},
        ).all()
    seen = {row.queue: row for row in rows}
    found = []
    for name in ("beat", *QUEUES):
        row = seen.get(name)
        label = "beat" if name == "beat" else f"queue {name}"
        if row is None:
            found.append(Finding(label, False, f"no sign of life for {ALIVE_S} s; start it with: schedulerx up"))
        else:
            slots = f", {row.slots} slots" if name != "beat" else ""
            found.append(Finding(label, True, f"seen {float(row.age):.0f} s ago{slots}"))
    return found


def _work(settings: Settings) -> list[Finding]:
    with engine(settings.database()).connect() as conn:
        paused = conn.execute(text("SELECT by, at FROM switches WHERE name = 'all'")).one_or_none()
        accounts = conn.execute(
            text(
                "SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state <> 'active')"
                " FROM accounts WHERE deleted_at IS NULL"
            )
        ).one()
        # What should be moving and is not: due, with its media, not paused.
        late = conn.execute(
            text("""
                SELECT count(*) AS n, max(EXTRACT(EPOCH FROM clock_timestamp() - available_at)) AS age
                  FROM scheduled_posts
                 WHERE status IN ('scheduled', 'ready', 'retrying') AND media_ready AND NOT paused
                   AND available_at < clock_timestamp() - make_interval(secs => :late)
            """),
            {"late": LATE_S},
        ).one()
        desk = conn.execute(text("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL")).scalar_one()
    found = []
    if paused:
        found.append(Finding("stop button", False, f"pressed by {paused.by}; release it with: schedulerx resume"))
    good, bad = accounts
    found.append(
        Finding(
            "accounts",
            good > 0,
            f"{good} active"
            + (f", {bad} to be connected again" if bad else "")
            + ("" if good + bad else "; add one with: schedulerx accounts add"),
            needed=False,
        )
    )
    if late.n and not paused:
        found.append(Finding("due posts", False, f"{late.n} have waited for up to {float(late.age):.0f} s"))
    else:
        found.append(Finding("due posts", True, "none waits"))
    found.append(
        Finding(
            "dead letters",
            desk == 0,
            f"{desk} open" + ("; see: schedulerx dead-letters list" if desk else ""),
            needed=False,
        )
    )
    overridden = [name for name in registry.names() if settings.api_url(name)]
    if overridden:
        found.append(
            Finding(
                "platforms",
                False,
                f"{', '.join(overridden)} point at another address (a sandbox), not at the real platform",
                needed=False,
            )
        )
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
        found = [Finding("settings", False, str(error))]
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
