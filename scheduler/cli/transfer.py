"""``schedulerx export`` and ``import``: moving an installation, without a secret in clear."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import IO, Annotated

import typer

from db.session import transaction
from scheduler import transfer
from scheduler.api import database
from scheduler.cli.output import emit, file_errors, say, told
from scheduler.errors import Refused
from scheduler.settings import current


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; - is standard output.")] = "-",
    with_credentials: Annotated[
        bool,
        typer.Option("--with-credentials", help="Take them along, encrypted under a passphrase (asked for, or stdin)."),
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Although it is not paused: for a copy that will never publish.")
    ] = False,
) -> None:
    """Write everything but files and secrets as JSON lines. Pause first: schedulerx pause.

    Example: schedulerx export everything.jsonl --with-credentials
    """
    with told():
        settings = current()
        passphrase = _new_passphrase() if with_credentials else None
        count = 0
        with database(settings):
            pass  # it answers, and has our schema
        with transaction(settings.database()) as conn:
            lines = transfer.export(conn, settings, passphrase=passphrase, copy=copy)
            with file_errors("standard output" if file == "-" else file, to="written"), _writable(file) as out:
                for line in lines:
                    out.write(line + "\n")
                    count += 1
    if file != "-":
        say(f"{file}: {count - 2} rows. Files of media are not in it; copy the bucket as docs/operating.md says.")


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote; - is standard input.")],
    replace: Annotated[bool, typer.Option("--replace", help="Throw away what the database holds.")] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Where the passphrase is, if it is neither typed nor on standard input.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Take an export into this (fresh) database. It stays paused until: schedulerx resume.

    Example: DATABASE_URL=postgresql://... schedulerx import everything.jsonl
    """

    def ask() -> str:
        if passphrase_file is not None:
            with file_errors(str(passphrase_file), to="read"):
                return passphrase_file.read_text().rstrip("\n")
        if sys.stdin.isatty():
            return getpass.getpass("Passphrase of the export: ")
        if file == "-":
            raise Refused("Standard input is the export itself; give the passphrase by --passphrase-file")
        return sys.stdin.readline().rstrip("\n")

    with told(as_json=as_json):
        settings = current()
        settings.secret()
        with _readable(file) as lines:
            # Before the database: what is no export is no reason to look for one, nor to empty it.
            source = transfer.opened(lines, ask)
            with database(settings) as conn:
                moved = transfer.import_(conn, settings, source, replace=replace)
    if as_json:
        emit({"rows": moved.rows, "credentials": moved.credentials, "paused": True})
        return
    say(f"{sum(moved.rows.values())} rows are here, {moved.posts} of them scheduled posts. Everything is paused.")
    if not moved.credentials and moved.rows.get("accounts"):
        say("Credentials were not in it: connect each account again (schedulerx accounts list).")
    say("When you have looked, and the old installation is off for good: schedulerx resume")


def _new_passphrase() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("A passphrase for the credentials: ")
    if getpass.getpass("Once more: ") != first:
        raise Refused("The two are not the same")
    return first


def _writable(file: str) -> IO[str]:
    """Readable for its owner only: posts that are not public yet are in it."""
    if file == "-":
        return open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False)
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")


def _readable(file: str) -> IO[str]:
    if file == "-":
        return open(sys.stdin.fileno(), encoding="utf-8", closefd=False)
    with file_errors(file, to="read"):
        return Path(file).open(encoding="utf-8")
