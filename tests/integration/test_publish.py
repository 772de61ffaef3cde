"""``publish.deliver``: intent, fence, call, outcome, through everything that can come of a call."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from fakes import leave, lost, sent
from sqlalchemy.exc import InternalError, OperationalError

from db.session import transaction
from platforms.base import (
    AuthExpired,
    NotSent,
    Processing,
    Published,
    Quota,
    RateLimited,
    ReconcileKind,
    Rejected,
    Unknown,
)
from scheduler import accounts, cancel, rescue
from workers import outcomes, publish
from workers.ledger import Report, conclude


def claimed(pipeline, database, number):
    """Queues a post; its generation."""
    assert pipeline.claim() == 1
    return database.post(number).generation


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


# --- Outcomes -----------------------------------------------------------------------------------------------


def test_a_post_is_published_once_with_its_attempt_and_its_history(scheduled, pipeline, fake, database):
    number = scheduled("Hello")
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.evidence, row.remote_id, row.attempts, row.claims) == ("published", "api", "fake-1", 1, 0)
    assert row.remote_url == "https://fake.example/fake-1"
    assert row.first_sent_at is not None
    assert row.published_at >= row.first_sent_at
    assert row.finalized_at is not None
    assert row.lease_expires_at is None
    [attempt] = database.attempts(number)
    assert (attempt.outcome, attempt.remote_id, attempt.call) == ("accepted", "fake-1", "POST /posts")
    assert attempt.sent_at is not None
    assert [(one.from_status, one.to_status) for one in database.rows("SELECT * FROM transitions ORDER BY id")] == [
        ("scheduled", "queued"),
        ("queued", "publishing"),
        ("publishing", "published"),
    ]
    assert len(fake.accepted) == 1


def test_a_hint_that_comes_twice_late_or_malformed_sends_nothing_more(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    assert publish.deliver(settings, number, generation) == "published"
    for late in (generation, generation - 1, generation + 1, generation + 7):
        assert publish.deliver(settings, number, late) is None
    assert publish.deliver(settings, 424242, 1) is None
    assert fake.count("publish") == 1
    assert len(database.attempts(number)) == 1


def test_eight_workers_with_the_same_hint_make_one_call(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    told: list[object] = []
    threads = [
        threading.Thread(target=lambda: told.append(publish.deliver(settings, number, generation))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, told)) == ["None"] * 7 + ["published"]
    assert (fake.count("publish"), len(database.attempts(number))) == (1, 1)


@pytest.mark.parametrize(
    ("outcome", "status", "attempt", "code", "spent"),
    [
        (Rejected("duplicate", "said before", 403), "failed", "rejected", "duplicate", 1),
        (NotSent("server", "503", 503), "retrying", "not_sent", "server", 1),
        (AuthExpired("auth", "401", 401), "retrying", "rejected", "auth", 1),
        (RateLimited(in_an_hour(), "slow down", 429), "retrying", "rejected", "rate_limited", 0),
        (Unknown("timeout", "no answer"), "unknown", "unknown", "timeout", 1),
        (AuthExpired("revoked", "gone", 401, permanent=True), "held", "rejected", "reconnect", 0),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else None,
)
def test_each_outcome_leads_to_its_state(
    scheduled, pipeline, settings, fake, database, outcome, status, attempt, code, spent
):
    number = scheduled()
    fake.will("publish", sent(outcome))
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == status
    row = database.post(number)
    assert (row.status, row.error_code, row.attempts) == (status, code, spent)
    [made] = database.attempts(number)
    assert made.outcome == attempt
    assert made.finished_at is not None
    assert len(database.letters(number)) == (1 if status in {"failed", "held"} else 0)


def test_processing_is_polled_until_it_is_public(scheduled, pipeline, fake, database):
    fake.will("publish", sent(Processing(5.0)))
    fake.will("poll", Processing(5.0), Published("remote-9", "https://fake.example/9"))
    number = scheduled()
    row = pipeline.until(number, "published")
    assert (row.remote_id, fake.count("publish"), fake.count("poll")) == ("remote-9", 1, 2)


def test_processing_with_a_last_step_sends_it_once_with_what_was_kept(scheduled, pipeline, fake, database):
    fake.kind = ReconcileKind.TWO_STEP

    def begin(call, draft):
        call.save(container="c-7")
        return Processing(1.0)

    def done(call, draft):
        call.save(seen_by_poll=True)
        from platforms.base import Ready

        return Ready()

    fake.will("publish", begin)
    fake.will("poll", done)
    number = scheduled()
    pipeline.until(number, "published")
    last = fake.visits[-1]
    assert (last.step, last.checkpoint) == ("publish", {"container": "c-7", "seen_by_poll": True})
    assert len(fake.accepted) == 1


def test_processing_that_is_refused_fails_with_the_platforms_words(scheduled, pipeline, fake, database):
    fake.will("publish", sent(Processing(1.0)))
    fake.will("poll", NotSent("network", "blink"), Rejected("bad_media", "the file cannot be read"))
    number = scheduled()
    row = pipeline.until(number, "failed")
    assert (row.error_code, row.error_message) == ("bad_media", "the file cannot be read")
    assert len(database.letters(number)) == 1


# --- Without an answer --------------------------------------------------------------------------------------


def test_a_request_that_never_left_is_tried_again(scheduled, pipeline, fake, database):
    fake.will("publish", lost(was_sent=False))
    number = scheduled()
    pipeline.until_quiet()
    assert database.post(number).status == "retrying"
    assert database.attempts(number)[0].sent_at is None
    pipeline.until(number, "published")
    assert (fake.count("publish"), fake.count("reconcile")) == (2, 0)


def test_a_request_that_left_is_unknown_whatever_the_error_says(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    # The mark of the transport decides, not what the exception believes.
    fake.will("publish", sent(lost(was_sent=False)))
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == "unknown"


@pytest.mark.parametrize(
    ("step", "status"), [(sent(ZeroDivisionError("bug")), "unknown"), (KeyError("bug"), "retrying")]
)
def test_a_module_that_raises_is_judged_by_what_was_sent(scheduled, pipeline, settings, fake, database, step, status):
    number = scheduled()
    fake.will("publish", step)
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == status
    assert database.post(number).error_code == "module_error"


def test_a_tight_budget_ends_as_attempts_spent_with_a_dead_letter(scheduled, pipeline, environment, fake, database):
    environment.change(max_attempts=3)
    pipeline.settings = environment.change()
    fake.always("publish", NotSent("server", "503"))
    number = scheduled()
    row = pipeline.until(number, "failed")
    assert (row.error_code, row.attempts, fake.count("publish")) == ("attempts_spent", 3, 3)
    assert "3 tries" in row.error_message
    assert [one.code for one in database.letters(number)] == ["attempts_spent"]


def test_a_platform_that_asks_for_a_pause_gets_at_least_that(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    fake.will("publish", NotSent("server", "503", retry_after_s=900.0))
    publish.deliver(settings, number, claimed(pipeline, database, number))
    assert database.one("SELECT extract(epoch FROM available_at - clock_timestamp()) FROM scheduled_posts") > 890


def test_words_that_postgres_cannot_store_do_not_cost_the_answer(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    fake.will("publish", sent(Rejected("bad\x00code", "no \x00 and \ud800 in it")))
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == "failed"
    assert database.attempts(number)[0].outcome == "rejected"


# --- The fence ----------------------------------------------------------------------------------------------


def test_a_pause_between_intent_and_first_byte_sends_nothing_and_costs_no_try(
    scheduled, pipeline, settings, fake, database, monkeypatch
):
    number = scheduled()
    clock = [100.0]
    monkeypatch.setattr(publish, "running_seconds", lambda: clock[0])

    def slept(call, draft):
        clock[0] += settings.send_margin_seconds + 0.1
        leave(call)
        return fake.accept(call, draft)

    fake.will("publish", slept)
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == "retrying"
    row = database.post(number)
    assert (row.error_code, row.attempts, row.first_sent_at, fake.accepted) == ("fence", 0, None, [])
    monkeypatch.undo  # noqa: B018 - the clock stands still from here on, which the fence does not mind
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_an_intent_that_took_too_long_is_fenced_too(scheduled, pipeline, settings, fake, database, monkeypatch):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    clock = [100.0]
    monkeypatch.setattr(publish, "running_seconds", lambda: clock[0])
    real = publish.intend

    def slow(*args, **more):
        clock[0] += 60
        return real(*args, **more)

    monkeypatch.setattr(publish, "intend", slow)
    assert publish.deliver(settings, number, generation) == "retrying"
    assert fake.accepted == []


# --- Late answers -------------------------------------------------------------------------------------------


def rescued_meanwhile(pipeline, database, fake, outcome):
    """A step that outlives its lease: rescue decides while it is away, then it comes back with ``outcome``."""

    def step(call, draft):
        leave(call)
        answer = fake.accept(call, draft) if outcome is None else outcome
        database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() - interval '1 second'")
        with transaction(pipeline.settings.database()) as conn:
            from db import claims

            for row in claims.expired_leases(conn, batch=10):
                rescue.rescue(conn, pipeline.settings, row)
        return answer

    return step


def test_a_yes_after_the_lease_publishes_what_was_unknown(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    fake.will("publish", rescued_meanwhile(pipeline, database, fake, None))
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == "published"
    row = database.post(number)
    assert (row.status, row.remote_id, row.evidence) == ("published", "fake-1", "api")
    assert [one.to_status for one in database.rows("SELECT * FROM transitions ORDER BY id")] == [
        "queued",
        "publishing",
        "unknown",
        "published",
    ]


def test_a_no_after_the_lease_settles_the_doubt(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    fake.will("publish", rescued_meanwhile(pipeline, database, fake, NotSent("fence", "late")))
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) is None
    assert database.attempts(number)[0].outcome == "not_sent"
    pipeline.until(number, "published")
    assert (fake.count("reconcile"), len(fake.accepted)) == (0, 1)


def test_processing_after_the_lease_is_followed_and_never_sent_again(scheduled, pipeline, settings, fake, database):
    fake.will("publish", rescued_meanwhile(pipeline, database, fake, Processing(1.0)))
    fake.will("poll", Published("remote-1"))
    number = scheduled()
    publish.deliver(settings, number, claimed(pipeline, database, number))
    pipeline.until(number, "published")
    assert fake.count("publish") == 1


def test_a_yes_reaches_a_post_that_was_believed_absent_and_waits_again(scheduled, pipeline, settings, fake, database):
    number = scheduled()

    def zombie(call, draft):
        leave(call)
        answer = fake.accept(call, draft)
        fake.accepted.clear()  # reads do not show it: "absent" is believed
        database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() - interval '1 second'")
        fake.always("publish", NotSent("server", "503"))
        pipeline.until(number, "retrying")
        return answer

    fake.will("publish", zombie)
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == "published"
    assert database.post(number).remote_id == "fake-1"


def test_a_yes_that_comes_while_a_second_try_is_under_way_is_not_lost(scheduled, pipeline, settings, fake, database):
    """The second try is refused as a duplicate, as X does: the first one's answer says why."""
    number = scheduled()
    first = []

    def zombie(call, draft):
        leave(call)
        answer = fake.accept(call, draft)
        fake.accepted.clear()
        database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() - interval '1 second'")
        pipeline.until(number, "retrying")
        [attempt] = database.attempts(number)
        first.append((attempt, answer))
        return Unknown("timeout", "this one fell asleep")

    def second(call, draft):
        leave(call)
        [(attempt, answer)] = first
        report = Report(attempt.id, number, attempt.generation, attempt.account_id, 1, answer, 1.0)
        with transaction(settings.database()) as conn:
            assert conclude(conn, settings, report) is None
        return Rejected("duplicate", "you have said that already")

    fake.will("publish", zombie, second)
    publish.deliver(settings, number, claimed(pipeline, database, number))
    row = pipeline.until(number, "published", "failed")
    assert (row.status, row.remote_id) == ("published", "fake-1")


