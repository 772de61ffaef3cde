"""One post in several parts: each goes out once, in order, and whatever stops it goes on from there.

What could break it, and the test that shows that it does not:

- A worker dies in part k, before or after the platform stored it: ``test_a_worker_killed_in_any_part...``
- It dies after a part was noted and before the next: ``test_followup_goes_on...``
- Followup and the publish worker both go on with the next part: ``test_two_workers_want_the_next_part...``
- Two parts say the same, and one is in doubt: ``test_a_part_in_doubt_is_not_taken_for_an_equal_one...``
- Cancel, edit, pause, the end of the window, a refusal in the middle: nothing that is out is forgotten, sent
  again, or called "not published".
- An answer comes late: ``test_a_late_answer...``
"""

from __future__ import annotations

import pytest
from fakes import FakePlatform, leave, lost, sent
from PIL import Image

from db.session import transaction
from platforms.base import (
    AuthExpired,
    NotSent,
    Processing,
    Published,
    RateLimited,
    ReconcileKind,
    Rejected,
)
from scheduler import accounts, cancel, dead_letters, edit, reschedule, retry, schedule
from scheduler.errors import InvalidPost, NotAllowed, Refused
from workers import publish

THREE = ["one", "two", "three"]
KINDS = [kind for kind in ReconcileKind if kind is not ReconcileKind.NONE]


class Kill(BaseException):
    """Stands for kill -9 in the middle of a call."""


def killed(pipeline, database, number):
    """The worker of a publishing post is gone: its lease ends, and rescue sees it."""
    database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() WHERE id = :id", id=number)
    pipeline.sweep()
    pipeline.hints.forget()
    assert database.post(number).status == "unknown"
    database.run("UPDATE scheduled_posts SET available_at = clock_timestamp() WHERE id = :id", id=number)


def said(fake):
    """What is public, in order."""
    return [one.text for one in fake.accepted]


def chained(fake):
    """Whether each part answers the one before."""
    ids = [one.remote_id for one in fake.accepted]
    return [one.answers for one in fake.accepted] == [None, *ids[:-1]]


def after(fake, parts, then):
    """The first ``parts`` calls succeed; what comes next is ``then``."""
    fake.will("publish", *[lambda call, draft: (leave(call), fake.accept(call, draft))[1]] * parts, then)


def test_a_thread_goes_out_in_order_each_part_answering_the_one_before(scheduled, pipeline, fake, database):
    number = scheduled(THREE)
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, said(fake), chained(fake)) == ("published", THREE, True)
    assert (row.parts, row.remote_id, row.remote_url) == (3, "fake-1", "https://fake.example/fake-1")
    assert [one["remote_id"] for one in row.parts_out] == ["fake-1", "fake-2", "fake-3"]
    assert [(one.part, one.outcome) for one in database.attempts(number)] == [
        (0, "accepted"),
        (1, "accepted"),
        (2, "accepted"),
    ]
    assert len({one.platform_key for one in database.attempts(number)}) == 3
    assert row.first_sent_at < database.attempts(number)[1].sent_at, "lateness is the first part's"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("stored", [True, False], ids=["it-was-stored", "it-was-not"])
def test_a_worker_killed_in_any_part_leaves_each_part_once(scheduled, pipeline, fake, database, kind, part, stored):
    fake.kind = kind
    number = scheduled(THREE)
    after(fake, part, fake.stores_then(Kill()) if stored else sent(Kill()))
    pipeline.claim()
    with pytest.raises(Kill):
        pipeline.run_hints()
    killed(pipeline, database, number)
    row = pipeline.until(number, "published")
    assert (said(fake), chained(fake)) == (THREE, True)
    assert [one["remote_id"] for one in row.parts_out] == ["fake-1", "fake-2", "fake-3"]


def test_where_nothing_can_tell_the_thread_is_held_at_its_part_and_no_more_is_sent(
    scheduled, pipeline, settings, fake, database
):
    fake.kind = ReconcileKind.NONE
    number = scheduled(THREE)
    after(fake, 1, fake.stores_then(lost(was_sent=True)))
    row = pipeline.until(number, "held")
    assert (row.held_for, said(fake), len(row.parts_out)) == ("outcome_unknown", ["one", "two"], 1)
    assert not retry(number).done
    with transaction(settings.database()) as conn:
        dead_letters.mark_published(conn, number, by="me", url="https://fake.example/fake-2")
    row = database.post(number)
    assert (row.status, row.error_code) == ("failed", "partly_published")
    assert "fake-1" in row.error_message
    assert "2 of 3 parts" in row.error_message
    assert database.letters(number)[-1].resolution == "discarded"
    # What it would answer has no id that we know: nothing is sent into the blue.
    assert "nothing for the rest to answer" in retry(number).changes[0].message
    assert said(fake) == ["one", "two"]


