"""Credentials are stored once it is known whose they are; posts never go on as another profile unasked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fakes import in_doubt, lost

from db.crypto import Cipher
from platforms.base import AuthExpired, Identity, NotSent, RateLimited, ReconcileKind, Rejected, Unknown
from scheduler import profiles, schedule
from scheduler.errors import InvalidPost, NotAllowed, Refused
from workers.readiness import look_ahead

A, B = Identity("1", "anna"), Identity("2", "bert")
LATER = "2031-01-01T10:00Z"


@pytest.fixture
def anna(fake, scheduled, settings):
    """``fake:acme`` is anna, with one post ahead; its number."""
    fake.always("identify", A)
    number = scheduled(at=LATER)
    made, _ = profiles.store(settings, "fake", "acme", {"token": "t0"}, ask=True, replace=False)
    assert made.handle == "anna"
    return number


def token(database, settings):
    return Cipher(settings.secret()).open(database.one("SELECT credentials FROM accounts"))["token"]


def store(settings, words="of-b", *, ask=True, replace=False):
    return profiles.store(settings, "fake", "acme", {"token": words}, ask=ask, replace=replace)


def put(database, number, status, held_for=None):
    database.run(
        """
        UPDATE scheduled_posts SET status = :status, held_for = CAST(:held_for AS text), generation = generation + 1,
               leased_by = CASE WHEN :leased THEN 'w' END,
               lease_expires_at = CASE WHEN :leased THEN clock_timestamp() END
         WHERE id = :id
        """,
        status=status,
        held_for=held_for,
        leased=status in {"preparing", "queued", "publishing"},
        id=number,
    )


def test_a_doubtful_post_is_not_looked_for_as_somebody_else(fake, scheduled, settings, database, pipeline):
    """Else the look-up on the other profile would find nothing, and the post would go out twice."""
    fake.kind = ReconcileKind.LOOKUP
    fake.always("identify", A)
    number = scheduled()
    store(settings, "t0")
    fake.will("publish", fake.stores_then(Unknown("timeout", "no answer")))
    pipeline.run_hints()
    pipeline.claim()
    pipeline.run_hints()
    assert database.post(number).status == "unknown"
    fake.always("identify", B)
    for more in ({}, {"replace": True}):
        with pytest.raises(NotAllowed):
            store(settings, **more)
    for answer in (lost(was_sent=True), NotSent("busy", "busy"), AuthExpired("revoked", "no", permanent=True)):
        fake.always("identify", answer)
        with pytest.raises(NotAllowed, match="not known whose"):
            store(settings)
    with pytest.raises(NotAllowed, match="not known whose"):
        store(settings, ask=False, replace=True)
    assert token(database, settings) == "t0"


@pytest.mark.parametrize("status", ["preparing", "ready", "queued", "publishing", "processing", "retrying", "unknown"])
def test_what_is_under_way_keeps_the_name(anna, fake, settings, database, status):
    put(database, anna, status)
    fake.always("identify", B)
    with pytest.raises(NotAllowed, match="under way"):
        store(settings, replace=True)
    with pytest.raises(NotAllowed, match="under way"):
        store(settings, ask=False)
    fake.always("identify", A)
    store(settings, "new")
    assert token(database, settings) == "new"


@pytest.mark.parametrize("held_for", ["reconnect", "approval", "outcome_unknown"])
def test_what_is_held_is_not_released_to_nobody_knows_whom(anna, fake, settings, database, held_for):
    put(database, anna, "held", held_for)
    with pytest.raises(NotAllowed, match="1 are held"):
        store(settings, ask=False)
    fake.always("identify", RateLimited(datetime.now(UTC) + timedelta(hours=1), "later"))
    with pytest.raises(NotAllowed, match="--no-check"):
        store(settings)
    assert database.post(anna).status == "held"
    # The same credentials show by themselves whose they are.
    store(settings, "t0", ask=False)
    assert database.post(anna).status == ("scheduled" if held_for == "reconnect" else "held")


def test_a_held_try_in_doubt_and_a_thread_half_out_stay_with_their_profile(anna, fake, settings, database):
    fake.always("identify", B)
    in_doubt(database, anna, held_for="outcome_unknown")
    with pytest.raises(NotAllowed, match="dead-letters"):
        store(settings, replace=True)
    database.run("UPDATE publish_attempts SET settled = 'absent'")
    put(database, anna, "held", "reconnect")
    database.run('UPDATE scheduled_posts SET parts = 2, parts_out = \'[{"remote_id": "1", "url": null}]\'')
    with pytest.raises(NotAllowed, match="dead-letters"):
        store(settings, replace=True)


def test_a_takeover_that_is_meant_goes_through_where_nothing_has_begun(anna, fake, settings, database):
    put(database, anna, "held", "reconnect")
    fake.always("identify", B)
    with pytest.raises(NotAllowed, match="goes out as bert"):
        store(settings)
    made, found = store(settings, replace=True)
    assert (made.handle, found.ok, database.one("SELECT remote_id FROM accounts")) == ("bert", True, "2")
    assert database.post(anna).status == "scheduled"


def test_unasked_credentials_are_told_apart_at_the_next_check(anna, fake, settings, database, hints):
    store(settings, ask=False)
    fake.always("identify", B)
    found = profiles.check(settings, "fake:acme")
    assert (found.ok, found.code) == (False, "another_profile")
    assert "bert" in found.message
    assert database.one("SELECT handle FROM accounts") == "anna"
    database.run("UPDATE scheduled_posts SET due_at = clock_timestamp() + interval '30 minutes'")
    look_ahead(settings)
    assert [one["code"] for one in database.one("SELECT problems FROM readiness")] == ["another_profile"]
    # Said on purpose, the name is whose the platform says from the next check on.
    store(settings, "of-b-again", ask=False, replace=True)
    assert profiles.check(settings, "fake:acme").ok
    assert database.one("SELECT handle FROM accounts") == "bert"


def test_a_profile_that_was_never_asked_for_is_not_guessed(fake, scheduled, settings, database):
    number = scheduled(at=LATER)
    fake.always("identify", A)
    put(database, number, "held", "reconnect")
    with pytest.raises(NotAllowed, match="never asked"):
        store(settings, "other")
    store(settings, "other", replace=True)
    assert (database.one("SELECT handle FROM accounts"), database.post(number).status) == ("anna", "scheduled")


def test_without_posts_any_credentials_are_stored(fake, account, settings, database):
    account()
    fake.always("identify", Rejected("suspended", "no"))
    _, found = store(settings)
    assert (found.ok, found.asked, token(database, settings)) == (False, True, "of-b")


def test_what_cannot_be_credentials_is_not_sent_anywhere(fake, settings):
    with pytest.raises(Refused):
        profiles.store(settings, "fake", "acme", {"pass": "x"}, ask=True, replace=False)
    with pytest.raises(Refused):
        profiles.store(settings, "fake", "no name", {"token": "x"}, ask=True, replace=False)
    assert fake.count("identify") == 0


# --- Access that has ended ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "answer", "ok", "code"),
    [
        ({"refresh_token": "r"}, AuthExpired("expired", "401"), True, "access_ended"),
        ({"refresh_token": "r"}, AuthExpired("revoked", "no", permanent=True), False, "revoked"),
        ({}, AuthExpired("expired", "401"), False, "expired"),
    ],
)
def test_a_token_that_workers_will_renew_is_no_fault_of_the_account(fake, settings, database, more, answer, ok, code):
    fake.always("identify", answer)
    for ends, expected in (("2020-01-01T00:00:00Z", (ok, code)), ("2099-01-01T00:00:00Z", (False, answer.code))):
        given = {"token": "t", "expires_at": ends, **more}
        _, found = profiles.store(settings, "fake", "acme", given, ask=True, replace=False)
        assert (found.ok, found.code) == expected
        found = profiles.check(settings, "fake:acme")
        assert (found.ok, found.code) == expected
    assert fake.count("refresh") == 0


def test_one_profile_under_two_names_gets_a_post_once(fake, settings, database):
    fake.always("identify", A)
    warning = "the same profile as fake:acme: a post to both is refused"
    for name, said in (("acme", "works as anna"), ("acme2", warning)):
        _, found = profiles.store(settings, "fake", name, {"token": name}, ask=True, replace=False)
        assert found.ok
        assert said in found.message
    with pytest.raises(InvalidPost) as refused:
        schedule("Hello", to=["fake:acme", "fake:acme2"], at=LATER)
    [wrong] = refused.value.violations
    assert wrong.code == "account_twice"
    assert "fake:acme and fake:acme2 are the same profile (anna)" in wrong.message
    assert database.one("SELECT count(*) FROM posts") == 0
    database.run("UPDATE accounts SET api_url = 'http://127.0.0.1:9' WHERE name = 'acme2'")
    assert schedule("Hello", to=["fake:acme", "fake:acme2"], at=LATER).id


def test_one_id_on_two_servers_is_two_profiles(fake, settings):
    for name, handle in (("one", "anna@one.example"), ("two", "bert@two.example")):
        fake.always("identify", Identity("1", handle))
        _, found = profiles.store(settings, "fake", name, {"token": name}, ask=True, replace=False)
        assert found.message == f"works as {handle}"
    assert schedule("Hello", to=["fake:one", "fake:two"], at=LATER).id


def test_credentials_that_are_refused_say_what_next(fake, settings):
    fake.always("identify", AuthExpired("unauthorized", "X: Unauthorized", permanent=True))
    _, found = profiles.store(settings, "fake", "acme", {"token": "t"}, ask=True, replace=False)
    assert found.message == "X: Unauthorized. Store others: schedulerx accounts add fake acme"
