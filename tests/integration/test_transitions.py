"""The one guarded write, every edge of the graph, and the constraints that hold the invariants."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from db.session import transaction
from db.states import DEAD, LEASED, TERMINAL, TRANSITIONS, HeldFor, Status
from db.transitions import ForbiddenTransition, move, revise, save_checkpoint

EDGES = [(source, target) for source, targets in TRANSITIONS.items() for target in sorted(targets)]


def put(database, number, status):
    """Sets a row into a state, as the constraints want it."""
    database.run(
        """
        UPDATE scheduled_posts SET status = :s,
               held_for = CASE WHEN :s = 'held' THEN 'approval' END,
               finalized_at = CASE WHEN :final THEN clock_timestamp() END,
               lease_expires_at = CASE WHEN :leased THEN clock_timestamp() + interval '1 hour' END,
               leased_by = CASE WHEN :leased THEN 'w' END,
               published_at = CASE WHEN :s = 'published' THEN clock_timestamp() END,
               evidence = CASE WHEN :s = 'published' THEN 'api' END
         WHERE id = :id
        """,
        s=status.value,
        final=status in TERMINAL,
        leased=status in LEASED,
        id=number,
    )


def needed(target):
    """The values that a target's constraints ask for."""
    values: dict[str, object] = {}
    if target in LEASED:
        values["lease_s"] = 60.0
    if target is Status.HELD:
        values["held_for"] = HeldFor.APPROVAL.value
    if target is Status.PUBLISHED:
        values |= {"published_at": text("clock_timestamp()"), "evidence": "api"}
    return values


@pytest.mark.parametrize(("source", "target"), EDGES, ids=[f"{a}-{b}" for a, b in EDGES])
def test_every_edge_of_the_graph_can_be_walked(scheduled, settings, database, source, target):
    number = scheduled()
    put(database, number, source)
    with transaction(settings.database()) as conn:
        assert move(conn, number, generation=1, source=source, target=target, by="test", why="w", **needed(target)) == 2
    row = database.post(number)
    assert (row.status, row.generation) == (target.value, 2)
    assert (row.finalized_at is not None) == (target in TERMINAL)
    assert (row.lease_expires_at is not None) == (target in LEASED)
    assert [(one.from_status, one.to_status, one.generation) for one in database.rows("SELECT * FROM transitions")] == [
        (source.value, target.value, 2)
    ]
    assert len(database.letters(number)) == (1 if target in DEAD else 0)


@pytest.mark.parametrize("source", list(Status))
def test_no_other_edge_can_be_walked(settings, source):
    for target in set(Status) - TRANSITIONS[source]:
        with transaction(settings.database()) as conn, pytest.raises(ForbiddenTransition):
            move(conn, 1, generation=1, source=source, target=target, by="test", **needed(target))


def test_a_lease_belongs_to_leased_states_and_only_to_them(settings):
    with transaction(settings.database()) as conn:
        with pytest.raises(ForbiddenTransition):
            move(conn, 1, generation=1, source=Status.SCHEDULED, target=Status.QUEUED, by="t")
        with pytest.raises(ForbiddenTransition):
            move(conn, 1, generation=1, source=Status.SCHEDULED, target=Status.CANCELED, by="t", lease_s=5.0)


@pytest.mark.parametrize(("generation", "source"), [(0, "scheduled"), (2, "scheduled"), (1, "retrying")])
def test_a_stale_move_changes_nothing(scheduled, settings, database, generation, source):
    number = scheduled()
    before = database.post(number)
    with transaction(settings.database()) as conn:
        assert move(conn, number, generation=generation, source=Status(source), target=Status.CANCELED, by="t") is None
        assert not save_checkpoint(conn, number, generation=99, values={"a": 1})
        assert revise(conn, number, generation=99, status=Status.SCHEDULED, by="t", why="w", claims=3) is None
    assert database.post(number) == before
    assert database.one("SELECT count(*) FROM transitions") == 0


