"""Edit: new content for what is still to come, and for what ended without being public."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakePlatform, sent

from db.session import transaction
from platforms.base import NotSent, Published, Rejected, Unknown
from scheduler import (
    InvalidPost,
    NotAllowed,
    Refused,
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

LATER = "2031-05-04T18:00:00Z"


def in_time(**delta):
    return datetime.now(UTC) + timedelta(**delta)


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


# --- The window ---------------------------------------------------------------------------------------------


def window_of(database, number):
    row = database.post(number)
    return (row.window_ends_at - row.due_at, row.window_seconds)


def test_an_edit_of_the_window_changes_it(scheduled, database):
    number = scheduled(at=LATER)
    assert edit(number, options={"post": {"window_minutes": 5}}).done
    assert window_of(database, number) == (timedelta(minutes=5), 300)
    assert edit(number, text="New").done
    assert window_of(database, number) == (timedelta(minutes=5), 300)
    assert edit(number, options={"fake": {"colour": "blue"}}).done, "the options are new: the default holds again"
    assert window_of(database, number) == (timedelta(minutes=60), 3600)


def test_an_edit_that_says_nothing_of_the_window_leaves_it(environment, scheduled, database):
    number = scheduled(at=LATER)
    environment.change(window_minutes=15)
    assert edit(number, options={"fake": {"colour": "blue"}}).done
    assert window_of(database, number) == (timedelta(minutes=60), 3600)


def test_the_window_of_a_retried_post_is_counted_from_its_retry(scheduled, pipeline, fake, database):
    number = failed(scheduled, pipeline, fake)
    database.pass_time(5 * 3600)
    retry(number)
    ends = database.post(number).window_ends_at
    assert edit(number, options={"post": {"window_minutes": 5}}).done
    assert database.post(number).window_ends_at == ends - timedelta(minutes=55)


# --- What has ended -----------------------------------------------------------------------------------------


def failed(scheduled, pipeline, fake, **more):
    fake.will("publish", sent(Rejected("bad_words", "not like this", 400)))
    number = scheduled(**more)
    pipeline.until_quiet()
    return number


def test_a_failed_post_is_mended_and_then_replayed(scheduled, pipeline, settings, fake, database, pictures):
    number = failed(scheduled, pipeline, fake, words="Old", media=[pictures["jpeg"]])
    told = edit(number, text="New", media=[pictures["png"]], options={"post": {"window_minutes": 5}})
    assert told.done
    assert (told.changes[0].status, "replay" in told.changes[0].message) == ("failed", True)
    row = database.post(number)
    assert (row.status, row.error_code, row.generation) == ("failed", "bad_words", told_generation(database, number))
    [letter] = database.letters(number)
    assert letter.resolution is None
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("failed", 1)
    with transaction(settings.database()) as conn:
        dead_letters.replay(conn, number, by="me")
    assert 4 < (database.post(number).window_ends_at - datetime.now(UTC)).total_seconds() / 60 <= 5
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert [(one.text, one.media) for one in fake.accepted] == [("New", (fake.visits[-1].media[0].sha256,))]
    assert (fake.visits[-1].media[0].width, fake.visits[-1].media[0].height) == (400, 600)


def told_generation(database, number):
    """The newest generation that history knows of."""
    return database.one("SELECT max(generation) FROM transitions WHERE scheduled_post_id = :id", id=number)


@pytest.mark.parametrize("way", ["missed", "canceled"])
def test_what_was_missed_or_canceled_is_mended_and_then_retried(scheduled, pipeline, fake, database, way):
    number = scheduled("Old", at=in_time(minutes=10))
    if way == "canceled":
        cancel(number)
    database.pass_time(3 * 3600)
    pipeline.sweep()
    assert database.post(number).status == way
    told = edit(number, text="New")
    assert (told.done, database.post(number).status) == (True, way)
    assert retry(number).done
    pipeline.until_quiet()
    assert [one.text for one in fake.accepted] == ["New"]


def test_a_mended_post_is_held_to_the_rules(scheduled, pipeline, fake, database):
    number = failed(scheduled, pipeline, fake)
    before, counts = database.post(number), database.counts()
    with pytest.raises(InvalidPost):
        edit(number, text="a" * 501)
    assert (database.post(number), database.counts()) == (before, counts)


def test_what_ended_does_not_stand_in_the_way_of_what_is_still_to_come(fake, account, register, database):
    register(FakePlatform("other", threads=False))
    account("fake:a")
    account("other:b")
    post = schedule("Old", to=["fake:a", "other:b"], at=LATER)
    live, ended = post.scheduled
    cancel(ended.id)
    told = edit(post, text=["one", "two"])
    assert [(one.id, one.done, one.status) for one in told.changes] == [
        (live.id, True, "scheduled"),
        (ended.id, False, "canceled"),
    ]
    assert "no threads" in told.changes[1].message
    with pytest.raises(InvalidPost, match="no threads"):
        edit(ended.id, text=["one", "two"])


def test_what_is_partly_public_or_in_doubt_or_without_an_account_is_not_mended(
    scheduled, pipeline, settings, fake, account, database
):
    partly = scheduled(["one", "two"])
    fake.will("publish", sent(Published("p-1", None)), sent(Rejected("bad_words", "not like this", 400)))
    pipeline.until(partly, "failed")
    doubtful = failed(scheduled, pipeline, fake, words="doubtful")
    database.run("UPDATE publish_attempts SET outcome = 'unknown' WHERE scheduled_post_id = :id", id=doubtful)
    gone = scheduled("gone", at=LATER)
    for number, words in ((partly, "public already"), (doubtful, "not known")):
        [told] = edit(number, text="New").changes
        assert (told.done, told.status) == (False, "failed")
        assert words in told.message
    with transaction(settings.database()) as conn:
        accounts.remove(conn, "fake:acme", by="me")
    account("fake:acme", token="another")
    [told] = edit(gone, text="New").changes
    assert (told.done, told.message) == (False, "its account was deleted")


def test_an_edit_and_a_replay_at_once_come_one_after_the_other(scheduled, pipeline, settings, fake, database):
    number = failed(scheduled, pipeline, fake, words="Old")
    with database.connect() as conn:
        edit(number, text="New", session=conn)
        thread = threading.Thread(target=retry, args=(number,))
        thread.start()
        while not database.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert thread.is_alive()
        conn.commit()
    thread.join()
    pipeline.until_quiet()
    assert [one.text for one in fake.accepted] == ["New"]


def test_an_edit_reads_options_like_schedule(fake, account, register, database):
    register(FakePlatform("other"))
    account("fake:a")
    account("other:b")
    post = schedule("Old", to=["fake:a", "other:b"], at=LATER)
    one = post.scheduled[0].id
    assert edit(one, options={"other": {"colour": "blue"}}).done, "the post goes there, too"
    for options in ({"x": {}}, {"fake:b": {}}):
        with pytest.raises(InvalidPost, match="unknown_option"):
            edit(one, options=options)
    with pytest.raises(Refused, match="once"):
        edit(one, text=["a", "b"], options={"post": {"thread": ["c"]}})
