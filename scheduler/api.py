"""``schedule()``: all or nothing, once for each idempotency key, in the caller's transaction if wished."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from db import migrate
from db.failpoints import hit
from db.session import transaction
from db.transitions import database_now
from platforms.base import Violation
from scheduler import accounts, audit, intake, posts
from scheduler.arguments import accounts_named, first_part, key_given, options_given
from scheduler.checking import Target, check
from scheduler.errors import InvalidPost, KeyReused, Refused, SchedulerXError, Unavailable
from scheduler.intake import Arrived
from scheduler.logging import logger
from scheduler.options import PostOptions, post_options, strangers
from scheduler.posts import Post
from scheduler.settings import Settings, current
from scheduler.when import check_future, instant

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logger(__name__)

_ready: set[str] = set()
"""URLs whose schema was seen to be current by this process."""


@contextlib.contextmanager
def database(settings: Settings | None = None) -> Iterator[Connection]:
    """A transaction on a database that answers and has our schema.

    :raises Unavailable: it does not, within seconds; says which command mends it.
    """
    url = (settings or current()).database()
    try:
        with transaction(url) as conn:
            ensure_schema(conn, url)
            yield conn
    except OperationalError as error:
        raise Unavailable(
            f"The database does not answer ({_first_line(error)}); check DATABASE_URL, or start it with: schedulerx up"
        ) from None
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(f"The database went away ({_first_line(error)})") from None
        raise


def ensure_schema(conn: Connection, url: str) -> None:
    """Sees once for each process that the schema is there. :raises Unavailable: it is not."""
    if url in _ready:
        return
    try:
        with conn.begin_nested():
            found = conn.execute(sql("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except ProgrammingError:
        found = None
    if found is None or found < migrate.head():
        raise Unavailable(
            f"The database's schema is {'missing' if found is None else f'at {found}, older than this program'};"
            " bring it up to date with: schedulerx migrate"
        )
    _ready.add(url)


def schedule(
    text: str | Sequence[str],
    *,
    to: str | Sequence[str],
    at: datetime | str,
    tz: str | tzinfo | None = None,
    media: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    session: Session | Connection | None = None,
) -> Post:
    """Accepts a post, or refuses all of it. Once this returns, the post is never lost.

    :param text: what to say; platforms count its length their own way, and each limit is checked here. A list
        is a thread: one post with parts, each answering the one before.
    :param to: accounts, such as ``["x:acme", "pinterest:acme"]``.
    :param at: a datetime, ISO text, or "now". Without an offset, ``tz`` is needed.
    :param tz: an IANA zone name for ``at``; see ``scheduler.when`` for what happens when clocks change.
    :param media: paths, https URLs, or ``Media(source, alt="...")``. Local files are stored before this returns.
    :param options: ``{"post": {"window_minutes": 30}, "pinterest": {"board": "Recipes"}}``; an account's
        own (``"x:acme"``) win over its platform's. ``text``, ``files`` and ``thread`` give a target words, media
        (by place) and further parts of its own.
    :param idempotency_key: the same key with the same arguments returns the same post, however often.
    :param session: a SQLAlchemy Session or Connection: the post is part of the caller's transaction, exists
        once the caller commits, and a refusal leaves that transaction as it was.
    :returns: the post with one scheduled post for each account.
    :raises scheduler.errors.Refused: (``InvalidPost``, ``InvalidTime``, ``UnknownAccount``, ``KeyReused``)
        the input; nothing was stored.
    :raises scheduler.errors.NotConfigured: a setting is missing.
    :raises scheduler.errors.Unavailable: the database or the object store does not answer.
    """
    settings = current()
    chosen = options_given(options)
    text = first_part(text, chosen)
    named = accounts_named(to)
    targets = _targets(named)
    due = instant(at, tz)
    idempotency_key = key_given(idempotency_key)
    arrived, wrong = intake.look_at(media, settings)
    unread = bool(wrong)
    post, bad = post_options(chosen)
    wrong += bad + strangers(chosen, targets)
    print_ = fingerprint(text, named, at, due, arrived, chosen)

    with _connection(session, settings) as conn:
        # With a file that cannot be read, the arguments cannot be compared with those of an earlier call.
        known = _known(conn, idempotency_key, print_) if not unread else None
        if known is not None:
            return known
        now = database_now(conn)
        if due is not None:
            check_future(due, now)
        rows = [accounts.find(conn, f"{platform}:{name}") for platform, name in targets]
        wrong += accounts.twice(rows)
        checked = check(text, [accounts.reference(row) for row in rows], arrived, chosen, post, settings)
    wrong += [one for target in checked for one in target.violations]
    if wrong:
        log.info("security.refused", codes=sorted({one.code for one in wrong}), by=audit.actor())
        raise InvalidPost(_once(wrong))

    # Files are stored outside the caller's transaction: they are named by content, and prune removes what
    # no post came to need.
    asset_ids = intake.store(arrived, settings)

    with _connection(session, settings) as conn:
        made = _insert(
            conn,
            settings,
            text,
            targets,
            due,
            arrived,
            asset_ids,
            chosen,
            post,
            checked,
            idempotency_key,
            print_,
        )
        hit("schedule.before_commit", handle=conn)
    hit("schedule.after_commit")
    if session is None:
        log.info(
            "post.scheduled",
            post_id=made.id,
            correlation_id=made.correlation_id,
            to=[f"{p}:{n}" for p, n in targets],
        )
    return made


def fingerprint(
    text: str,
    to: Sequence[str],
    at: datetime | str,
    due: datetime | None,
    arrived: Sequence[Arrived],
    options: Mapping[str, Any],
) -> str:
    """What an idempotency key stands for: the same arguments give the same fingerprint."""
    said = {
        "text": text,
        "to": sorted(to),
        "at": due.astimezone(UTC).isoformat() if due else str(at).strip().lower(),
        "media": [[one.identity(), one.alt] for one in arrived],
        "options": options,
    }
    plain = json.dumps(said, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def _targets(named: Sequence[str]) -> list[tuple[str, str]]:
    targets = [accounts.split(one) for one in named]
    twice = sorted({f"{p}:{n}" for p, n in targets if targets.count((p, n)) > 1})
    if twice:
        raise InvalidPost([Violation("account_twice", f"{', '.join(twice)} is named twice", "to")])
    return targets


@contextlib.contextmanager
def _connection(session: Session | Connection | None, settings: Settings) -> Iterator[Connection]:
    """Our own transaction, or a savepoint in the caller's, so that our errors never poison it."""
    if session is None:
        with database(settings) as conn:
            yield conn
        return
    given: object = session if isinstance(session, Connection) else getattr(session, "connection", lambda: None)()
    if not isinstance(given, Connection):
        raise Refused(f"session must be a SQLAlchemy Session or Connection, not {type(session).__name__}")
    conn = given
    with conn.begin_nested():
        ensure_schema(conn, f"caller:{conn.engine.url.host}:{conn.engine.url.port}/{conn.engine.url.database}")
        yield conn


