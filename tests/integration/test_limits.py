"""The arithmetic of limits: which attempts count, and when there is a place again."""

from __future__ import annotations

import pytest

from db.session import transaction
from platforms.base import Quota
from scheduler.limits import full, guards


@pytest.fixture
def attempts(scheduled, database):
    """Writes attempts of an account, each so many seconds ago, with an outcome."""
    number = scheduled(at="2031-05-04T18:00Z")

    def make(*ago: float, outcome: str | None = "accepted", settled: str | None = None) -> int:
        for seconds in ago:
            database.run(
                """
                INSERT INTO publish_attempts (id, scheduled_post_id, account_id, version_id, generation, call,
                       platform_key, payload_sha256, worker, started_at, outcome, finished_at, settled)
                SELECT gen_random_uuid(), id, account_id, version_id, 1, 'c', 'k', 's', 'w',
                       clock_timestamp() - make_interval(secs => :ago), :outcome,
                       CASE WHEN CAST(:outcome AS text) IS NOT NULL THEN clock_timestamp() END, :settled
                  FROM scheduled_posts WHERE id = :id
                """,
                ago=seconds,
                outcome=outcome,
                settled=settled,
                id=number,
            )
        return int(database.post(number).account_id)

    return make


def seconds_until(settings, database, account, *quotas):
    """How long the account has to wait; None: it may go."""
    with transaction(settings.database()) as conn:
        found = full(conn, account, quotas)
    if found is None:
        return None
    return float(database.one("SELECT extract(epoch FROM CAST(:u AS timestamptz) - clock_timestamp())", u=found.until))


def test_below_the_limit_there_is_a_place(settings, database, attempts):
    account = attempts(10, 20)
    assert seconds_until(settings, database, account, Quota("q", 3, 60)) is None


@pytest.mark.parametrize(
    ("ago", "wait"),
    [
        ((10, 20, 30), 30),  # the third newest leaves the minute in 30 s
        ((1, 2, 3), 57),
        ((10, 20, 30, 40, 50), 30),  # more than allowed (the limit was lowered): the third newest counts
        ((10, 20, 30, 61), 30),
    ],
)
def test_there_is_a_place_again_when_the_nth_newest_leaves_the_span(settings, database, attempts, ago, wait):
    account = attempts(*ago)
    assert seconds_until(settings, database, account, Quota("q", 3, 60)) == pytest.approx(wait, abs=1.5)


def test_the_limit_that_waits_longest_decides(settings, database, attempts):
    account = attempts(10, 20)
    wait = seconds_until(
        settings, database, account, Quota("minute", 2, 60), Quota("hour", 2, 3600), Quota("roomy", 9, 86_400)
    )
    assert wait == pytest.approx(3580, abs=1.5)


@pytest.mark.parametrize(
    ("outcome", "settled", "counts"),
    [
        ("accepted", None, True),
        ("unknown", None, True),
        (None, None, True),
        ("unknown", "found", True),
        ("unknown", "absent", False),
        ("rejected", None, False),
        ("not_sent", None, False),
    ],
)
def test_only_what_may_be_public_counts(settings, database, attempts, outcome, settled, counts):
    account = attempts(5, outcome=outcome, settled=settled)
    assert (seconds_until(settings, database, account, Quota("q", 1, 60)) is not None) == counts


def test_other_accounts_do_not_count(settings, database, attempts, account):
    attempts(5, 6, 7)
    assert seconds_until(settings, database, account("fake:other"), Quota("q", 1, 60)) is None


def test_the_burst_guard_stands_beside_the_platforms_quotas(environment):
    settings = environment.change(burst_count=7, burst_seconds=70)
    mine, app = Quota("mine", 1, 2), Quota("app", 1, 2, scope="app")
    assert [(one.name, one.count, one.per_s) for one in guards(settings, [mine, app])] == [
        ("burst_guard", 7, 70),
        ("mine", 1, 2),
    ]
