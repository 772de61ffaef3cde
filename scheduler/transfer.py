"""Export and import: everything of an installation as JSON lines, but no secret in clear.

One line says what the file is, then comes a line for each row, the last line counts them: a file that broke off
is never taken for a whole one. Rows are written and read by Postgres itself (``to_jsonb``,
``jsonb_populate_recordset``), so that times, infinities and numbers come back as they were. Files of media are
not in it: they stay in the object store (docs/operating.md).

Credentials are left out, or go along encrypted under a passphrase (scrypt, then Fernet); then they are encrypted
anew under the key of the installation that they arrive in.

Promise 2 rules the rest: two installations with the same due posts would publish them twice. So an export wants
everything to be paused, and what was imported stays paused until a person releases it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, LargeBinary, Table, text

from db import migrate
from db.crypto import Cipher, SecretKeyError
from db.models import Base
from scheduler import audit
from scheduler.accounts import everything_paused
from scheduler.errors import NotAllowed, Refused
from scheduler.settings import Settings

FORMAT = 1
BATCH = 500
SHORTEST_PASSPHRASE = 12
SEALED = {"accounts": "credentials", "webhooks": "sealed"}
"""The columns that hold secrets, encrypted."""
LEFT_OUT = frozenset({"worker_beats", "alert_messages", "readiness"})
"""What only means something where it was written."""
PAUSED_BY = "import"


@dataclass(frozen=True)
class Moved:
    """How many rows of each table were moved."""

    rows: dict[str, int]
    credentials: bool

    @property
    def posts(self) -> int:
        """Scheduled posts."""
        return self.rows.get("scheduled_posts", 0)


def tables() -> list[Table]:
    """What is moved, in an order in which rows may be inserted."""
    return [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


def _cipher(passphrase: str, salt: bytes) -> Cipher:
    """A cipher under a key made from the passphrase: 32 MB and a tenth of a second for each guess."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    key = Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())
    return Cipher(base64.urlsafe_b64encode(key).decode())


# --- Export -------------------------------------------------------------------------------------------------


def export(conn: Connection, settings: Settings, *, passphrase: str | None = None, copy: bool = False) -> Iterator[str]:
    """The lines of an export, read from one moment of the database; ``conn`` must be in a fresh transaction.

    :param passphrase: credentials go along, encrypted under it; None: they stay behind.
    :param copy: although things are not paused: for a copy that will never publish.
    :raises NotAllowed: posts may still go out here, so an import elsewhere could double them.
    :raises Refused: the passphrase is too short.
    """
    if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
        raise Refused(f"The passphrase must have at least {SHORTEST_PASSPHRASE} characters")
    conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    conn.execute(text("SET LOCAL statement_timeout = 0"))
    conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    if not copy and not everything_paused(conn):
        raise NotAllowed(
            "Posts still go out here; with an import elsewhere they could go out twice. Stop it first: schedulerx pause"
            " (and keep it paused), or give --copy for a copy that will never publish"
        )
    audit.record(conn, "data.exported", "all", after={"sealed": passphrase is not None, "copy": copy})
    return _lines(conn, settings, passphrase)


def _lines(conn: Connection, settings: Settings, passphrase: str | None) -> Iterator[str]:
    head: dict[str, Any] = {
        "schedulerx_export": FORMAT,
        "schema": migrate.head(),
        "credentials": passphrase is not None,
    }
    head["at"] = conn.execute(text("SELECT to_jsonb(clock_timestamp())")).scalar_one()
    # Also of rows that were pruned: an idempotency key must never come to name another post.
    head["post_ids"] = conn.execute(text("SELECT last_value FROM post_ids")).scalar_one()
    theirs = None
    if passphrase is not None:
        salt = os.urandom(16)
        theirs = _cipher(passphrase, salt)
        head["salt"] = base64.b64encode(salt).decode()
        head["proof"] = theirs.seal({"proof": "schedulerx"}).decode()
    yield json.dumps(head)
    counts = {}
    for table in tables():
        counts[table.name] = 0
        for row, sealed in _rows(conn, table):
            if sealed is not None and theirs is not None and sealed:
                row["_sealed"] = theirs.seal(Cipher(settings.secret()).open(sealed)).decode()
            yield json.dumps({"table": table.name, "row": row}, ensure_ascii=False)
            counts[table.name] += 1
    yield json.dumps({"end": True, "rows": counts})


