"""How long to wait before the next try, and when to stop: numbers, apart from the mechanics."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scheduler.settings import Settings


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential pauses with jitter. Seconds."""

    base_s: float
    max_s: float
    max_attempts: int

    def pause_s(self, attempts: int, asked_s: float | None = None) -> float:
        """The pause after the ``attempts``-th failure (from 1): between half and all of base x 2^(n-1), so
        that many posts that failed together do not come back together; never less than the platform asked.
        """
        full = min(self.max_s, self.base_s * 2.0 ** min(max(attempts, 1) - 1, 30))
        chosen = full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        return max(chosen, asked_s or 0.0)

    def spent(self, attempts: int) -> bool:
        """Whether there are no more tries."""
        return attempts >= self.max_attempts


def policy(settings: Settings) -> RetryPolicy:
    """For posts that provably were not published."""
    return RetryPolicy(settings.backoff_seconds, settings.backoff_max_seconds, settings.max_attempts)


LOOKUPS = RetryPolicy(base_s=5.0, max_s=900.0, max_attempts=12)
"""For look-ups that could not decide."""
