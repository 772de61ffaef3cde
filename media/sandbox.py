"""``probe`` and ``normalize`` in a process of their own, bounded in time and memory, which may die without harm.

A decoder that loops, eats memory or crashes on hostile bytes ends as a refusal here, in words. A started Python
costs some 50 ms, the decoders as much again (``docs/media.md`` has the figures); a kept pool of processes would
save that and would carry what one stranger's file did to a decoder over to the next.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from media import probe as plain
from media.errors import MachineFailed, MediaRefused
from media.images import Rendered
from media.probe import Probe, open_regular
from media.recipe import Action, Recipe
from media.sniff import HEAD, VIDEO, format_of

MB = 1_000_000
ANSWER_BYTES = 1 << 20
"""A longer line is no answer of ours."""


@dataclass(frozen=True)
class Limits:
    """What the process may take."""

    seconds: float
    """From its start to its answer; then it is killed."""
    memory_bytes: int
    """Of data, for the process and for each that it starts."""


PICTURE = Limits(60.0, 1_500 * MB)
"""100 megapixels take 400 MB decoded, twice that while they are turned or their colours are brought to sRGB."""
VIDEO_MEMORY = 3_500 * MB
"""8K at 10 bits: 100 MB a picture, up to 17 kept by the decoder."""
PROBE_BYTES_PER_S = 20 * MB
"""Reading all packets of a video, on the slowest disk we reckon with."""
WORK_PER_SECOND = 40.0
"""How long a second of video may take: 8K on one slow core."""
LONGEST_S = 4 * 3600.0

TICK_S = 1.0
"""How often progress is told at least, while the process lives: some of its work (the index of a large file, probing
what was made) takes minutes and tells nothing, and who waits has a lease to renew."""

TRUSTED = frozenset({"JPEG", "PNG", "WEBP", "GIF", "BMP"})
"""Formats that ``probe_own`` looks at in the caller's process: bounded by their headers before any pixel."""
TRUSTED_BYTES = 30 * MB


def probe(
    path: Path, *, name: str = "", limits: Limits | None = None, progress: Callable[[float], None] | None = None
) -> Probe:
    """``media.probe.probe``, in a process of its own. Raises the same, and:

    :param progress: as that of ``normalize``; how far it is nobody knows, so it is told 0.
    :raises MediaRefused: ``too_slow``, ``memory`` or ``crashed``.
    :raises MachineFailed: this machine could not do it now.
    """
    name = name or path.name
    with open_regular(path, name=name) as stream:
        size = os.fstat(stream.fileno()).st_size
    bounds = limits or Limits(PICTURE.seconds + size / PROBE_BYTES_PER_S, VIDEO_MEMORY)
    return Probe.from_json(_ask({"what": "probe", "path": str(path.absolute())}, name, bounds, progress))


def probe_own(path: Path, *, name: str = "") -> Probe:
    """For the author's own process: plain pictures at once, everything else as ``probe``. Raises as that."""
    name = name or path.name
    with open_regular(path, name=name) as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(HEAD)
    if size <= TRUSTED_BYTES and (not head or format_of(head, name=name) in TRUSTED):
        return plain.probe(path, name=name)
    return probe(path, name=name)


