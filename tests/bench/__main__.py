"""``python -m tests.bench [--only NAME] [--json bench.json] [--quick]``: measures, prints a table, writes the figures.

Exit 0 unless something broke; a missed target is shown, it is no failure. Each measurement has a folder and
services of its own, and leaves nothing behind, on Ctrl-C neither.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from tests.bench import claims, lateness, ledger, media_large, media_pictures, memory, profile, recovery, throughput
from tests.bench.figures import Figure, Skipped, write
from tests.bench.table import show
from tests.bench.world import folder

Measure = Callable[..., dict[str, Figure]]
MEASURES: dict[str, Measure] = {
    "claim": claims.measure,
    "memory": memory.measure,
    "lateness": lateness.measure,
    "throughput": throughput.measure,
    "profile": profile.measure,
    "ledger": ledger.measure,
    "recovery": recovery.measure,
    "pictures": media_pictures.measure,
    "video": media_large.video,
    "upload": media_large.upload,
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(MEASURES), help="only this one; may be repeated")
    parser.add_argument(
        "--json", type=Path, default=Path("bench.json"), help="where the figures go (default %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs: whether it works, not how fast")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    _quiet()
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    figures: dict[str, Figure] = {}
    broken: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in wanted.only or MEASURES:
        began = time.monotonic()
        console.print(f"{name} ...", markup=False)
        try:
            with folder() as where:
                figures |= MEASURES[name](where, quick=wanted.quick)
        except KeyboardInterrupt:
            console.print("Stopped; everything that was started has ended.")
            return 130
        except Skipped as reason:
            skipped[name] = str(reason)
        except Exception as error:  # noqa: BLE001 - one that broke must not hide what the others measured
            traceback.print_exc()
            broken[name] = f"{type(error).__name__}: {error}"
        console.print(f"{name}: {time.monotonic() - began:.0f} s", markup=False)
    write(wanted.json, figures)
    show(figures, broken, console)
    for name, why in skipped.items():
        console.print(f"{name} skipped: {why}", markup=False)
    return 1 if broken else 0


def _stop(_number: int, _frame: FrameType | None) -> Any:
    """As Ctrl-C: so that everything is ended on the way out."""
    raise KeyboardInterrupt


def _quiet() -> None:
    """Our own calls of ``schedule()`` shall not fill the screen."""
    from scheduler import logging as logs

    logs.configure(form="console", level="ERROR")
    logging.captureWarnings(capture=True)


if __name__ == "__main__":
    raise SystemExit(main())
