"""Tokens: one refresh for each that ran out, never lost, and a stale one never marks a healthy account."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from fakes import lost, sent
from sqlalchemy.exc import OperationalError

from db.crypto import Cipher
from db.session import transaction
from platforms.base import AuthExpired, NotSent, Published, RateLimited, Refreshed, Rejected
from workers import publish, tokens


def credentials(settings, database):
    """What is stored, opened."""
    return Cipher(settings.secret()).open(database.one("SELECT credentials FROM accounts"))


@pytest.fixture
def acme(fake, account, hints):
    """An account; its id."""
    return account("fake:acme", token="t0", refresh_token="r0")


def test_sixty_four_workers_that_were_refused_make_one_refresh(settings, fake, acme, database):
    together = threading.Barrier(64)
    told: list[bool] = []

    def worker() -> None:
        together.wait()
        told.append(tokens.refresh(settings, acme, 1))

    threads = [threading.Thread(target=worker) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(told), fake.count("refresh")) == ([False] * 63 + [True], 1)
    assert credentials(settings, database) == {"token": "t0+", "refresh_token": "r0"}
    assert database.one("SELECT token_version FROM accounts") == 2


def test_who_is_late_finds_the_new_token_and_does_not_refresh_it(settings, fake, acme):
    assert tokens.refresh(settings, acme, 1)
    assert not tokens.refresh(settings, acme, 1)
    assert fake.count("refresh") == 1


def test_a_post_that_was_refused_goes_out_with_the_new_token(scheduled, pipeline, fake, database):
    fake.will("publish", sent(AuthExpired("auth", "401", 401)))
    number = scheduled()
    row = pipeline.until(number, "published")
    assert (row.status, fake.count("refresh")) == ("published", 1)
    assert [one.credentials["token"] for one in fake.visits if one.step == "publish"] == ["t0", "t0+"]


def test_a_preparation_that_was_refused_goes_on_with_the_new_token(scheduled, pipeline, fake, database):
    fake.prepares = True
    fake.will("prepare", AuthExpired("auth", "401", 401))
    number = scheduled()
    pipeline.until(number, "published")
    assert (fake.count("refresh"), fake.count("prepare"), fake.count("publish")) == (1, 2, 1)


def test_a_stale_token_never_marks_a_healthy_account(scheduled, pipeline, settings, fake, database):
    """A worker is told "revoked" for a token that was renewed while it was asking."""
    number = scheduled()

    def revoked(call, draft):
        tokens.refresh(settings, 1, 1)
        return AuthExpired("revoked", "gone", 401, permanent=True)

    fake.will("publish", revoked)
    pipeline.claim()
    pipeline.run_hints()
    assert database.one("SELECT state FROM accounts") == "active"
    assert pipeline.until(number, "published", "held").status == "published"


def test_a_refresh_that_is_refused_for_an_old_token_marks_nothing(settings, fake, acme, database):
    def refused(call, _draft):
        database.run("UPDATE accounts SET token_version = 2")
        return AuthExpired("invalid_grant", "used before", permanent=True)

    fake.will("refresh", refused)
    assert not tokens.refresh(settings, acme, 1)
    assert database.one("SELECT state FROM accounts") == "active"


@pytest.mark.parametrize(
    "answer",
    [AuthExpired("invalid_grant", "gone", permanent=True), Rejected("x", "no"), None],
    ids=["invalid_grant", "rejected", "does not renew"],
)
def test_an_account_that_cannot_be_renewed_waits_for_a_person_with_its_posts(
    scheduled, pipeline, fake, database, account, answer
):
    fake.will("publish", sent(AuthExpired("auth", "401", 401)))
    fake.will("refresh", answer)
    number = scheduled()
    row = pipeline.until(number, "held")
    assert (row.held_for, database.one("SELECT state FROM accounts")) == ("reconnect", "needs_reconnect")
    assert [one.code for one in database.letters(number)] == ["reconnect"]
    account("fake:acme", token="fresh")
    pipeline.until(number, "published")
    assert database.one("SELECT state FROM accounts") == "active"


def test_what_does_not_renew_but_still_works_is_left_alone(settings, fake, acme, database):
    fake.will("refresh", None)
    assert not tokens.refresh(settings, acme, 1, refused=False)
    assert database.one("SELECT state FROM accounts") == "active"
    assert not tokens.refresh(settings, acme, 1, refused=False)
    assert fake.count("refresh") == 1


@pytest.mark.parametrize(
    "answer",
    [
        lost(was_sent=True),
        NotSent("server", "503"),
        lambda *_: RateLimited(datetime.now(UTC) + timedelta(seconds=50), "slow"),
    ],
    ids=["no answer", "503", "429"],
)
def test_a_refresh_that_failed_for_a_while_is_tried_again_later(settings, fake, acme, database, answer):
    fake.will("refresh", answer)
    assert not tokens.refresh(settings, acme, 1)
    assert not tokens.refresh(settings, acme, 1)  # not yet
    database.pass_time(61)
    assert tokens.refresh(settings, acme, 1)
    assert (fake.count("refresh"), database.one("SELECT state FROM accounts")) == (2, "active")


def test_a_worker_that_died_in_a_refresh_blocks_nobody_for_long(settings, fake, acme, database):
    class Kill(BaseException):
        pass

    fake.will("refresh", Kill())
    with pytest.raises(Kill):
        tokens.refresh(settings, acme, 1)
    assert not tokens.refresh(settings, acme, 1)
    database.pass_time(tokens.REFRESH_LEASE_S + 1)
    assert tokens.refresh(settings, acme, 1)


def test_new_tokens_are_kept_until_postgres_takes_them(settings, fake, acme, database, monkeypatch):
    """The old refresh token is spent: an outage of an hour must not cost the new one."""
    failures = [0]

    def renewed(call, _draft):
        def opened(url):
            if failures[0] < 60:
                failures[0] += 1
                raise OperationalError("x", {}, Exception("server closed the connection unexpectedly"))
            return transaction(url)

        monkeypatch.setattr(tokens, "transaction", opened)
        # Meanwhile another worker asked with the spent token, and marked the account.
        database.run("UPDATE accounts SET state = 'needs_reconnect', state_reason = 'invalid_grant'")
        return Refreshed({"token": "t1", "refresh_token": "r1"}, None)

    fake.will("refresh", renewed)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _s: None)
    assert tokens.refresh(settings, acme, 1)
    assert failures == [60]
    assert credentials(settings, database) == {"token": "t1", "refresh_token": "r1"}
    assert database.one("SELECT state FROM accounts") == "active"


def test_tokens_that_end_soon_are_renewed_before_they_do(settings, fake, account, database, hints):
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    account("fake:soon", token="a", expires_at=soon)
    account("fake:later", token="b", expires_at=(datetime.now(UTC) + timedelta(hours=5)).isoformat())
    account("fake:never", token="c")
    with transaction(settings.database()) as conn:
        due = tokens.due_for_refresh(conn)
    assert [database.one("SELECT name FROM accounts WHERE id = :i", i=one) for one, _ in due] == ["soon"]


def test_a_deleted_account_is_not_renewed(settings, fake, acme, database):
    database.run("UPDATE accounts SET deleted_at = clock_timestamp()")
    assert not tokens.refresh(settings, acme, 1)
    assert fake.count("refresh") == 0


def test_a_refused_worker_sends_one_hint_and_never_a_second_call(scheduled, pipeline, settings, fake, database):
    fake.will("publish", sent(AuthExpired("auth", "401", 401)))
    number = scheduled()
    pipeline.claim()
    [(_, args)] = pipeline.hints.waiting
    pipeline.hints.forget()
    publish.deliver(settings, *args)
    assert pipeline.hints.waiting == [("followup.refresh", (1, 1))]
    assert (database.post(number).status, fake.count("publish")) == ("retrying", 1)


def test_what_a_platform_says_of_an_account_while_it_is_visited_is_kept(scheduled, pipeline, fake, database):
    def told(call, _draft):
        call.learn({"tier": "trial"})
        return sent(Published("r1"))(call, _draft)

    database_facts = "SELECT facts FROM accounts"
    number = scheduled()
    database.run("""UPDATE accounts SET facts = '{"boards": []}'""")
    fake.will("publish", told)
    pipeline.until(number, "published")
    assert database.one(database_facts) == {"boards": [], "tier": "trial"}
