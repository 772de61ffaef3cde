"""The spooled answer: what comes back is what was written, and what is not ours is refused."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.base import NotSent, Published, RateLimited, Rejected, Unknown
from workers.ledger import Report
from workers.outcomes import decode, encode

texts = st.text(max_size=50)
kinds = st.one_of(
    st.builds(Published, st.none() | texts, st.none() | texts),
    st.builds(Rejected, texts, texts, st.none() | st.integers(100, 599), st.booleans()),
    st.builds(NotSent, texts, texts, st.none(), st.none() | st.floats(0, 1e6)),
    st.builds(Unknown, texts, texts),
    st.builds(RateLimited, st.datetimes(timezones=st.just(UTC)), texts),
)


@given(kinds, st.uuids(), st.integers(1, 2**60), st.none() | st.floats(0, 4e9), st.booleans())
def test_what_is_read_back_is_what_was_written(outcome, attempt, number, sent_at, counts):
    report = Report(attempt, number, 2, 3, 4, outcome, sent_at, counts=counts)
    assert decode(json.loads(json.dumps(encode(report)))) == report


@pytest.mark.parametrize(
    "change",
    [{"kind": "os.system"}, {"kind": "Ready"}, {"outcome": {"a": 1}}, {"attempt_id": "no"}, {"generation": None}],
)
def test_what_is_no_report_of_ours_is_refused(change):
    plain = encode(Report(uuid.uuid4(), 1, 2, 3, 4, RateLimited(datetime.now(UTC), "m")))
    with pytest.raises((KeyError, ValueError, TypeError)):
        decode({**plain, **change})
