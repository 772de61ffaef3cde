"""Peak memory is that of the work alone."""

from __future__ import annotations

import pytest

from tests.bench import peak
from tests.bench.figures import Skipped

WORK = """
before = peak()
held = bytearray(given["size"])
held[::4096] = b"x" * len(held[::4096])
del held
answer = len("done")
"""


def test_what_was_held_is_counted_and_what_this_process_holds_is_not() -> None:
    mine = bytearray(200_000_000)
    mine[::4096] = b"x" * len(mine[::4096])
    try:
        found = peak.of(WORK, size=60_000_000)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert 55_000_000 < found["peak"] - found["before"] < 90_000_000
    assert found["peak"] < 150_000_000
    assert found["answer"] == 4
    assert mine


def test_it_is_skipped_with_a_reason_where_nothing_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(peak, "STATUS", tmp_path / "none")  # type: ignore[operator]  # a folder
    with pytest.raises(Skipped, match="does not tell"):
        peak.of(WORK, size=1)
