"""Claims: each due row once, in due order, whoever claims; what cannot go is moved out of the way."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakePlatform, sent
from sqlalchemy import text

from db import claims
from db.session import transaction
from platforms.base import NotSent, Ready
from scheduler import accounts, dispatch, rescue


def many(database, account_id, count, *, status="scheduled", platform="fake", due="interval '1 hour'", needs=False):
    """Rows that wait, due one after the other, all of them already."""
    database.run("INSERT INTO posts (id, correlation_id) SELECT nextval('post_ids'), 'c' FROM generate_series(1, 1)")
    post = database.one("SELECT max(id) FROM posts")
    version = database.one(
        "INSERT INTO post_versions (post_id, number, text, media, options, sha256)"
        " VALUES (:p, 1, 'Hello', '[]', '{}', 'x') RETURNING id",
        p=post,
    )
    database.run(
        f"""
        WITH made AS (
            INSERT INTO posts (correlation_id) SELECT 'c' FROM generate_series(1, :n) RETURNING id
        ), numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS i FROM made)
        INSERT INTO scheduled_posts (post_id, version_id, account_id, platform, status, due_at, available_at,
               window_ends_at, media_ready, needs_prepare)
        SELECT id, :v, :a, :platform, :status, clock_timestamp() - {due} - make_interval(secs => i),
               clock_timestamp() - {due} - make_interval(secs => i), clock_timestamp() + interval '60 days',
               true, :needs
          FROM numbered
        """,  # noqa: S608 - words of this test
        n=count,
        v=version,
        a=account_id,
        platform=platform,
        status=status,
        needs=needs,
    )


def test_four_dispatchers_claim_two_thousand_rows_once_each_in_due_order(environment, fake, account, database):
    settings = environment.change(publish_slots=2000, claim_batch=100)
    many(database, account(), 2000)
    taken: list[list[int]] = [[] for _ in range(4)]
    together = threading.Barrier(4)

    def dispatcher(place: int) -> None:
        together.wait()
        while dispatch.visit(
            settings, lambda _task, args, _queue: taken[place].append(args[0]), by=f"dispatch:{place}"
        ):
            pass

    threads = [threading.Thread(target=dispatcher, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [one for part in taken for one in part]
    assert (len(everything), len(set(everything))) == (2000, 2000)
    due = [row.id for row in database.rows("SELECT id FROM scheduled_posts ORDER BY due_at, id")]
    place_of = {number: place for place, number in enumerate(due)}
    for part in taken:
        assert [place_of[number] for number in part] == sorted(place_of[number] for number in part)
    assert database.one("SELECT count(*) FROM scheduled_posts WHERE status = 'queued' AND generation = 2") == 2000
    assert database.one("SELECT count(*) FROM transitions") == 2000


def test_one_dispatcher_hints_in_due_order(environment, fake, account, database):
    settings = environment.change(publish_slots=200, claim_batch=30)
    many(database, account(), 100)
    taken: list[int] = []
    while dispatch.visit(settings, lambda _task, args, _queue: taken.append(args[0]), by="dispatch:me"):
        pass
    due = [row.id for row in database.rows("SELECT id FROM scheduled_posts ORDER BY due_at, id")]
    assert taken == due


def test_backpressure_keeps_the_rest_in_postgres_and_other_platforms_go_on(
    environment, fake, register, account, database
):
    settings = environment.change(publish_slots=5)
    register(FakePlatform("other"))
    many(database, account("fake:acme"), 50)
    many(database, account("other:acme"), 3, platform="other")
    taken: list[int] = []
    for _ in range(3):
        dispatch.visit(settings, lambda _task, args, _queue: taken.append(args[0]), by="dispatch:me")
    assert dict(database.rows("SELECT platform, count(*) FROM scheduled_posts WHERE status = 'queued' GROUP BY 1")) == {
        "fake": 3,
        "other": 1,
    }


@pytest.mark.parametrize("status", ["publishing", "queued"])
@pytest.mark.parametrize("needs", [False, True], ids=["due", "to-be-prepared"])
def test_slow_platforms_leave_slots_to_the_others(environment, fake, register, account, database, status, needs):
    """However many wait, and whether their calls hang or their hints do: the others' slots are free, not queued for."""
    settings = environment.change(publish_slots=32)
    for name in ("slow", "slower"):
        register(FakePlatform(name))
        many(database, account(f"{name}:acme"), 50, platform=name, needs=needs)
    account("fake:acme")
    for _ in range(3):
        dispatch.visit(settings, lambda *_: None, by="dispatch:me")
        database.run(f"UPDATE scheduled_posts SET status = '{status}' WHERE status = 'queued'")  # noqa: S608 - ours
    many(database, account("fake:late"), 3, needs=needs)
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") >= 1
    assert database.one("SELECT count(*) FROM scheduled_posts WHERE platform = 'fake' AND lease_expires_at IS NOT NULL")


