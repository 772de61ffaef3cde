"""Bluesky and Mastodon against the suite that every platform module has to pass."""

from __future__ import annotations

import pytest
from conformance import Case, cases
from world_bluesky import BLUESKY_SUBJECT
from world_mastodon import MASTODON_SUBJECT

SUBJECTS = (BLUESKY_SUBJECT, MASTODON_SUBJECT)


@pytest.mark.parametrize("case", [case for subject in SUBJECTS for case in cases(subject)], ids=str)
def test_conformance(case: Case) -> None:
    case.run()
