"""Pictures: how fast they are made beside vips, how much memory a large one takes, what naming by content saves."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from pathlib import Path

from tests.bench.figures import Figure, Target, median_of, ratio_of

MB = 1_000_000
SIZE, WIDTH = (4_000, 3_000), 1_440
CPU_TARGET = Target(1.3)


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """12 MP to 1440 px, 50 MP in a process of its own, and a folder in which half of the files are copies."""
    from PIL import Image

    from media import sandbox
    from media.images import normalize
    from media.probe import probe
    from media.recipe import plan
    from media.rules import RULES

    runs = 3 if quick else 10
    photo = where / "photo.jpg"
    Image.effect_noise((SIZE[0] // 4, SIZE[1] // 4), 60).resize(SIZE).convert("RGB").save(photo, quality=92)
    rule = RULES["instagram", "feed"]
    recipe = plan(probe(photo), rule)
    normalize(photo, recipe, where / "warm")
    walls, ours = [], []
    for _ in range(runs):
        cpu, wall = time.process_time(), time.perf_counter()
        normalize(photo, recipe, where / "ours")
        ours.append(time.process_time() - cpu)
        walls.append(1 / (time.perf_counter() - wall))
    figures = {
        "pictures_per_second": median_of(walls, "1/s", note=f"12 MP JPEG to {WIDTH} px, one process, probed again"),
        "picture_cpu": median_of(ours, "s", note="CPU time of one"),
    }
    vips = shutil.which("vipsthumbnail")
    if vips:
        theirs = [_children_cpu([vips, str(photo), "-s", str(WIDTH), "-o", str(where / "v.jpg[Q=90]")]) for _ in ours]
        figures["picture_cpu_vs_vips"] = ratio_of(ours, theirs, target=CPU_TARGET, note="beside vipsthumbnail")
    figures["sandbox_start"] = median_of(
        [_timed(lambda: sandbox.probe(photo)) - _timed(lambda: probe(photo)) for _ in range(runs)],
        "s",
        note="what a process of its own costs for one picture",
    )
    figures["picture_50mp_memory"] = _large(where)
    figures["content_addressing"] = _saved(where, photo)
    return figures


def _timed(what: object) -> float:
    began = time.perf_counter()
    what()  # type: ignore[operator]  # a function without arguments
    return time.perf_counter() - began


def _children_cpu(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _large(where: Path) -> Figure:
    """Peak memory of the process that makes a 50 MP JPEG fit."""
    from PIL import Image

    from media import sandbox
    from media.recipe import plan
    from media.rules import RULES

    large = where / "large.jpg"
    Image.linear_gradient("L").resize((8_660, 5_774)).convert("RGB").save(large)
    recipe = plan(sandbox.probe(large), RULES["bluesky", "post"])
    sandbox.normalize(large, recipe, where / "out")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / MB
    return median_of([peak], "MB", note="largest process so far; 50 MP JPEG brought below 2 MB")


def _saved(where: Path, photo: Path) -> Figure:
    """One picture for three accounts of which two ask for the same: the share of bytes that is not sent twice."""
    from media.images import normalize
    from media.probe import probe
    from media.recipe import plan
    from media.rules import RULES

    found = probe(photo)
    made = [
        normalize(photo, plan(found, RULES[key]), where / "shared")
        for key in [("x", "post"), ("pinterest", "pin"), ("instagram", "feed")]
    ]
    unique = {one.sha256: one.size for one in made}
    share = 1 - sum(unique.values()) / sum(one.size for one in made)
    return median_of([share], "share", note=f"of {len(made)} renditions {len(unique)} differ")
