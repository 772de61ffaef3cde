"""``edit()``: new content for an accepted post, where nothing of it is public or in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select
from sqlalchemy import text as sql

from db.models import Account, PostVersion, Transition, table_of
from db.states import Status
from db.transitions import revise
from platforms.base import Violation
from scheduler import accounts, intake, posts
from scheduler.api import _connection, attach_media, insert_version
from scheduler.arguments import first_part, options_given
from scheduler.changed import (
    ENDED,
    PERSON,
    Change,
    Changes,
    changed,
    recorded,
    rows_of,
    start_over,
    table,
    unchangeable,
    window_of,
)
from scheduler.checking import Target, check_one
from scheduler.errors import InvalidPost, NotAllowed
from scheduler.intake import Arrived
from scheduler.options import POST, PostOptions, post_options, strangers
from scheduler.posts import Post
from scheduler.settings import Settings, current

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

history = table_of(Transition)


@dataclass(frozen=True)
class New:
    """The content that a post shall have."""

    text: str
    options: Mapping[str, Any]
    post: PostOptions
    arrived: Sequence[Arrived]
    asset_ids: Sequence[int]


@dataclass
class Judged:
    """The rows that a number names, under their locks, and what the new content means for each."""

    rows: Sequence[Row[Any]]
    new: New
    number: int
    """Of the present version."""
    targets: dict[int, Target] = field(default_factory=dict)
    """By row: those that get the new content."""
    reasons: dict[int, str] = field(default_factory=dict)
    """By row: why it keeps its own."""


def edit(
    post: Post | int,
    *,
    text: str | Sequence[str] | None = None,
    media: Sequence[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    by: str = PERSON,
    session: Session | Connection | None = None,
) -> Changes:
    """Gives a post new content (what is None stays). It never goes out with its old content after this
    returned ``done`` for it; siblings that already went keep theirs, and the caller is told which.

    What failed, was missed or canceled is mended, and stays where it is until a person retries or replays it.

    :raises scheduler.errors.Refused: arguments that ``schedule()`` would refuse, too; nothing was changed.
    :raises scheduler.errors.InvalidPost: the new content breaks a rule of one of the targets still to come;
        nothing was changed.
    :raises scheduler.errors.NotFound: there is no such post.
    """
    settings = current()
    number = posts.number_of(post)
    if text is None and media is None and options is None:
        raise NotAllowed("edit() was given nothing to change: text, media or options")
    chosen = options_given(options)
    first = None if text is None else first_part(text, chosen)
    given = chosen if options is not None else None
    # With options of its own the call says all of the thread there; else the present options get another thread.
    thread = None if options is not None or text is None or isinstance(text, str) else [*text[1:]]
    arrived, wrong = intake.look_at(media, settings) if media is not None else (None, [])
    if wrong:
        raise InvalidPost(wrong)
    fresh_ids: list[int] = []
    if arrived is not None:
        # Judged before anything is stored; judged again below, under the rows' locks.
        with _connection(session, settings) as conn:
            _judge(conn, number, settings, first, arrived, [0] * len(arrived), given, thread)
        fresh_ids = intake.store(arrived, settings)
    with _connection(session, settings) as conn:
        if arrived is not None:
            intake.in_this_database(conn, arrived, fresh_ids)
        judged = _judge(conn, number, settings, first, arrived, fresh_ids, given, thread)
        new = judged.new
        if judged.targets:
            version = insert_version(
                conn, judged.rows[0].post_id, judged.number + 1, new.text, new.arrived, new.asset_ids, new.options
            )
            for row in judged.rows:
                if row.id in judged.targets:
                    _repoint(conn, row, version, new, judged.targets[row.id], by, settings)
        done = [_told(row, judged.reasons.get(row.id)) for row in judged.rows]
        return recorded(conn, "post.edited", judged.rows, done, by)


def _told(row: Row[Any], reason: str | None) -> Change:
    if reason is not None:
        return Change(row.id, row.account, False, row.status, reason)
    if Status(row.status) in ENDED:
        told = f"edited; it stays {row.status} until it is brought back (posts retry, or dead-letters replay)"
        return Change(row.id, row.account, True, row.status, told)
    return changed(row, "edited")


def _judge(
    conn: Connection,
    number: int,
    settings: Settings,
    text: str | None,
    arrived: Sequence[Arrived] | None,
    asset_ids: Sequence[int],
    options: Mapping[str, Any] | None,
    thread: list[Any] | None,
) -> Judged:
    """Locks the rows, and holds the new content to the rules of each that may have it.

    :raises InvalidPost: it breaks one of a row still to come, or there are only rows that ended, of one of them.
    """
    rows = rows_of(conn, number)
    content = _content(conn, rows[0].post_id)
    if arrived is None:
        arrived, asset_ids = _arrived_before(conn, content.media)
    chosen = _options(content, options, thread)
    post, wrong = post_options(chosen)
    if options is not None:
        wrong += strangers(chosen, _targets(conn, rows[0].post_id))
    words = content.text if text is None else text
    judged = Judged(rows, New(words, chosen, post, arrived, asset_ids), content.number)
    over: list[Violation] = []
    for row in rows:
        reason = unchangeable(conn, row)
        if reason:
            judged.reasons[row.id] = reason
            continue
        # By its number: another account may have the name of one that was deleted.
        account = conn.execute(select(accounts.accounts).where(Account.id == row.account_id)).one()
        target = check_one(words, accounts.reference(account), arrived, chosen, post, settings)
        if target.violations and Status(row.status) in ENDED:
            over += target.violations
            told = "; ".join(one.message for one in target.violations)
            judged.reasons[row.id] = (
                f"it is {row.status} and keeps its content, since the new one breaks a rule: {told}"
            )
        else:
            wrong += target.violations
            judged.targets[row.id] = target
    if not judged.targets:
        wrong += over
    if wrong:
        raise InvalidPost(list(dict.fromkeys(wrong)))
    return judged


def _options(content: Row[Any], given: Mapping[str, Any] | None, thread: list[Any] | None) -> dict[str, Any]:
    """The new version's options. A text given as a list says what the thread is now; a plain text leaves it."""
    chosen = dict(content.options if given is None else given)
    if thread is not None:
        own = chosen.get(POST, {})
        # What is no mapping is refused with the other options.
        chosen[POST] = {**own, "thread": thread} if isinstance(own, Mapping) else own
    return chosen


