"""What is unknown is settled without a double: for each kind of handle that a platform may offer."""

from __future__ import annotations

import pytest
from fakes import leave, lost, sent

from db.session import transaction
from platforms.base import (
    Absent,
    AuthExpired,
    Found,
    Inconclusive,
    Processing,
    Published,
    RateLimited,
    ReconcileKind,
    Unknown,
)
from platforms.errors import TransportError
from scheduler import cancel, dead_letters, retry
from scheduler.errors import NotAllowed
from workers import followup, publish

KINDS = [kind for kind in ReconcileKind if kind is not ReconcileKind.NONE]


def killed(pipeline, database, number):
    """The worker of a publishing post is gone: its lease ends, and rescue sees it."""
    database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() WHERE id = :id", id=number)
    pipeline.sweep()
    pipeline.hints.forget()
    assert database.post(number).status == "unknown"
    # The same sweep has hinted at it already; as if that look were still to come.
    database.run("UPDATE scheduled_posts SET available_at = clock_timestamp() WHERE id = :id", id=number)


class Kill(BaseException):
    """Stands for kill -9 in the middle of a call."""


def kill(pipeline, database, fake, number, *, stored):
    """Begins to deliver and dies in the call."""
    fake.will("publish", fake.stores_then(Kill()) if stored else sent(Kill()))
    pipeline.claim()
    with pytest.raises(Kill):
        pipeline.run_hints()
    killed(pipeline, database, number)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [True, False], ids=["it-was-stored", "it-was-not"])
def test_a_killed_worker_leaves_exactly_one_post(scheduled, pipeline, fake, database, kind, stored):
    fake.kind = kind
    number = scheduled()
    kill(pipeline, database, fake, number, stored=stored)
    row = pipeline.until(number, "published")
    assert (len(fake.accepted), fake.doubled()) == (1, [])
    assert row.remote_id == "fake-1"
    assert row.evidence == ("reconciled" if stored and kind is not ReconcileKind.CLIENT_ID else "api")
    assert not [one for one in database.attempts(number) if one.outcome is None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [True, False], ids=["it-was-stored", "it-was-not"])
def test_a_lost_answer_leaves_exactly_one_post(scheduled, pipeline, fake, database, kind, stored):
    fake.kind = kind
    fake.will("publish", fake.stores_then(lost(was_sent=True)) if stored else sent(lost(was_sent=True)))
    number = scheduled()
    pipeline.until(number, "published")
    assert (len(fake.accepted), fake.doubled()) == (1, [])


@pytest.mark.parametrize("stored", [True, False], ids=["it-was-stored", "it-was-not"])
def test_where_nothing_can_tell_it_is_held_and_never_sent_again(scheduled, pipeline, fake, database, stored):
    fake.kind = ReconcileKind.NONE
    number = scheduled()
    kill(pipeline, database, fake, number, stored=stored)
    row = pipeline.until(number, "held")
    assert row.held_for == "outcome_unknown"
    database.pass_time(10 * 24 * 3600)
    pipeline.until_quiet()
    assert database.post(number).status == "held"
    assert (fake.count("publish"), fake.count("reconcile")) == (1, 0)
    assert [one.code for one in database.letters(number)] == ["outcome_unknown"]
    assert not retry(number).done


# --- The quarantine of LOOKUP -------------------------------------------------------------------------------


def test_absent_is_believed_only_after_the_quarantine_and_twice(scheduled, pipeline, settings, fake, database):
    fake.read_lag_s = 10.0
    number = scheduled()
    kill(pipeline, database, fake, number, stored=False)
    began = database.attempts(number)[0].started_at
    pipeline.until_quiet()
    row = database.post(number)
    # call budget + tolerated pause + read lag, on the database's clock
    assert abs((row.available_at - began).total_seconds() - (30 + settings.quarantine_seconds + 10)) < 0.5
    assert fake.count("reconcile") == 0
    database.pass_time((row.available_at - began).total_seconds())
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, fake.count("reconcile")) == ("unknown", 1)
    assert database.one("SELECT extract(epoch FROM available_at - clock_timestamp()) FROM scheduled_posts") > 9
    # A look-up that comes too early (a repeated hint) does not count as the second.
    followup.reconcile(settings, number, row.generation)
    assert database.post(number).status == "unknown"
    database.pass_time(10.1)
    pipeline.sweep()
    assert ("followup.reconcile", (number, row.generation)) in pipeline.hints.waiting
    pipeline.run_hints()
    assert database.post(number).status == "retrying"
    assert database.attempts(number)[0].settled == "absent"


