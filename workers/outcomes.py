"""An answer is never dropped: what came of an attempt is written until Postgres has it.

While Postgres is away the report waits in a file (mode 0600) in the spool folder as well, so that a worker
that ends meanwhile leaves it to its successor. One that is about another database stays until the workers are set up
for that one again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError, InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.failpoints import hit
from db.session import lost_connection, transaction
from db.states import Status
from platforms.base import (
    AuthExpired,
    NotSent,
    Processing,
    Published,
    PublishOutcome,
    RateLimited,
    Rejected,
    Unknown,
)
from scheduler.logging import logger
from scheduler.settings import Settings
from workers.ledger import Report, Stranger, conclude

log = logger(__name__)

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (AuthExpired, NotSent, Processing, Published, RateLimited, Rejected, Unknown)
}
PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0
REPLAY_EVERY_S = 30.0

_replayed = {"at": 0.0}
_replaying = threading.Lock()
_strangers: set[tuple[str, str]] = set()
"""(database, file) of what was found to be about another database: read, and told of, once by each process."""


def keep(settings: Settings, report: Report) -> Status | None:
    """Writes the report into Postgres, waiting for Postgres as long as it takes.

    :returns: the post's new status; None where it had been decided otherwise meanwhile.
    """
    file: Path | None = None
    pause = PAUSE_S
    while True:
        try:
            with transaction(settings.database()) as conn:
                status = conclude(conn, settings, report)
                hit("outcome.before_commit", handle=conn)
        except (DBAPIError, PoolTimeout) as error:
            file = file or _spool(settings, report)
            if not waits(error):
                raise  # a bug of ours; the file keeps the answer for whoever mends it
            log.warning(
                "outcome.waits",
                attempt_id=str(report.attempt_id),
                scheduled_post_id=report.scheduled_post_id,
                outcome=type(report.outcome).__name__,
                spooled=file is not None,
                pause_s=pause,
            )
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            continue
        except Stranger as error:
            # The database went back in time under our hands (a restore): a person has to see this answer.
            file = file or _spool(settings, report)
            log.error("outcome.stranger", file=file and file.name, error=str(error))  # noqa: TRY400 - says it all
            return None
        if file is not None:
            file.unlink(missing_ok=True)
            log.info(
                "outcome.stored",
                attempt_id=str(report.attempt_id),
                scheduled_post_id=report.scheduled_post_id,
            )
        return status


def waits(error: BaseException) -> bool:
    """Whether it gets better by itself: Postgres is away, or takes no writes just now; or too many wait for it."""
    return lost_connection(error) or isinstance(error, InternalError | PoolTimeout)


def replay_now_and_then(settings: Settings) -> None:
    """``replay``, every half minute at most: what was left behind while Postgres was away is stored soon after."""
    with _replaying:
        now = time.monotonic()
        if now - _replayed["at"] < REPLAY_EVERY_S:
            return
        _replayed["at"] = now
    try:
        replay(settings)
    except (DBAPIError, PoolTimeout) as error:
        log.warning("outcomes.not_replayed", error=type(error).__name__)


def replay(settings: Settings) -> int:
    """Stores reports that an earlier worker of this machine left behind; how many. Safe to run at any time."""
    done = 0
    for file in sorted(settings.spool().glob("outcome-*.json")):
        known = (settings.database(), str(file))
        if known in _strangers:
            continue
        try:
            report = decode(json.loads(file.read_text()))
        except (ValueError, KeyError, TypeError):
            _park(file, "outcome.unreadable")
            continue
        except FileNotFoundError:
            continue  # another worker was first
        try:
            with transaction(settings.database()) as conn:
                conclude(conn, settings, report)
        except Stranger as error:
            _strangers.add(known)
            log.error("outcome.stranger", file=file.name, error=str(error))  # noqa: TRY400 - says it all
            continue
        except (DBAPIError, PoolTimeout) as error:
            if waits(error):
                raise
            _park(file, "outcome.refused")  # a bug of ours: it must not keep the files behind it waiting
            continue
        file.unlink(missing_ok=True)
        done += 1
    return done


def _park(file: Path, why: str) -> None:
    """Out of the way, for a person."""
    log.error(why, file=file.name)
    with contextlib.suppress(FileNotFoundError):
        file.rename(file.with_suffix(".bad"))


def _spool(settings: Settings, report: Report) -> Path | None:
    """The report on disk; None where the disk does not take it (then memory alone keeps it)."""
    try:
        file = settings.spool() / f"outcome-{report.attempt_id}.json"
        partial = file.with_suffix(".part")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(encode(report), out)
            out.flush()
            os.fsync(out.fileno())
        hit("spool.before_rename")
        partial.rename(file)
        hit("spool.written")
    except OSError as error:
        log.warning("outcome.not_spooled", error=error.strerror, attempt_id=str(report.attempt_id))
        return None
    return file


def encode(report: Report) -> dict[str, Any]:
    """The report as plain JSON values."""
    outcome = {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in dataclasses.asdict(report.outcome).items()
    }
    return {
        "attempt_id": str(report.attempt_id),
        "scheduled_post_id": report.scheduled_post_id,
        "generation": report.generation,
        "account_id": report.account_id,
        "token_version": report.token_version,
        "sent_at": report.sent_at,
        "counts": report.counts,
        "part": report.part,
        "kind": type(report.outcome).__name__,
        "outcome": outcome,
    }


def decode(plain: dict[str, Any]) -> Report:
    """What ``encode`` wrote. :raises KeyError, ValueError, TypeError: it is something else."""
    values = dict(plain["outcome"])
    if "until" in values:
        values["until"] = datetime.fromisoformat(values["until"])
    if values.get("if_absent"):
        values["if_absent"] = Rejected(**values["if_absent"])
    outcome: PublishOutcome = KINDS[plain["kind"]](**values)
    return Report(
        attempt_id=uuid.UUID(plain["attempt_id"]),
        scheduled_post_id=int(plain["scheduled_post_id"]),
        generation=int(plain["generation"]),
        account_id=int(plain["account_id"]),
        token_version=int(plain["token_version"]),
        outcome=outcome,
        sent_at=plain["sent_at"],
        counts=plain["counts"],
        part=int(plain.get("part", 0)),  # an older release left it out
    )