def test_the_last_part_of_a_held_thread_can_be_marked_as_published(scheduled, pipeline, settings, fake, database):
    fake.kind = ReconcileKind.NONE
    number = scheduled(["one", "two"])
    after(fake, 1, fake.stores_then(lost(was_sent=True)))
    pipeline.until(number, "held")
    with transaction(settings.database()) as conn:
        dead_letters.mark_published(conn, number, by="me", url="https://fake.example/fake-2")
    row = database.post(number)
    assert (row.status, row.evidence, row.remote_url) == ("published", "person", "https://fake.example/fake-1")
    assert [one["url"] for one in row.parts_out] == ["https://fake.example/fake-1", "https://fake.example/fake-2"]


def test_a_held_thread_that_is_given_up_keeps_the_links_of_what_is_out(scheduled, pipeline, settings, fake, database):
    fake.kind = ReconcileKind.NONE
    number = scheduled(THREE)
    after(fake, 1, sent(lost(was_sent=True)))
    pipeline.until(number, "held")
    with transaction(settings.database()) as conn:
        dead_letters.discard(conn, number, by="me")
    row = database.post(number)
    assert (row.status, row.error_code, len(row.parts_out)) == ("failed", "partly_published", 1)
    with transaction(settings.database()) as conn:
        assert dead_letters.listing(conn) == []


def test_a_resent_part_goes_on_with_the_rest(scheduled, pipeline, settings, fake, database):
    fake.kind = ReconcileKind.NONE
    number = scheduled(THREE)
    after(fake, 1, sent(lost(was_sent=True)))
    pipeline.until(number, "held")
    with transaction(settings.database()) as conn:
        dead_letters.replay(conn, number, by="me", resend=True)
    pipeline.until(number, "published")
    assert (said(fake), chained(fake)) == (THREE, True)


def test_a_refusal_in_the_middle_ends_it_with_the_links_and_a_replay_sends_only_the_rest(
    scheduled, pipeline, settings, fake, database
):
    number = scheduled(THREE)
    after(fake, 2, sent(Rejected("duplicate", "you said that before")))
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.error_code) == ("failed", "partly_published")
    for told in ("2 of 3 parts", "https://fake.example/fake-1", "https://fake.example/fake-2", "you said that before"):
        assert told in row.error_message
    assert [one.code for one in database.letters(number)] == ["partly_published"]
    for change in (edit(number, text="new"), reschedule(number, "now")):
        assert not change.done
    with transaction(settings.database()) as conn:
        assert dead_letters.replay(conn, number, by="me").code == "partly_published"
    pipeline.until(number, "published")
    assert (said(fake), chained(fake)) == (THREE, True)


def test_a_refusal_of_the_first_part_is_a_plain_failure(scheduled, pipeline, fake, database):
    fake.will("publish", sent(Rejected("duplicate", "you said that before")))
    number = scheduled(THREE)
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.error_code, row.parts_out) == ("failed", "duplicate", [])


@pytest.mark.parametrize("where", ["during-a-part", "between-parts"])
def test_a_cancel_stops_the_rest_and_says_what_is_out(scheduled, pipeline, fake, database, where):
    number = scheduled(THREE)
    told = []

    def canceled_meanwhile(call, draft):
        leave(call)
        told.append(cancel(number).changes[0])
        return fake.accept(call, draft)

    if where == "during-a-part":
        after(fake, 1, canceled_meanwhile)
        pipeline.until_quiet()
        assert not told[0].done
        wanted = ["one", "two"]
    else:
        after(fake, 1, sent(NotSent("busy", "try later")))
        pipeline.until_quiet()
        assert database.post(number).status == "retrying"
        told.append(cancel(number).changes[0])
        assert "1 of its 3 parts are public" in told[0].message
        wanted = ["one"]
    row = database.post(number)
    assert (row.status, row.error_code, said(fake)) == ("failed", "partly_published", wanted)
    database.pass_time(3600)
    pipeline.until_quiet()
    assert said(fake) == wanted