def _known(conn: Connection, key: str | None, print_: str) -> Post | None:
    """The post a key was used for before. :raises KeyReused: for something else."""
    if key is None:
        return None
    row = conn.execute(
        sql("SELECT fingerprint, post_id FROM idempotency_keys WHERE key = :key"), {"key": key}
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != print_:
        raise KeyReused(
            f"The idempotency key {key!r} was first used for other arguments (post {row.post_id}); nothing was"
            " scheduled. Use a new key for a new post"
        )
    return replace(posts.load(conn, row.post_id), repeated=True)


def _insert(
    conn: Connection,
    settings: Settings,
    text: str,
    targets: Sequence[tuple[str, str]],
    due: datetime | None,
    arrived: Sequence[Arrived],
    asset_ids: Sequence[int],
    options: Mapping[str, Any],
    post: PostOptions,
    checked: Sequence[Target],
    key: str | None,
    print_: str,
) -> Post:
    if key is not None:
        # Of two callers with one key, one inserts; the other waits here and then finds the row.
        won = conn.execute(
            sql(
                "INSERT INTO idempotency_keys (key, fingerprint) VALUES (:key, :print)"
                " ON CONFLICT DO NOTHING RETURNING key"
            ),
            {"key": key, "print": print_},
        ).one_or_none()
        if won is None:
            known = _known(conn, key, print_)
            if known is None:
                raise Unavailable(f"The idempotency key {key!r} is being used by another call; try again")
            return known
    intake.in_this_database(conn, arrived, asset_ids)
    correlation = uuid.uuid4().hex[:16]
    post_id = conn.execute(
        sql("INSERT INTO posts (correlation_id) VALUES (:c) RETURNING id"), {"c": correlation}
    ).scalar_one()
    if key is not None:
        conn.execute(sql("UPDATE idempotency_keys SET post_id = :id WHERE key = :key"), {"id": post_id, "key": key})
    version_id = insert_version(conn, post_id, 1, text, arrived, asset_ids, options)
    window = timedelta(minutes=post.window_minutes or settings.window_minutes)
    for (platform, name), target in zip(targets, checked, strict=True):
        # Whether it is paused is read without a lock: one that holds off pausing would last as long as the caller's
        # transaction does, and publishing for this account, which locks it, would wait as long. Who resumes it
        # before the caller commits cannot see the post; rescue then frees it, as dispatch stops it the other way.
        account = accounts.find(conn, f"{platform}:{name}")
        needs = target.needs_prepare
        lead = timedelta(seconds=target.module.capabilities.prepare_lead_s if needs else 0)
        scheduled_id = conn.execute(
            sql("""
                WITH t AS (SELECT coalesce(CAST(:due AS timestamptz), clock_timestamp()) AS due)
                INSERT INTO scheduled_posts (post_id, version_id, account_id, platform, due_at, available_at,
                       window_ends_at, window_seconds, media_ready, needs_prepare, paused, api_url, parts)
                SELECT :post, :version, :account, :platform, t.due, t.due - CAST(:lead AS interval),
                       t.due + CAST(:window AS interval), :window_seconds, :ready, :needs, :paused, :api_url, :parts
                  FROM t RETURNING id
            """),
            {
                "due": due,
                "post": post_id,
                "version": version_id,
                "account": account.id,
                "platform": platform,
                "lead": lead,
                "window": window,
                "window_seconds": int(window.total_seconds()),
                "ready": not target.uses,
                "needs": needs,
                "paused": account.paused_at is not None,
                "api_url": settings.api_url(platform),
                "parts": len(target.parts.drafts),
            },
        ).scalar_one()
        if target.uses:
            attach_media(conn, scheduled_id, arrived, asset_ids, target)
    made = posts.load(conn, post_id)
    audit.record(
        conn,
        "post.scheduled",
        f"post:{post_id}",
        after={
            "to": [one.account for one in made.scheduled],
            "due_at": made.scheduled[0].due_at.isoformat(),
            "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "media": len(arrived),
        },
    )
    return made


def insert_version(
    conn: Connection,
    post_id: int,
    number: int,
    text: str,
    arrived: Sequence[Arrived],
    asset_ids: Sequence[int],
    options: Mapping[str, Any],
) -> int:
    """Stores immutable content; its id."""
    media = [
        {"asset_id": asset_id, "name": one.name, "alt": one.alt, "identity": one.identity()}
        for asset_id, one in zip(asset_ids, arrived, strict=True)
    ]
    content = json.dumps({"text": text, "media": media, "options": options}, sort_keys=True)
    return int(
        conn.execute(
            sql("""
                INSERT INTO post_versions (post_id, number, text, media, options, sha256)
                VALUES (:post, :number, :text, CAST(:media AS jsonb), CAST(:options AS jsonb), :sha256) RETURNING id
            """),
            {
                "post": post_id,
                "number": number,
                "text": text,
                "media": json.dumps(media),
                "options": json.dumps(options),
                "sha256": hashlib.sha256(content.encode()).hexdigest(),
            },
        ).scalar_one()
    )


def attach_media(
    conn: Connection, scheduled_id: int, arrived: Sequence[Arrived], asset_ids: Sequence[int], target: Target
) -> None:
    """Names the renditions that a scheduled post needs, and marks it ready where all of them exist already."""
    states = []
    for index, place in enumerate(target.uses):
        rendition_id = None
        state = "pending"
        if target.recipes:
            rendition_id, state = intake.rendition(conn, asset_ids[place], target.recipes[index])
        states.append(state)
        conn.execute(
            sql("""
                INSERT INTO scheduled_post_media (scheduled_post_id, position, asset_id, rendition_id, alt)
                VALUES (:id, :place, :asset, :rendition, :alt)
            """),
            {
                "id": scheduled_id,
                "place": place,
                "asset": asset_ids[place],
                "rendition": rendition_id,
                "alt": arrived[place].alt,
            },
        )
    if all(state == "ready" for state in states):
        conn.execute(sql("UPDATE scheduled_posts SET media_ready = true WHERE id = :id"), {"id": scheduled_id})


def get(post: Post | int, *, session: Session | Connection | None = None) -> Post:
    """A post as it stands now: by its id, or by the id of one of its scheduled posts.

    :raises scheduler.errors.NotFound: there is none.
    """
    with _connection(session, current()) as conn:
        return posts.load(conn, posts.number_of(post))


def _once(violations: Sequence[Violation]) -> list[Violation]:
    """Each violation once, in order."""
    return list(dict.fromkeys(violations))


def _first_line(error: Exception) -> str:
    """What the driver said, without statement or parameters."""
    told = str(getattr(error, "orig", None) or error).strip().splitlines()
    return told[0][:200] if told else type(error).__name__


__all__ = ["SchedulerXError", "database", "ensure_schema", "fingerprint", "first_part", "get", "schedule"]