@pytest.mark.parametrize("slots", [1, 2, 4, 16, 64])
def test_room_is_shared_out(slots):
    """No platform gets all, none goes without, and all together have hardly more than there are."""
    hand: dict[str, claims.InHand] = {}
    names = [f"p{number}" for number in range(6)]
    for name in names:
        room = dispatch.Room(slots, hand, alone=False)
        free = room.free(name, prepare=False)
        assert 1 <= free <= max(1, slots * 3 // 4)
        hand[name] = claims.InHand(free, 0)
    assert sum(one.total for one in hand.values()) <= slots + len(names) - 1
    # What has accounts and nothing to do costs the others nothing; a platform that is alone has more than the slots.
    assert dispatch.Room(slots, {}, alone=False).free("p0", prepare=False) == max(1, slots * 3 // 4)
    assert dispatch.Room(slots, {}, alone=True).free("p0", prepare=False) == 2 * slots


def test_preparing_leaves_slots_to_what_is_due(environment, fake, account, database):
    settings = environment.change(publish_slots=4)
    number = account("fake:acme")
    many(database, number, 50, needs=True)
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") == 2
    many(database, number, 50)
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") == 6


def test_what_a_limit_has_moved_stays_in_due_order(settings, fake, account, database):
    number = account("fake:acme")
    many(database, number, 9)  # the later the row, the earlier it is due
    database.run("UPDATE scheduled_posts SET available_at = clock_timestamp() - random() * interval '1 hour'")
    with transaction(settings.database()) as conn:
        until = database.one("SELECT clock_timestamp()")
        assert claims.move_account(conn, number, until=until, code="limit", message="full") == 9
    taken: list[int] = []
    dispatch.visit(settings, lambda _task, args, _queue: taken.append(args[0]), by="dispatch:me")
    assert taken == [row[0] for row in database.rows("SELECT id FROM scheduled_posts ORDER BY due_at")]


def test_what_was_held_or_paused_by_an_old_look_at_the_account_is_freed(settings, scheduled, pipeline, database):
    """The account was resumed, or connected again, between the look and the commit of who had looked."""
    paused, held = scheduled("one", at="2031-01-01T10:00Z"), scheduled("two")
    database.run("UPDATE scheduled_posts SET paused = true WHERE id = :id", id=paused)
    database.run(
        "UPDATE scheduled_posts SET status = 'held', held_for = 'reconnect', generation = generation + 1"
        " WHERE id = :id",
        id=held,
    )
    assert pipeline.sweep()["freed"] == 2
    assert not database.post(paused).paused
    pipeline.until_quiet()
    assert database.post(held).status == "published"
    # Of an account that really has to be connected again, nothing is.
    waiting = scheduled("three", to="fake:gone")
    database.run("UPDATE accounts SET state = 'needs_reconnect' WHERE name = 'gone'")
    pipeline.until_quiet()
    assert (database.post(waiting).status, pipeline.sweep()["freed"]) == ("held", 0)


def test_living_workers_tell_how_many_slots_there_are(settings, fake, account, database):
    from workers import alive

    many(database, account(), 20)
    alive.mark(settings, queue="publish", worker="publish@here:1", slots=3)
    alive.mark(settings, queue="publish", worker="publish@there:2", slots=1)
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") == 8


@pytest.mark.parametrize(
    ("change", "status", "held_for"),
    [
        ("UPDATE accounts SET state = 'needs_reconnect' WHERE name = 'bad'", "held", "reconnect"),
        ("UPDATE accounts SET deleted_at = clock_timestamp() WHERE name = 'bad'", "canceled", None),
        ("UPDATE accounts SET paused_at = clock_timestamp() WHERE name = 'bad'", "scheduled", None),
        (
            "UPDATE accounts SET limited_until = clock_timestamp() + interval '1 hour' WHERE name = 'bad'",
            "scheduled",
            None,
        ),
        ("UPDATE scheduled_posts SET window_ends_at = due_at", "missed", None),
        ("UPDATE scheduled_posts SET claims = 99", "failed", None),
    ],
    ids=["needs_reconnect", "deleted", "paused", "limited", "window over", "claimed too often"],
)
def test_what_cannot_go_is_moved_out_of_the_way_of_the_rest(
    environment, fake, account, database, change, status, held_for
):
    settings = environment.change(claim_batch=10)
    bad, good = account("fake:bad"), account("fake:good")
    many(database, bad, 30)
    database.run(change)
    many(database, good, 3, due="interval '1 minute'")  # later, behind the thirty
    seen: list[int] = []
    dispatch.visit(settings, lambda _task, args, _queue: seen.append(args[0]), by="dispatch:me")
    goods = {row.id for row in database.rows("SELECT id FROM scheduled_posts WHERE account_id = :a", a=good)}
    assert set(seen) == goods
    assert {
        (row.status, row.held_for)
        for row in database.rows("SELECT status, held_for FROM scheduled_posts WHERE account_id = :a", a=bad)
    } == {(status, held_for)}
    with transaction(settings.database()) as conn:
        assert len(claims.candidates(conn, platform="fake", prepare=False, batch=100)) == 0


def test_dispatchers_that_meet_a_limited_account_do_not_block_each_other(environment, fake, account, database):
    settings = environment.change(claim_batch=50)
    number = account()
    many(database, number, 400)
    database.run("UPDATE accounts SET limited_until = clock_timestamp() + interval '1 hour'")
    errors: list[BaseException] = []
    ready = threading.Barrier(4)

    def dispatcher() -> None:
        try:
            with transaction(settings.database()) as conn:
                rows = claims.candidates(conn, platform="fake", prepare=False, batch=50)
                ready.wait(10)
                facts = claims.account_facts(conn, [number])
                assert len(rows) == 50
                claims.move_account(conn, number, until=facts[number].limited_until, code="x", message="y")
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=dispatcher) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_everything_paused_claims_nothing(settings, fake, account, database):
    many(database, account(), 3)
    with transaction(settings.database()) as conn:
        accounts.pause(conn, None, by="me")
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") == 0
    with transaction(settings.database()) as conn:
        accounts.resume(conn, None, by="me")
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") == 3


def test_prepare_and_dispatch_claim_different_rows(settings, fake, account, database):
    number = account()
    many(database, number, 2)
    many(database, number, 2, needs=True)
    hints: list[str] = []
    dispatch.visit(settings, lambda task, _args, _queue: hints.append(task), by="dispatch:me")
    assert sorted(hints) == ["publish.deliver"] * 2 + ["publish.prepare"] * 2


def test_what_was_prepared_and_has_expired_is_prepared_again(scheduled, pipeline, fake, database):
    fake.prepares = True
    fake.will("prepare", Ready(datetime.now(UTC) + timedelta(minutes=5)))
    number = scheduled(at=datetime.now(UTC) + timedelta(minutes=10))
    pipeline.until_quiet()
    assert database.post(number).status == "ready"
    database.pass_time(601)
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert [one.step for one in fake.visits] == ["prepare", "prepare", "publish"]


def test_an_unknown_platform_in_the_tables_stops_nobody(settings, fake, account, database):
    """A third party's module was uninstalled: its posts wait, the others go on."""
    many(database, account(), 1)
    database.run("INSERT INTO accounts (platform, name, credentials) VALUES ('gone', 'x', '')")
    many(database, database.one("SELECT max(id) FROM accounts"), 1, platform="gone")
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") == 1


@pytest.mark.parametrize(
    "query",
    [
        "DISPATCH_CANDIDATES",
        "PREPARE_CANDIDATES",
        "FOLLOW",
        "EXPIRED_LEASES",
        "OVERDUE",
        "NEXT_WAITING",
        "IN_HAND",
        "UNPAUSE",
        "HELD_FOR_NOTHING",
    ],
)
def test_with_twenty_thousand_rows_no_claim_scans_the_table(settings, fake, account, database, query):
    number = account()
    many(database, number, 20_000, due="interval '-30 days'")
    many(database, number, 50)
    many(database, number, 50, needs=True)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("ANALYZE scheduled_posts, accounts"))
        plan = "\n".join(
            row[0]
            for row in conn.execute(
                text("EXPLAIN " + getattr(claims, query).text), {"platform": "fake", "batch": 500, "lease_s": 60.0}
            )
        )
    assert "Seq Scan on scheduled_posts" not in plan, plan


