"""X and Pinterest against the suite that every platform module has to pass."""

from __future__ import annotations

import pytest
from conformance import Case, cases
from worlds import PINTEREST_SUBJECT, X_SUBJECT, of_each_kind

CASES = [case for subject in (X_SUBJECT, PINTEREST_SUBJECT) for case in (*cases(subject), *of_each_kind(subject))]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case: Case) -> None:
    case.run()