def _content(conn: Connection, post_id: int) -> Row[Any]:
    return conn.execute(
        select(PostVersion.number, PostVersion.text, PostVersion.media, PostVersion.options)
        .where(PostVersion.post_id == post_id)
        .order_by(PostVersion.number.desc())
        .limit(1)
    ).one()


def _targets(conn: Connection, post_id: int) -> list[tuple[str, str]]:
    """All accounts of a post, also those that are not edited now: its options are of one piece."""
    rows = conn.execute(
        select(Account.platform, Account.name)
        .join(table, table.c.account_id == Account.id)
        .where(table.c.post_id == post_id)
        .order_by(table.c.id)
    )
    return [(row.platform, row.name) for row in rows]


def _arrived_before(conn: Connection, media: Sequence[Mapping[str, Any]]) -> tuple[list[Arrived], list[int]]:
    """The files of the present version, from what we keep of them."""
    from media.probe import Probe

    arrived = []
    ids = []
    for one in media:
        asset = conn.execute(
            sql("SELECT id, probe, source_url, mime, size FROM media_assets WHERE id = :id"),
            {"id": one["asset_id"]},
        ).one()
        found = Probe.from_json(asset.probe) if asset.probe else None
        arrived.append(
            Arrived(
                name=one["name"],
                alt=one["alt"],
                probe=found,
                url=asset.source_url,
                remote_mime=asset.mime or "",
                remote_size=asset.size or 0,
            )
        )
        ids.append(asset.id)
    return arrived, ids


def _repoint(
    conn: Connection, row: Row[Any], version: int, new: New, target: Target, by: str, settings: Settings
) -> None:
    needs = target.needs_prepare
    lead = timedelta(seconds=target.module.capabilities.prepare_lead_s if needs else 0)
    values: dict[str, Any] = {
        "version_id": version,
        "needs_prepare": needs,
        "media_ready": not target.uses,
        "parts": len(target.parts.drafts),
        "checkpoint": {},
        "checkpoint_expires_at": None,
        "claims": 0,
        **_window(conn, row, new.post, settings),
    }
    if Status(row.status) in ENDED:
        # It stays so, with its reason and its dead letter, until a person replays it.
        status = Status(row.status)
        revise(conn, row.id, generation=row.generation, status=status, by=by, why="edited", ended=True, **values)
    else:
        start_over(conn, row, by=by, why="edited", **values, available_at=row.due_at - lead)
    conn.execute(sql("DELETE FROM scheduled_post_media WHERE scheduled_post_id = :id"), {"id": row.id})
    if target.uses:
        attach_media(conn, row.id, new.arrived, new.asset_ids, target)


def _window(conn: Connection, row: Row[Any], post: PostOptions, settings: Settings) -> dict[str, Any]:
    """The window, where the new options say another one than the row's present ones: from where it begins now."""
    present = conn.execute(select(PostVersion.options).where(PostVersion.id == row.version_id)).scalar_one()
    if post_options(present)[0].window_minutes == post.window_minutes:
        return {}
    window = timedelta(minutes=post.window_minutes or settings.window_minutes)
    begins = max(row.due_at, row.window_ends_at - window_of(row))
    return {"window_seconds": int(window.total_seconds()), "window_ends_at": begins + window}
