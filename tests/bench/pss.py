"""Memory of processes as PSS: shared pages are divided by how many processes share them, so that a sum is true.

RSS would count the interpreter's code once for each worker. Linux only: other systems do not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import psutil

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def parse(rollup: str) -> int:
    """Bytes, from the text of ``/proc/<pid>/smaps_rollup``. :raises ValueError: it names no PSS."""
    found = _PSS.search(rollup)
    if found is None:
        raise ValueError("no Pss line in smaps_rollup")
    return int(found[1]) * 1024


def of(pid: int) -> int:
    """Bytes of one process; 0 where it has ended meanwhile. :raises PermissionError: it is another user's."""
    try:
        return parse(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"))
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return 0  # a zombie has an empty file


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that came of it."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def total(processes: Iterable[psutil.Process]) -> int:
    """Bytes of all of them."""
    return sum(of(process.pid) for process in processes)
