"""The append-only file that lets the sandbox go on after a kill -9, with the same memory.

One JSON object a line, in one unbuffered write before the answer leaves. That is in the kernel's hands, so it
survives the death of this process at any moment. It is not fsynced, so it may not survive a power cut: the
sandbox judges crashes of processes, and an fsync per post would make the judge slower than what it judges.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False).encode

Replay = Callable[[Mapping[str, Any]], None]


class Journal:
    """Records by kind. Without a folder it keeps nothing, for tests that need no restart."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "journal.jsonl"
        self._fd = -1
        self._replays: dict[str, Replay] = {}

    def on(self, kind: str, replay: Replay) -> None:
        """``replay`` is given each record of ``kind`` that an earlier run wrote."""
        self._replays[kind] = replay

    def open(self) -> int:
        """Replays what is there and opens for appending; how many records were read.

        The last line may be torn (the process died while the disk was full): it was not answered for, so it
        is cut off. A torn line anywhere else is a damaged file.

        :raises ValueError: a line in the middle cannot be read.
        """
        if self._path is None:
            return 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        count = 0
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number} of {self._path.name} is damaged") from error
            self._replays[record["kind"]](record)
            count += 1
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if len(whole) != len(content):
            os.ftruncate(self._fd, len(whole))
        return count

    def write(self, kind: str, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        if self._fd < 0:
            return
        line = _encode({"kind": kind, **record}).encode() + b"\n"
        written = os.write(self._fd, line)
        if written != len(line):  # a full disk; half a line must not be taken for a promise
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError("the journal could not be written in full")

    def clear(self) -> None:
        """Forgets everything."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
