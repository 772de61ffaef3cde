"""``python -m stack HOME [--no-flower]``: what ``schedulerx up`` becomes once it has read its arguments.

A process of its own image, because the supervisor stays for as long as the machine is on: without the command
line's libraries it needs a quarter of the memory.
"""

from __future__ import annotations

import sys

from .home import StackError, StackInfo, home_of
from .up import run_up


def main(argv: list[str]) -> int:
    """Runs until told to stop; the exit code."""
    folders = [word for word in argv if word != "--no-flower"]
    if len(folders) != 1:
        sys.stderr.write("usage: python -m stack HOME [--no-flower]\n")
        return 2
    try:
        home = home_of(folders[0])
    except StackError as error:
        sys.stderr.write(f"schedulerx up: {error}\n")
        return 2

    def ready(info: StackInfo) -> None:
        sys.stdout.write(
            f"schedulerx is up. Flower: {info.flower_url or 'off'}. Data folder: {home}. Stop with Ctrl-C.\n"
        )
        sys.stdout.flush()

    return run_up(home, flower="--no-flower" not in argv, on_ready=ready)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
