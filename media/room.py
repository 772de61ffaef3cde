"""Room on the disk, asked for before a large file is written and while it grows."""

from __future__ import annotations

import shutil
from pathlib import Path

from media.errors import NoRoom


def make_sure(folder: Path, needed: int, *, keep_free: int) -> None:
    """That ``needed`` bytes fit into the folder's disk and ``keep_free`` bytes stay free beside them.

    :raises NoRoom: they do not.
    """
    free = shutil.disk_usage(folder).free
    if free - needed < keep_free:
        message = (
            f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free, of which {keep_free / 1e6:.0f} MB"
            " have to stay free"
        )
        raise NoRoom(message)
