"""An answer that comes when the post has ended, or when it is about a post of another database."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from fakes import sent

from db.session import transaction
from platforms.base import NotPublished, NotSent, Processing, Published, RateLimited, Ready, Rejected
from scheduler import cancel, dead_letters, retry
from workers import outcomes, publish
from workers.ledger import Report, Stranger, conclude


@pytest.fixture
def unanswered(scheduled, pipeline, settings, database):
    """A post whose worker called the platform and has not reported yet; (its number, the report of an outcome)."""
    number = scheduled(options={"post": {"window_minutes": 60}})
    pipeline.claim()
    pipeline.hints.forget()
    row = database.post(number)
    intent, _ = publish._intend(settings, number, row.generation, publish.Status.QUEUED)
    assert intent is not None

    def report(outcome):
        return Report(
            attempt_id=intent.attempt_id, scheduled_post_id=number, generation=intent.generation,
            account_id=row.account_id, token_version=1, outcome=outcome, sent_at=datetime.now(UTC).timestamp(),
        )  # fmt: skip

    return number, report


def looked_for_in_vain(pipeline, database, number, status):
    """The worker's lease ran out, two look-ups found nothing, and the post has ended."""
    database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() - interval '1 second'")
    if status == "canceled":
        pipeline.sweep()
        cancel(number)
    if status == "missed":
        database.run(
            "UPDATE scheduled_posts SET window_ends_at = greatest(due_at, clock_timestamp() - interval '1 second')"
        )


@pytest.mark.parametrize("status", ["missed", "canceled", "failed"])
def test_what_the_platform_has_after_all_is_looked_after_and_never_sent_again(
    unanswered, pipeline, fake, settings, database, status
):
    number, report = unanswered
    looked_for_in_vain(pipeline, database, number, status)
    if status == "failed":
        fake.will("publish", sent(Rejected("bad_words", "not like this", 400)))
    row = pipeline.until(number, status)
    calls = fake.count("publish")
    with transaction(settings.database()) as conn:
        assert conclude(conn, settings, report(Processing(5.0, {"job": "j-1"}))) == "processing"
    row = database.post(number)
    assert (row.status, row.finalized_at, row.checkpoint["job"]) == ("processing", None, "j-1")
    assert row.cancel_requested == (status == "canceled")
    assert [one.resolution for one in database.letters(number)] == ["superseded"] * (status != "canceled")
    assert not retry(number).done
    fake.will("poll", Processing(5.0), Published("late-1"))
    row = pipeline.until(number, "published")
    assert (row.remote_id, fake.count("publish")) == ("late-1", calls)


@pytest.mark.parametrize("how", ["canceled", "discarded"])
def test_the_last_step_of_what_a_person_has_given_up_is_not_taken(unanswered, pipeline, fake, settings, database, how):
    number, report = unanswered
    looked_for_in_vain(pipeline, database, number, "canceled" if how == "canceled" else "missed")
    pipeline.until(number, "canceled", "missed")
    if how == "discarded":
        with transaction(settings.database()) as conn:
            dead_letters.discard(conn, number, by="me")
        database.run("UPDATE scheduled_posts SET window_ends_at = clock_timestamp() + interval '1 day'")
    with transaction(settings.database()) as conn:
        assert conclude(conn, settings, report(Processing(1.0))) == "processing"
    fake.will("poll", Ready())
    assert pipeline.until(number, "canceled", "published").status == "canceled"
    assert fake.count("publish") == 0


def test_what_the_platform_gave_up_after_all_is_in_front_of_a_person_again(
    unanswered, pipeline, fake, settings, database
):
    number, report = unanswered
    looked_for_in_vain(pipeline, database, number, "missed")
    pipeline.until(number, "missed")
    with transaction(settings.database()) as conn:
        conclude(conn, settings, report(Processing(1.0)))
    fake.will("poll", NotPublished(NotSent("pull_failed", "could not be fetched")))
    pipeline.until(number, "missed")
    assert [one.resolution for one in database.letters(number)] == ["superseded", None]
    assert fake.count("publish") == 0


# --- Another database's answers -----------------------------------------------------------------------------


def foreign(report, **changed):
    """The same report with other numbers."""
    return outcomes.decode({**outcomes.encode(report), **changed})


@pytest.mark.parametrize("outcome", [Published("p-9"), Processing(1.0), RateLimited(datetime.now(UTC), "wait")])
def test_an_answer_about_another_database_s_post_changes_nothing(unanswered, settings, database, scheduled, outcome):
    """Its file was left in the folder, ``DATABASE_URL`` says another database now, and the numbers mean others here."""
    number, report = unanswered
    other = scheduled("another", to="fake:other", at="2031-01-01T10:00Z")
    tables = ("SELECT * FROM scheduled_posts ORDER BY id", "SELECT * FROM accounts ORDER BY id")
    before = [database.rows(query) for query in tables]
    own = report(outcome)
    strays = [
        foreign(own, attempt_id=str(uuid.uuid4())),
        foreign(own, scheduled_post_id=other),
        foreign(own, scheduled_post_id=999_999),
        foreign(own, account_id=database.post(other).account_id),
        foreign(own, account_id=999_999),
    ]
    for place, stray in enumerate(strays):
        with pytest.raises(Stranger), transaction(settings.database()) as conn:
            conclude(conn, settings, stray)
        (settings.spool() / f"outcome-{place}.json").write_text(json.dumps(outcomes.encode(stray)))
    assert outcomes.replay(settings) == 0
    assert outcomes.keep(settings, strays[0]) is None
    assert [database.rows(query) for query in tables] == before
    assert database.one("SELECT outcome FROM publish_attempts") is None
    kept = {f"outcome-{place}.json" for place in range(5)} | {f"outcome-{strays[0].attempt_id}.json"}
    assert {file.name for file in settings.spool().iterdir()} == kept
    assert number == own.scheduled_post_id


def test_a_stray_answer_is_stored_once_its_own_database_is_back(unanswered, settings, database, monkeypatch):
    number, report = unanswered
    file = settings.spool() / "outcome-0.json"
    file.write_text(json.dumps(outcomes.encode(report(Published("p-1")))))
    monkeypatch.setattr(outcomes, "_strangers", set())
    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "conclude", lambda *_: (_ for _ in ()).throw(Stranger("not here")))
        assert [outcomes.replay(settings), outcomes.replay(settings)] == [0, 0]
    assert file.exists()
    monkeypatch.setattr(outcomes, "_strangers", set())  # as in a worker that was started anew
    assert outcomes.replay(settings) == 1
    assert (database.post(number).status, file.exists()) == ("published", False)
