"""The pass of each second: it costs the same whatever waits, and no step of it keeps another from being done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from db import claims
from db.session import transaction
from scheduler import rescue


def many_renditions(database, count, *, state, spool, age):
    """Renditions of one file, all of them past their time."""
    database.run("INSERT INTO media_assets (name) SELECT 'a' WHERE NOT EXISTS (SELECT FROM media_assets)")
    database.run(
        """
        INSERT INTO renditions (asset_id, recipe_hash, recipe, state, spool, sha256, storage_key, size, available_at,
               lease_expires_at)
        SELECT (SELECT min(id) FROM media_assets), gen_random_uuid()::text, '{}', :state, :spool, 's', 'k', 1,
               clock_timestamp() - CAST(:age AS interval), clock_timestamp() - CAST(:age AS interval)
          FROM generate_series(1, :n)
        """,
        n=count, state=state, spool=spool, age=age,
    )  # fmt: skip


def test_with_twenty_thousand_files_those_of_lost_machines_are_found_by_index(settings, database):
    many_renditions(database, 20_000, state="ready", spool=None, age="1 day")
    many_renditions(database, 400, state="rendered", spool="gone", age="1 hour")
    many_renditions(database, 200, state="rendered", spool="busy", age="1 hour")
    many_renditions(database, 1, state="rendered", spool="busy", age="-1 hour")
    database.run("UPDATE renditions SET claims = 1 WHERE available_at > clock_timestamp()")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("ANALYZE renditions"))
        plan = "\n".join(
            row[0] for row in conn.execute(text("EXPLAIN " + rescue.MADE_ELSEWHERE.text), {"batch": rescue.BATCH})
        )
    assert "Seq Scan on renditions" not in plan, plan
    with transaction(settings.database()) as conn:
        conn.execute(text("SET LOCAL statement_timeout = '2s'"))
        assert rescue.made_elsewhere(conn) == 400
    left = "SELECT spool, count(*) FROM renditions WHERE state = 'rendered' GROUP BY spool"
    assert [tuple(one) for one in database.rows(left)] == [("busy", 201)]


def test_a_step_that_postgres_refuses_stops_no_other_and_no_claim(scheduled, pipeline, fake, database, monkeypatch):
    """Each second the same statement takes too long: everything else goes on."""
    from workers import dispatch as ticks

    scheduled(at=datetime.now(UTC) + timedelta(days=1))
    database.run("UPDATE scheduled_posts SET media_ready = false")
    late = scheduled("due")

    def too_long(conn, **_):
        conn.execute(text("SET LOCAL statement_timeout = '10ms'"))
        conn.execute(text("SELECT pg_sleep(5)"))

    with monkeypatch.context() as patch:
        patch.setattr(claims, "expired_leases", too_long)
        patch.setattr(rescue, "made_elsewhere", too_long)
        assert pipeline.sweep()["readied"] == 1
        patch.setattr(ticks, "hint", pipeline.hints)
        ticks.second()
    assert database.post(late).status == "queued"
    with monkeypatch.context() as patch:
        patch.setattr(rescue, "sweep", lambda *_: 1 / 0)
        patch.setattr(ticks, "hint", pipeline.hints)
        another = scheduled("another")
        with pytest.raises(ZeroDivisionError):
            ticks.second()
    assert database.post(another).status == "queued"


def test_accounts_that_are_well_again_are_locked_in_one_order(fake, account, database, monkeypatch):
    numbers = [account(f"fake:a{number}") for number in range(3)]
    monkeypatch.setattr(claims, "held_for_nothing", lambda _conn: list(reversed(numbers)))
    locked = []
    monkeypatch.setattr(rescue, "release_held", lambda _conn, number, **_: locked.append(number) or 0)
    with database.connect() as conn:
        rescue.reconnected(conn)
    assert locked == numbers
