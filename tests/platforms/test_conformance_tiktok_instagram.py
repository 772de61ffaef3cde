"""TikTok and Instagram against the suite that every platform module has to pass."""

from __future__ import annotations

import pytest
from conformance import Case, cases
from world_instagram import FACEBOOK_SUBJECT, INSTAGRAM_SUBJECT
from world_tiktok import PULLS, UPLOADS

SUBJECTS = (UPLOADS, PULLS, INSTAGRAM_SUBJECT, FACEBOOK_SUBJECT)


@pytest.mark.parametrize("case", [case for subject in SUBJECTS for case in cases(subject)], ids=str)
def test_conformance(case: Case) -> None:
    case.run()
