"""The one guarded write: every change of a scheduled post's status goes through ``move``.

The UPDATE names (id, generation, from) and adds 1 to the generation, so whatever is older than any other
change (a hint, a look-up, a worker that slept) matches nothing and is told so. The history row and, where
they are due, the dead letter and what webhooks are told are written by the same transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Select,
    Text,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from db.events import FACTS, post_told
from db.models import DeadLetter, PublishAttempt, ScheduledPost, Transition, table_of
from db.redaction import clean, hide
from db.states import DEAD, LEASED, TERMINAL, TRANSITIONS, HeldFor, Status

posts = table_of(ScheduledPost)
history = table_of(Transition)
letters = table_of(DeadLetter)
attempts = table_of(PublishAttempt)


SAYS_NOT_PUBLISHED = frozenset({Status.FAILED, Status.MISSED, Status.CANCELED})


class ForbiddenTransition(Exception):
    """The graph does not have this edge: a bug of ours, never the caller's."""


def seconds_from_now(seconds: float) -> ColumnElement[Any]:
    """SQL: the database's clock plus ``seconds``."""
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def storable(words: str) -> str:
    """A platform's words as they may be kept: without what Postgres cannot hold (NUL, lone surrogates), which
    must not cost us its answer, and without a secret of ours, which some platforms repeat in what they say."""
    return hide(words.replace("\x00", "").encode("utf-8", "replace").decode())


def sayable(words: str) -> str:
    """A platform's words about what went wrong, as they may be kept and shown: cleaned, and not too long."""
    return clean(storable(words))[:2000]


def move(
    conn: Connection,
    scheduled_post_id: int,
    *,
    generation: int,
    source: Status | Iterable[Status],
    target: Status,
    by: str,
    why: str = "",
    lease_s: float | None = None,
    resolution: str = "superseded",
    operator: bool = False,
    **values: Any,
) -> int | None:
    """Changes the status, if the row is still what the caller saw.

    :param source: the status (or statuses) the row must have.
    :param lease_s: seconds; required for a leased target, whose owner is then ``by``.
    :param resolution: how an open dead letter ends, where this move takes the post out of a person's hands.
    :param operator: noted on the dead letter: no author can mend this.
    :param values: further columns; SQL expressions are welcome.
    :returns: the new generation, or None: stale, somebody else was first, nothing was changed.
    :raises ForbiddenTransition: the graph has no such edge.
    """
    sources = (source,) if isinstance(source, Status) else tuple(source)
    for one in sources:
        if target not in TRANSITIONS[one]:
            raise ForbiddenTransition(f"{one} -> {target}")
    if (lease_s is not None) != (target in LEASED):
        raise ForbiddenTransition(f"{target}: a lease belongs to leased states, and only to them")
    if (
        target in SAYS_NOT_PUBLISHED
        and not _looked_at(conn, scheduled_post_id, sources)
        and doubtful_attempts(conn, scheduled_post_id)
    ):
        # An earlier try may be public (it was to be repeated, which would have made the same object).
        told = values.get("error_message") or why or target.value
        target, values = (
            Status.HELD,
            {
                "held_for": HeldFor.OUTCOME_UNKNOWN.value,
                "error_code": HeldFor.OUTCOME_UNKNOWN.value,
                "error_message": f"It may be public: an earlier try was sent and its outcome is not known ({told})",
            },
        )
    if (
        target in SAYS_NOT_PUBLISHED
        and values.get("error_code") != PARTLY_PUBLISHED
        and (begun := parts_out(conn, scheduled_post_id)) is not None
    ):
        target, values = Status.FAILED, {**values, **partly(*begun, values.get("error_message") or why or target.value)}
    changes: dict[str, Any] = {
        "status": target.value,
        "generation": NEXT,
        "updated_at": NOW,
        "finalized_at": NOW if target in TERMINAL else None,
        "lease_expires_at": LEASE if lease_s is not None else None,
        "leased_by": by if lease_s is not None else None,
        "held_for": None,
        **{
            name: (sayable if name == "error_message" else storable)(value) if isinstance(value, str) else value
            for name, value in values.items()
        },
    }
    given = {name: value for name, value in changes.items() if not isinstance(value, ClauseElement)}
    written = {name: _Same(value) for name, value in changes.items() if isinstance(value, ClauseElement)}
    statement = _statement(sources, target, tuple(sorted(given)), tuple(sorted(written.items(), key=_by_name)))
    row = conn.execute(
        statement,
        {
            **{f"new_{name}": value for name, value in given.items()},
            "scheduled_post": scheduled_post_id,
            "seen_generation": generation,
            "lease_s": lease_s,
            "told_by": by,
            "told_why": storable(why)[:500],
        },
    ).one_or_none()
    if row is None:
        return None
    if Status(row.from_status) in DEAD:
        close_letter(conn, scheduled_post_id, resolution=resolution, by=by)
    if target in DEAD:
        conn.execute(
            insert(letters).values(
                scheduled_post_id=scheduled_post_id,
                generation=row.generation,
                status=target.value,
                code=storable(str(values.get("error_code") or values.get("held_for") or target.value)),
                message=sayable(str(values.get("error_message") or why or target.value)),
                operator=operator,
            )
        )
    return int(row.generation)


