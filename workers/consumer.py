"""Celery's consumer, which tells Flower of tasks in batches.

By itself it publishes what happened at each turn of its loop: for each post three times or so, a seventh of what a
busy publish worker does. Nobody who looks at Flower sees half a second.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer

FLUSH_S = 0.5
"""Events wait for so long at most, or until Celery's own buffer is full (24 of them)."""


class Consumer(CelerysConsumer):  # type: ignore[misc]  # celery ships no types
    """Asks for a flush once in ``FLUSH_S`` instead of at once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._next_flush = 0.0
        super().__init__(*args, **options)

    def on_send_event_buffered(self) -> None:
        """Called for each event, by whatever thread has it. Safe to lose: the next event plans another flush."""
        now = time.monotonic()
        if self.hub and now >= self._next_flush:
            self._next_flush = now + FLUSH_S
            self.hub.call_soon(self._plan_flush)

    def _plan_flush(self) -> None:
        # In the loop's own thread: its timers are not for others to touch.
        self.hub.call_later(FLUSH_S, self._flush_events)
