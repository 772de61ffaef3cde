"""A figure: one number with its spread, and the arithmetic behind it."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Skipped(Exception):
    """What is to be measured cannot be measured here; why. No failure."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of all values do not exceed: the nearest rank.

    Nothing is interpolated: with few values a high percentile is the largest one, and says so by being it.

    :raises ValueError: there are no values, or the share is not between 0 and 1.
    """
    if not values:
        raise ValueError("a percentile of nothing")
    if not 0 <= share <= 1:
        raise ValueError("a share is between 0 and 1")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


@dataclass(frozen=True)
class Target:
    """What is to be reached: ``at most`` or ``at least`` a value."""

    value: float
    at_most: bool = True

    def met(self, value: float) -> bool:
        """Whether ``value`` reaches it."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """``value`` with the smallest and the largest of ``runs`` measurements."""

    value: float
    unit: str
    min: float
    max: float
    runs: int
    target: Target | None = None
    note: str = ""
    more: Mapping[str, Any] | None = None
    """Further keys for the file: parts that the value is made of."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None: there is none."""
        return None if self.target is None else self.target.met(self.value)

    def as_json(self) -> dict[str, Any]:
        """As ``bench.json`` holds it."""
        plain: dict[str, Any] = {
            "value": rounded(self.value),
            "unit": self.unit,
            "min": rounded(self.min),
            "max": rounded(self.max),
            "runs": self.runs,
        }
        if self.target is not None:
            plain |= {"target": str(self.target), "met": self.met}
        if self.note:
            plain["note"] = self.note
        return {**plain, **(self.more or {})}


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, max(3 - math.floor(math.log10(abs(value))), 0))


def median_of(values: Sequence[float], unit: str, **more: Any) -> Figure:
    """The median of several runs."""
    return Figure(statistics.median(values), unit, min(values), max(values), len(values), **more)


def ratio_of(above: Sequence[float], below: Sequence[float], **more: Any) -> Figure:
    """The ratio of the medians; its spread is that of the pairs, which were measured one after the other."""
    pairs = [one / other for one, other in zip(above, below, strict=True)]
    value = statistics.median(above) / statistics.median(below)
    return Figure(value, "ratio", min(pairs), max(pairs), len(pairs), **more)


def percentiles_of(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    targets: Mapping[str, Target] | None = None,
    note: str = "",
    more: Mapping[str, Any] | None = None,
) -> dict[str, Figure]:
    """p50, p95 and p99 as three figures; ``runs`` is how many values there are."""
    wanted = targets or {}
    return {
        f"{name}_{word}": Figure(
            percentile(values, share),
            unit,
            min(values),
            max(values),
            len(values),
            target=wanted.get(word),
            note=note,
            more=more,
        )
        for word, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
    }


def write(file: Path, figures: Mapping[str, Figure]) -> None:
    """Writes ``bench.json``, never half of it."""
    partial = file.with_suffix(file.suffix + ".part")
    partial.write_text(json.dumps({name: one.as_json() for name, one in figures.items()}, indent=2) + "\n")
    partial.replace(file)
