"""A post that takes its worker down before anything is sent is counted, too; a hint that is lost is not.

What could break it, and the test that shows that it does not:

- The worker dies while it loads the post, before the intent: ``test_a_post_that_kills_before_the_intent...``
- A broker that is emptied again and again looks the same from outside: ``test_hints_that_are_lost...``
- A post that was counted lives, and has to wait for other reasons: ``test_what_was_counted_and_lived...``
- The counted hint comes twice: ``test_a_counted_hint_that_comes_twice...``
"""

from __future__ import annotations

import pytest
from sqlalchemy import event

from db import session
from scheduler import accounts
from workers import publish


class Kill(BaseException):
    """Stands for kill -9."""


def dies(*_args, **_kwargs):
    raise Kill


def lease_over(pipeline, database, settings):
    """Whoever holds a row does not report in time."""
    pipeline.hints.forget()
    database.pass_time(settings.queued_lease_seconds + 1)
    pipeline.sweep()


def test_a_post_that_kills_before_the_intent_ends_in_front_of_a_person(
    scheduled, pipeline, environment, fake, database, monkeypatch
):
    pipeline.settings = settings = environment.change(max_claims=3)
    number = scheduled(options={"post": {"window_minutes": 600}})
    died = 0
    with monkeypatch.context() as broken:
        broken.setattr(publish, "intend", dies)
        while database.post(number).status != "failed" and died < 20:
            if pipeline.claim():
                with pytest.raises(Kill):
                    pipeline.run_hints()
                died += 1
            lease_over(pipeline, database, settings)
    row = database.post(number)
    # The first death cannot be told from a lost hint; from then on each is counted.
    assert (row.status, row.error_code, died) == ("failed", "worker_crash", 1 + settings.max_claims)
    assert "3 times" in row.error_message
    assert [one.code for one in database.letters(number)] == ["worker_crash"]
    assert (fake.count("publish"), database.attempts(number)) == (0, [])


def test_hints_that_are_lost_are_never_counted(scheduled, pipeline, settings, fake, database):
    number = scheduled(options={"post": {"window_minutes": 600}})
    for _ in range(3 * settings.max_claims):
        assert pipeline.claim() == 1
        lease_over(pipeline, database, settings)
        row = database.post(number)
        assert (row.status, row.claims, row.error_code) == ("scheduled", 0, "hint_lost")
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.claims, row.error_code, len(fake.accepted)) == ("published", 0, None, 1)


def test_a_prepared_post_is_counted_the_same_way_and_keeps_what_was_prepared(
    scheduled, pipeline, environment, fake, database, monkeypatch
):
    pipeline.settings = settings = environment.change(max_claims=2)
    fake.prepares = True
    number = scheduled(options={"post": {"window_minutes": 600}})
    pipeline.cycle()
    with monkeypatch.context() as broken:
        broken.setattr(publish, "intend", dies)
        for _ in range(2):
            assert pipeline.claim() == 1
            with pytest.raises(Kill):
                pipeline.run_hints()
            lease_over(pipeline, database, settings)
    assert (database.post(number).status, database.post(number).claims) == ("ready", 1)
    pipeline.until_quiet()
    assert (database.post(number).status, fake.count("prepare")) == ("published", 1)


def test_what_was_counted_and_lived_is_not_held_against_it(scheduled, pipeline, settings, fake, database):
    number = scheduled(options={"post": {"window_minutes": 600}})
    for _ in range(settings.max_claims + 2):
        assert pipeline.claim() == 1
        lease_over(pipeline, database, settings)
        assert pipeline.claim() == 1
        with session.transaction(settings.database()) as conn:
            accounts.pause(conn, "fake:acme", by="test")
        pipeline.run_hints()
        with session.transaction(settings.database()) as conn:
            accounts.resume(conn, "fake:acme", by="test")
        row = database.post(number)
        assert (row.status, row.claims) == ("scheduled", 0)
    pipeline.until_quiet()
    assert (database.post(number).status, len(fake.accepted)) == ("published", 1)


def test_a_death_after_the_intent_is_counted_once(scheduled, pipeline, settings, fake, database):
    number = scheduled(options={"post": {"window_minutes": 600}})
    pipeline.claim()
    lease_over(pipeline, database, settings)
    pipeline.claim()
    fake.will("publish", dies)
    with pytest.raises(Kill):
        pipeline.run_hints()
    assert (database.post(number).status, database.post(number).claims) == ("publishing", 1)


def test_a_counted_hint_that_comes_twice_sends_once(scheduled, pipeline, settings, fake, database):
    number = scheduled(options={"post": {"window_minutes": 600}})
    pipeline.claim()
    lease_over(pipeline, database, settings)
    pipeline.claim()
    pipeline.hints.waiting += list(pipeline.hints.waiting)
    pipeline.until_quiet()
    assert (database.post(number).status, len(fake.accepted)) == ("published", 1)


def test_it_costs_a_healthy_post_no_statement(scheduled, pipeline, settings, fake, database):
    number = scheduled()
    pipeline.claim()
    said: list[str] = []
    engine = session.engine(settings.database())
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, words, *_: said.append(words))
    pipeline.run_hints()
    assert database.post(number).status == "published"
    counted = [words for words in said if words.lstrip().startswith("UPDATE") and "leased_by LIKE" in words]
    assert (counted, len(said) > 0) == ([], True)