@pytest.mark.parametrize(
    ("outcome", "quarantined"),
    [
        (Unknown("duplicate", "answered 403", 403), False),
        (Unknown("server_error", "answered 504", 504), True),
        (Unknown("timeout", "no answer"), True),
    ],
    ids=["answered", "answered-by-a-gateway", "no-answer"],
)
def test_only_what_the_platform_answered_needs_no_quarantine(
    scheduled, pipeline, settings, fake, database, outcome, quarantined
):
    """A request whose sender gave up may be carried out later: then "absent" was said too soon. A gateway's answer
    is no different: it gave up, and the platform behind it may not have.
    """
    fake.read_lag_s = 10.0
    fake.will("publish", sent(outcome))
    scheduled()
    pipeline.until_quiet()
    left = database.one(
        "SELECT CAST(extract(epoch FROM available_at - clock_timestamp()) AS float) FROM scheduled_posts"
    )
    wanted = 10 + (settings.quarantine_seconds if quarantined else 0)
    assert wanted - 2 < left <= wanted


def test_a_zombie_that_sends_within_the_quarantine_is_found(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=False)
    pipeline.until_quiet()
    [attempt] = database.attempts(number)
    database.pass_time(60)
    # It wakes and sends what it had in hand; its answer is lost with it.
    from fakes import Accepted

    fake.accepted.append(Accepted("acme", "Hello", "fake-9", attempt.platform_key))
    row = pipeline.until(number, "published", "retrying")
    assert (row.status, row.remote_id) == ("published", "fake-9")
    assert fake.count("publish") == 1


@pytest.mark.parametrize("kind", [ReconcileKind.CLIENT_ID, ReconcileKind.TWO_STEP])
def test_where_repeating_makes_the_same_object_nobody_waits(scheduled, pipeline, fake, database, kind):
    fake.kind = kind
    number = scheduled()
    kill(pipeline, database, fake, number, stored=True)
    pipeline.until_quiet()
    assert fake.count("reconcile") == 1
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert len(fake.accepted) == 1


# --- Look-ups that cannot decide ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Inconclusive("a page too few"),
        TransportError("timeout", sent=True),
        AuthExpired("auth", "401"),
        AuthExpired("revoked", "gone", permanent=True),
        ZeroDivisionError("a bug"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_look_ups_that_cannot_decide_end_in_front_of_a_person(scheduled, pipeline, environment, fake, database, answer):
    pipeline.settings = environment.change(lookup_budget=3)
    fake.always("reconcile", answer)
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    number = scheduled()
    row = pipeline.until(number, "held")
    assert (row.held_for, fake.count("reconcile"), fake.count("publish")) == ("outcome_unknown", 3, 1)
    assert "3 look-ups" in row.error_message


def test_a_look_up_that_is_limited_waits_and_is_not_counted(scheduled, pipeline, environment, fake, database):
    from datetime import UTC, datetime, timedelta

    pipeline.settings = environment.change(lookup_budget=2)
    until = datetime.now(UTC) + timedelta(minutes=10)
    fake.will("reconcile", *[RateLimited(until, "slow down")] * 5)
    fake.will("publish", fake.stores_then(Unknown("duplicate", "answered 403", 403)))
    number = scheduled()
    pipeline.until_quiet()
    assert database.one("SELECT count(*) FROM accounts WHERE limited_until IS NOT NULL") == 1
    pipeline.until(number, "published")
    assert fake.count("reconcile") == 6


@pytest.mark.parametrize(
    "answer",
    [TransportError("timeout", sent=True), ZeroDivisionError("a bug"), AuthExpired("revoked", "gone", permanent=True)],
    ids=lambda one: type(one).__name__,
)
def test_polls_that_never_answer_end_in_front_of_a_person(scheduled, pipeline, environment, fake, database, answer):
    pipeline.settings = environment.change(lookup_budget=3)
    fake.will("publish", sent(Processing(1.0)))
    fake.always("poll", answer)
    number = scheduled()
    row = pipeline.until(number, "held")
    assert (row.held_for, fake.count("poll"), fake.count("publish")) == ("outcome_unknown", 3, 1)


def test_a_platform_that_works_for_ever_ends_in_front_of_a_person(scheduled, pipeline, fake, database):
    fake.will("publish", sent(Processing(1.0)))
    fake.always("poll", Processing(7200.0))
    number = scheduled()
    row = pipeline.until(number, "held")
    assert (row.held_for, fake.count("publish")) == ("outcome_unknown", 1)


def test_an_answer_in_the_ledger_comes_before_any_look_up(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=True)
    database.run("UPDATE publish_attempts SET outcome = 'accepted', finished_at = clock_timestamp(), remote_id = 'r-1'")
    row = pipeline.until(number, "published")
    assert (row.remote_id, row.evidence, fake.count("reconcile")) == ("r-1", "api", 0)


def test_a_yes_without_an_id_counts_as_a_yes(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=True)
    database.run("UPDATE publish_attempts SET outcome = 'accepted', finished_at = clock_timestamp()")
    row = pipeline.until(number, "published")
    assert (row.remote_id, fake.count("publish")) == (None, 1)


# --- Keys that grow old -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifetime", "age", "status"),
    [(None, 3100, "held"), (None, 2000, "published"), (600.0, 700, "held"), (600.0, 200, "published")],
)
def test_a_keyed_call_is_repeated_only_while_its_key_is_young(
    scheduled, pipeline, fake, database, lifetime, age, status
):
    fake.kind = ReconcileKind.KEYED
    fake.key_lifetime_s = lifetime
    number = scheduled(options={"post": {"window_minutes": 600}})
    kill(pipeline, database, fake, number, stored=False)
    database.pass_time(age)
    row = pipeline.until(number, "held", "published")
    assert row.status == status
    assert fake.count("publish") == (2 if status == "published" else 1)


