"""Retry and dead letters: what ended goes on when a person says so, and never before its time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from fakes import in_doubt, sent

from db.session import transaction
from platforms.base import Published, Rejected
from scheduler import NotAllowed, NotFound, cancel, dead_letters, get, reschedule, retry

LATER = "2031-05-04T18:00:00Z"


def in_time(**delta):
    return datetime.now(UTC) + timedelta(**delta)


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


def test_retry_brings_back_what_was_canceled_and_its_time_still_holds(scheduled, pipeline, fake, database):
    due = in_time(minutes=10)
    number = scheduled(at=due)
    cancel(number)
    assert retry(number).done
    row = database.post(number)
    assert (row.available_at, row.due_at, row.window_ends_at) == (due, due, due + timedelta(hours=1))
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("scheduled", 0)
    database.pass_time(601)
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert get(number).scheduled[0].lateness_s < 60


def test_retry_brings_back_what_was_missed_at_once(scheduled, pipeline, fake, database):
    number = scheduled(at=in_time(minutes=10))
    database.pass_time(3 * 3600)
    pipeline.sweep()
    assert database.post(number).status == "missed"
    assert retry(number).done
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_what_failed_ahead_of_its_time_and_is_replayed_is_prepared_anew_and_waits(
    scheduled, pipeline, settings, fake, database
):
    fake.prepares, fake.lead_s = True, 600.0
    fake.will("prepare", Rejected("bad_words", "not like this", 400))
    due = in_time(minutes=5)
    number = scheduled(at=due)
    later = scheduled("Later", at=LATER)
    cancel(later)
    pipeline.until_quiet()
    assert database.post(number).status == "failed"
    with transaction(settings.database()) as conn:
        dead_letters.replay(conn, number, by="me")
    assert retry(later).done
    assert database.post(later).available_at == datetime(2031, 5, 4, 17, 50, tzinfo=UTC)
    pipeline.until_quiet()
    assert (database.post(number).status, database.post(number).available_at) == ("ready", due)
    assert (database.post(later).status, fake.count("publish")) == ("scheduled", 0)


def minutes_left(database, number):
    return database.one(
        "SELECT extract(epoch FROM window_ends_at - greatest(due_at, clock_timestamp())) / 60"
        "  FROM scheduled_posts WHERE id = :id",
        id=number,
    )


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "of an older release"])
def test_the_window_keeps_its_length_however_often_a_post_is_retried(scheduled, pipeline, fake, database, noted):
    fake.always("publish", sent(Rejected("bad_words", "not like this", 400)))
    number = scheduled()
    if not noted:
        database.run("UPDATE scheduled_posts SET window_seconds = NULL")
    for hours in (0, 5, 30):
        pipeline.until_quiet()
        assert database.post(number).status == "failed"
        database.pass_time(hours * 3600)
        assert retry(number).done
        assert 59.5 < minutes_left(database, number) <= 60
    due = datetime(2031, 5, 4, 18, tzinfo=UTC)
    assert reschedule(number, due).done
    row = database.post(number)
    assert (row.due_at, row.window_ends_at) == (due, due + timedelta(hours=1))


def test_a_retried_threads_lateness_is_that_of_the_part_that_went_first(scheduled, pipeline, fake, database):
    number = scheduled(["one", "two"])
    fake.will("publish", sent(Published("p-1", None)), sent(Rejected("bad_words", "not like this", 400)))
    pipeline.until(number, "failed")
    assert get(number).scheduled[0].lateness_s < 60
    database.pass_time(5 * 3600)
    before = get(number).scheduled[0].lateness_s
    assert retry(number).done
    pipeline.until(number, "published")
    assert get(number).scheduled[0].lateness_s == before


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


def test_a_letter_of_a_reconnect_is_not_discarded_while_a_try_is_in_doubt(scheduled, settings, database):
    number = scheduled(at=LATER)
    in_doubt(database, number, held_for="reconnect")
    database.run(
        "INSERT INTO dead_letters (scheduled_post_id, generation, status, code, message)"
        " VALUES (:id, 1, 'held', 'reconnect', 'm')",
        id=number,
    )
    with transaction(settings.database()) as conn, pytest.raises(NotAllowed, match="mark-published"):
        dead_letters.discard(conn, number, by="me")
    assert database.post(number).status == "held"
    with transaction(settings.database()) as conn:
        dead_letters.mark_published(conn, number, by="me", url="https://fake.example/1")
    assert database.post(number).status == "published"
