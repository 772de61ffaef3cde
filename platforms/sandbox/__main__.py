"""``python -m platforms.sandbox``: the sandbox as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from platforms.sandbox.box import Sandbox
from platforms.sandbox.emulator import Settings
from platforms.sandbox.faults import FaultError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m platforms.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="0: a free one (default)")
    parser.add_argument("--url", help="origin that clients see, if not the address listened on")
    parser.add_argument("--data", type=Path, help="folder of the journal; without it, memory only")
    parser.add_argument("--seed", type=int, default=0, help="of the dice for faults")
    parser.add_argument("--faults", type=Path, help="JSON file with a list of faults")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="of every platform call")
    parser.add_argument("--ready-file", type=Path, help="gets the URL and the pid once it listens")
    parser.add_argument("--enforce-limits", action="store_true", help="answer 429 at the published limits")
    parser.add_argument("--refuse-duplicates", action="store_true", help="refuse the same text twice, as X does")
    return parser.parse_args()


def _port(words: str) -> int:
    if not words.isdecimal() or int(words) > 65_535:
        raise argparse.ArgumentTypeError(f"{words!r} is no port: a number up to 65535, 0 for a free one")
    return int(words)


def main() -> int:
    """Serves until SIGINT or SIGTERM. Exit 2: it cannot be started as asked."""
    wanted = _arguments()
    try:
        box = Sandbox(
            data=wanted.data,
            seed=wanted.seed,
            faults=_faults(wanted.faults) if wanted.faults else (),
            latency_ms=wanted.latency_ms,
            host=wanted.host,
            port=wanted.port,
            url=wanted.url,
            settings=Settings(enforce_limits=wanted.enforce_limits, refuse_duplicates=wanted.refuse_duplicates),
        )
    except FaultError as error:
        return _refused(f"--faults {wanted.faults}: {error}")
    except OSError as error:
        return _refused(f"{error.filename} cannot be used ({error.strerror}); name another folder with --data")
    listens = False

    def ready(url: str) -> None:
        nonlocal listens
        listens = True
        sys.stdout.write(f"sandbox listens at {url}\n")
        sys.stdout.flush()
        if wanted.ready_file is not None:
            # Renamed into place, so that nobody reads half of it.
            part = wanted.ready_file.with_name(wanted.ready_file.name + ".part")
            part.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
            part.replace(wanted.ready_file)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: box.stop())
    try:
        asyncio.run(box.serve(ready))
    except OSError as error:
        if listens:
            raise
        if error.filename is not None:
            return _refused(f"{error.filename} cannot be used ({error.strerror}); name another folder with --data")
        # asyncio's own words repeat the address; a name that is not found has a number of another kind.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        return _refused(
            f"it cannot listen on {wanted.host}:{wanted.port} ({why}); end what listens there, or say another --port"
            " (0: a free one)"
        )
    return 0


def _faults(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FaultError(f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise FaultError(f"is not JSON ({error})") from None


def _refused(why: str) -> int:
    sys.stderr.write(f"sandbox: {why}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
