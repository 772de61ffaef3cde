"""Bluesky and Mastodon against the suite that every platform module has to pass."""

from __future__ import annotations

import pytest
from conformance import Case, cases
from world_bluesky import BLUESKY_SUBJECT
from world_mastodon import MASTODON_SUBJECT


@pytest.mark.parametrize("case", [*cases(BLUESKY_SUBJECT), *cases(MASTODON_SUBJECT)], ids=str)
def test_conformance(case: Case) -> None:
    case.run()
