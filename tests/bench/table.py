"""The figures as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, rounded

PARTS = {"programs": "MB", "cpu_ms_per_post": "ms CPU a post", "shares": "%", "hottest": "%"}
"""Keys of a figure that are shown as a line of their own, and what they are counted in."""


def show(figures: Mapping[str, Figure], broken: Mapping[str, str], console: Console) -> None:
    """Prints all figures, their parts, and what broke."""
    table = Table(title="SchedulerX bench", title_justify="left")
    for head in ("figure", "value", "unit", "min", "max", "runs", "target"):
        table.add_column(head, justify="left" if head in {"figure", "unit", "target"} else "right")
    for name, one in figures.items():
        target = "" if one.target is None else f"{one.target} {'ok' if one.met else 'missed'}"
        style = "" if one.met is None else "green" if one.met else "yellow"
        table.add_row(name, *(f"{rounded(value):g}" if isinstance(value, float) else value
                              for value in (one.value, one.unit, float(one.min), float(one.max))),
                      str(one.runs), target, style=style)  # fmt: skip
    console.print(table)
    for name, one in figures.items():
        if one.note:
            console.print(f"{name}: {one.note}", markup=False)
        for key, unit in PARTS.items():
            parts = (one.more or {}).get(key)
            if parts:
                said = " · ".join(f"{part} {value:g}" for part, value in parts.items())
                console.print(f"  {key} ({unit}): {said}", markup=False, style="dim")
    for name, why in broken.items():
        console.print(f"{name} broke: {why}", markup=False, style="red")