def test_one_remote_id_never_serves_two_posts(scheduled, pipeline, fake, database):
    fake.always("publish", sent(Published("same")))
    one, two = scheduled("one"), scheduled("two")
    pipeline.until_quiet()
    assert [database.post(n).status for n in (one, two)] == ["published", "published"]
    assert sorted([database.post(n).remote_id or "" for n in (one, two)]) == ["", "same"]


# --- Postgres goes away -------------------------------------------------------------------------------------


def outage(times, error=OperationalError):
    """Stands in for ``transaction``: the first ``times`` uses fail as a dead server does."""
    left = [times]

    def opened(url):
        if left[0] > 0:
            left[0] -= 1
            raise error("x", {}, Exception("server closed the connection unexpectedly"))
        return transaction(url)

    return opened


@pytest.mark.parametrize("error", [OperationalError, InternalError], ids=["away", "read-only"])
def test_an_answer_waits_for_postgres_in_a_private_file(
    scheduled, pipeline, settings, fake, database, monkeypatch, error
):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    monkeypatch.setattr(outcomes, "transaction", outage(3, error))
    seen = []

    def look(_seconds):
        [file] = settings.spool().glob("outcome-*.json")
        seen.append((stat.S_IMODE(file.stat().st_mode), database.post(number).status))

    monkeypatch.setattr(outcomes.time, "sleep", look)
    assert publish.deliver(settings, number, generation) == "published"
    assert seen == [(0o600, "publishing")] * 3
    assert list(settings.spool().iterdir()) == []
    assert len(fake.accepted) == 1


