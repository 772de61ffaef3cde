"""X and Pinterest against the suite that every platform module has to pass."""

from __future__ import annotations

import pytest
from conformance import Case, cases
from worlds import PINTEREST_SUBJECT, X_SUBJECT


@pytest.mark.parametrize("case", [*cases(X_SUBJECT), *cases(PINTEREST_SUBJECT)], ids=str)
def test_conformance(case: Case) -> None:
    case.run()
