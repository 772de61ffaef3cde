"""The peak memory of one piece of work, in an interpreter of its own: nothing that ran before can hide it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.figures import Skipped
from tests.bench.world import ROOT

STATUS = Path("/proc/self/status")

# VmHWM, not ru_maxrss: that of a new process begins with the peak of the one that started it.
_FRAME = """
import json, re, sys
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
given = json.loads(sys.stdin.readline())
{work}
print(json.dumps({{"before": before, "peak": peak(), "answer": answer}}))
"""


def of(work: str, **given: Any) -> dict[str, Any]:
    """Runs Python code; its ``peak`` and its ``before`` in bytes, and its ``answer``.

    :param work: uses ``given``, sets ``before`` by ``peak()`` once its imports are done, and ``answer``.
    :raises Skipped: this system does not tell.
    """
    if not STATUS.exists():
        raise Skipped("this system does not tell the peak memory of a process (Linux does)")
    done = subprocess.run(
        [sys.executable, "-c", _FRAME.format(work=work)],
        input=json.dumps(given) + "\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
