"""Is it well? Looks at each part the way publishing uses it, and says what is wrong in words one can act on.

Three states. ``ok``. ``degraded``: posts still go out, but somebody should look. ``down``: posts do not go out, or
soon will not. A worker counts as alive only by what it wrote into Postgres as it did a task from its queue, and beat
only while its clock moves there: a process that runs but does nothing is down.

psycopg2 alone, no SQLAlchemy: the monitor (``scheduler.monitor``) runs this all the time and has to stay small.
"""

from __future__ import annotations

import enum
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from scheduler.errors import NotConfigured
from scheduler.settings import Settings
from scheduler.tallies import connect
from stack.home import given

QUEUES = ("dispatch", "media", "upload", "publish", "followup")
ANSWER_S = 3.0
BROKER_NEARLY_FULL = 0.8
SKEW_S = 10.0
"""How far beat's clock may be from the database's before it is mentioned."""
STUCK_S = 300.0
"""A file that waits for so long for its next step is mentioned."""
PROBE_KEY = "schedulerx:health"


LATE = """
    SELECT count(*) AS n, CAST(max(EXTRACT(EPOCH FROM clock_timestamp() - w.available_at)) AS float) AS age
      FROM (SELECT DISTINCT platform FROM accounts) p, LATERAL (
        (SELECT available_at FROM scheduled_posts WHERE platform = p.platform AND media_ready AND NOT paused
            AND ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))
            AND available_at < (SELECT clock_timestamp()) - make_interval(secs => %(late)s))
        UNION ALL
        (SELECT available_at FROM scheduled_posts WHERE platform = p.platform AND media_ready AND NOT paused
            AND status = 'scheduled' AND needs_prepare
            AND available_at < (SELECT clock_timestamp()) - make_interval(secs => %(late)s))) w
"""
"""In the words of the two indexes that dispatch claims by: nothing else finds these among millions."""


CREDENTIALS = """
    SELECT platform || ':' || name AS account, credentials FROM accounts
     WHERE deleted_at IS NULL AND state = 'active' ORDER BY id LIMIT %(most)s
"""
CREDENTIALS_MOST = 200
"""So many accounts' credentials are opened at each look; a wrong key shows at the first."""


NOT_READY = """
    SELECT count(*) AS n, to_char(min(s.due_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS due
      FROM readiness r JOIN scheduled_posts s ON s.id = r.scheduled_post_id
     WHERE r.since IS NOT NULL AND s.finalized_at IS NULL AND NOT s.paused AND s.due_at > clock_timestamp()
       AND r.due_at = s.due_at AND r.version_id = s.version_id
"""


class State(enum.StrEnum):
    """How well something is."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"

    @property
    def level(self) -> int:
        """0, 1 or 2: the worse, the higher."""
        return list(State).index(self)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    message: str


def overall(found: list[Check]) -> State:
    """As bad as the worst."""
    return max((one.state for one in found), key=lambda state: state.level, default=State.OK)


def examine(settings: Settings) -> list[Check]:
    """Looks at everything, in the order in which one would mend it. Takes a few seconds at most, whatever is broken."""
    found = [_secret(settings), *_postgres(settings)]
    found += [
        _guarded("broker", lambda: _broker(settings)),
        _guarded("object store", lambda: _store(settings)),
    ]
    found.append(_guarded("disk", lambda: _disk(settings)))
    return found


def examine_worker(settings: Settings, queue: str, host: str | None = None) -> list[Check]:
    """Whether this host's own worker of ``queue`` (or ``beat``) does its work: the check of one container or unit."""
    alive = settings.alive_seconds * (1 if queue == "beat" else 2)  # several workers of a queue share the pulses
    worker = "beat" if queue == "beat" else f"{queue}@{host or socket.gethostname()}"
    # A worker of several processes reports as publish@1-host, publish@2-host.
    member = re.compile(re.escape(worker).replace("@", r"@(\d+-)?", 1))

    def look() -> list[Check]:
        conn = connect(settings, statement_s=ANSWER_S)
        try:
            rows = _rows(
                conn,
                "SELECT worker, CAST(EXTRACT(EPOCH FROM clock_timestamp() - max(seen_at)) AS float) AS age"
                "  FROM worker_beats WHERE split_part(worker, '@', 1) = %(name)s GROUP BY worker ORDER BY worker",
                name=queue,
            )
        finally:
            conn.close()
        ages = {row["worker"]: row["age"] for row in rows if member.fullmatch(row["worker"])}
        if not ages or min(ages.values()) > alive:
            last = (
                f"did its last work from the queue {min(ages.values()):.0f} s ago" if ages else "has done no work yet"
            )
            return [Check(worker, State.DOWN, last)]
        # One that is silent among others that work may have been taken away; how many work is told by examine().
        return [
            Check(name, State.OK, f"did work from the queue {age:.0f} s ago")
            for name, age in ages.items()
            if age <= alive
        ]

    return _several("database", look)


# --- One by one ---------------------------------------------------------------------------------------------


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    return _several(name, lambda: [look()])[0]