# --- Cancel, window, repetition -----------------------------------------------------------------------------


def test_absent_after_the_window_is_missed_and_not_sent(scheduled, pipeline, fake, database):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=False)
    database.pass_time(2 * 3600)
    row = pipeline.until(number, "missed", "published", "retrying")
    assert (row.status, fake.count("publish")) == ("missed", 1)


def test_found_after_the_window_is_published(scheduled, pipeline, fake, database):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=True)
    database.pass_time(2 * 3600)
    assert pipeline.until(number, "missed", "published").status == "published"


@pytest.mark.parametrize("stored", [True, False])
def test_a_cancel_while_it_is_unknown_is_honoured_if_it_is_not_there(scheduled, pipeline, fake, database, stored):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=stored)
    assert not cancel(number).done
    row = pipeline.until(number, "published", "canceled", "retrying")
    assert row.status == ("published" if stored else "canceled")
    assert fake.count("publish") == 1


def test_a_cancel_during_the_look_up_itself_is_honoured(scheduled, pipeline, fake, database):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=False)

    def canceled(call, draft):
        assert not cancel(number).done
        return Absent()

    fake.will("reconcile", Absent(), canceled)
    row = pipeline.until(number, "published", "canceled", "retrying")
    assert (row.status, fake.count("publish")) == ("canceled", 1)


def test_a_stale_look_up_decides_nothing(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    kill(pipeline, database, fake, number, stored=False)
    generation = database.post(number).generation
    assert followup.reconcile(settings, number, generation - 1) is None
    assert followup.reconcile(settings, number, generation + 1) is None
    assert followup.reconcile(settings, 99, 1) is None
    assert fake.count("reconcile") == 0


def test_crashes_without_an_outcome_end_in_front_of_a_person(scheduled, pipeline, environment, fake, database):
    """Not as failed: where repeating is safe nobody has looked, and one of the tries may have come through."""
    pipeline.settings = environment.change(max_claims=2)
    fake.kind = ReconcileKind.CLIENT_ID
    number = scheduled()
    for _ in range(2):
        kill(pipeline, database, fake, number, stored=False)
        database.pass_time(1)
        assert pipeline.sweep()["followed"] == 1
        pipeline.run_hints()
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.error_code, fake.count("publish")) == ("held", "outcome_unknown", 2)
    assert "its worker ended without an outcome 2 times" in row.error_message


# --- Two identical posts of one account ---------------------------------------------------------------------


@pytest.mark.parametrize("stored", [(True, True), (True, False), (False, True), (False, False)])
def test_of_two_doubtful_twins_each_gets_an_id_of_its_own(scheduled, pipeline, fake, database, stored):
    one, two = scheduled("Same"), scheduled("Same")
    pipeline.claim()
    hints = list(pipeline.hints.waiting)
    pipeline.hints.forget()
    fake.kind = ReconcileKind.CLIENT_ID  # so that both may be under way at once
    for (_, args), did in zip(hints, stored, strict=True):
        fake.will("publish", sent(Kill()))
        with pytest.raises(Kill):
            publish.deliver(pipeline.settings, *args)
        if did:
            from fakes import Accepted

            fake.accepted.append(Accepted("acme", "Same", f"fake-{len(fake.accepted) + 1}", "?"))
    fake.kind = ReconcileKind.LOOKUP
    database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp()")
    pipeline.until(one, "published")
    pipeline.until(two, "published")
    ids = {database.post(n).remote_id for n in (one, two)}
    assert len(ids) == 2
    assert len(fake.accepted) == 2
    if sum(stored) == 1:
        assert database.post(one).remote_id == "fake-1"  # the oldest attempt gets the only match


