"""Cancel, edit, reschedule, retry: whoever commits first wins, and the caller is told which."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from fakes import in_doubt, leave, sent

from db.session import transaction
from db.states import Status
from db.transitions import move
from platforms.base import NotSent, Ready
from scheduler import (
    InvalidTime,
    NotFound,
    Refused,
    accounts,
    cancel,
    dead_letters,
    edit,
    get,
    reschedule,
    rescue,
    retry,
    schedule,
)
from workers import publish
from workers.intents import intend

LATER = "2031-05-04T18:00:00Z"


def in_time(**delta):
    return datetime.now(UTC) + timedelta(**delta)


# --- Races with the intent ----------------------------------------------------------------------------------

CHANGES = {
    "cancel": (cancel, "canceled"),
    "edit": (lambda number: edit(number, text="New"), "scheduled"),
    "reschedule": (lambda number: reschedule(number, LATER), "scheduled"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_commits_before_the_intent_wins(scheduled, pipeline, settings, fake, database, name):
    change, status = CHANGES[name]
    number = scheduled("Old")
    pipeline.claim()
    generation = database.post(number).generation
    assert change(number).done
    assert database.post(number).status == status
    assert publish.deliver(settings, number, generation) is None
    assert fake.count("publish") == 0


@pytest.mark.parametrize("name", CHANGES)
def test_an_intent_that_is_first_wins_and_the_caller_is_told(scheduled, pipeline, settings, fake, database, name):
    """The change begins while the intent is not committed yet, and waits for it."""
    change, _ = CHANGES[name]
    number = scheduled("Old")
    pipeline.claim()
    generation = database.post(number).generation
    told: list[object] = []
    with transaction(settings.database()) as conn:
        assert intend(conn, settings, number, generation, attempt_id=uuid.uuid4(), worker="w") is not None
        thread = threading.Thread(target=lambda: told.append(change(number)))
        thread.start()
        while not database.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert thread.is_alive()
    thread.join()
    [changes] = told
    assert not changes.done
    assert changes.changes[0].status == "publishing"
    assert database.post(number).cancel_requested == (name == "cancel")


@pytest.mark.parametrize("name", CHANGES)
def test_an_intent_that_waits_for_a_change_sends_nothing(scheduled, pipeline, settings, fake, database, name):
    number = scheduled("Old")
    pipeline.claim()
    generation = database.post(number).generation
    with database.connect() as conn:
        {
            "cancel": lambda: cancel(number, session=conn),
            "edit": lambda: edit(number, text="New", session=conn),
            "reschedule": lambda: reschedule(number, LATER, session=conn),
        }[name]()
        thread = threading.Thread(target=publish.deliver, args=(settings, number, generation))
        thread.start()
        while not database.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert thread.is_alive()
        conn.commit()
    thread.join()
    assert fake.count("publish") == 0
    assert database.attempts(number) == []


def test_changes_by_two_people_are_both_answered(scheduled, database):
    number = scheduled(at=LATER)
    told: list[object] = []
    threads = [threading.Thread(target=lambda: told.append(cancel(number))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.done for one in told] == [True] * 6
    assert database.one("SELECT count(*) FROM transitions") == 1


# --- Cancel -------------------------------------------------------------------------------------------------


def test_cancel_takes_all_accounts_of_a_post_or_one(fake, account, database):
    account("fake:a")
    account("fake:b")
    post = schedule("Hello", to=["fake:a", "fake:b"], at=LATER)
    told = cancel(post.scheduled[0].id)
    assert [(one.account, one.done) for one in told.changes] == [("fake:a", True)]
    assert [one.status for one in get(post).scheduled] == ["canceled", "scheduled"]
    assert cancel(post).done
    assert get(post).status == "canceled"
    with pytest.raises(NotFound):
        cancel(99)


def test_what_is_published_stays_published(scheduled, pipeline, fake):
    number = scheduled()
    pipeline.until_quiet()
    for change in (cancel, retry, lambda n: edit(n, text="x"), lambda n: reschedule(n, LATER)):
        told = change(number)
        assert not told.done
        assert told.changes[0].status == "published"


def test_cancel_stops_a_preparation_and_its_worker_ends_quietly(scheduled, pipeline, fake, database):
    fake.prepares = True

    def canceled(call, draft):
        assert cancel(number).done
        call.save(container="late")

    fake.will("prepare", canceled)
    number = scheduled()
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.checkpoint, fake.count("publish")) == ("canceled", {}, 0)


# --- Reschedule ---------------------------------------------------------------------------------------------


def test_a_new_time_moves_due_window_and_preparation(scheduled, pipeline, fake, database):
    fake.prepares, fake.lead_s = True, 600.0
    number = scheduled(at=in_time(minutes=5), options={"post": {"window_minutes": 20}})
    pipeline.until_quiet()
    told = reschedule(number, "2031-05-04T20:00", tz="Europe/Berlin")
    assert told.done
    due = datetime(2031, 5, 4, 18, tzinfo=UTC)
    row = database.post(number)
    assert (row.status, row.due_at, row.window_ends_at, row.available_at) == (
        "scheduled",
        due,
        due + timedelta(minutes=20),
        due - timedelta(minutes=10),
    )


def test_a_new_time_is_held_to_the_same_rules(scheduled, database):
    number = scheduled(at=LATER)
    before = database.post(number)
    for at in ("2020-01-01T00:00Z", "2031-01-01T00:00", "never"):
        with pytest.raises(InvalidTime):
            reschedule(number, at)
    assert database.post(number) == before


def test_rescheduled_to_now_it_goes_at_once(scheduled, pipeline, fake, database):
    number = scheduled(at=LATER)
    assert reschedule(number, "now").done
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_new_time_begins_anew(scheduled, pipeline, fake, database):
    """What was tried at the old time says nothing of how late the post is at the new one, nor spends its tries."""
    number = scheduled()
    fake.will("publish", sent(NotSent("server", "503")))
    pipeline.until_quiet()
    assert (database.post(number).status, database.post(number).attempts) == ("retrying", 1)
    due = in_time(days=1)
    assert reschedule(number, due).done
    row = database.post(number)
    assert (row.status, row.attempts, row.claims, row.first_sent_at) == ("scheduled", 0, 0, None)
    assert get(number).scheduled[0].lateness_s is None
    database.pass_time(86_401)
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert 0 <= get(number).scheduled[0].lateness_s < 60


def test_what_was_prepared_and_expires_before_the_new_time_is_prepared_anew(scheduled, pipeline, fake, database):
    fake.prepares = True
    fake.will("prepare", lambda call, _draft: (call.save(container="c-1"), Ready(in_time(hours=1)))[1])
    number = scheduled(at=in_time(minutes=5))
    pipeline.until_quiet()
    assert database.post(number).status == "ready"
    assert reschedule(number, in_time(minutes=10)).done
    assert database.post(number).checkpoint["container"] == "c-1"
    assert reschedule(number, in_time(days=2)).done
    assert (database.post(number).checkpoint, database.post(number).checkpoint_expires_at) == ({}, None)


# --- Doubt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_for", [None, "reconnect", "approval", "outcome_unknown"])
def test_what_may_be_public_is_not_changed_whatever_it_waits_for(scheduled, fake, database, held_for):
    """Repeating it would have made the same object; with other words or anew it would make a second one."""
    number = scheduled(at=LATER)
    in_doubt(database, number, held_for=held_for)
    before = database.post(number)
    for change in (
        lambda: edit(number, text="x"),
        lambda: edit(number, options={"post": {"window_minutes": 5}}),
        lambda: reschedule(number, LATER),
        lambda: retry(number),
    ):
        told = change()
        assert not told.done
        [one] = told.changes
        assert "know" in one.message or "may have published" in one.message
        assert database.post(number) == before
    told = cancel(number)
    assert not told.done
    assert "look at the profile" in told.changes[0].message
    row = database.post(number)
    assert (told.changes[0].status, row.status, row.held_for) == ("held", "held", "outcome_unknown")
    assert retry(number).changes[0].message.startswith("whether it is public is not known")


def test_a_change_approves_nothing(scheduled, pipeline, settings, fake, database):
    number = scheduled(at=in_time(minutes=1))
    row = database.post(number)
    with transaction(settings.database()) as conn:
        move(
            conn, number, generation=row.generation, source=Status.SCHEDULED, target=Status.HELD, by="test", why="test",
            held_for="approval", error_code="approval", error_message="Ann has to see it",
        )  # fmt: skip
    for change in (lambda: edit(number, text="Other words"), lambda: reschedule(number, in_time(minutes=2))):
        told = change()
        assert told.done
        assert (told.changes[0].status, "still waits for an approval" in told.changes[0].message) == ("held", True)
        row = database.post(number)
        assert (row.status, row.held_for, row.error_message) == ("held", "approval", "Ann has to see it")
    database.pass_time(180)
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("held", 0)
    with transaction(settings.database()) as conn:
        dead_letters.replay(conn, database.one("SELECT id FROM dead_letters WHERE resolved_at IS NULL"), by="ann")
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert (
        database.one("SELECT text FROM post_versions WHERE id = :id", id=database.post(number).version_id)
        == "Other words"
    )


# --- Accounts -----------------------------------------------------------------------------------------------


def test_a_deleted_accounts_posts_never_fire_and_its_name_is_free_again(
    scheduled, pipeline, settings, fake, database, account
):
    number = scheduled(at=in_time(minutes=1))
    with transaction(settings.database()) as conn:
        assert accounts.remove(conn, "fake:acme", by="me") == 1
        assert accounts.listing(conn) == []
    account("fake:acme", token="another")
    assert retry(number).changes[0].message == "its account was deleted"
    database.pass_time(61)
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("canceled", 0)


def test_pause_and_resume_tell_how_many_and_bear_repetition(scheduled, settings, fake, database):
    scheduled("a", at=LATER)
    scheduled("b", at=LATER)
    with transaction(settings.database()) as conn:
        assert accounts.pause(conn, "fake:acme", by="me") == 2
        assert accounts.pause(conn, "fake:acme", by="me") == 0
        assert [one.paused for one in accounts.listing(conn)] == [True]
    paused = scheduled("c", at=LATER)
    assert database.post(paused).paused
    with transaction(settings.database()) as conn:
        assert accounts.resume(conn, "fake:acme", by="me") == 3
        assert accounts.resume(conn, "fake:acme", by="me") == 0
        assert accounts.pause(conn, None, by="me", why="x") == 3
        accounts.pause(conn, None, by="me")
        assert accounts.everything_paused(conn)
        assert accounts.resume(conn, None, by="me") == 1
        assert not accounts.everything_paused(conn)


def test_a_post_whose_account_was_paused_while_it_was_over_does_not_slip_through(
    scheduled, pipeline, settings, fake, database
):
    number = scheduled(at=in_time(minutes=1))
    cancel(number)
    database.pass_time(61)
    with transaction(settings.database()) as conn:
        accounts.pause(conn, "fake:acme", by="me")
    retry(number)
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("scheduled", 0)
    with transaction(settings.database()) as conn:
        accounts.resume(conn, "fake:acme", by="me")
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_post_of_a_transaction_that_was_open_while_its_account_was_paused_is_freed(
    scheduled, pipeline, settings, fake, database
):
    """It was not there yet when the account was resumed; rescue sees that it waits for nothing."""
    scheduled("First", at=LATER)
    with transaction(settings.database()) as conn:
        accounts.pause(conn, "fake:acme", by="me")
    with database.connect() as session:
        number = schedule("Hello", to="fake:acme", at="now", session=session).scheduled[0].id
        with transaction(settings.database()) as conn:
            accounts.resume(conn, "fake:acme", by="me")
        session.commit()
    assert database.post(number).paused
    with transaction(settings.database()) as conn:
        rescue.unpause(conn)
    assert not database.post(number).paused
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_post_of_a_transaction_that_was_open_while_its_account_was_resumed_does_not_slip_through(
    scheduled, pipeline, settings, fake, database
):
    scheduled("First", at=LATER)
    with database.connect() as session:
        number = schedule("Hello", to="fake:acme", at="now", session=session).scheduled[0].id
        with transaction(settings.database()) as conn:
            accounts.pause(conn, "fake:acme", by="me")
        session.commit()
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("scheduled", 0)


def test_a_name_is_one_line(fake, account):
    with pytest.raises(Refused, match="cannot be an account's name"):
        account("fake:acme\n")


def test_a_number_that_is_none_names_no_post(fake, settings):
    for change in (cancel, retry, get, lambda n: edit(n, text="x"), lambda n: reschedule(n, LATER)):
        for number in ("12", None, 1.5, 10**30, -1):
            with pytest.raises(NotFound):
                change(number)


def test_keys_are_rotated_and_the_old_one_may_go(environment, fake, account, database):
    from db.crypto import Cipher, new_key
    from scheduler.settings import current

    account("fake:a", token="one")
    account("fake:b", token="two")
    old, new = current().secret(), new_key()
    settings = environment.change(secret_key=f"{new},{old}")
    with transaction(settings.database()) as conn:
        assert accounts.rotate_keys(conn, settings) == 2
    opened = [
        Cipher(new).open(row.credentials)["token"]
        for row in database.rows("SELECT credentials FROM accounts ORDER BY name")
    ]
    assert opened == ["one", "two"]


def test_leaving_is_what_a_fake_call_does(scheduled, pipeline, fake, database):
    """The fake goes through the real client's mark, so the tests above test what the workers use."""
    number = scheduled()

    def broken(call, draft):
        leave(call)
        assert call.http.publish_sent
        raise RuntimeError

    fake.will("publish", broken)
    pipeline.claim()
    pipeline.run_hints()
    assert database.post(number).status == "unknown"
