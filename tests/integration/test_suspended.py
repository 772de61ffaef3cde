"""A machine that is suspended for an hour in the middle of a call: first the outcome, then the window.

While it sleeps its clock that counts sleep goes on, its lease and its posts' windows end; on other machines rescue
and look-ups have gone on meanwhile.
"""

from __future__ import annotations

import pytest
from fakes import leave, lost

from workers import publish

HOUR_S = 3600.0


@pytest.fixture
def asleep(pipeline, database, monkeypatch):
    """Passes an hour for everybody; what others do meanwhile is done."""
    clock = [1000.0]
    monkeypatch.setattr(publish, "running_seconds", lambda: clock[0])

    def sleep(others=True):
        clock[0] += HOUR_S
        database.pass_time(HOUR_S + 1)
        if others:
            pipeline.sweep()

    return sleep


def claimed(pipeline, database, number):
    assert pipeline.claim() == 1
    pipeline.hints.forget()
    return database.post(number).generation


@pytest.mark.parametrize("others", [True, False], ids=["others go on", "everything sleeps"])
def test_before_the_first_byte_nothing_is_sent_and_the_window_decides(
    scheduled, pipeline, settings, fake, database, asleep, others
):
    number = scheduled()

    def slept(call, draft):
        asleep(others)
        leave(call)
        return fake.accept(call, draft)

    fake.will("publish", slept)
    publish.deliver(settings, number, claimed(pipeline, database, number))
    row = pipeline.until(number, "missed", "published")
    assert (row.status, fake.accepted) == ("missed", [])
    assert len(database.letters(number)) == 1


@pytest.mark.parametrize("others", [True, False], ids=["others go on", "everything sleeps"])
def test_an_answer_that_was_waiting_when_it_woke_is_kept(scheduled, pipeline, settings, fake, database, asleep, others):
    number = scheduled()

    def slept(call, draft):
        leave(call)
        answer = fake.accept(call, draft)
        asleep(others)
        return answer

    fake.will("publish", slept)
    publish.deliver(settings, number, claimed(pipeline, database, number))
    row = pipeline.until(number, "published", "missed", "held")
    assert (row.status, row.evidence, len(fake.accepted)) == ("published", "api", 1)
    assert database.letters(number) == []


@pytest.mark.parametrize("taken", [True, False], ids=["the platform had it", "it never arrived"])
def test_a_connection_that_died_meanwhile_is_looked_into_and_never_sent_again_late(
    scheduled, pipeline, settings, fake, database, asleep, taken
):
    number = scheduled()

    def slept(call, draft):
        leave(call)
        if taken:
            fake.accept(call, draft)
        asleep()
        raise lost(was_sent=True)

    fake.will("publish", slept)
    publish.deliver(settings, number, claimed(pipeline, database, number))
    row = pipeline.until(number, "published", "missed", "held")
    # Its window is over: what is not there is reported, not posted an hour late.
    assert (row.status, len(fake.accepted)) == (("published", 1) if taken else ("missed", 0))
    assert fake.count("publish") == 1