def _rows(conn: Connection, table: Table) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """The rows of a table, without their secret, which comes beside; in batches through a cursor of the server."""
    secret = SEALED.get(table.name)
    plain = f"to_jsonb(t) - '{secret}'" if secret else "to_jsonb(t)"
    order = ", ".join(column.name for column in table.primary_key)
    chosen = f"t.{secret}" if secret else "NULL"
    query = f"SELECT {plain} AS row, {chosen} AS sealed FROM {table.name} t ORDER BY {order}"  # noqa: S608 - our tables
    for row in conn.execute(text(query), execution_options={"stream_results": True, "yield_per": BATCH}):
        yield row.row, None if row.sealed is None else bytes(row.sealed)


# --- Import -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """An export whose beginning was judged: what it says of itself, its credentials' cipher, and its rows to come."""

    head: dict[str, Any]
    cipher: Cipher | None
    rows: Iterator[dict[str, Any]]


def opened(lines: Iterable[str], passphrase: Callable[[], str]) -> Source:
    """Reads the beginning of an export: no database is needed to refuse what is none.

    :param passphrase: asked for only where the file has credentials.
    :raises Refused: not an export, of another version, or the wrong passphrase.
    """
    rows = _parsed(lines)
    head = next(rows, {})
    return Source(head, _check(head, passphrase), rows)


def import_(conn: Connection, settings: Settings, source: Source, *, replace: bool = False) -> Moved:
    """Puts an export into a database, all of it or (by the caller's transaction) nothing.

    Accounts whose credentials are not in it have to be connected again; then the posts that wait go on.

    :param replace: empties the database first; else one that holds posts or accounts is refused.
    :raises Refused: the file is damaged or broke off.
    :raises NotAllowed: the database is not empty.
    """
    conn.execute(text("SET LOCAL statement_timeout = 0"))
    conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    _empty(conn, replace=replace)
    ours = Cipher(settings.secret())
    known = {table.name: table for table in tables()}
    counts = dict.fromkeys(known, 0)
    batch: list[dict[str, Any]] = []
    current = ""
    end: dict[str, Any] | None = None
    for line in source.rows:
        if end is not None:
            raise Refused("The file goes on after its end: this is no export of ours")
        if line.get("end"):
            end = line
            continue
        name, row = line.get("table"), line.get("row")
        if name not in known or not isinstance(row, dict):
            raise Refused("The file has a line that is no row of ours")
        if name != current or len(batch) >= BATCH:
            _insert(conn, known.get(current), batch)
            batch, current = [], str(name)
        batch.append(_with_secret(str(name), row, source.cipher, ours))
        counts[str(name)] += 1
    _insert(conn, known.get(current), batch)
    if end is None or {name: count for name, count in end["rows"].items() if count} != {
        name: count for name, count in counts.items() if count
    }:
        raise Refused("The file broke off: rows are missing at its end; nothing was imported")
    _sequences(conn, int(source.head["post_ids"]))
    conn.execute(
        text("""
            INSERT INTO switches (name, by, why) VALUES ('all', :by, 'imported; look, then: schedulerx resume')
            ON CONFLICT (name) DO NOTHING
        """),
        {"by": PAUSED_BY},
    )
    moved = Moved({name: count for name, count in counts.items() if count}, source.cipher is not None)
    audit.record(conn, "data.imported", "all", after={"rows": moved.rows, "sealed": moved.credentials})
    return moved