def _looked_at(conn: Connection, scheduled_post_id: int, sources: Iterable[Status]) -> bool:
    """Whether who leaves for an end has looked: reconcile, or the person in front of whom the doubt was put.

    Nobody has where it is held for something else (a reconnect) while an earlier try is in doubt.
    """
    if Status.UNKNOWN in sources:
        return True
    if Status.HELD not in sources:
        return False
    found = conn.execute(select(posts.c.status, posts.c.held_for).where(posts.c.id == scheduled_post_id)).one_or_none()
    return found is not None and (found.status, found.held_for) == (Status.HELD, HeldFor.OUTCOME_UNKNOWN)


PARTLY_PUBLISHED = "partly_published"
"""How a thread ends of which only the first parts are public."""


def parts_out(conn: Connection, scheduled_post_id: int) -> tuple[int, list[Any]] | None:
    """How many parts a thread has and which of them are public; None: nothing of it is."""
    row = conn.execute(
        select(posts.c.parts, posts.c.parts_out).where(
            posts.c.id == scheduled_post_id, func.jsonb_array_length(posts.c.parts_out) > 0
        )
    ).one_or_none()
    return None if row is None else (row.parts, row.parts_out)


def partly(parts: int, out: list[Any], told: str) -> dict[str, Any]:
    """What is said of a thread that ends in the middle: never "not published", "missed" or "canceled"."""
    links = ", ".join(str(one["url"] or one["remote_id"]) for one in out)
    return {
        "error_code": PARTLY_PUBLISHED,
        "error_message": f"{len(out)} of {parts} parts are public ({links}); then: {told}",
    }


NOW = func.clock_timestamp()
NEXT = posts.c.generation + 1
LEASE = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, bindparam("lease_s", type_=Float))
"""One object each, so that the statements below are built once: building one costs more than running it."""


class _Same:
    """An SQL expression as part of a key: equal to itself alone (its own ``==`` makes SQL)."""

    def __init__(self, value: ClauseElement) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _by_name(pair: tuple[str, _Same]) -> str:
    return pair[0]