def test_two_beats_send_each_post_once(scheduled, pipeline, fake, database):
    numbers = [scheduled(f"post {n}") for n in range(12)]
    errors: list[BaseException] = []

    def beat() -> None:
        try:
            for _ in range(3):
                rescue.sweep(pipeline.settings, pipeline.hints)
                dispatch.visit(pipeline.settings, pipeline.hints, by="dispatch:beat")
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    beats = [threading.Thread(target=beat) for _ in range(2)]
    for one in beats:
        one.start()
    for one in beats:
        one.join()
    assert errors == []
    # Every hint comes twice.
    pipeline.hints.waiting += list(pipeline.hints.waiting)
    pipeline.until_quiet()
    assert {database.post(n).status for n in numbers} == {"published"}
    assert (len(fake.accepted), fake.doubled()) == (12, [])


# --- Rescue -------------------------------------------------------------------------------------------------


def test_a_lost_hint_costs_a_lease_and_nothing_else(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    pipeline.claim()
    pipeline.hints.forget()
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("queued", 0)
    database.pass_time(settings.queued_lease_seconds + 1)
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.attempts) == ("published", 1)


def test_a_lost_hint_of_a_prepared_post_keeps_what_was_prepared(scheduled, pipeline, settings, fake, database):
    fake.prepares = True
    number = scheduled()
    pipeline.cycle()
    assert database.post(number).status == "ready"
    pipeline.claim()
    pipeline.hints.forget()
    database.pass_time(settings.queued_lease_seconds + 1)
    pipeline.sweep()
    assert database.post(number).status == "ready"
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("prepare")) == ("published", 1)


