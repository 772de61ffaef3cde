"""Whether what was named is there at all: an empty answer to a slip would read as "all is well"."""

from __future__ import annotations

from sqlalchemy import Connection, text

from scheduler import accounts


def must_exist(conn: Connection, account: str) -> None:
    """An account that is there, or was: posts of one that was removed can still be asked for.

    :raises UnknownAccount: there never was one of that name; names those of its platform.
    """
    platform, name = accounts.split(account)
    query = text("SELECT EXISTS (SELECT FROM accounts WHERE platform = :platform AND name = :name)")
    if not conn.execute(query, {"platform": platform, "name": name}).scalar_one():
        accounts.find(conn, account)
