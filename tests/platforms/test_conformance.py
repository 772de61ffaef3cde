"""X and Pinterest against the suite that every platform module has to pass."""

from __future__ import annotations

import pytest
from conformance import Case, cases
from worlds import PINTEREST_SUBJECT, X_BY_SIGNATURE, X_SUBJECT, of_each_kind

SUBJECTS = (X_SUBJECT, X_BY_SIGNATURE, PINTEREST_SUBJECT)
CASES = [case for subject in SUBJECTS for case in (*cases(subject), *of_each_kind(subject))]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case: Case) -> None:
    case.run()
