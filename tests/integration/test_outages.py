"""A platform (or our store) out of reach ends no post inside its window; and no answer is taken for another."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from fakes import in_doubt, leave, lost, sent

from db.session import transaction
from media.errors import StoreUnavailable
from platforms.base import (
    Absent,
    AuthExpired,
    NotPublished,
    NotSent,
    Processing,
    Published,
    RateLimited,
    ReconcileKind,
    Rejected,
    Unknown,
)
from scheduler import accounts
from scheduler.retry_policy import RetryPolicy
from workers import not_published, outcomes, publish
from workers.ledger import Report, conclude

DOWN = Unknown("server_error", "answered 503", 503)
KINDS = [ReconcileKind.LOOKUP, ReconcileKind.KEYED, ReconcileKind.CLIENT_ID, ReconcileKind.TWO_STEP]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_an_outage_with_many_doubtful_answers_ends_no_post_and_blames_no_worker(
    scheduled, pipeline, fake, database, kind
):
    fake.kind = kind
    fake.will("publish", *[sent(DOWN)] * 9)
    number = scheduled(options={"post": {"window_minutes": 1440}})
    row = pipeline.until(number, "published", "failed", "held", "missed", rounds=200)
    assert (row.status, fake.count("publish"), fake.doubled()) == ("published", 10, [])
    begun = [one[0] for one in database.rows("SELECT started_at FROM publish_attempts ORDER BY started_at")]
    pauses = [(later - one).total_seconds() for one, later in itertools.pairwise(begun)]
    # They grow, so that a platform that is ill is not asked each second, and end at five minutes.
    assert pauses[0] < 100
    assert all(one >= 240 for one in pauses[6:])


def test_refused_connections_are_bounded_by_the_window_and_not_by_a_number_of_tries(
    scheduled, pipeline, fake, database
):
    fake.will("publish", *[lost(was_sent=False)] * 11)
    number = scheduled()
    assert pipeline.until(number, "published", "failed", "missed").status == "published"
    fake.always("publish", lost(was_sent=False))
    number = scheduled("never")
    row = pipeline.until(number, "published", "failed", "missed", rounds=100)
    assert (row.status, row.error_code) == ("missed", "missed")


def test_an_outage_leaves_the_tries_for_what_a_healthy_platform_answers(scheduled, pipeline, environment, fake):
    pipeline.settings = environment.change(max_attempts=3)
    said = NotSent("not_yet", "come back", 409)
    fake.will("publish", *[sent(NotSent("server_error", "503", 503))] * 5, *[sent(said)] * 2)
    number = scheduled(options={"post": {"window_minutes": 1440}})
    assert pipeline.until(number, "published", "failed").status == "published"
    fake.will("publish", *[sent(said)] * 3)
    number = scheduled("again", options={"post": {"window_minutes": 1440}})
    assert pipeline.until(number, "published", "failed").error_code == "attempts_spent"


def test_an_hour_without_the_store_costs_no_tries_ahead_of_time(scheduled, pipeline, fake, database):
    fake.prepares = True
    fake.lead_s = 7200.0
    fake.will("prepare", *[StoreUnavailable("the store did not answer")] * 14)
    number = scheduled(at=datetime.now(UTC) + timedelta(hours=2))
    row = pipeline.until(number, "ready", "published", "failed")
    assert (row.status, row.attempts, fake.count("prepare")) == ("ready", 0, 15)
    assert row.due_at > database.one("SELECT clock_timestamp()")


def test_pauses_while_out_of_reach_end_at_five_minutes() -> None:
    rules = RetryPolicy(30.0, 1800.0, 6)
    pauses = [not_published.out_of_reach_pause_s(rules, tries, None) for tries in (1, 20)]
    assert 15 <= pauses[0] <= 30
    assert pauses[1] == 300.0
    assert not_published.out_of_reach_pause_s(rules, 1, 900.0) == 900.0


def test_fences_in_a_row_wait_longer_and_longer(scheduled, pipeline, fake, database):
    """Something else is slow: to try at once, for ever, would keep it slow."""
    from platforms.errors import FenceExpired

    fake.will("publish", *[FenceExpired()] * 8)
    number = scheduled()
    pauses = []
    for _ in range(7):
        pipeline.until_quiet()
        left = "SELECT CAST(extract(epoch FROM available_at - clock_timestamp()) AS float) FROM scheduled_posts"
        pauses.append(database.one(left))
        database.pass_time(max(pauses[-1], 0.0) + 0.001)
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.attempts) == ("published", 1)
    assert [round(one) for one in pauses] == [1, 2, 4, 8, 16, 30, 30]  # and none after the first


# --- What an answer is about --------------------------------------------------------------------------------


def test_a_refusal_that_may_have_meant_an_older_post_ends_this_one_when_it_is_not_found(scheduled, pipeline, fake):
    said = Rejected("duplicate", "this text was posted last week", 403)
    fake.always("publish", sent(Unknown("duplicate", "X has this already", 403, if_absent=said)))
    number = scheduled()
    row = pipeline.until(number, "published", "failed", "held")
    assert (row.status, row.error_code, row.error_message) == ("failed", "duplicate", said.message)
    assert (fake.count("publish"), fake.count("reconcile")) == (1, 2)


def test_it_is_published_where_that_refusal_meant_this_very_post(scheduled, pipeline, fake):
    said = Rejected("duplicate", "this text was posted last week", 403)
    fake.will("publish", fake.stores_then(Unknown("duplicate", "X has this already", 403, if_absent=said)))
    assert pipeline.until(scheduled(), "published", "failed").status == "published"


@pytest.mark.parametrize("shown", [True, False], ids=["turns-up", "never-shown"])
def test_a_refusal_as_duplicate_after_a_try_that_was_believed_absent(scheduled, pipeline, fake, database, shown):
    """The first try was there all the time, and was not shown: "duplicate" means that one, and it is no failure."""
    said = Rejected("duplicate", "you have said that already", 403)
    fake.will("publish", fake.stores_then(Unknown("server_error", "answered 503", 503)))
    fake.will("publish", sent(Unknown("duplicate", "X has this already", 403, if_absent=said)))
    fake.will("reconcile", *[Absent()] * (2 if shown else 4))
    number = scheduled()
    row = pipeline.until(number, "published", "failed", "held")
    assert (row.status, len(fake.accepted)) == ("published" if shown else "held", 1)
    # Every look goes back to the first try. (Time that passes here moves what is in the database.)
    last = [visit.doubt for visit in fake.visits if visit.step == "reconcile"][-1]
    first = database.one("SELECT min(started_at) FROM publish_attempts")
    assert abs((last.started_at - first).total_seconds()) < 5


@pytest.mark.parametrize(
    ("why", "status", "code"),
    [
        (Rejected("bad_file", "cannot be played"), "failed", "bad_file"),
        (AuthExpired("revoked", "access was taken back", permanent=True), "held", "reconnect"),
        (NotSent("pull_failed", "could not be fetched"), "retrying", "pull_failed"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_platform_gives_up_on_goes_on_as_if_it_had_been_refused(scheduled, pipeline, fake, why, status, code):
    fake.will("publish", sent(Processing(1.0)))
    fake.will("poll", NotPublished(why))
    row = pipeline.until(scheduled(), "failed", "held", "retrying", "published")
    assert (row.status, row.error_code) == (status, code)


def test_a_day_s_quota_found_out_while_processing_waits_and_goes_on(scheduled, pipeline, fake, database):
    until = datetime.now(UTC) + timedelta(minutes=20)
    fake.will("publish", sent(Processing(1.0)))
    fake.will("poll", NotPublished(RateLimited(until, "the day is full")))
    number = scheduled()
    row = pipeline.until(number, "retrying")
    assert row.available_at >= until
    assert database.one("SELECT limited_until FROM accounts") == until
    assert pipeline.until(number, "published").attempts == 2


def test_what_a_platform_worked_on_past_the_window_is_not_sent_then(scheduled, pipeline, fake, database):
    from platforms.base import Ready

    fake.will("publish", sent(Processing(1.0)))
    number = scheduled(options={"post": {"window_minutes": 10}})
    pipeline.until_quiet()
    database.pass_time(3600)
    fake.will("poll", Ready())
    row = pipeline.until(number, "missed", "published")
    assert (row.status, fake.count("publish")) == ("missed", 1)


# --- What came with an answer is kept -------------------------------------------------------------------------


def test_what_the_platform_gave_with_processing_is_stored_with_the_outcome(scheduled, pipeline, fake):
    fake.will("publish", sent(Processing(1.0, {"job": "j-1"})))
    fake.will("poll", Published("p-1"))
    number = scheduled()
    pipeline.until(number, "published")
    assert [visit.checkpoint for visit in fake.visits if visit.step == "poll"] == [{"job": "j-1"}]


@pytest.mark.parametrize("status", ["unknown", "retrying", "held"])
def test_a_late_processing_is_taken_up_with_what_it_gave(scheduled, pipeline, fake, settings, database, status):
    number = scheduled()
    pipeline.claim()
    row = database.post(number)
    intent, _ = publish._intend(settings, number, row.generation, publish.Status.QUEUED)
    assert intent is not None
    held_for = "outcome_unknown" if status == "held" else None
    database.run(
        "UPDATE scheduled_posts SET status = :status, held_for = CAST(:held_for AS text), lease_expires_at = NULL,"
        " leased_by = NULL, generation = generation + 1, lookups = '{}' WHERE id = :id",
        status=status, held_for=held_for, id=number,
    )  # fmt: skip
    report = Report(
        attempt_id=intent.attempt_id, scheduled_post_id=number, generation=intent.generation,
        account_id=row.account_id, token_version=1, outcome=Processing(5.0, {"job": "j-2"}), sent_at=1.0,
    )  # fmt: skip
    with transaction(settings.database()) as conn:
        conclude(conn, settings, outcomes.decode(json.loads(json.dumps(outcomes.encode(report)))))
    row = database.post(number)
    assert (row.status, row.checkpoint) == ("processing", {"job": "j-2"})


def test_one_file_that_cannot_be_stored_keeps_no_other_waiting(scheduled, pipeline, fake, settings, database):
    """As after a restore: the post that it is about is not in this database. It is kept for the one that has it."""
    numbers = [scheduled("one"), scheduled("two")]
    pipeline.claim()
    reports = []
    for number in numbers:
        row = database.post(number)
        intent, _ = publish._intend(settings, number, row.generation, publish.Status.QUEUED)
        reports.append(
            Report(
                attempt_id=intent.attempt_id, scheduled_post_id=number, generation=intent.generation,
                account_id=row.account_id, token_version=1, outcome=Published(f"p-{number}"), sent_at=1.0,
            )
        )  # fmt: skip
    folder = settings.spool()
    stray = {**outcomes.encode(reports[0]), "scheduled_post_id": 999_999}
    (folder / "outcome-0.json").write_text(json.dumps(stray))
    (folder / "outcome-00.json").write_text(json.dumps({**outcomes.encode(reports[0]), "attempt_id": "nonsense"}))
    for place, report in enumerate(reports):
        (folder / f"outcome-{place + 1}.json").write_text(json.dumps(outcomes.encode(report)))
    outcomes.replay(settings)
    assert [database.post(number).status for number in numbers] == ["published", "published"]
    assert sorted(file.name for file in folder.glob("outcome-*")) == ["outcome-0.json", "outcome-00.bad"]


# --- What may be public is not called missed, canceled, or sent anew --------------------------------------------


def test_a_doubt_that_waits_for_a_reconnect_is_held_when_its_window_ends(scheduled, pipeline, fake, database):
    fake.kind = ReconcileKind.CLIENT_ID
    number = scheduled()
    in_doubt(database, number, held_for="reconnect")
    database.run("UPDATE accounts SET state = 'needs_reconnect'")
    database.pass_time(7200)
    pipeline.sweep()
    row = database.post(number)
    assert (row.status, row.held_for) == ("held", "outcome_unknown")
    assert [one.code for one in database.letters(number) if one.resolved_at is None] == ["outcome_unknown"]


def test_after_a_reconnect_a_doubt_goes_on_from_its_checkpoint(scheduled, pipeline, fake, settings, database):
    fake.kind, fake.prepares = ReconcileKind.TWO_STEP, True
    number = scheduled()
    database.run("""UPDATE scheduled_posts SET checkpoint = '{"container": "c-0", "_prepared": true}'""")
    in_doubt(database, number, held_for="reconnect")
    with transaction(settings.database()) as conn:
        assert accounts.release_held(conn, database.post(number).account_id, by="test") == 1
    assert database.post(number).status == "retrying"
    assert pipeline.until(number, "published").remote_id is not None
    assert [visit.step for visit in fake.visits] == ["publish"]
    assert fake.visits[0].checkpoint == {"container": "c-0"}


def test_an_old_answer_about_the_access_holds_no_post_of_an_account_that_is_well(scheduled, pipeline, fake, database):
    """Connected again while a file was being uploaded with the old token."""
    fake.prepares = True

    def refused(_call, _draft):
        database.run("UPDATE accounts SET token_version = token_version + 1")
        return AuthExpired("revoked", "the old token", permanent=True)

    fake.will("prepare", refused)
    number = scheduled()
    assert pipeline.until(number, "published", "held", "missed").status == "published"


# --- A test is not sent for real --------------------------------------------------------------------------------


@pytest.mark.parametrize("prepares", [False, True], ids=["publish", "prepare"])
@pytest.mark.parametrize("scripted", [True, False], ids=["scheduled-as-a-test", "scheduled-for-real"])
def test_workers_that_are_set_up_otherwise_do_not_send(
    scheduled, pipeline, fake, database, environment, scripted, prepares
):
    fake.prepares = prepares
    number = scheduled()
    stand_in = "http://127.0.0.1:9"
    set_up = "UPDATE scheduled_posts SET api_url = CAST(:url AS text)"
    database.run(set_up, url=stand_in if scripted else None)
    if not scripted:
        pipeline.settings = environment.change(fake_api_url=stand_in)
    for _ in range(3):
        pipeline.until_quiet()
        database.pass_time(31)
    row = database.post(number)
    assert (row.status, row.error_code, fake.visits) == ("scheduled", "other_origin", [])
    # As soon as a worker is set up like the script, it goes.
    database.run(set_up, url=None if scripted else stand_in)
    assert pipeline.until(number, "published").error_code is None


@pytest.mark.parametrize(
    "outcome", [Unknown("timeout", "no answer"), Processing(1.0)], ids=["in-doubt", "being-worked-on"]
)
def test_what_only_another_setup_could_ask_about_ends_in_front_of_a_person(
    scheduled, pipeline, fake, database, environment, outcome
):
    fake.will("publish", sent(outcome))
    number = scheduled()
    pipeline.until(number, "unknown", "processing")
    database.run("UPDATE scheduled_posts SET api_url = 'http://127.0.0.1:9'")
    pipeline.until_quiet()
    assert fake.count("reconcile") + fake.count("poll") == 0
    database.pass_time(25 * 3600)
    row = pipeline.until(number, "held")
    assert (row.held_for, "set up" in row.error_message) == ("outcome_unknown", True)


def test_a_post_held_in_doubt_keeps_what_is_found_from_its_twin(scheduled, pipeline, environment, fake, database):
    """What is found may be the one that a person has yet to decide about."""
    pipeline.settings = environment.change(lookup_budget=2)
    first = scheduled("Hello")
    fake.will("publish", fake.stores_then(Unknown("timeout", "no answer")))
    fake.will("reconcile", *[lost(was_sent=False)] * 2)
    assert pipeline.until(first, "held").held_for == "outcome_unknown"
    second = scheduled("Hello")
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    assert pipeline.until(second, "held", "published").status == "held"


def test_the_last_step_is_limited_where_what_began_it_was_not_sent(scheduled, pipeline, environment, fake, database):
    """As with containers that are made anew in the publishing call: nothing has left, so nothing was counted."""
    from platforms.base import Ready

    pipeline.settings = environment.change(burst_count=2)
    fake.will("publish", *[Processing(0.1)] * 6)
    fake.always("poll", Ready())
    for number in range(6):
        scheduled(f"post {number}")
    for _ in range(6):
        pipeline.until_quiet()
        database.pass_time(1)
    assert len(fake.accepted) == 2


def test_the_stop_button_waits_for_an_intent_that_is_being_written(scheduled, pipeline, fake, settings, database):
    """Once pause() has returned nothing is sent any more, not even what was about to be."""
    import threading

    number = scheduled()
    pipeline.claim()
    row = database.post(number)
    order: list[str] = []

    def press() -> None:
        with transaction(settings.database()) as conn:
            accounts.pause(conn, None, by="test")
            order.append("pressed")

    with transaction(settings.database()) as conn:
        from workers.work import load

        assert load(conn, settings, number, lock_account=True) is not None
        thread = threading.Thread(target=press)
        thread.start()
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        assert _becomes(lambda: database.one(waits) == 1)
        order.append("written")
    thread.join(10)
    assert order == ["written", "pressed"]
    publish.deliver(settings, number, row.generation)
    assert (database.post(number).status, fake.count("publish")) == ("scheduled", 0)


def _becomes(true) -> bool:
    from stack.processes import wait_until

    return wait_until(true, 10)


def test_twins_are_told_as_look_ups_tell_them(scheduled, pipeline, fake, database):
    """ "Hello" in doubt, and "Hello " on its way: the platform shows both as "Hello"."""
    first = scheduled("Hello")
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    pipeline.until_quiet()
    second = scheduled("hello \u2003")
    pipeline.until_quiet()
    assert (database.post(first).status, database.post(second).status) == ("unknown", "scheduled")


def test_what_is_found_may_be_a_twin_without_an_id(scheduled, pipeline, environment, fake, database):
    pipeline.settings = environment.change(lookup_budget=2)
    first = scheduled("Hello")
    fake.will("publish", lambda call, draft: (leave(call), fake.accept(call, draft), Published(None))[2])
    pipeline.until(first, "published")
    second = scheduled("Hello")
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    row = pipeline.until(second, "held", "published")
    assert (row.status, len(fake.accepted)) == ("held", 1)