def _empty(conn: Connection, *, replace: bool) -> None:
    if replace:
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        conn.execute(text(f"TRUNCATE {names} CASCADE"))
        return
    # Nobody schedules into it meanwhile.
    conn.execute(text("LOCK TABLE accounts, posts, idempotency_keys IN SHARE ROW EXCLUSIVE MODE"))
    for name in ("accounts", "posts", "idempotency_keys", "webhooks"):
        if conn.execute(text(f"SELECT EXISTS (SELECT 1 FROM {name})")).scalar_one():  # noqa: S608 - a word of ours
            raise NotAllowed(
                f"This database is not empty (it has {name.replace('_', ' ')}); import into a fresh one, or give"
                " --replace to throw away what is there"
            )
    # What a fresh installation writes by itself would stand in the way of rows with the same numbers.
    for table in tables():
        if table.name != "audit_log":
            conn.execute(text(f"DELETE FROM {table.name}"))  # noqa: S608 - names of our own tables
        elif conn.execute(text("SELECT EXISTS (SELECT 1 FROM audit_log)")).scalar_one():
            raise NotAllowed("This database has an audit trail already; give --replace to throw it away")


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    found = json.loads(line)
                except ValueError:
                    raise Refused(f"Line {number} is not JSON: this is no export, or it broke off") from None
                if not isinstance(found, dict):
                    raise Refused(f"Line {number} is not a JSON object: this is no export")
                yield found
    except UnicodeDecodeError:
        # Text is decoded in blocks: the bytes may stand some lines further on.
        raise Refused(
            f"The file is not text in UTF-8 (after line {number}): this is no export, or it was damaged; nothing was"
            " imported. Give a file that `schedulerx export` wrote"
        ) from None


def _check(head: dict[str, Any], passphrase: Callable[[], str]) -> Cipher | None:
    """The cipher of the file's credentials; None: it has none. :raises Refused: this file cannot be taken."""
    if head.get("schedulerx_export") != FORMAT:
        raise Refused(
            f"This is no export that this program reads (format {FORMAT}); give a file that `schedulerx export` wrote"
        )
    if head.get("schema") != migrate.head():
        raise Refused(
            f"The export was made at schema {head.get('schema')}, this program is at {migrate.head()}: use the same"
            " version on both sides, then upgrade"
        )
    if not head.get("credentials"):
        return None
    cipher = _cipher(passphrase(), base64.b64decode(str(head.get("salt", ""))))
    try:
        cipher.open(str(head.get("proof", "")).encode())
    except SecretKeyError:
        raise Refused("The passphrase is not the one that this export was made with") from None
    return cipher


def _with_secret(name: str, row: dict[str, Any], theirs: Cipher | None, ours: Cipher) -> dict[str, Any]:
    """A row with its secret under our own key, or as one that waits to be connected again."""
    column = SEALED.get(name)
    if column is None:
        return row
    sealed = row.pop("_sealed", None)
    if sealed is not None and theirs is not None:
        # bytea as Postgres reads it in text.
        return {**row, column: "\\x" + ours.seal(theirs.open(str(sealed).encode())).hex()}
    row = {**row, column: "\\x"}
    if name == "accounts" and row.get("deleted_at") is None:
        row |= {"state": "needs_reconnect", "state_reason": "imported without its credentials"}
    if name == "webhooks" and row.get("removed_at") is None:
        row |= {"removed_at": row["created_at"], "last_error": "imported without its key; add it again"}
    return row


def _insert(conn: Connection, table: Table | None, rows: list[dict[str, Any]]) -> None:
    if table is None or not rows:
        return
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    conn.execute(
        text(
            f"INSERT INTO {table.name} ({columns}) OVERRIDING SYSTEM VALUE"  # noqa: S608 - names of our own tables
            f" SELECT {columns} FROM jsonb_populate_recordset(NULL::{table.name}, CAST(:rows AS jsonb))"
        ),
        {"rows": json.dumps(rows)},
    )


def _sequences(conn: Connection, post_ids: int) -> None:
    """New rows get numbers behind the imported ones."""
    conn.execute(text("SELECT setval('post_ids', :value)"), {"value": post_ids})
    for table in tables():
        column = table.columns.get("id")
        if column is None or column.identity is None:
            continue
        conn.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"  # noqa: S608 - as above
            )
        )


def secrets_are_known() -> bool:
    """Whether every column that could hold a secret is one that an export leaves out (a test asks)."""
    found = {
        (table.name, column.name)
        for table in tables()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    return found == set(SEALED.items())