def test_while_one_is_in_doubt_its_twin_is_not_sent(scheduled, pipeline, fake, database):
    """Else the look-up for the first could take the second's post for its own, and one would be lost."""
    one = scheduled("Same")
    kill(pipeline, database, fake, one, stored=False)
    two, other = scheduled("Same"), scheduled("Something else")
    pipeline.until_quiet()
    assert [database.post(n).status for n in (one, two, other)] == ["unknown", "scheduled", "published"]
    pipeline.until(one, "published")
    pipeline.until(two, "published")
    assert sorted(one.text for one in fake.accepted) == ["Same", "Same", "Something else"]
    assert len({database.post(n).remote_id for n in (one, two)}) == 2


def test_what_was_found_but_belongs_to_another_post_is_not_taken(scheduled, pipeline, environment, fake, database):
    pipeline.settings = environment.change(lookup_budget=2)
    first = scheduled("first")
    pipeline.until_quiet()
    fake.always("reconcile", Found("fake-1"))
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    second = scheduled("second")
    row = pipeline.until(second, "held", "published")
    assert (row.status, database.post(first).remote_id) == ("held", "fake-1")
    assert "fake-1" in fake.visits[-1].doubt.taken_remote_ids


# --- What a person may do about it --------------------------------------------------------------------------


@pytest.fixture
def held(scheduled, pipeline, fake, database):
    """A post that may be public or not."""
    fake.kind = ReconcileKind.NONE
    number = scheduled()
    kill(pipeline, database, fake, number, stored=True)
    pipeline.until(number, "held")
    return number


def test_replay_of_an_unknown_outcome_needs_the_persons_word(held, pipeline, settings, fake, database):
    with transaction(settings.database()) as conn:
        with pytest.raises(NotAllowed, match="mark-published"):
            dead_letters.replay(conn, held, by="me")
        dead_letters.replay(conn, held, by="me", resend=True)
    pipeline.until(held, "published")
    assert fake.count("publish") == 2
    assert [one.settled for one in database.attempts(held)] == ["person", None]
    assert [one.resolution for one in database.letters(held)] == ["replayed"]


def test_mark_published_ends_it_with_a_persons_evidence(held, settings, database):
    with transaction(settings.database()) as conn:
        dead_letters.mark_published(conn, held, by="me", url="https://fake.example/seen")
    row = database.post(held)
    assert (row.status, row.evidence, row.remote_url, row.remote_id) == (
        "published",
        "person",
        "https://fake.example/seen",
        None,
    )
    with transaction(settings.database()) as conn, pytest.raises(NotAllowed):
        dead_letters.replay(conn, held, by="me", resend=True)


def test_discard_cancels_it_and_retry_cannot_bring_it_back(held, settings, database):
    with transaction(settings.database()) as conn:
        dead_letters.discard(conn, held, by="me")
    assert database.post(held).status == "canceled"
    told = retry(held)
    assert not told.done
    assert "may have published" in told.changes[0].message


def test_cancel_and_the_removal_of_the_account_leave_it_in_front_of_the_person(held, settings, database):
    from scheduler import accounts

    assert not cancel(held).done
    with transaction(settings.database()) as conn:
        accounts.remove(conn, "fake:acme", by="me")
    assert (database.post(held).status, database.letters(held)[0].resolution) == ("held", None)


def test_a_late_yes_ends_it_by_itself(held, settings, database):
    from workers.ledger import Report, conclude

    [attempt] = database.attempts(held)
    report = Report(attempt.id, held, attempt.generation, attempt.account_id, 1, Published("late-1"), 1.0)
    with transaction(settings.database()) as conn:
        assert conclude(conn, settings, report) == "published"
    assert database.post(held).remote_id == "late-1"
    assert database.letters(held)[0].resolution == "published"


def test_repeatable_with_an_old_worker_still_asleep_gives_one_object(scheduled, pipeline, settings, fake, database):
    fake.kind = ReconcileKind.CLIENT_ID
    number = scheduled()

    def asleep(call, draft):
        leave(call)
        database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp()")
        pipeline.until(number, "published")
        return fake.accept(call, draft)

    fake.will("publish", asleep)
    pipeline.claim()
    pipeline.run_hints()
    assert (len(fake.accepted), database.post(number).status) == (1, "published")
    assert [one.outcome for one in database.attempts(number)] == ["accepted", "accepted"]
