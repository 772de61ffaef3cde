"""Cancel, edit, reschedule, retry: whoever commits first wins, and the caller is told which."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from fakes import leave, sent

from db.session import transaction
from platforms.base import NotSent, Rejected, Unknown
from scheduler import (
    InvalidPost,
    InvalidTime,
    NotAllowed,
    NotFound,
    accounts,
    cancel,
    dead_letters,
    edit,
    get,
    reschedule,
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


# --- Edit ---------------------------------------------------------------------------------------------------


def test_an_edit_reaches_what_is_still_to_come_and_siblings_keep_theirs(fake, account, pipeline, database):
    account("fake:a")
    account("fake:b")
    post = schedule("Old", to=["fake:a", "fake:b"], at="now")
    fake.will("publish", sent(NotSent("server", "503")))
    pipeline.until_quiet()
    waiting, gone = sorted(get(post).scheduled, key=lambda one: one.status == "published")
    told = edit(post, text="New")
    assert {one.account: one.done for one in told.changes} == {waiting.account: True, gone.account: False}
    pipeline.until(waiting.id, "published")
    assert sorted((one.account, one.text) for one in fake.accepted) == sorted(
        [(gone.account.split(":")[1], "Old"), (waiting.account.split(":")[1], "New")]
    )
    assert [row.number for row in database.rows("SELECT number FROM post_versions ORDER BY number")] == [1, 2]


def test_an_edit_that_breaks_a_rule_changes_nothing(scheduled, database):
    number = scheduled(at=LATER)
    before, counts = database.post(number), database.counts()
    for given in ({"text": "a" * 501}, {"options": {"fake": {"shape": 1}}}, {"media": ["/nowhere.jpg"]}):
        with pytest.raises(InvalidPost):
            edit(number, **given)
    with pytest.raises(NotAllowed):
        edit(number)
    assert (database.post(number), database.counts()) == (before, counts)


def test_an_edit_starts_what_was_prepared_over(scheduled, pipeline, fake, database):
    fake.prepares = True
    number = scheduled("Old", at=in_time(minutes=5))
    pipeline.until_quiet()
    assert database.post(number).status == "ready"
    assert edit(number, text="New").done
    assert (database.post(number).status, database.post(number).checkpoint) == ("scheduled", {})
    database.pass_time(301)
    pipeline.until_quiet()
    assert [(one.step, one.text) for one in fake.visits] == [("prepare", "Old"), ("prepare", "New"), ("publish", "New")]


def test_an_edit_of_the_pictures_waits_for_the_new_ones(scheduled, pipeline, fake, database, pictures):
    number = scheduled("Hello", at=in_time(minutes=5), media=[pictures["jpeg"]])
    pipeline.until_quiet()
    assert database.post(number).media_ready
    assert edit(number, media=[pictures["png"]]).done
    assert not database.post(number).media_ready
    database.pass_time(301)
    pipeline.until_quiet()
    [item] = fake.visits[-1].media
    assert (item.width, item.height) == (400, 600)


def test_an_edit_of_the_text_keeps_the_pictures(scheduled, pipeline, fake, database, pictures):
    number = scheduled("Hello", at=in_time(minutes=5), media=[pictures["jpeg"]])
    pipeline.until_quiet()
    edit(number, text="New")
    assert database.post(number).media_ready
    database.pass_time(301)
    pipeline.until_quiet()
    assert (fake.accepted[0].text, len(fake.accepted[0].media)) == ("New", 1)


def test_a_doubtful_attempt_forbids_edit_and_reschedule(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    pipeline.claim()
    publish.deliver(settings, number, database.post(number).generation)
    for change in (lambda: edit(number, text="x"), lambda: reschedule(number, LATER), lambda: retry(number)):
        assert not change().done


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


# --- Retry and dead letters ---------------------------------------------------------------------------------


def failed(scheduled, pipeline, fake, **more):
    fake.will("publish", sent(Rejected("bad_words", "not like this", 400)))
    number = scheduled(**more)
    pipeline.until_quiet()
    return number


def test_retry_gives_a_fresh_window_and_budget_and_keeps_the_due_time(scheduled, pipeline, fake, database):
    number = failed(scheduled, pipeline, fake)
    database.pass_time(5 * 3600)
    due = database.post(number).due_at
    assert retry(number).done
    row = database.post(number)
    assert (row.status, row.attempts, row.claims, row.error_code, row.due_at) == ("scheduled", 0, 0, None, due)
    pipeline.until_quiet()
    row = database.post(number)
    assert row.status == "published"
    assert get(number).scheduled[0].lateness_s > 5 * 3600
    assert [one.resolution for one in database.letters(number)] == ["replayed"]


def test_retry_brings_back_what_was_missed_or_canceled(scheduled, pipeline, fake, database):
    number = scheduled(at=LATER)
    cancel(number)
    assert retry(number).done
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_dead_letter_says_what_happened_and_what_to_do(scheduled, pipeline, settings, fake, database):
    number = failed(scheduled, pipeline, fake)
    with transaction(settings.database()) as conn:
        [letter] = dead_letters.listing(conn)
        assert (letter.code, letter.account, letter.message) == ("bad_words", "fake:acme", "not like this")
        assert letter.plain
        assert letter.next_action
        assert letter.as_json()["class"] == letter.plain
        shown, attempts = dead_letters.show(conn, number)
        assert shown == letter
        assert [one.outcome for one in attempts] == ["rejected"]
        with pytest.raises(NotFound):
            dead_letters.show(conn, 12345)
        assert dead_letters.listing(conn, code="other") == []
        assert dead_letters.listing(conn, account="fake:acme") == [letter]


def test_a_failed_post_can_be_replayed_or_discarded_but_not_marked_as_published(
    scheduled, pipeline, settings, fake, database
):
    one = failed(scheduled, pipeline, fake, words="one")
    two = failed(scheduled, pipeline, fake, words="two")
    with transaction(settings.database()) as conn:
        with pytest.raises(NotAllowed):
            dead_letters.mark_published(conn, one, by="me")
        dead_letters.replay(conn, one, by="me")
        dead_letters.discard(conn, two, by="me")
        for number in (one, two):
            for again in (dead_letters.replay, dead_letters.discard, dead_letters.mark_published):
                with pytest.raises(NotAllowed, match="settled already"):
                    again(conn, number, by="me")
        assert dead_letters.listing(conn) == []
        assert len(dead_letters.listing(conn, resolved=True)) == 2
    pipeline.until_quiet()
    assert [database.post(n).status for n in (one, two)] == ["published", "failed"]


def test_a_dead_letters_own_number_wins_over_a_posts(scheduled, pipeline, settings, fake, database):
    number = failed(scheduled, pipeline, fake)
    letter = database.letters(number)[0].id
    with transaction(settings.database()) as conn:
        assert dead_letters.show(conn, letter)[0].scheduled_post_id == number


def test_of_two_people_who_replay_one_is_told_that_it_is_settled(scheduled, pipeline, settings, fake, database):
    number = failed(scheduled, pipeline, fake)
    told: list[str] = []

    def person() -> None:
        try:
            with transaction(settings.database()) as conn:
                dead_letters.replay(conn, number, by="me")
            told.append("done")
        except NotAllowed:
            told.append("settled")

    threads = [threading.Thread(target=person) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["done", "settled", "settled", "settled"]


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
    number = scheduled(at=LATER)
    cancel(number)
    with transaction(settings.database()) as conn:
        accounts.pause(conn, "fake:acme", by="me")
    retry(number)
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("scheduled", 0)
    with transaction(settings.database()) as conn:
        accounts.resume(conn, "fake:acme", by="me")
    pipeline.until_quiet()
    assert database.post(number).status == "published"


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