def test_of_sixteen_movers_exactly_one_wins(scheduled, settings, database):
    number = scheduled()
    won: list[object] = []
    together = threading.Barrier(16)

    def mover(place: int) -> None:
        with transaction(settings.database()) as conn:
            conn.execute(text("SELECT 1"))
            together.wait()
            target = [Status.CANCELED, Status.QUEUED, Status.FAILED, Status.MISSED][place % 4]
            won.append(
                move(
                    conn, number, generation=1, source=Status.SCHEDULED, target=target, by=str(place), **needed(target)
                )
            )

    from db import session

    session.engine(settings.database(), pool_size=16)
    session.close()
    session.engine(settings.database(), pool_size=16)
    threads = [threading.Thread(target=mover, args=(place,)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one for one in won if one) == [2]
    assert len(won) == 16
    assert database.one("SELECT count(*) FROM transitions") == 1
    assert database.one("SELECT count(*) FROM dead_letters") <= 1


def test_a_dead_letter_is_written_with_the_move_and_closed_by_the_next(scheduled, settings, database):
    number = scheduled()
    with transaction(settings.database()) as conn:
        move(
            conn,
            number,
            generation=1,
            source=Status.SCHEDULED,
            target=Status.FAILED,
            by="t",
            error_code="c",
            error_message="m",
        )
        move(conn, number, generation=2, source=Status.FAILED, target=Status.SCHEDULED, by="me", resolution="replayed")
        move(conn, number, generation=3, source=Status.SCHEDULED, target=Status.MISSED, by="t")
    [first, second] = database.letters(number)
    assert (first.code, first.message, first.resolution, first.resolved_by) == ("c", "m", "replayed", "me")
    assert (second.status, second.resolution) == ("missed", None)


def test_a_move_that_is_rolled_back_leaves_no_trace(scheduled, settings, database):
    number = scheduled()
    with pytest.raises(ZeroDivisionError), transaction(settings.database()) as conn:  # noqa: PT012 - both belong to it
        move(conn, number, generation=1, source=Status.SCHEDULED, target=Status.FAILED, by="t")
        raise ZeroDivisionError
    assert database.post(number).status == "scheduled"
    assert database.one("SELECT count(*) FROM dead_letters") + database.one("SELECT count(*) FROM transitions") == 0


def test_a_checkpoint_is_merged_without_a_new_generation_and_renews_the_lease(scheduled, settings, database):
    number = scheduled()
    with transaction(settings.database()) as conn:
        move(conn, number, generation=1, source=Status.SCHEDULED, target=Status.PREPARING, by="t", lease_s=5.0)
        assert save_checkpoint(conn, number, generation=2, values={"a": 1}, lease_s=500.0)
        assert save_checkpoint(conn, number, generation=2, values={"b": [2]})
    row = database.post(number)
    assert (row.checkpoint, row.generation) == ({"a": 1, "b": [2]}, 2)
    assert database.one("SELECT extract(epoch FROM lease_expires_at - clock_timestamp()) FROM scheduled_posts") > 400


@pytest.mark.parametrize("status", sorted(LEASED | TERMINAL))
def test_what_is_leased_or_over_cannot_be_revised(settings, status):
    with transaction(settings.database()) as conn, pytest.raises(ForbiddenTransition):
        revise(conn, 1, generation=1, status=status, by="t", why="w")


# --- Constraints: no bug of ours can break the invariants ---------------------------------------------------

BROKEN = {
    "an unknown status": "UPDATE scheduled_posts SET status = 'done'",
    "terminal without an end": "UPDATE scheduled_posts SET status = 'failed'",
    "an end that is none": "UPDATE scheduled_posts SET finalized_at = clock_timestamp()",
    "leased without a lease": "UPDATE scheduled_posts SET status = 'queued'",
    "a lease that nobody has": "UPDATE scheduled_posts SET status = 'queued', lease_expires_at = clock_timestamp()",
    "a lease in a waiting state": "UPDATE scheduled_posts SET lease_expires_at = clock_timestamp(), leased_by = 'w'",
    "held without a reason": "UPDATE scheduled_posts SET status = 'held'",
    "a reason without held": "UPDATE scheduled_posts SET held_for = 'approval'",
    "held for something unheard of": "UPDATE scheduled_posts SET status = 'held', held_for = 'fun'",
    "published without a time": (
        "UPDATE scheduled_posts SET status = 'published', finalized_at = clock_timestamp(), evidence = 'api'"
    ),
    "published without evidence": (
        "UPDATE scheduled_posts SET status = 'published', finalized_at = clock_timestamp(), published_at = "
        "clock_timestamp()"
    ),
    "evidence of an unknown kind": "UPDATE scheduled_posts SET evidence = 'hearsay'",
    "a remote id before it is published": "UPDATE scheduled_posts SET remote_id = 'r'",
    "a window that ends before it begins": "UPDATE scheduled_posts SET window_ends_at = due_at - interval '1 second'",
    "a version that is not there": "UPDATE scheduled_posts SET version_id = 999",
    "an account that is not there": "UPDATE scheduled_posts SET account_id = 999",
    "an account of an unknown state": "UPDATE accounts SET state = 'odd'",
    "the same account twice": "INSERT INTO accounts (platform, name, credentials) VALUES ('fake', 'acme', '')",
    "the same account twice in a post": (
        "INSERT INTO scheduled_posts (post_id, version_id, account_id, platform, due_at, available_at, "
        "window_ends_at, media_ready, needs_prepare) SELECT post_id, version_id, account_id, platform, "
        "due_at, available_at, window_ends_at, true, false FROM scheduled_posts"
    ),
    "the same version twice": (
        "INSERT INTO post_versions (post_id, number, text, media, options, sha256) SELECT post_id, number, "
        "'', '[]', '{}', '' FROM post_versions"
    ),
    "an attempt with an unknown outcome word": (
        "UPDATE publish_attempts SET outcome = 'fine', finished_at = clock_timestamp()"
    ),
    "an outcome without an end": "UPDATE publish_attempts SET outcome = 'accepted'",
    "an end without an outcome": "UPDATE publish_attempts SET finished_at = clock_timestamp()",
    "settled in an unknown way": "UPDATE publish_attempts SET settled = 'maybe'",
    "two open dead letters": (
        "INSERT INTO dead_letters (scheduled_post_id, generation, status, code, message) SELECT id, 1, "
        "'failed', 'c', 'm' FROM scheduled_posts, generate_series(1, 2)"
    ),
    "a dead letter for a living state": (
        "INSERT INTO dead_letters (scheduled_post_id, generation, status, code, message) SELECT id, 1, "
        "'published', 'c', 'm' FROM scheduled_posts"
    ),
    "resolved without saying how": (
        "INSERT INTO dead_letters (scheduled_post_id, generation, status, code, message, resolved_at) SELECT "
        "id, 1, 'failed', 'c', 'm', clock_timestamp() FROM scheduled_posts"
    ),
    "an asset of an unknown state": "INSERT INTO media_assets (state) VALUES ('odd')",
    "stored without an object": "INSERT INTO media_assets (state) VALUES ('stored')",
    "the same local file twice": "INSERT INTO media_assets (sha256) VALUES ('a'), ('a')",
    "a rendition of an unknown state": (
        "WITH a AS (INSERT INTO media_assets (sha256) VALUES ('b') RETURNING id) INSERT INTO renditions "
        "(asset_id, recipe_hash, recipe, state) SELECT id, 'h', '{}', 'odd' FROM a"
    ),
    "ready without an object": (
        "WITH a AS (INSERT INTO media_assets (sha256) VALUES ('b') RETURNING id) INSERT INTO renditions "
        "(asset_id, recipe_hash, recipe, state) SELECT id, 'h', '{}', 'ready' FROM a"
    ),
    "the same rendition twice": (
        "WITH a AS (INSERT INTO media_assets (sha256) VALUES ('b') RETURNING id) INSERT INTO renditions "
        "(asset_id, recipe_hash, recipe) SELECT id, 'h', '{}' FROM a, generate_series(1, 2)"
    ),
    "the same key twice": "INSERT INTO idempotency_keys (key, fingerprint) VALUES ('k', 'f'), ('k', 'g')",
}


@pytest.mark.parametrize("query", BROKEN.values(), ids=BROKEN)
def test_the_database_refuses(scheduled, database, query):
    number = scheduled()
    database.run(
        "INSERT INTO publish_attempts (id, scheduled_post_id, account_id, version_id, generation, call,"
        " platform_key, payload_sha256, worker) SELECT gen_random_uuid(), id, account_id, version_id, 1, 'c', 'k',"
        " 's', 'w' FROM scheduled_posts WHERE id = :id",
        id=number,
    )
    with pytest.raises(IntegrityError):
        database.run(query)


def test_two_posts_of_one_account_cannot_hold_one_remote_id_but_may_hold_none(scheduled, database):
    one, two = scheduled("one"), scheduled("two")
    for number in (one, two):
        put(database, number, Status.PUBLISHED)
    database.run("UPDATE scheduled_posts SET remote_id = 'r' WHERE id = :id", id=one)
    with pytest.raises(IntegrityError):
        database.run("UPDATE scheduled_posts SET remote_id = 'r' WHERE id = :id", id=two)
    assert database.post(two).remote_id is None