def test_a_dead_preparer_is_followed_by_another_until_it_is_enough(scheduled, pipeline, environment, fake, database):
    pipeline.settings = settings = environment.change(max_claims=3)
    fake.prepares = True

    class Kill(BaseException):
        pass

    fake.always("prepare", Kill())
    number = scheduled(options={"post": {"window_minutes": 600}})
    for _ in range(5):
        pipeline.sweep()
        pipeline.claim()
        try:
            pipeline.run_hints()
        except Kill:
            pipeline.hints.forget()
        database.pass_time(settings.prepare_lease_seconds + 1)
    row = database.post(number)
    assert (row.status, row.error_code, fake.count("prepare")) == ("failed", "worker_crash", 3)
    assert [one.code for one in database.letters(number)] == ["worker_crash"]


def test_a_lease_that_still_runs_is_left_alone(scheduled, pipeline, fake, database):
    number = scheduled()
    pipeline.claim()
    assert pipeline.sweep()["rescued"] == 0
    assert database.post(number).status == "queued"


# --- Missed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["scheduled", "ready", "retrying", "queued", "preparing", "held"])
def test_what_could_not_go_out_inside_its_window_is_missed_with_a_dead_letter(
    scheduled, pipeline, fake, database, status
):
    number = scheduled()
    if status in {"queued", "preparing"}:
        database.run(
            "UPDATE scheduled_posts SET status = :s, leased_by = 'dispatch:x',"
            " lease_expires_at = clock_timestamp() + interval '1 day'",
            s=status,
        )
    elif status == "held":
        database.run("UPDATE scheduled_posts SET status = 'held', held_for = 'reconnect'")
        database.run(
            "INSERT INTO dead_letters (scheduled_post_id, generation, status, code, message)"
            " VALUES (:id, 1, 'held', 'reconnect', 'm')",
            id=number,
        )
    else:
        database.run("UPDATE scheduled_posts SET status = :s", s=status)
    database.pass_time(3601)
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("missed", 0)
    assert [one.code for one in database.letters(number) if one.resolved_at is None] == ["missed"]


