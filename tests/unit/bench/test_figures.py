"""The arithmetic of the bench: what stands in ``bench.json`` must be what was measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.bench import pss
from tests.bench.figures import Figure, Target, median_of, percentile, percentiles_of, ratio_of, rounded, write
from tests.bench.profile import kind_of, shares


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_of_few_values_the_high_percentiles_are_the_largest() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([7.0], 0.5) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"percentile|share"):
        percentile(values, share)


def test_percentiles_come_as_three_figures_with_their_target_at_one() -> None:
    found = percentiles_of("late", [0.1] * 98 + [0.5, 2.0], "s", targets={"p99": Target(1.5)})
    assert {name: one.value for name, one in found.items()} == {"late_p50": 0.1, "late_p95": 0.1, "late_p99": 0.5}
    assert found["late_p99"].met is True
    assert found["late_p50"].met is None
    assert all((one.min, one.max, one.runs) == (0.1, 2.0, 100) for one in found.values())


def test_targets_in_both_directions() -> None:
    assert Target(1.5).met(1.5)
    assert not Target(1.5).met(1.51)
    assert Target(60, at_most=False).met(60)
    assert not Target(60, at_most=False).met(59.9)
    assert (str(Target(1.5)), str(Target(60, at_most=False))) == ("<= 1.5", ">= 60")


def test_the_ratio_is_of_medians_and_its_spread_of_pairs() -> None:
    one = ratio_of([10.0, 20.0, 60.0], [10.0, 10.0, 20.0], target=Target(1.5))
    assert (one.value, one.min, one.max, one.runs) == (2.0, 1.0, 3.0, 3)
    assert one.met is False
    with pytest.raises(ValueError, match="longer"):
        ratio_of([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, 0.0), (0.0012346, 0.001235), (12.3456, 12.35), (123456.7, 123457.0), (-1.23456, -1.235)],
)
def test_four_digits(value: float, expected: float) -> None:
    assert rounded(value) == pytest.approx(expected)


def test_the_file_has_the_promised_shape(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    write(file, {"a": median_of([3.0, 1.0, 2.0], "ms"), "b": Figure(70, "posts/s", 60, 80, 3, Target(60, at_most=False),
                                                                    "why", {"parts": {"x": 1}})})  # fmt: skip
    assert json.loads(file.read_text()) == {
        "a": {"value": 2.0, "unit": "ms", "min": 1.0, "max": 3.0, "runs": 3},
        "b": {"value": 70, "unit": "posts/s", "min": 60, "max": 80, "runs": 3, "target": ">= 60", "met": True,
              "note": "why", "parts": {"x": 1}},
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == [file]


ROLLUP = """55d0c0000000-7ffd5e5ff000 ---p 00000000 00:00 0                          [rollup]
Rss:               71234 kB
Pss:               58012 kB
Pss_Dirty:         50000 kB
Pss_Anon:          49999 kB
SwapPss:               7 kB
"""


def test_pss_is_read_from_its_own_line() -> None:
    assert pss.parse(ROLLUP) == 58012 * 1024
    with pytest.raises(ValueError, match="Pss"):
        pss.parse("Rss: 1 kB\nSwapPss: 2 kB\n")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this system does not tell PSS (Linux does)")
def test_pss_of_a_real_process_and_of_one_that_is_gone() -> None:
    assert 1_000_000 < pss.of(os.getpid()) < 10_000_000_000
    assert pss.of(2**22 + 1) == 0  # above the largest process number that Linux gives by default


def test_a_stack_is_counted_where_its_innermost_known_frame_is() -> None:
    waiting = [
        ("/lib/json/decoder.py", "decode"),
        ("/v/sqlalchemy/engine/default.py", "do_execute"),
        ("/p/workers/x.py", "f"),
    ]
    assert kind_of(iter(waiting)) == "database: waiting for Postgres"
    assert kind_of(iter([("/v/sqlalchemy/sql/compiler.py", "visit")])) == "database: building statements"
    assert kind_of(iter([("/p/workers/publish.py", "deliver")])) == "our own code"
    assert kind_of(iter([("/lib/threading.py", "wait")])) == "other"


def test_shares_are_per_cent_the_largest_first() -> None:
    from collections import Counter

    assert shares(Counter({"a": 1, "b": 3})) == {"b": 75.0, "a": 25.0}
    assert shares(Counter()) == {}
