"""Where repeating makes the same object nobody looks first, so the doubt stays until the repeated call has answered."""

from __future__ import annotations

import pytest
from fakes import leave

from platforms.base import NotSent, ReconcileKind, Rejected, Repeatable
from scheduler import cancel, edit, retry


class Kill(BaseException):
    """Stands for kill -9 in the middle of a call."""


@pytest.fixture
def to_be_repeated(scheduled, pipeline, fake, database):
    """A post that is public, although its worker died before it could say so; it waits to be sent again."""
    fake.kind = ReconcileKind.CLIENT_ID
    fake.always("reconcile", Repeatable())
    number = scheduled()

    def dies(call, draft):
        leave(call)
        fake.accept(call, draft)
        raise Kill

    fake.will("publish", dies)
    pipeline.claim()
    with pytest.raises(Kill):
        pipeline.run_hints()
    database.run("UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() WHERE id = :id", id=number)
    pipeline.sweep()
    pipeline.run_hints()
    assert database.post(number).status == "retrying"
    return number


def test_an_edit_is_refused_it_would_make_a_second_object(to_be_repeated, pipeline, fake, database):
    assert not edit(to_be_repeated, text="new words").done
    pipeline.until(to_be_repeated, "published")
    assert [one.text for one in fake.accepted] == ["Hello"]


def test_a_window_that_ends_meanwhile_is_not_called_missed(to_be_repeated, pipeline, database):
    database.run(
        "UPDATE scheduled_posts SET due_at = due_at - interval '2 hours',"
        " window_ends_at = clock_timestamp() - interval '1 second' WHERE id = :id",
        id=to_be_repeated,
    )
    pipeline.until_quiet()
    row = database.post(to_be_repeated)
    assert (row.status, row.held_for) == ("held", "outcome_unknown")
    assert [one.code for one in database.letters(to_be_repeated)] == ["outcome_unknown"]


def test_a_cancel_says_that_it_may_be_public(to_be_repeated, pipeline, fake, database):
    told = cancel(to_be_repeated)
    assert not told.done
    assert "may have published it" in told.changes[0].message
    pipeline.until_quiet()
    row = database.post(to_be_repeated)
    assert (row.status, row.held_for, fake.count("publish")) == ("held", "outcome_unknown", 1)


@pytest.mark.parametrize("answer", [Rejected("gone", "no such thing", 400), NotSent("network", "not reached")])
def test_a_second_try_that_fails_does_not_make_it_failed(to_be_repeated, pipeline, environment, fake, database, answer):
    pipeline.settings = environment.change(max_attempts=1)
    fake.always("publish", answer)
    row = pipeline.until(to_be_repeated, "held", "failed")
    assert (row.status, row.held_for) == ("held", "outcome_unknown")
    assert not retry(to_be_repeated).done