def _several(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    """An answer whatever happens: a check that fails says so, it does not end the others."""
    try:
        return look()
    except NotConfigured as error:
        return [Check(name, State.DOWN, str(error))]
    except (psycopg2.Error, OSError) as error:
        return [Check(name, State.DOWN, _first_line(error))]


def _first_line(error: Exception) -> str:
    told = str(error).strip().splitlines()
    return told[0][:200] if told else type(error).__name__


def _secret(settings: Settings) -> Check:
    from db.crypto import Cipher, SecretKeyError

    try:
        Cipher(settings.secret())
    except (NotConfigured, SecretKeyError) as error:
        return Check("secret key", State.DOWN, str(error))
    return Check("secret key", State.OK, "set")


def newest_schema() -> str:
    """The newest schema version this code knows; as ``db.migrate.head``, without loading SQLAlchemy."""
    import db

    files = (Path(db.__file__).parent / "migrations" / "versions").glob("[0-9]*_*.py")
    return max(file.name.partition("_")[0] for file in files)


def _postgres(settings: Settings) -> list[Check]:
    def look() -> list[Check]:
        try:
            conn = connect(settings, statement_s=ANSWER_S)
        except psycopg2.Error as error:
            return [Check("database", State.DOWN, f"{_first_line(error)}; {settings.database_advice()}")]
        try:
            version = _rows(
                conn,
                "SELECT current_setting('server_version') AS version,"
                " pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS closed",
            )[0]
            if version["closed"]:
                return [Check("database", State.DOWN, "takes no writes: it is a standby, or was set read-only")]
            found = [Check("database", State.OK, f"PostgreSQL {version['version']}"), _schema(conn)]
            if found[-1].state is State.DOWN:
                return found
            found += _credentials(conn, settings)
            return found + list(_living(conn, settings)) + list(_work(conn, settings))
        finally:
            conn.close()

    return _several("database", look)


def _credentials(conn: Any, settings: Settings) -> list[Check]:
    """Whether the key opens what is stored: another one is as good a key, and no post goes out with it."""
    from db.crypto import Cipher, SecretKeyError

    try:
        cipher = Cipher(settings.secret())
    except (NotConfigured, SecretKeyError):
        return []  # said by the key's own check
    closed, rows = [], _rows(conn, CREDENTIALS, most=CREDENTIALS_MOST)
    for row in rows:
        try:
            cipher.open(row["credentials"])
        except SecretKeyError:
            closed.append(row["account"])
    if not closed:
        count = f"the key opens those of {len(rows)} accounts" if rows else "none are stored yet"
        return [Check("credentials", State.OK, count)]
    which = "any account" if len(closed) == len(rows) else ", ".join(sorted(closed)[:10])
    return [
        Check(
            "credentials",
            State.DOWN if len(closed) == len(rows) else State.DEGRADED,
            f"SCHEDULERX_SECRET_KEY does not open those of {which}; add the key they were encrypted with behind the"
            " current one, separated by a comma, or connect the accounts again",
        )
    ]


def _schema(conn: Any) -> Check:
    there = _rows(conn, "SELECT to_regclass('alembic_version') IS NOT NULL AS there")[0]["there"]
    now = _rows(conn, "SELECT max(version_num) AS now FROM alembic_version")[0]["now"] if there else None
    newest = newest_schema()
    if now == newest:
        return Check("schema", State.OK, f"at {now}")
    if now and now > newest:
        # A newer version migrates before it restarts the workers; the schema serves both.
        return Check("schema", State.DEGRADED, f"at {now}, newer than this program knows ({newest}); update it")
    return Check("schema", State.DOWN, f"at {now or 'nothing'}, newest is {newest}; run: schedulerx migrate")


def _living(conn: Any, settings: Settings) -> Iterator[Check]:
    alive = settings.alive_seconds
    # With a database of one's own the workers may well be somebody else's to start.
    own = given(os.environ, "DATABASE_URL")
    starts = "schedulerx up, or as your machines do (docs/operating.md)" if own else "schedulerx up"
    rows = _rows(
        conn,
        """
        SELECT queue, count(*) FILTER (WHERE seen_at > clock_timestamp() - make_interval(secs => %(alive)s)) AS workers,
               sum(slots) FILTER (WHERE seen_at > clock_timestamp() - make_interval(secs => %(alive)s)) AS slots,
               CAST(EXTRACT(EPOCH FROM clock_timestamp() - max(seen_at)) AS float) AS age,
               CAST(EXTRACT(EPOCH FROM max(pulse_at - beat_at)) AS float) AS trip
          FROM worker_beats GROUP BY queue
    """,
        alive=alive,
    )
    seen = {row["queue"]: row for row in rows}
    beat = seen.get("beat")
    if beat is None or beat["age"] > alive:
        last = "has never moved" if beat is None else f"moved last {beat['age']:.0f} s ago"
        yield Check("beat", State.DOWN, f"its clock {last}; no new work begins. Start it with: {starts}")
    elif beat["trip"] is not None and abs(beat["trip"]) > SKEW_S:
        way = "late" if beat["trip"] > 0 else "early"
        yield Check(
            "beat",
            State.DEGRADED,
            f"its ticks arrive {abs(beat['trip']):.0f} s {way}: its clock is wrong, or the dispatch queue is behind",
        )
    else:
        yield Check("beat", State.OK, f"its clock moved {beat['age']:.0f} s ago")
    for queue in QUEUES:
        row = seen.get(queue)
        if row is None or row["age"] > alive:
            last = "ever taken anything from it" if row is None else f"taken anything from it for {row['age']:.0f} s"
            yield Check(f"queue {queue}", State.DOWN, f"no worker has {last}; start one with: {starts}")
        else:
            yield Check(
                f"queue {queue}",
                State.OK,
                f"{row['workers']} workers with {row['slots']} slots, seen {row['age']:.0f} s ago",
            )


def _work(conn: Any, settings: Settings) -> Iterator[Check]:
    paused = _rows(conn, "SELECT by FROM switches WHERE name = 'all'")
    if paused:
        yield Check("stop button", State.DEGRADED, f"pressed by {paused[0]['by']}; release it with: schedulerx resume")
    late = _rows(conn, LATE, late=settings.late_seconds)[0]
    if late["n"] and not paused:
        yield Check(
            "due posts",
            State.DOWN,
            f"{late['n']} have waited for up to {late['age']:.0f} s and nobody takes them",
        )
    else:
        yield Check("due posts", State.OK, "none waits too long")
    stuck = _rows(
        conn,
        """
        SELECT count(*) AS n, coalesce(string_agg(DISTINCT spool, ', '), '') AS spools FROM renditions
         WHERE state = 'rendered' AND available_at < clock_timestamp() - make_interval(secs => %(stuck)s)
    """,
        stuck=STUCK_S,
    )[0]
    unready = _rows(
        conn,
        """
        SELECT count(*) AS n FROM scheduled_posts WHERE NOT media_ready AND status = 'scheduled'
           AND due_at < clock_timestamp() - make_interval(secs => %(late)s)
    """,
        late=settings.late_seconds,
    )[0]["n"]
    unfit = _rows(conn, NOT_READY)[0]
    if unfit["n"]:
        yield Check(
            "readiness",
            State.DEGRADED,
            f"{unfit['n']} posts would not go out as things are, the first at {unfit['due']} UTC; see:"
            " schedulerx alerts list, schedulerx posts show ID",
        )
    else:
        yield Check("readiness", State.OK, "nothing is known that would keep a post of the next hours from going out")
    if stuck["n"]:
        yield Check(
            "media",
            State.DEGRADED,
            f"{stuck['n']} files wait on the disk of {stuck['spools']}, whose upload worker does not take them",
        )
    elif unready:
        yield Check("media", State.DEGRADED, f"{unready} posts are due and their media is not ready")
    else:
        yield Check("media", State.OK, "in time")


def _advice(variable: str) -> str:
    """What to do where a service does not answer: the user's own has an address to check, the stack's is started."""
    return f"check {variable}" if given(os.environ, variable) else "start it with: schedulerx up"


def _broker(settings: Settings) -> Check:
    import redis

    client = redis.Redis.from_url(settings.broker(), socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
    try:
        info: Any = client.info()
        # A write, as a hint is one: a full broker, a read-only replica or a disk that fails still answers reads.
        client.set(PROBE_KEY, "1", ex=60)
    except redis.ResponseError as error:
        return Check("broker", State.DOWN, f"refuses to write: {str(error)[:120]}")
    except redis.RedisError as error:
        return Check("broker", State.DOWN, f"{type(error).__name__}: does not answer; {_advice('REDIS_URL')}")
    finally:
        client.close()
    kind, version = (
        ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info.get("redis_version"))
    )
    keeps = info.get("maxmemory_policy", "noeviction")
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if keeps != "noeviction":
        return Check("broker", State.DEGRADED, f"maxmemory-policy is {keeps}; set it to noeviction, or hints vanish")
    if limit and used > BROKER_NEARLY_FULL * limit:
        return Check(
            "broker",
            State.DEGRADED,
            f"its memory is {used / limit:.0%} full; raise maxmemory or see who fills it",
        )
    return Check("broker", State.OK, f"{kind} {version}")


def _store(settings: Settings) -> Check:
    from scheduler import store_check

    config = settings.store()
    try:
        store_check.check(config, advice=_advice("R2_ENDPOINT_URL"))
    except store_check.StoreRefuses as error:
        return Check("object store", State.DOWN, str(error))
    return Check("object store", State.OK, f"bucket {config.bucket}")


def _disk(settings: Settings) -> Check:
    """Where renditions wait and where answers are kept while Postgres is away."""
    folder = settings.home
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e6
    need = settings.disk_free_mb
    if free < need:
        return Check("disk", State.DOWN, f"{free:.0f} MB free for the spool, at least {need} MB are needed")
    if free < 2 * need:
        return Check("disk", State.DEGRADED, f"{free:.0f} MB free for the spool; down below {need} MB")
    return Check("disk", State.OK, f"{free / 1000:.1f} GB free for the spool")


def _rows(conn: Any, query: str, **values: Any) -> list[dict[str, Any]]:
    with conn.cursor() as cursor:
        cursor.execute(query, values or None)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
