"""New tokens on disk until Postgres has them.

Many platforms give a new refresh token each time and take the use of an old one for theft. Between the platform's
answer and the commit the new one exists in one process alone: if that is killed, or ends while Postgres is away,
the account would have to be connected again. So it is written down first, encrypted, mode 0600, and whoever
comes next on this machine stores it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from db.crypto import Cipher, SecretKeyError
from db.session import transaction
from platforms.base import Refreshed
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)

Store = Callable[[Connection, Cipher, int, int, Refreshed], bool]
"""Stores new tokens of (account, token version) by compare-and-set; whether they were."""


def path_of(settings: Settings, account_id: int, token_version: int) -> Path:
    """Where the tokens wait that replace this version."""
    return settings.spool() / f"tokens-{account_id}-{token_version}.json"


def put(settings: Settings, cipher: Cipher, account_id: int, token_version: int, answer: Refreshed) -> Path | None:
    """Writes them down; None where the disk does not take them (then memory alone keeps them)."""
    words = {
        "account_id": account_id,
        "token_version": token_version,
        "sealed": base64.b64encode(cipher.seal(answer.credentials)).decode(),
        "expires_at": answer.expires_at.isoformat() if answer.expires_at is not None else None,
    }
    try:
        file = path_of(settings, account_id, token_version)
        partial = file.with_suffix(".part")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(words, out)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(file)
    except OSError as error:
        log.warning("tokens.not_spooled", account_id=account_id, error=error.strerror)
        return None
    return file


def take(settings: Settings, cipher: Cipher, account_id: int, token_version: int) -> Refreshed | None:
    """What a worker that died had got for this version; None: nothing."""
    try:
        found = _read(path_of(settings, account_id, token_version), cipher)
    except OSError as error:  # the disk, which must not keep an account from being renewed
        log.warning("tokens.no_spool", account_id=account_id, error=error.strerror)
        return None
    return found[2] if found is not None else None


def drop(settings: Settings, account_id: int, token_version: int) -> None:
    """They are stored."""
    with contextlib.suppress(OSError):  # what stays is dropped by ``replay``: the account has a newer version
        path_of(settings, account_id, token_version).unlink(missing_ok=True)


def replay(settings: Settings, store: Store) -> int:
    """Stores what dead workers of this machine left behind; how many. Safe to run at any time."""
    try:
        files = sorted(settings.spool().glob("tokens-*.json"))
    except OSError as error:
        log.warning("tokens.no_spool", error=error.strerror)
        return 0
    if not files:
        return 0
    cipher, done = Cipher(settings.secret()), 0
    for file in files:
        found = _read(file, cipher)
        if found is None:
            continue
        account_id, token_version, answer = found
        with transaction(settings.database()) as conn:
            stored = store(conn, cipher, account_id, token_version, answer)
        file.unlink(missing_ok=True)  # stored, or of no use any more: the account has other tokens by now
        log.info("tokens.replayed", account_id=account_id, token_version=token_version, stored=stored)
        done += stored
    return done


def _read(file: Path, cipher: Cipher) -> tuple[int, int, Refreshed] | None:
    """(account, token version, tokens); None: gone, or not readable (put aside then)."""
    try:
        words = json.loads(file.read_text())
        expires_at = datetime.fromisoformat(words["expires_at"]) if words["expires_at"] else None
        answer = Refreshed(cipher.open(base64.b64decode(words["sealed"])), expires_at)
        return int(words["account_id"]), int(words["token_version"]), answer
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, SecretKeyError) as error:
        log.warning("tokens.unreadable", file=file.name, error=type(error).__name__)
        file.rename(file.with_suffix(".bad"))
        return None
