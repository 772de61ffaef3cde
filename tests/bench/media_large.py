"""Large files: a video beside ffmpeg run by hand, and the memory that an upload of 1 GB takes."""

from __future__ import annotations

import hashlib
import resource
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import peak
from tests.bench.figures import Figure, Skipped, Target, median_of, ratio_of

MB = 1_000_000
TARGET = Target(1.1)
FLAT = Target(100.0)
"""MB: a few parts of 16 MB. Anything near the file's size would be no stream."""
ROOM = 4_000 * MB
UPLOAD = """
from pathlib import Path
from media.storage import Store
from scheduler.settings import current
store = Store(current().store())
store.check()
before = peak()
store.put_file("media/bench", Path(given["file"]), "video/mp4", given["sha256"])
answer = None
"""
PROBE = """
from pathlib import Path
from media import footage, probe
before = peak()
answer = probe.probe(Path(given["file"])).duration_s
"""


def video(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """A 720p clip made anew, with all that we look at before and after, and the same ffmpeg command by hand."""
    from media import ffmpeg
    from media.images import normalize
    from media.probe import probe
    from media.recipe import plan
    from media.rules import RULES

    source = where / "clip.mkv"
    seconds = 3 if quick else 10
    lasts = f"testsrc2=size=1280x720:rate=30:duration={seconds}"
    sound = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", "-c:a", "libopus"]
    ffmpeg.run(["-f", "lavfi", "-i", lasts, *sound, "-c:v", "mpeg4", "-q:v", "3", str(source)], name="clip")
    recipe = plan(probe(source), RULES["x", "post"])
    commands: list[list[str]] = []
    real = ffmpeg.run

    def noted(arguments: Any, **more: Any) -> None:
        commands.append(list(arguments))
        real(arguments, **more)

    ffmpeg.run = noted  # listens in, for the same command by hand
    try:
        normalize(source, recipe, where / "ours")
    finally:
        ffmpeg.run = real
    # Ours writes into a folder that is gone by now.
    command = [ffmpeg.program(), *ffmpeg.COMMON, *commands[-1][:-1], ffmpeg.place_of(where / "theirs.mp4")]
    ours, theirs = [], []
    for _ in range(2 if quick else 5):
        ours.append(_spent(lambda: normalize(source, recipe, where / "ours")))
        theirs.append(_spent(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)))
    said = f"{seconds} s of 720p, MPEG-4 to H.264: probed, made and probed again, beside the same command by hand"
    return {
        "video_vs_ffmpeg": ratio_of([one[0] for one in ours], [one[0] for one in theirs], target=TARGET, note=said),
        "video_cpu_vs_ffmpeg": ratio_of([one[1] for one in ours], [one[1] for one in theirs], target=TARGET, note=said),
        "video_speed": median_of([seconds / one[0] for one in ours], "x", note="seconds of video made in a second"),
    }


def _spent(what: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU time, of this process and what it starts."""
    began, before = time.perf_counter(), _cpu()
    what()
    return time.perf_counter() - began, _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def upload(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """How much the peak memory of a process grows while it looks at a video of 1 GB, and while it stores it."""
    from stack.embedded import EmbeddedStack
    from tests.bench.world import settings

    if shutil.disk_usage(where).free < ROOM:
        raise Skipped(f"it needs {ROOM // MB} MB of free disk")
    size = (200 if quick else 1_000) * MB
    file = where / "large.mp4"
    _padded_film(file, size)
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    runs = 1 if quick else 3
    looked = [peak.of(PROBE, file=str(file)) for _ in range(runs)]
    stored, rates = [], []
    with EmbeddedStack(where / "h") as info:
        told = {
            "DATABASE_URL": info.database_url,
            "REDIS_URL": info.redis_url,
            "R2_ENDPOINT_URL": info.r2.endpoint_url,
            "R2_ACCESS_KEY_ID": info.r2.access_key_id,
            "R2_SECRET_ACCESS_KEY": info.r2.secret_access_key,
            "R2_BUCKET": info.r2.bucket,
            "SCHEDULERX_HOME": str(where / "home"),
        }
        with settings(**told) as known:
            from media.storage import Store

            for _ in range(runs):
                began = time.perf_counter()
                stored.append(peak.of(UPLOAD, file=str(file), sha256=sha256))
                rates.append(size / MB / (time.perf_counter() - began))
                # The next run has to send it again.
                Store(known.store()).delete("media/bench")
    said = f"growth of a process's peak by {size // MB} MB of video"
    return {
        "probe_1gb_memory": median_of([_grown(one) for one in looked], "MB", target=FLAT, note=f"{said}: looked at"),
        "upload_1gb_memory": median_of([_grown(one) for one in stored], "MB", target=FLAT, note=f"{said}: stored"),
        "upload_rate": median_of(rates, "MB/s", note="into the local store, with the start of a process"),
    }


def _grown(one: dict[str, Any]) -> float:
    return float(one["peak"] - one["before"]) / MB


def _padded_film(file: Path, size: int) -> None:
    """A real video of a second that is as large as a long one: the rest is a box that players skip."""
    from media import ffmpeg

    made = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30:duration=1", "-pix_fmt", "yuv420p"]
    ffmpeg.run([*made, "-movflags", "+faststart", "-f", "mp4", str(file)], name="film")
    rest = size - file.stat().st_size
    with file.open("ab") as out:
        out.write(struct.pack(">I4s", rest, b"free"))
        for number in range((rest - 8) // MB):
            out.write(number.to_bytes(8, "big") * (MB // 8))
        out.write(bytes((rest - 8) % MB))
