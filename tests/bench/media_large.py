"""Large files: a video beside ffmpeg run by hand, and the memory that an upload of 1 GB takes."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, Target, median_of, ratio_of

MB = 1_000_000
VIDEO_TARGET = Target(1.1)


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """Both."""
    return {**video(where, quick=quick), **upload(where, quick=quick)}


def video(where: Path, *, quick: bool) -> dict[str, Figure]:
    """A 720p clip made anew, and the same command by hand."""
    from media import ffmpeg, transcode
    from media.probe import probe
    from media.recipe import plan
    from media.rules import RULES

    source = where / "clip.mkv"
    seconds = 3 if quick else 10
    made = ["-f", "lavfi", "-i", f"testsrc2=size=1280x720:rate=30:duration={seconds}", "-c:v", "mpeg4", "-q:v", "3"]
    ffmpeg.run([*made, str(source)], name="clip")
    found = probe(source)
    how = plan(found, RULES["x", "post"]).video
    assert how is not None
    commands: list[list[str]] = []
    real = ffmpeg.run

    def noted(arguments: Any, **more: Any) -> None:
        commands.append(list(arguments))
        real(arguments, **more)

    ours, theirs = [], []
    for _ in range(2 if quick else 5):
        began = time.perf_counter()
        transcode.ffmpeg.run = noted  # type: ignore[assignment]  # listens in, for the same command by hand
        try:
            transcode.make(source, found, how, "#ffffff", where / "ours.mp4", None)
        finally:
            transcode.ffmpeg.run = real
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([ffmpeg.program(), *ffmpeg.COMMON, *commands[-1]], check=True, stdout=subprocess.DEVNULL)
        theirs.append(time.perf_counter() - began)
    return {"video_vs_ffmpeg": ratio_of(ours, theirs, target=VIDEO_TARGET, note=f"{seconds} s of 720p, same command")}


def upload(where: Path, *, quick: bool) -> dict[str, Figure]:
    """How much the peak memory of this process grows while a file of zeros and counters is stored."""
    from scheduler.settings import current
    from tests.bench.world import sandbox, stack

    size = (200 if quick else 1_000) * MB
    large = where / "large.bin"
    with large.open("wb") as out:
        for number in range(size // MB):
            out.write(number.to_bytes(8, "big") * (MB // 8))
    with large.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    with sandbox(where) as page, stack(where, page):
        from media.storage import Store

        store = Store(current().store())
        store.check()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store.put_file("media/bench", large, "video/mp4", sha256)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / MB
        store.delete("media/bench")
    return {"upload_memory": median_of([grown], "MB", note=f"growth of the peak while {size // MB} MB are stored")}
