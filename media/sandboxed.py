"""The process that looks at strangers' bytes: ``python -m media.sandboxed``, started by ``media.sandbox``.

One request as a line of JSON on standard input, answers as lines of JSON on standard output. It limits its own
memory and CPU time before it reads the request, has no secret in its environment, and ends as soon as its
standard input does, so that it never outlives who started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from media.errors import MachineFailed, MediaRefused

TELL_EVERY_S = 0.5


def main() -> None:
    """Answers one request."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Libraries print as they please; what they say is no answer.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    request = json.loads(sys.stdin.readline())
    limit(int(request["memory_bytes"]), float(request["seconds"]))
    threading.Thread(target=_die_with_parent, args=(sys.stdin,), daemon=True).start()
    print(json.dumps(answer(request, _Teller(answers))), file=answers, flush=True)
    # Not sys.exit: with memory at its limit, tidying up may fail; nothing is left that needs it.
    os._exit(0)


def limit(memory_bytes: int, seconds: float) -> None:
    """Limits this process and what it starts: memory each, CPU time each, no core dumps."""
    # DATA: what is really taken. AS would also count mapped files and the address space that threads reserve.
    for kind, value in [
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_CPU, int(seconds * (os.cpu_count() or 1)) + 5),
        (resource.RLIMIT_CORE, 0),
    ]:
        # Some systems know a limit but cannot set it; the deadline holds in any case.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))
    with contextlib.suppress(OSError):
        os.nice(5)


def _die_with_parent(stdin: IO[str]) -> None:
    stdin.read()
    # Its own group: ffmpeg goes with it.
    os.killpg(os.getpgrp(), signal.SIGKILL)


class _Teller:
    """Writes progress, not too often."""

    def __init__(self, answers: IO[str]) -> None:
        self.answers = answers
        self.told_at = 0.0

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self.told_at >= TELL_EVERY_S:
            self.told_at = now
            print(json.dumps({"progress": round(share, 3)}), file=self.answers, flush=True)


def answer(request: dict[str, Any], tell: Callable[[float], None]) -> dict[str, Any]:
    """What the request asks for, as plain JSON: ``done``, ``refused`` or ``failed``."""
    path = Path(request["path"])
    name = request["name"]
    try:
        if request["what"] == "probe":
            from media.probe import probe

            return {"done": probe(path, name=name).as_json()}
        from media.images import normalize
        from media.recipe import Recipe

        made = normalize(path, Recipe.from_json(request["recipe"]), Path(request["out_dir"]), progress=tell)
    except MediaRefused as error:
        # Whatever file of ours it was found in, the author knows it by this name.
        return {"refused": {"code": error.code, "message": error.message, "file": name}}
    except MemoryError:
        return {"refused": {"code": "memory", "message": "it needs more memory than is allowed", "file": name}}
    except MachineFailed as error:
        return {"failed": str(error)}
    except OSError as error:
        return {"failed": error.strerror or type(error).__name__}
    done = {**vars(made), "path": str(made.path), "actions": [[one.name, one.why] for one in made.actions]}
    return {"done": {**done, "peak_bytes": peak_bytes()}}


def peak_bytes() -> int | None:
    """The most memory that this process, or one that it started, held at once; None: this system does not tell.

    Not ``ru_maxrss`` of this process: that begins with the peak of whoever started it (vfork, Linux 6.1).
    """
    try:
        told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        return None
    if told is None:
        return None
    # Of what it starts, that beginning is a peak of its own.
    return max(int(told[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


if __name__ == "__main__":
    main()
