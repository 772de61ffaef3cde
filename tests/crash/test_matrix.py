"""Every step x every kind of platform x what may strike there: nothing lost, nothing doubled.

The fast set (``-m "crash and not slow"``) has each kind of strike at each step for the kind that is hardest to
get right (LOOKUP), every step of preparing and polling, for the others what differs, and of the threads one for
each way in which they can break. The rest is ``slow``.
All selected cases run at once, in one stack; each test then looks at one of them.
"""

from __future__ import annotations

import pytest

from tests.crash.cases import CASES, Case
from tests.crash.matrix import Result, rig_for, run

pytestmark = [pytest.mark.crash, pytest.mark.timeout(2400)]


ROUNDS = 3
"""How often a case may run until it is struck: on a busy machine a call may time out before it gets to its place."""


def _name(case: Case) -> str:
    return case.full_name + (f"-{case.needs.replace(' ', '-')}" if case.needs else "")


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> dict[str, Result]:
    """What became of all selected cases."""
    selected = [
        item.callspec.params["case"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and hasattr(item, "callspec")
    ]
    results: dict[str, Result] = {}
    waiting = selected
    for _ in range(ROUNDS):
        with rig_for(waiting) as rig:
            found = run(rig, waiting, seconds=600 if len(waiting) < 150 else 2000)
        results |= {_name(case): result for case, result in zip(waiting, found, strict=True)}
        # Where everything went well but the place was passed by, nothing has been shown: so again, among fewer.
        waiting = [case for case in waiting if results[_name(case)].verdict == "ok" and not results[_name(case)].struck]
        if not waiting:
            break
    return results


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=_name(case), marks=() if case.fast else (pytest.mark.slow,)) for case in CASES],
)
def test_nothing_is_lost_or_doubled(case: Case, results: dict[str, Result]) -> None:
    found = results[_name(case)]
    assert found.verdict == "ok", found
    assert found.struck, f"the failpoint was never reached: {found}"