def test_a_thread_that_has_begun_can_neither_be_edited_nor_moved(scheduled, pipeline, fake, database):
    number = scheduled(THREE)
    after(fake, 1, sent(NotSent("busy", "try later")))
    pipeline.until_quiet()
    assert database.post(number).status == "retrying"
    for change in (edit(number, text="new"), reschedule(number, "now")):
        assert not change.done
        assert "1 of its 3 parts are public" in change.changes[0].message
    pipeline.until(number, "published")
    assert said(fake) == THREE


def test_the_end_of_the_window_ends_it_with_what_is_out(scheduled, pipeline, fake, database):
    number = scheduled(THREE, options={"post": {"window_minutes": 5}})
    fake.will(
        "publish",
        lambda call, draft: (leave(call), fake.accept(call, draft))[1],
        lambda call, _draft: RateLimited(call.now().replace(year=call.now().year + 1), "wait a year"),
    )
    pipeline.until_quiet()
    database.pass_time(301)
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.error_code, said(fake)) == ("failed", "partly_published", ["one"])


@pytest.mark.parametrize(
    "trouble",
    [NotSent("busy", "try later"), AuthExpired("token_expired", "old")],
    ids=["not-sent", "auth"],
)
def test_trouble_in_the_middle_is_tried_again_from_there(scheduled, pipeline, fake, database, trouble):
    number = scheduled(THREE)
    after(fake, 1, sent(trouble))
    pipeline.until(number, "published")
    assert (said(fake), chained(fake)) == (THREE, True)


def test_each_part_has_a_budget_of_its_own(scheduled, pipeline, settings, fake, database):
    number = scheduled(THREE)
    busy = sent(NotSent("busy", "try later"))
    good = lambda call, draft: (leave(call), fake.accept(call, draft))[1]  # noqa: E731 - a step of the script
    fake.will("publish", busy, busy, good, busy, busy, good, busy, busy, good)
    row = pipeline.until(number, "published", "failed")
    assert (row.status, said(fake)) == ("published", THREE)


def test_a_part_in_doubt_is_not_taken_for_an_equal_one_before_it(scheduled, pipeline, fake, database):
    number = scheduled(["la", "la", "la"])
    after(fake, 1, sent(lost(was_sent=True)))
    pipeline.until(number, "published")
    assert (said(fake), chained(fake)) == (["la", "la", "la"], True)


def test_followup_goes_on_where_a_worker_died_between_two_parts(
    scheduled, pipeline, settings, fake, database, monkeypatch
):
    number = scheduled(THREE)

    def die(*_given):
        raise Kill

    with monkeypatch.context() as broken:
        broken.setattr(publish, "_generation", die)
        pipeline.claim()
        with pytest.raises(Kill):
            pipeline.run_hints()
    row = database.post(number)
    assert (row.status, said(fake)) == ("processing", ["one"])
    pipeline.until(number, "published")
    assert (said(fake), chained(fake), fake.count("poll")) == (THREE, True, 0)


def test_two_workers_want_the_next_part_and_one_sends_it(scheduled, pipeline, settings, fake, database):
    number = scheduled(THREE)

    def meanwhile(call, draft):
        leave(call)
        # Somebody else with the same generation, while we are in the call.
        row = database.post(number)
        assert publish.deliver(settings, number, row.generation - 1, source=publish.Status.PROCESSING) is None
        assert publish.deliver(settings, number, row.generation, source=publish.Status.PROCESSING) is None
        return fake.accept(call, draft)

    after(fake, 1, meanwhile)
    pipeline.until_quiet()
    assert (database.post(number).status, said(fake)) == ("published", THREE)


def test_a_late_answer_of_a_part_takes_the_thread_on(scheduled, pipeline, settings, fake, database):
    number = scheduled(THREE)

    def slow(call, draft):
        leave(call)
        killed(pipeline, database, number)  # for everybody else this worker is dead
        return fake.accept(call, draft)

    after(fake, 1, slow)
    pipeline.claim()
    pipeline.run_hints()
    row = pipeline.until(number, "published")
    assert (said(fake), chained(fake), row.evidence) == (THREE, True, "api")


def test_a_late_answer_after_a_look_up_found_the_part_changes_nothing(scheduled, pipeline, settings, fake, database):
    fake.kind = ReconcileKind.TWO_STEP
    number = scheduled(THREE)

    def slow(call, draft):
        leave(call)
        answer = fake.accept(call, draft)
        killed(pipeline, database, number)
        pipeline.until(number, "published")  # found, and the rest was sent, by others
        return answer

    after(fake, 1, slow)
    pipeline.claim()
    pipeline.run_hints()
    assert (database.post(number).status, said(fake), chained(fake)) == ("published", THREE, True)