def normalize(
    source: Path,
    recipe: Recipe,
    out_dir: Path,
    progress: Callable[[float], None] | None = None,
    *,
    limits: Limits | None = None,
) -> Rendered:
    """``media.images.normalize``, in a process of its own. Raises the same, and what ``probe`` raises.

    :param progress: called about every second, in the caller's thread, with a share that never shrinks; what it
        raises ends the work and is passed on.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    request = {
        "what": "normalize",
        "path": str(source.absolute()),
        "recipe": recipe.as_json(),
        "out_dir": str(out_dir.absolute()),
    }
    try:
        done = _ask(request, source.name, limits or _limits_of(source, recipe), progress)
    except BaseException:
        for part in out_dir.glob(".*.part"):
            part.unlink(missing_ok=True)
        raise
    done["path"] = Path(done["path"])
    done["actions"] = tuple(Action(*one) for one in done["actions"])
    return Rendered(**done)


def _limits_of(source: Path, recipe: Recipe) -> Limits:
    with open_regular(source, name=source.name) as stream:
        size = os.fstat(stream.fileno()).st_size
        moving = format_of(stream.read(HEAD), name=source.name) == VIDEO or recipe.video is not None
    if not moving:
        return Limits(2 * PICTURE.seconds, PICTURE.memory_bytes)
    # How long the video lasts is what a stranger's file says; its bytes are not. 100 kB/s is a low bit rate.
    lasts = size / 100_000
    return Limits(min(LONGEST_S, 300.0 + lasts * WORK_PER_SECOND), VIDEO_MEMORY)


def _ask(
    request: dict[str, Any], name: str, limits: Limits, progress: Callable[[float], None] | None
) -> dict[str, Any]:
    request |= {"name": name, "memory_bytes": limits.memory_bytes, "seconds": limits.seconds}
    deadline = time.monotonic() + limits.seconds
    process = _start()
    try:
        if process.stdin is None or process.stdout is None:
            raise MachineFailed("no pipe to the decoding process")
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        answer = _listen(process.stdout, deadline, progress)
    except BrokenPipeError:
        answer = {}
    except TimeoutError:
        message = f"it took more than {limits.seconds:.0f} seconds to look at"
        raise MediaRefused("too_slow", message, file=name) from None
    finally:
        ended = _end(process)
    if "done" in answer:
        return dict(answer["done"])
    if "refused" in answer:
        told = answer["refused"]
        raise MediaRefused(told["code"], told["message"], file=told["file"])
    raise _without_answer(answer, ended, name)


def _start() -> subprocess.Popen[bytes]:
    """The process, in a group of its own, knowing nothing but where to find its code."""
    root = str(Path(__file__).resolve().parents[1])
    kept = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LANG", "SYSTEMROOT") if key in os.environ}
    # -P: a json.py in the current folder must not become part of it; -s: nor the user's own packages.
    command = [sys.executable, "-P", "-s", "-m", "media.sandboxed"]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, "PYTHONPATH": root, "PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1"},
            start_new_session=True,
        )
    except OSError as error:
        raise MachineFailed(f"no process could be started ({error.strerror})") from None


def _listen(pipe: IO[bytes], deadline: float, progress: Callable[[float], None] | None) -> dict[str, Any]:
    """The answer; empty where the process ended without one. :raises TimeoutError: the deadline came first."""
    held, share = b"", 0.0
    with selectors.DefaultSelector() as ready:
        ready.register(pipe, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not ready.select(min(left, TICK_S)):
                if progress is not None:
                    progress(share)
                continue
            chunk = os.read(pipe.fileno(), 65_536)
            if not chunk or len(held) > ANSWER_BYTES:
                return {}
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "progress" not in said:
                    return dict(said)
                # A second round (repacking after decoding, fewer bits) begins anew with its own share.
                share = max(share, float(said["progress"]))
                if progress is not None:
                    progress(share)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ends the process and whatever it started; how it had ended by itself, if it had."""
    for pipe in (process.stdout, process.stdin):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    try:
        # It closes its pipes a moment before it is gone.
        code = process.wait(0.5)
    except subprocess.TimeoutExpired:
        code = 0
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return code
    finally:
        process.wait()
    return code


def _without_answer(answer: dict[str, Any], ended: int, name: str) -> MediaRefused | MachineFailed:
    if "failed" in answer:
        return MachineFailed(f"{name}: {answer['failed']}")
    if ended == -signal.SIGXCPU:
        return MediaRefused("too_slow", "it took too long to look at", file=name)
    if ended == -signal.SIGKILL:
        return MachineFailed(f"{name}: the decoding process was killed, as happens when memory runs out")
    if ended < 0:
        return MediaRefused("crashed", f"the decoder crashed on it (signal {-ended})", file=name)
    return MachineFailed(f"{name}: the decoding process ended without an answer ({ended})")