@functools.lru_cache(maxsize=512)
def _statement(
    sources: tuple[Status, ...], target: Status, given: tuple[str, ...], written: tuple[tuple[str, _Same], ...]
) -> Select[Any]:
    """The guarded UPDATE with its history, for these columns; values come as parameters."""
    changes: dict[str, Any] = {name: bindparam(f"new_{name}", type_=posts.c[name].type) for name in given}
    changes |= {name: one.value for name, one in written}
    # The row is read under its lock first, only where we need to know which of several sources it had.
    before = (
        select(posts.c.id, posts.c.status)
        .where(posts.c.id == bindparam("scheduled_post"), posts.c.generation == bindparam("seen_generation"))
        .where(posts.c.status.in_([one.value for one in sources]))
        .with_for_update()
        .cte("before")
    )
    moved = (
        update(posts)
        .where(posts.c.id == before.c.id)
        .values(changes)
        .returning(
            posts.c.id,
            posts.c.generation,
            posts.c.account_id,
            before.c.status.label("from_status"),
            *(posts.c[name] for name in FACTS),
        )
        .cte("moved")
    )
    logged = (
        insert(history)
        .from_select(
            ["scheduled_post_id", "generation", "from_status", "to_status", "by", "why"],
            select(
                moved.c.id,
                moved.c.generation,
                moved.c.from_status,
                literal(target.value),
                bindparam("told_by", type_=Text),
                bindparam("told_why", type_=Text),
            ),
        )
        .cte("logged")
    )
    also = [one for one in (logged, post_told(moved, target)) if one is not None]
    return select(moved.c.generation, moved.c.from_status).add_cte(*also)


def close_letter(conn: Connection, scheduled_post_id: int, *, resolution: str, by: str) -> bool:
    """Ends the open dead letter of a scheduled post, if there is one; whether there was."""
    return (
        conn.execute(
            update(letters)
            .where(letters.c.scheduled_post_id == scheduled_post_id, letters.c.resolved_at.is_(None))
            .values(resolved_at=func.clock_timestamp(), resolution=resolution, resolved_by=by)
        ).rowcount
        > 0
    )


def save_checkpoint(
    conn: Connection,
    scheduled_post_id: int,
    *,
    generation: int,
    values: dict[str, Any],
    lease_s: float | None = None,
) -> bool:
    """Merges ``values`` into the checkpoint under the guard, without a new generation; False: stale.

    :param lease_s: also renews the lease: a long upload that makes progress is alive.
    """
    changes: dict[str, Any] = {
        "checkpoint": posts.c.checkpoint.op("||")(type_coerce(values, JSONB)),
        "updated_at": func.clock_timestamp(),
    }
    if lease_s is not None:
        changes["lease_expires_at"] = seconds_from_now(lease_s)
    return (
        conn.execute(
            update(posts).where(posts.c.id == scheduled_post_id, posts.c.generation == generation).values(changes)
        ).rowcount
        > 0
    )


def database_now(conn: Connection) -> Any:
    """The database's clock, UTC: the only clock that decides what is due."""
    return conn.execute(text("SELECT clock_timestamp()")).scalar_one()


def revise(
    conn: Connection,
    scheduled_post_id: int,
    *,
    generation: int,
    status: Status,
    by: str,
    why: str,
    ended: bool = False,
    **values: Any,
) -> int | None:
    """Changes what a row says without changing its status (an edit, a new time), with a new generation.

    Only where nothing is leased: a worker that holds the row must lose it by a change of status.

    :param ended: of a row that is over: it stays so, with its reason and its dead letter.
    :returns: the new generation, or None: stale.
    """
    if status in LEASED or (status in TERMINAL) is not ended or status is Status.PUBLISHED:
        raise ForbiddenTransition(f"{status} cannot be revised")
    row = conn.execute(
        update(posts)
        .where(posts.c.id == scheduled_post_id, posts.c.generation == generation, posts.c.status == status.value)
        .values(generation=posts.c.generation + 1, updated_at=func.clock_timestamp(), **values)
        .returning(posts.c.generation)
    ).one_or_none()
    if row is None:
        return None
    conn.execute(
        insert(history).values(
            scheduled_post_id=scheduled_post_id,
            generation=row.generation,
            from_status=status.value,
            to_status=status.value,
            by=by,
            why=why[:500],
        )
    )
    return int(row.generation)


def doubtful_attempts(conn: Connection, scheduled_post_id: int) -> int:
    """How many attempts may have published, without anybody having settled it."""
    return conn.execute(
        select(func.count())
        .select_from(attempts)
        .where(
            attempts.c.scheduled_post_id == scheduled_post_id,
            attempts.c.settled.is_(None),
            func.coalesce(attempts.c.outcome, "unknown") == "unknown",
        )
    ).scalar_one()
