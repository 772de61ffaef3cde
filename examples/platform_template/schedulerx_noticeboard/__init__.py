"""Noticeboard, an imaginary platform, as a module for SchedulerX."""

from __future__ import annotations

from schedulerx_noticeboard.module import Noticeboard

PLATFORM = Noticeboard()
"""What the entry point names."""
