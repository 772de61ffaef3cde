"""Beat's scheduler: Celery's own, which also goes on when this machine's clock is set back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.beat import PersistentScheduler

from scheduler.logging import logger

log = logger(__name__)

AHEAD = timedelta(seconds=2)
"""How far in the future a last run may lie before the clock must have been set back: more than the pace of beat's
loop, so that a clock which is slewed alarms nobody."""


class Scheduler(PersistentScheduler):  # type: ignore[misc]  # celery ships no types
    """Celery compares the wall clock with when an entry ran last. Set back by an hour, it would wait for that hour:
    measured, no tick at all. What lies in the future has run just now."""

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """One look at what is due; seconds until the next."""
        now = self.app.now()
        ahead = [one for one in self.schedule.values() if one.last_run_at and one.last_run_at > now + AHEAD]
        if ahead:
            log.warning("beat.clock_set_back", seconds=round((ahead[0].last_run_at - now).total_seconds()))
            for entry in ahead:
                entry.last_run_at = now
            self._heap = None  # its order is by times of the clock before
        return super().tick(*args, **kwargs)
