"""Pictures: how fast they are made beside vips, how much memory a large one takes, what naming by content saves."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import peak
from tests.bench.figures import Figure, Target, median_of, ratio_of

if TYPE_CHECKING:
    from PIL.Image import Image

MB = 1_000_000
SIZE, WIDTH = (4_000, 3_000), 1_440
LARGE = (8_660, 5_774)
CPU_TARGET = Target(1.3)
VIPS = "vipsthumbnail"
MAKE = """
from media import sandboxed
before = peak()
sandboxed.limit(1_500_000_000, 120)
answer = sandboxed.answer(given, lambda share: None)
"""


def measure(where: Path, *, quick: bool = False) -> dict[str, Figure]:
    """12 MP to 1440 px, 50 MP in a process of its own, and pictures that several accounts need."""
    runs = 3 if quick else 11
    photo = where / "photo.jpg"
    scene(SIZE, 0).save(photo, quality=92)
    return {**speed(where, photo, runs), **large(where, 1 if quick else 3), **shared(where, 2 if quick else 8)}


def scene(size: tuple[int, int], seed: int) -> Image:
    """Something like a photograph: soft areas, edges, grain in each colour."""
    from PIL import Image

    from scheduler.cli.pictures import PALETTES
    from scheduler.cli.pictures import scene as hills

    picture = hills(size, PALETTES[seed % len(PALETTES)], seed)
    grain = [Image.effect_noise((size[0] // 2, size[1] // 2), 40 + seed).resize(size) for _ in range(3)]
    return Image.blend(picture, Image.merge("RGB", grain), 0.25)


def speed(where: Path, photo: Path, runs: int) -> dict[str, Figure]:
    """Ours and theirs one after the other, so that both have the same neighbours on this machine."""
    from media import sandbox
    from media.images import normalize
    from media.probe import probe
    from media.recipe import plan
    from media.rules import RULES

    recipe = plan(probe(photo), RULES["instagram", "feed"])
    vips = shutil.which(VIPS)
    by_hand = [vips or "", str(photo), "-s", str(WIDTH), "-o", str(where / "v.jpg[Q=90]")]
    normalize(photo, recipe, where / "warm")
    walls, ours, apart, theirs, starts = [], [], [], [], []
    for _ in range(runs):
        began = time.perf_counter()
        ours.append(_own_cpu(lambda: normalize(photo, recipe, where / "ours")))
        walls.append(1 / (time.perf_counter() - began))
        apart.append(_children_cpu(lambda: sandbox.normalize(photo, recipe, where / "apart")))
        if vips:
            theirs.append(_children_cpu(lambda: subprocess.run(by_hand, check=True, capture_output=True)))
        starts.append(_seconds(lambda: sandbox.probe(photo)) - _seconds(lambda: probe(photo)))
    said = f"12 MP JPEG to {WIDTH} px"
    figures = {
        "pictures_per_second": median_of(walls, "1/s", note=f"{said}, one after the other, each probed again"),
        "picture_cpu": median_of(ours, "s", note="CPU time of one"),
        "picture_cpu_apart": median_of(apart, "s", note="the same in a process of its own, as workers do it"),
        "sandbox_start": median_of(starts, "s", note="what a process of its own costs for one picture"),
    }
    if not vips:
        why = f"{VIPS} is not installed (Debian: libvips-tools): no comparison with it"
        figures["picture_cpu"] = median_of(ours, "s", note=f"CPU time of one; {why}")
        return figures
    figures["vips_cpu"] = median_of(theirs, "s", note=f"CPU time of {VIPS} for the same file")
    for name, mine, what in [
        ("picture_cpu_vs_vips", ours, "the work itself, beside the whole program"),
        ("picture_apart_cpu_vs_vips", apart, "with the process of its own and its imports, beside the whole program"),
    ]:
        figures[name] = ratio_of(mine, theirs, target=CPU_TARGET, note=f"{said}: {what} {VIPS}")
    return figures


def _seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def _own_cpu(what: Callable[[], object]) -> float:
    began = time.process_time()
    what()
    return time.process_time() - began


def _children_cpu(what: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    what()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def large(where: Path, runs: int) -> dict[str, Figure]:
    """Peak memory of the process that makes a 50 MP JPEG fit: scaled down, and kept at nearly its size."""
    from media import sandbox
    from media.recipe import plan
    from media.rules import RULES

    file = where / "large.jpg"
    scene(LARGE, 1).save(file, quality=92)
    found = sandbox.probe(file)
    figures = {}
    for name, key in [
        ("picture_50mp_memory", ("instagram", "feed")),
        ("picture_50mp_full_memory", ("bluesky", "post")),
    ]:
        recipe = plan(found, RULES[key])
        given = {
            "what": "normalize",
            "path": str(file),
            "name": "large",
            "recipe": recipe.as_json(),
            "out_dir": str(where),
        }
        done = [peak.of(MAKE, **given) for _ in range(runs)]
        made = done[-1]["answer"]["done"]
        note = f"50 MP JPEG for {' '.join(key)}: {made['width']} x {made['height']}, {made['size'] / MB:.1f} MB"
        figures[name] = median_of([one["peak"] / MB for one in done], "MB", note=note)
    return figures


def shared(where: Path, photos: int) -> dict[str, Figure]:
    """The share of bytes that is not stored again, since renditions are named by their bytes."""
    from media.images import normalize
    from media.probe import probe
    from media.recipe import plan
    from media.rules import RULES

    targets = [("x", "post"), ("bluesky", "post"), ("mastodon", "post"), ("pinterest", "pin"), ("instagram", "feed")]
    total, unique = 0, {}
    for number in range(photos):
        photo = where / f"shared-{number}.jpg"
        scene((2_000, 1_500), number).save(photo, quality=90)
        found = probe(photo)
        for key in targets:
            made = normalize(photo, plan(found, RULES[key]), where / "shared")
            total += made.size
            unique[made.sha256] = made.size
    share = 1 - sum(unique.values()) / total
    asked = photos * len(targets)
    note = f"{photos} photographs, each for {len(targets)} platforms: {asked} renditions, {len(unique)} stored"
    return {"content_addressing": median_of([share], "share", note=note)}
