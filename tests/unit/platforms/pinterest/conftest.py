"""Each test begins as a process that has no picture at hand."""

from __future__ import annotations

import pytest

from platforms.pinterest import pictures


@pytest.fixture(autouse=True)
def at_hand(monkeypatch: pytest.MonkeyPatch) -> pictures.Pictures:
    """What is kept in memory from preparing to publishing."""
    kept = pictures.Pictures()
    monkeypatch.setattr(pictures, "PICTURES", kept)
    return kept