@pytest.mark.parametrize("status", ["publishing", "unknown", "processing"])
def test_first_the_outcome_then_the_window(scheduled, pipeline, fake, database, status):
    number = scheduled()
    lease = (
        "leased_by = 'w', lease_expires_at = clock_timestamp() + interval '1 day'," if status == "publishing" else ""
    )
    database.run(
        f"UPDATE scheduled_posts SET {lease} status = :s, available_at = clock_timestamp() + interval '1 day'",  # noqa: S608 - words of this test
        s=status,
    )
    database.pass_time(3601)
    pipeline.sweep()
    assert database.post(number).status == status


def test_a_window_of_its_own_is_kept(scheduled, pipeline, fake, database):
    number = scheduled(options={"post": {"window_minutes": 120}})
    fake.always("publish", NotSent("server", "503", retry_after_s=99_999))
    pipeline.until_quiet()
    database.pass_time(3601)
    pipeline.until_quiet()
    assert database.post(number).status == "retrying"
    database.pass_time(3601)
    pipeline.until_quiet()
    assert database.post(number).status == "missed"


def test_a_backlog_after_an_outage_goes_out_spaced_by_the_burst_guard(scheduled, pipeline, environment, fake, database):
    pipeline.settings = environment.change(burst_count=2, burst_seconds=300)
    numbers = [scheduled(f"post {n}") for n in range(6)]
    pipeline.until_quiet()
    assert [one.text for one in fake.accepted] == ["post 0", "post 1"]
    assert {database.post(n).error_code for n in numbers[2:]} == {"burst_guard"}
    database.pass_time(301)
    pipeline.until_quiet()
    assert [one.text for one in fake.accepted] == ["post 0", "post 1", "post 2", "post 3"]
    database.pass_time(301)
    pipeline.until_quiet()
    assert {database.post(n).status for n in numbers} == {"published"}


# --- The tick -----------------------------------------------------------------------------------------------


def test_a_tick_stays_for_what_becomes_due_within_it(scheduled, settings, fake, database, hints):
    number = scheduled(at=datetime.now(UTC) + timedelta(hours=1))
    assert dispatch.visit(settings, hints, by="dispatch:me") == 0
    database.run(
        "UPDATE scheduled_posts SET due_at = clock_timestamp() + interval '150 ms',"
        " available_at = clock_timestamp() + interval '150 ms'"
    )
    assert dispatch.tick(settings, hints, by="dispatch:me", until_s=2.0) == 1
    late = database.one(
        "SELECT extract(epoch FROM at - due_at) FROM transitions t JOIN scheduled_posts s"
        " ON s.id = t.scheduled_post_id WHERE s.id = :id",
        id=number,
    )
    assert 0 <= late < 0.5


def test_nothing_goes_before_its_time(scheduled, pipeline, fake, database):
    number = scheduled(at=datetime.now(UTC) + timedelta(minutes=1))
    pipeline.until_quiet()
    assert database.post(number).status == "scheduled"
    database.pass_time(61)
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_platform_that_is_slow_does_not_fill_the_others_places(environment, fake, register, account, database):
    settings = environment.change(publish_slots=2)
    other = register(FakePlatform("other"))
    other.will("publish", sent(NotSent("x", "y")))
    many(database, account("fake:acme"), 20)
    for _ in range(3):
        dispatch.visit(settings, lambda *_: None, by="dispatch:me")
    many(database, account("other:acme"), 1, platform="other")
    assert dispatch.visit(settings, lambda *_: None, by="dispatch:me") == 1
