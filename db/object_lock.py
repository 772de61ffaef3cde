"""A lock on an object's name in the store: who stores under it and who deletes it take turns.

Who stores commits a row with the name before it looks whether the object is there; who deletes holds the lock while
it looks for rows and deletes. So an object that a row counts on is never deleted, and a row that comes later finds
the object gone and stores it anew. Taken before the lock of any row, everywhere.
"""

from __future__ import annotations

from sqlalchemy import Connection, text


def take_turn(conn: Connection, key: str) -> None:
    """Waits for the name; held until the transaction ends."""
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7235))"), {"key": key})
