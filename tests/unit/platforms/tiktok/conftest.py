"""Each test of TikTok is a process of its own: it has no last chunks in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from platforms.tiktok import tails, upload


@pytest.fixture(autouse=True)
def _no_tails() -> Iterator[None]:
    upload.TAILS = tails.Tails()
    yield
    upload.TAILS = tails.TAILS
