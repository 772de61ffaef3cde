"""Limits that protect an account, and an app: counted in Postgres, under a lock, whoever else publishes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from db.session import transaction
from platforms.base import Quota, RateLimited
from scheduler.limits import app_full, full, guards
from workers.ledger import ACCOUNT_LOCK
from workers.not_published import note_account

SHARED = Quota("app-3", 3, 3600, scope="app")
OWN = Quota("own-2", 2, 600)


def attempts(database: Any, scheduled_post_id: int, *, app: str = "fake:a", count: int = 1, **values: Any) -> None:
    """Writes past attempts of a scheduled post, ten seconds apart, the newest now."""
    row = database.post(scheduled_post_id)
    for number in range(count):
        database.run(
            "INSERT INTO publish_attempts (id, scheduled_post_id, account_id, version_id, generation, call,"
            " platform_key, payload_sha256, worker, app, started_at, finished_at, outcome, settled)"
            " VALUES (gen_random_uuid(), :id,"
            " :account, :version, 1, 'c', 'k', 'p', 'w', :app, clock_timestamp() - make_interval(secs => :age),"
            " clock_timestamp(), :outcome, :settled)",
            id=scheduled_post_id,
            account=row.account_id,
            version=row.version_id,
            app=app,
            age=10 * number,
            outcome=values.get("outcome", "accepted"),
            settled=values.get("settled"),
        )


def test_an_app_limit_counts_all_accounts_of_the_app_and_says_when_there_is_a_place(
    scheduled: Callable[..., int], database: Any, settings: Any
) -> None:
    one, two = scheduled(at="2031-01-01T10:00Z"), scheduled(at="2031-01-01T10:00Z", to="fake:other")
    attempts(database, one, count=2)
    attempts(database, two, app="fake:b", count=5)
    with transaction(settings.database()) as conn:
        assert app_full(conn, "fake:a", [SHARED]) is None
    attempts(database, two)
    with transaction(settings.database()) as conn:
        found = app_full(conn, "fake:a", [SHARED, OWN])
    assert found is not None
    assert (found.name, found.count) == ("app-3", 3)
    age = database.one("SELECT EXTRACT(EPOCH FROM :t - clock_timestamp())", t=found.until)
    assert 3600 - 30 < age <= 3600


def test_an_app_limit_of_one_call_counts_that_call_alone(
    scheduled: Callable[..., int], database: Any, settings: Any
) -> None:
    attempts(database, scheduled(at="2031-01-01T10:00Z"), count=3)
    with transaction(settings.database()) as conn:
        assert app_full(conn, "fake:a", [replace(SHARED, call="another")]) is None
        assert app_full(conn, "fake:a", [replace(SHARED, call="c")]) is not None


def test_what_was_not_published_does_not_count(scheduled: Callable[..., int], database: Any, settings: Any) -> None:
    one = scheduled(at="2031-01-01T10:00Z")
    attempts(database, one, count=2, outcome="rejected")
    attempts(database, one, count=2, outcome="not_sent")
    attempts(database, one, count=2, outcome="unknown", settled="absent")
    account = database.post(one).account_id
    with transaction(settings.database()) as conn:
        assert full(conn, account, guards(settings, [OWN])) is None
        assert app_full(conn, "fake:a", [SHARED]) is None
    attempts(database, one, count=2, outcome="unknown")
    with transaction(settings.database()) as conn:
        found = full(conn, account, guards(settings, [OWN]))
    assert found is not None
    assert found.name == "own-2"


def test_of_many_workers_at_once_no_more_than_the_app_may_begin(
    fake: Any, scheduled: Callable[..., int], account: Callable[..., int], pipeline: Any, database: Any, settings: Any
) -> None:
    from workers import publish

    fake.quotas = (SHARED,)
    numbers = [scheduled(f"post {number}", to=f"fake:account-{number}") for number in range(8)]
    pipeline.claim()
    rows = [database.post(number) for number in numbers]
    threads = [threading.Thread(target=publish.deliver, args=(settings, row.id, row.generation)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    statuses = [database.post(number).status for number in numbers]
    assert statuses.count("published") == 3
    assert statuses.count("scheduled") == 5, statuses
    assert {database.post(number).attempts for number in numbers if database.post(number).status == "scheduled"} == {0}


def test_two_limits_of_an_app_at_once_wait_for_nothing(
    account: Callable[..., int], fake: Any, database: Any, settings: Any
) -> None:
    """Each worker has the account that it was answered for; neither may wait for the other's."""
    numbers = [account(f"fake:a{number}") for number in range(4)]
    database.run("UPDATE accounts SET app = 'one'")
    other = account("fake:other")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    both = threading.Barrier(2)
    errors: list[BaseException] = []

    def answered(number: int) -> None:
        try:
            with transaction(settings.database()) as conn:
                conn.execute(text("SET LOCAL lock_timeout = '5s'"))
                conn.execute(ACCOUNT_LOCK, {"id": number})
                both.wait(10)
                note_account(conn, number, 1, RateLimited(until, "enough", 429, "app"))
                both.wait(10)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=answered, args=(number,)) for number in (numbers[2], numbers[1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert database.rows("SELECT DISTINCT limited_until FROM accounts WHERE app = 'one'") == [(until,)]
    assert database.one("SELECT limited_until FROM accounts WHERE id = :id", id=other) is None
