"""Running the ffmpeg program: found in its wheel, watched by its progress, its complaints turned into words."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from media.errors import MachineFailed, MediaRefused

Progress = Callable[[float], None]

COMMON = ("-nostdin", "-hide_banner", "-loglevel", "error", "-y")
QUIET_BYTES = 4_000
"""How much of what ffmpeg complains about is read."""


@functools.cache
def program() -> str:
    """The path of ffmpeg. :raises MachineFailed: there is none for this machine."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        raise MachineFailed("there is no ffmpeg program for this machine") from None


def run(
    arguments: Sequence[str],
    *,
    name: str,
    lasts_s: float = 0.0,
    progress: Progress | None = None,
    pictures: Iterable[bytes] | None = None,
) -> None:
    """Runs ffmpeg to its end.

    :param arguments: what follows the program's name and ``COMMON``.
    :param lasts_s: how long the result is, so that progress can be told.
    :param pictures: raw pictures for its standard input.
    :raises MediaRefused: ``corrupt``, ``memory``, ``hdr`` or ``cannot_fit``.
    :raises MachineFailed: this machine could not (disk full, killed).
    """
    given = [*COMMON[1:], *arguments] if pictures is not None else [*COMMON, *arguments]
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(
            [program(), *given],
            stdin=subprocess.PIPE if pictures is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
        ) as process:
            try:
                if pictures is not None and process.stdin is not None:
                    _feed(process.stdin, pictures)
                if process.stdout is not None:
                    _follow(process.stdout, lasts_s, progress)
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        if code:
            raise _told(code, _read(complaints), name)


def picture(arguments: Sequence[str], *, name: str) -> bytes:
    """What ffmpeg writes to its standard output; empty: nothing. Raises as ``run``."""
    with tempfile.TemporaryFile() as complaints:
        done = subprocess.run(
            [program(), *COMMON, *arguments, "pipe:1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            check=False,
        )
        if done.returncode:
            raise _told(done.returncode, _read(complaints), name)
    return done.stdout


def _feed(pipe: IO[bytes], pictures: Iterable[bytes]) -> None:
    # A broken pipe means that ffmpeg gave up; why is what it complained about.
    with contextlib.suppress(BrokenPipeError):
        for one in pictures:
            pipe.write(one)
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def _follow(pipe: IO[bytes], lasts_s: float, progress: Progress | None) -> None:
    for line in pipe:
        key, _, value = line.partition(b"=")
        if progress is not None and key == b"out_time_us" and value.strip().isdigit() and lasts_s > 0:
            progress(min(0.99, int(value) / 1e6 / lasts_s))


def _read(complaints: IO[bytes]) -> str:
    complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, complaints.tell() - QUIET_BYTES))
    return complaints.read().decode("utf-8", "replace")


def _told(code: int, words: str, name: str) -> MediaRefused | MachineFailed:
    if "No space left on device" in words:
        return MachineFailed("the disk is full")
    if "Cannot allocate memory" in words or "malloc" in words:
        return MediaRefused("memory", "the video needs more memory than is allowed", file=name)
    if "zscale" in words and "No such filter" in words:
        return MediaRefused("hdr", "this machine's ffmpeg cannot bring HDR to the ordinary range", file=name)
    if code < 0:
        if code == -9:
            return MachineFailed("the video encoder was killed, as happens when memory runs out")
        return MediaRefused("crashed", f"the decoder crashed on it (signal {-code})", file=name)
    last = [line for line in words.splitlines() if line.strip()][-1:] or ["no reason was given"]
    # Paths of this machine are nobody's business, and its [module @ 0x...] marks differ at each run.
    plain = re.sub(r"\[[^\]]*\]|(file:)?/\S+", "", last[0]).strip(" :")[:200]
    return MediaRefused("corrupt", f"the video cannot be decoded to its end ({plain})", file=name)


def place_of(path: Path) -> str:
    """The path as an input or output, so that no character of it is taken for a protocol or an option."""
    return f"file:{path.absolute()}"
