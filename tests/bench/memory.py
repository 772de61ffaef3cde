"""Memory of the idle stack: all processes of ``schedulerx up``, by program, once it has come to rest."""

from __future__ import annotations

import time
from pathlib import Path

from stack.programs import default_programs
from tests.bench import cpu, pss
from tests.bench.figures import Figure, Target, median_of
from tests.bench.world import BenchBroken, Stack, stack

TARGET = Target(600.0)
MB = 1_000_000
CALM = 0.10
"""At rest: all programs together use no more than this share of one core. Beat ticks each second, so not 0."""
LOOK_S = 1.0
CALM_LOOKS = 5
PATIENCE_S = 120.0
READS = 5


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """The figures of a stack that nothing was asked of."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise BenchBroken("this system does not tell PSS (Linux does)")
    with stack(where) as running:
        share = until_calm(running)
        reads: list[dict[str, float]] = []
        for number in range(2 if quick else READS):
            if number:
                time.sleep(LOOK_S)  # the distance between two readings
            reads.append(by_program(running))
    last = reads[-1]
    count = sum(number for number in _counts.values())
    parts = {name: round(megabytes, 1) for name, megabytes in sorted(last.items(), key=lambda one: -one[1])}
    return {
        "idle_stack_pss": median_of(
            [sum(one.values()) for one in reads],
            "MB",
            target=TARGET,
            note=f"{count} processes; they use {share:.1%} of a core; a second stack beside it would make it less",
            more={"programs": parts, "processes": _counts},
        )
    }


_counts: dict[str, int] = {}


def by_program(running: Stack) -> dict[str, float]:
    """MB of each program with its children."""
    programs = running.programs()
    if missing := {one.name for one in default_programs(beat_schedule="", spool_id="", small=True)} - set(programs):
        raise BenchBroken(f"does not run: {', '.join(sorted(missing))}\n{running.tail()}")
    found = {}
    for name, process in programs.items():
        members = [process] if name == "supervisor" else pss.family(process)
        _counts[name] = len(members)
        found[name] = pss.total(members) / MB
    # Whatever else the supervisor has started and nobody has named.
    named = {
        one.pid for process in programs.values() if process.pid != running.supervisor.pid for one in pss.family(process)
    }
    rest = [one for one in pss.family(running.supervisor)[1:] if one.pid not in named]
    if rest:
        found["other"] = pss.total(rest) / MB
        _counts["other"] = len(rest)
    return found


def until_calm(running: Stack) -> float:
    """Waits until the stack is at rest; the share of one core that it uses then."""
    programs = {name: one for name, one in running.programs().items() if name != "supervisor"}
    calm = 0
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        before, began = cpu.read(programs), time.monotonic()
        time.sleep(LOOK_S)  # the span over which use is counted
        share = sum(cpu.spent(before, cpu.read(programs)).values()) / (time.monotonic() - began)
        calm = calm + 1 if share <= CALM else 0
        if calm == CALM_LOOKS:
            return share
    raise BenchBroken(f"the stack did not come to rest within {PATIENCE_S:.0f} s (it uses {share:.0%} of a core)")
