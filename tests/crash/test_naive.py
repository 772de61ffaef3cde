"""The judge must be able to find a double: with the protection switched off it does."""

from __future__ import annotations

import pytest

from tests.crash.cases import CASES
from tests.crash.matrix import run
from tests.crash.rig import Rig

# Slow: half a minute, which CI has not; there the judge's own tests show that it counts doubles (test_judge.py).
pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(300)]


SETTINGS = {
    "SCHEDULERX_CHAOS_NAIVE_RESEND": "1",
    # On a busy machine, too, each has to be stored at its first try, and answered in time.
    "SCHEDULERX_SEND_MARGIN_SECONDS": "5",
    "SCHEDULERX_CALL_BUDGET_SECONDS": "8",
}


def test_a_naive_resend_doubles_what_was_sent_and_not_recorded() -> None:
    cases = [
        case
        for case in CASES
        if (case.kind, case.action, case.first, case.skip, case.part) == ("lookup", "kill", "", 0, None)
        and case.point.startswith(("http.publishes", "publish.", "outcome."))
    ]
    with Rig(publishers=6, together=True, settings=SETTINGS) as rig:
        found = {one.point: sum(one.public) for one in run(rig, cases, seconds=120)}
    doubled = {"http.publishes.head_read", "publish.answered", "outcome.before_commit"}
    assert {point for point, public in found.items() if public > 1} == doubled
    assert all(public >= 1 for public in found.values())
