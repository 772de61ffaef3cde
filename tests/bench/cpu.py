"""CPU time of programs and of what they started, read twice and subtracted."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from tests.bench.pss import family


def seconds(process: psutil.Process) -> float:
    """User and system time of a process, its living descendants, and those that have ended and were waited for."""
    used = 0.0
    for one in family(process):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system
        # What ended children used is known to their parent only (Linux; elsewhere the fields are missing).
        used += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return used


def read(programs: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Seconds used so far by each program."""
    return {name: seconds(process) for name, process in programs.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Seconds used in between."""
    return {name: after[name] - before[name] for name in after if name in before}