def test_an_answer_that_a_dead_worker_left_behind_is_stored_by_its_successor(
    scheduled, pipeline, settings, fake, database, monkeypatch
):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    monkeypatch.setattr(outcomes, "transaction", outage(1))

    class Killed(BaseException):
        pass

    def killed(_seconds):
        raise Killed

    monkeypatch.setattr(outcomes.time, "sleep", killed)
    with pytest.raises(Killed):
        publish.deliver(settings, number, generation)
    monkeypatch.undo()
    assert database.post(number).status == "publishing"
    (settings.spool() / "outcome-broken.json").write_text("{")
    assert outcomes.replay(settings) == 1
    assert outcomes.replay(settings) == 0
    assert database.post(number).status == "published"
    assert [file.name for file in settings.spool().iterdir()] == ["outcome-broken.bad"]


@pytest.mark.parametrize(
    "outcome",
    [
        Published("a", "https://x"),
        Published(None),
        Processing(3.0),
        Rejected("c", "m", 400, operator_alert=True),
        AuthExpired("c", "m", 401, permanent=True),
        RateLimited(in_an_hour(), "m", 429, "app"),
        NotSent("c", "m", 503, 9.0),
        Unknown("c", "m"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_every_outcome_survives_the_spool(outcome):
    import json
    import uuid

    report = Report(uuid.uuid4(), 1, 2, 3, 4, outcome, 5.5, counts=False)
    assert outcomes.decode(json.loads(json.dumps(outcomes.encode(report)))) == report


def test_a_full_disk_leaves_the_answer_in_memory_until_it_is_stored(
    scheduled, pipeline, settings, fake, database, monkeypatch
):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    monkeypatch.setattr(outcomes, "transaction", outage(2))
    monkeypatch.setattr(outcomes.time, "sleep", lambda _s: None)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outcomes.os, "open", full)
    assert publish.deliver(settings, number, generation) == "published"


def commit_without_answer(monkeypatch, module, *, committed):
    """The first transaction's COMMIT gets no answer; it did (or did not) take effect."""
    import contextlib

    first = [True]

    @contextlib.contextmanager
    def opened(url):
        if not first[0]:
            with transaction(url) as conn:
                yield conn
            return
        first[0] = False
        if committed:
            with transaction(url) as conn:
                yield conn
        else:
            with contextlib.suppress(ZeroDivisionError), transaction(url) as conn:
                yield conn
                raise ZeroDivisionError
        raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(module, "transaction", opened)


@pytest.mark.parametrize(("committed", "status", "calls"), [(True, "published", 1), (False, "queued", 0)])
def test_an_intent_whose_commit_got_no_answer_is_looked_up(
    scheduled, pipeline, settings, fake, database, monkeypatch, committed, status, calls
):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    commit_without_answer(monkeypatch, publish, committed=committed)
    publish.deliver(settings, number, generation)
    assert (database.post(number).status, fake.count("publish")) == (status, calls)
    assert len(database.attempts(number)) == calls


def test_an_outcome_whose_commit_got_no_answer_is_written_once(
    scheduled, pipeline, settings, fake, database, monkeypatch
):
    number = scheduled()
    generation = claimed(pipeline, database, number)
    commit_without_answer(monkeypatch, outcomes, committed=True)
    monkeypatch.setattr(outcomes.time, "sleep", lambda _s: None)
    publish.deliver(settings, number, generation)
    row = database.post(number)
    assert (row.status, row.attempts) == ("published", 1)
    assert len(database.attempts(number)) == 1


# --- What may stop it before the call -----------------------------------------------------------------------


def test_a_pause_between_claim_and_intent_stops_the_call(scheduled, pipeline, settings, fake, database):
    one, two = scheduled("one"), scheduled("two", to="fake:other")
    pipeline.claim()
    with transaction(settings.database()) as conn:
        accounts.pause(conn, "fake:acme", by="me")
    pipeline.run_hints()
    assert (database.post(one).status, database.post(two).status) == ("scheduled", "published")
    pipeline.until_quiet()
    assert fake.count("publish") == 1
    with transaction(settings.database()) as conn:
        assert accounts.resume(conn, "fake:acme", by="me") == 1
    pipeline.until_quiet()
    assert database.post(one).status == "published"


def test_the_stop_button_stops_everything_also_what_is_queued(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    pipeline.claim()
    with transaction(settings.database()) as conn:
        accounts.pause(conn, None, by="me", why="fire")
    pipeline.run_hints()
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("scheduled", 0)
    with transaction(settings.database()) as conn:
        accounts.resume(conn, None, by="me")
    pipeline.until_quiet()
    assert database.post(number).status == "published"


@pytest.mark.parametrize("target", ["fake:acme", None])
def test_a_pause_also_stops_the_last_step_of_a_call_that_has_several(
    scheduled, pipeline, settings, fake, database, target
):
    from platforms.base import Ready

    fake.will("publish", sent(Processing(1.0)))
    fake.always("poll", Ready())
    number = scheduled()
    pipeline.until_quiet()
    with transaction(settings.database()) as conn:
        accounts.pause(conn, target, by="me")
    database.pass_time(10)
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("publish")) == ("processing", 1)
    with transaction(settings.database()) as conn:
        accounts.resume(conn, target, by="me")
    pipeline.until(number, "published")
    assert fake.count("publish") == 2


def test_a_cancel_is_honoured_before_the_last_step(scheduled, pipeline, settings, fake, database):
    from platforms.base import Ready

    fake.will("publish", sent(Processing(1.0)))
    fake.always("poll", Ready())
    number = scheduled()
    pipeline.until_quiet()
    assert not cancel(number).done
    row = pipeline.until(number, "canceled", "published")
    assert (row.status, fake.count("publish")) == ("canceled", 1)


def test_a_deleted_account_sends_nothing(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    pipeline.claim()
    with transaction(settings.database()) as conn:
        assert accounts.remove(conn, "fake:acme", by="me") == 1
    pipeline.run_hints()
    assert (database.post(number).status, fake.count("publish")) == ("canceled", 0)
    assert bytes(database.one("SELECT credentials FROM accounts")) == b""


def test_a_window_that_ends_between_claim_and_intent_is_missed(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    pipeline.claim()
    database.run(
        "UPDATE scheduled_posts SET due_at = due_at - interval '2 hours', "
        "window_ends_at = clock_timestamp() - interval '1 second'"
    )
    pipeline.run_hints()
    assert (database.post(number).status, fake.count("publish")) == ("missed", 0)
    assert [one.code for one in database.letters(number)] == ["missed"]


def test_an_account_to_be_reconnected_holds_its_posts_until_it_is(
    scheduled, pipeline, settings, fake, database, account
):
    number = scheduled()
    pipeline.claim()
    database.run("UPDATE accounts SET state = 'needs_reconnect'")
    pipeline.run_hints()
    assert (database.post(number).status, database.post(number).held_for) == ("held", "reconnect")
    account("fake:acme", token="new")
    assert database.post(number).status == "scheduled"
    assert database.letters(number)[0].resolution == "reconnected"
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert fake.visits[-1].credentials == {"token": "new"}


def test_a_declared_quota_snoozes_without_spending_a_try(scheduled, pipeline, fake, database):
    fake.quotas = (Quota("two-an-hour", 2, 3600),)
    numbers = [scheduled(f"post {n}") for n in range(4)]
    other = scheduled("elsewhere", to="fake:other")
    pipeline.until_quiet()
    assert [database.post(n).status for n in (*numbers, other)] == [
        "published",
        "published",
        "scheduled",
        "scheduled",
        "published",
    ]
    waiting = database.post(numbers[2])
    assert (waiting.error_code, waiting.attempts) == ("two-an-hour", 0)
    database.run("UPDATE scheduled_posts SET window_ends_at = window_ends_at + interval '1 day'")
    database.pass_time(3601)
    pipeline.until_quiet()
    assert [database.post(n).status for n in numbers] == ["published"] * 4


def test_eight_workers_cannot_take_more_than_the_last_place(scheduled, pipeline, settings, environment, fake, database):
    settings = environment.change(burst_count=3)
    pipeline.settings = settings
    for n in range(8):
        scheduled(f"post {n}")
    pipeline.claim()
    hints, pipeline.hints.waiting = list(pipeline.hints.waiting), []
    threads = [threading.Thread(target=publish.deliver, args=(settings, *args)) for _, args in hints]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.count("publish") == 3
    assert database.one("SELECT count(*) FROM scheduled_posts WHERE status = 'scheduled'") == 5


def test_a_limit_of_the_app_stops_all_accounts_of_the_platform(scheduled, pipeline, settings, fake, database):
    fake.will("publish", RateLimited(in_an_hour(), "app limit", 429, scope="app"))
    one, two = scheduled("one"), scheduled("two", to="fake:other")
    pipeline.claim()
    pipeline.run_hints()
    pipeline.until_quiet()
    assert [database.post(n).status for n in (one, two)] == ["retrying", "scheduled"]
    assert fake.count("publish") == 1


def test_a_cancel_during_the_call_is_honoured_if_it_was_not_published(scheduled, pipeline, settings, fake, database):
    number = scheduled()

    def canceled(call, draft):
        told = cancel(number)
        assert not told.done
        assert "will not be sent again" in told.changes[0].message
        return NotSent("server", "503")

    fake.will("publish", canceled)
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == "canceled"


def test_a_cancel_during_the_call_loses_to_a_yes(scheduled, pipeline, settings, fake, database):
    number = scheduled()

    def canceled(call, draft):
        cancel(number)
        leave(call)
        return fake.accept(call, draft)

    fake.will("publish", canceled)
    assert publish.deliver(settings, number, claimed(pipeline, database, number)) == "published"


def test_the_platform_key_is_the_same_for_one_content_and_new_after_an_edit(scheduled, pipeline, fake, database):
    from scheduler import edit

    fake.will("publish", NotSent("a", "b"), NotSent("a", "b"))
    number = scheduled("old")
    pipeline.until_quiet()
    database.pass_time(60)
    pipeline.until_quiet()
    assert edit(number, text="new").done
    pipeline.until(number, "published")
    keys = [visit.key for visit in fake.visits]
    assert keys[0] == keys[1] != keys[2]
    assert [one.text for one in fake.accepted] == ["new"]


def test_prepared_media_that_ran_out_are_prepared_anew_unless_an_attempt_is_in_doubt(
    scheduled, pipeline, settings, fake, database
):
    fake.prepares = True
    fake.will("publish", NotSent("media_not_ready", "gone"))
    number = scheduled()
    pipeline.until(number, "published")
    assert fake.count("prepare") == 2

    other = scheduled("Another")
    row = database.post(other)
    database.run(
        "INSERT INTO publish_attempts (id, scheduled_post_id, account_id, version_id, generation, call, platform_key,"
        " payload_sha256, worker) VALUES (gen_random_uuid(), :id, :account, :version, 1, 'c', 'k', 'p', 'w')",
        id=other,
        account=row.account_id,
        version=row.version_id,
    )
    fake.will("publish", NotSent("media_not_ready", "gone"))
    pipeline.until(other, "retrying")
    assert database.post(other).checkpoint