def test_a_part_that_the_platform_works_on_is_waited_for(scheduled, pipeline, fake, database):
    number = scheduled(THREE)
    after(fake, 1, sent(Processing(3.0)))
    fake.will("poll", Processing(2.0), fake.accept)
    row = pipeline.until(number, "published")
    assert (said(fake), fake.count("poll"), len(row.parts_out)) == (THREE, 2, 3)


def test_a_paused_account_stops_between_parts_and_goes_on_after(scheduled, pipeline, settings, fake, database):
    number = scheduled(THREE)

    def paused_meanwhile(call, draft):
        leave(call)
        with transaction(settings.database()) as conn:
            accounts.pause(conn, "fake:acme", by="me")
        return fake.accept(call, draft)

    fake.will("publish", paused_meanwhile)
    pipeline.until_quiet()
    database.pass_time(20)
    pipeline.until_quiet()
    assert (database.post(number).status, said(fake)) == ("processing", ["one"])
    with transaction(settings.database()) as conn:
        accounts.resume(conn, "fake:acme", by="me")
    pipeline.until(number, "published")
    assert said(fake) == THREE


def test_what_was_prepared_and_is_gone_is_prepared_again_without_sending_a_part_twice(
    scheduled, pipeline, fake, database
):
    fake.prepares = True
    number = scheduled(THREE)
    after(fake, 1, NotSent("media_not_ready", "the container is gone"))
    pipeline.until(number, "published")
    assert (said(fake), chained(fake)) == (THREE, True)
    # Three parts at first, then the two that were still to come.
    assert [visit.text for visit in fake.visits if visit.step == "prepare"] == [*THREE, "two", "three"]


def test_each_part_has_a_checkpoint_of_its_own(scheduled, pipeline, fake, database):
    fake.prepares = True

    def prepares(call, draft):
        call.save(container=f"c-{draft.text}")
        call.save(more=1)
        return publish.Ready()

    fake.always("prepare", prepares)
    number = scheduled(THREE)
    pipeline.until(number, "published")
    seen = [dict(visit.checkpoint) for visit in fake.visits if visit.step == "publish"]
    assert seen == [{"container": f"c-{one}", "more": 1} for one in THREE]


def test_a_thread_counts_once_for_the_burst_guard(scheduled, pipeline, environment, fake, database):
    pipeline.settings = environment.change(burst_count=2)
    long = [f"part {number}" for number in range(4)]
    number = scheduled(long)
    pipeline.until_quiet()
    assert (database.post(number).status, said(fake)) == ("published", long)
    other = scheduled("after it")
    pipeline.until_quiet()
    assert database.post(other).status == "published"


# --- Content ------------------------------------------------------------------------------------------------


def test_every_part_is_checked_and_the_violation_says_which(fake, account):
    account("fake:acme")
    with pytest.raises(InvalidPost) as refused:
        schedule(["fine", "x" * 501, ""], to="fake:acme", at="now")
    found = [(one.code, one.field) for one in refused.value.violations]
    assert found == [("text_too_long", "thread[1].text"), ("empty_post", "thread[2].text")]
    assert "part 2 of the thread" in refused.value.violations[0].message


def test_a_platform_without_threads_refuses_one_unless_it_gets_words_of_its_own(
    scheduled, pipeline, fake, register, account, database
):
    other = register(FakePlatform(name="plain", threads=False))
    account("fake:acme")
    account("plain:acme")
    with pytest.raises(InvalidPost) as refused:
        schedule(THREE, to=["fake:acme", "plain:acme"], at="now")
    assert [(one.code, one.platform) for one in refused.value.violations] == [("no_threads", "plain")]
    made = schedule(
        THREE, to=["fake:acme", "plain:acme"], at="now", options={"plain": {"text": "all in one", "thread": []}}
    )
    pipeline.until_quiet()
    assert {database.post(one.id).status for one in made.scheduled} == {"published"}
    assert (said(fake), said(other)) == (THREE, ["all in one"])


@pytest.fixture
def files(tmp_path):
    """Three files that the fake takes."""
    found = []
    for place in range(3):
        found.append(tmp_path / f"{place}.png")
        Image.new("RGB", (100, 100 + place), (10 * place, 2, 3)).save(found[-1])
    return found


