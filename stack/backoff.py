"""How long to wait before something that died is started again: longer each time, short again once it has lived."""

from __future__ import annotations

FIRST_S = 1.0
LONGEST_S = 30.0
STEADY_AFTER_S = 60.0
"""Alive for so long, it has recovered: its next death is its first again."""


def backoff(deaths: int) -> float:
    """1, 2, 4, 8, 16, 30, 30 ... seconds."""
    return min(LONGEST_S, FIRST_S * 2.0 ** min(deaths, 10))