def test_media_go_where_they_are_named_and_the_rest_to_the_first_part(scheduled, pipeline, fake, database, files):
    number = scheduled("one", media=files, options={"post": {"thread": ["two", {"text": "three", "files": [1]}]}})
    pipeline.until(number, "published")
    assert [len(one.media) for one in fake.accepted] == [2, 0, 1]


def test_a_target_may_have_media_of_its_own(scheduled, pipeline, fake, register, account, database, files):
    other = register(FakePlatform(name="second"))
    account("fake:acme")
    account("second:acme")
    schedule("words", to=["fake:acme", "second:acme"], at="now", media=files, options={"second:acme": {"files": [2]}})
    pipeline.until_quiet()
    assert ([len(one.media) for one in fake.accepted], [len(one.media) for one in other.accepted]) == ([3], [1])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"fake": {"files": [3]}}, "no_such_file"),
        ({"fake": {"files": [0, 0]}}, "file_twice"),
        ({"post": {"thread": [{"text": "two", "files": [0]}, {"text": "three", "files": [0]}]}}, "file_twice"),
        ({"fake": {"files": "first"}}, "bad_option"),
        ({"fake": {"thread": [{"words": "two"}]}}, "unknown_option"),
        ({"post": {"thread": ["x"] * 101}}, "bad_option"),
        ({"fake": {"text": "with \x00 in it"}}, "bad_text"),
    ],
)
def test_a_slip_in_the_parts_is_refused(fake, account, pictures, options, code):
    account("fake:acme")
    with pytest.raises(InvalidPost) as refused:
        schedule("one", to="fake:acme", at="now", media=[next(iter(pictures.values()))], options=options)
    assert code in {one.code for one in refused.value.violations}


@pytest.mark.parametrize(
    ("words", "options"), [([], {}), (["one", "two"], {"post": {"thread": ["three"]}}), (7, {}), (["one", 2], {})]
)
def test_what_is_no_thread_is_refused(fake, account, words, options):
    account("fake:acme")
    with pytest.raises(Refused):
        schedule(words, to="fake:acme", at="now", options=options)


def test_options_of_the_first_part_alone_stay_there(scheduled, pipeline, fake, database):
    seen = []

    def look(call, draft):
        leave(call)
        seen.append((draft.part, draft.parts, dict(draft.options)))
        return fake.accept(call, draft)

    fake.always("publish", look)
    number = scheduled(["one", "two"], options={"fake": {"colour": "blue", "must_be_short": 5}})
    pipeline.until(number, "published")
    assert seen == [
        (0, 2, {"colour": "blue", "must_be_short": 5}),
        (1, 2, {"colour": "blue", "must_be_short": None}),
    ]


def test_an_edit_may_change_the_thread(scheduled, pipeline, fake, database):
    number = scheduled(THREE, at="2030-01-01T00:00Z")
    assert edit(number, text=["one", "2"]).done
    assert database.post(number).parts == 2
    assert edit(number, text="uno").done, "the further parts stay"
    reschedule(number, "now")
    pipeline.until(number, "published")
    assert said(fake) == ["uno", "2"]


def test_the_same_key_with_other_parts_is_refused(fake, account):
    account("fake:acme")
    first = schedule(THREE, to="fake:acme", at="2030-01-01T00:00Z", idempotency_key="k")
    assert schedule(THREE, to="fake:acme", at="2030-01-01T00:00Z", idempotency_key="k").id == first.id
    with pytest.raises(Refused):
        schedule(["one", "two"], to="fake:acme", at="2030-01-01T00:00Z", idempotency_key="k")


def test_replay_of_an_unknown_part_needs_resend(scheduled, pipeline, settings, fake, database):
    fake.kind = ReconcileKind.NONE
    number = scheduled(THREE)
    after(fake, 2, sent(lost(was_sent=True)))
    pipeline.until(number, "held")
    with transaction(settings.database()) as conn, pytest.raises(NotAllowed, match="may have published"):
        dead_letters.replay(conn, number, by="me")


def test_a_platform_that_gives_no_id_ends_the_thread_in_front_of_a_person(scheduled, pipeline, fake, database):
    """Nothing could be answered: better said than sent as a post of its own."""
    after(fake, 0, sent(Published(None, None)))
    number = scheduled(THREE)
    row = pipeline.until(number, "failed")
    assert (row.error_code, len(fake.accepted)) == ("partly_published", 0)
