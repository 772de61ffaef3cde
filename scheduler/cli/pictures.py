"""Pictures for the demo, drawn here: some as they should be, some with what a real camera roll has."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

SUBJECTS = (
    ("A red sun over hills", (1600, 1200)),
    ("A blue moon over water", (1200, 1800)),
    ("Green waves", (1000, 1500)),
    ("An orange dawn", (2400, 1600)),
)
PALETTES = (
    ((250, 214, 165), (200, 70, 60), (90, 60, 90)),
    ((20, 30, 70), (210, 220, 240), (40, 70, 120)),
    ((215, 240, 215), (240, 240, 160), (50, 130, 90)),
    ((255, 190, 120), (255, 240, 200), (120, 60, 60)),
)


def draw(folder: Path, count: int) -> list[tuple[Path, str]]:
    """``count`` picture files and what each shows: JPEG, PNG with transparency, WebP, and a sideways JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        words, size = SUBJECTS[number % len(SUBJECTS)]
        picture = scene(size, PALETTES[number % len(PALETTES)], number)
        kind = number % 4
        if kind == 0:
            path = folder / f"picture-{number}.jpg"
            picture.save(path, quality=92)
        elif kind == 1:
            path = folder / f"picture-{number}.png"
            picture.putalpha(230)
            picture.save(path)
        elif kind == 2:
            path = folder / f"picture-{number}.webp"
            picture.save(path, quality=90)
        else:
            path = folder / f"picture-{number}.jpg"
            exif = Image.Exif()
            exif[0x0112] = 6  # orientation: turn right by 90 degrees to see it upright
            picture.transpose(Image.Transpose.ROTATE_90).save(path, quality=92, exif=exif)
        made.append((path, words))
    return made


def scene(size: tuple[int, int], palette: tuple[tuple[int, int, int], ...], seed: int) -> Image.Image:
    """A sky, a disc and hills; different for each seed, the same every time."""
    sky, disc, ground = palette
    width, height = size
    picture = Image.new("RGB", size, sky)
    pen = ImageDraw.Draw(picture)
    radius = min(size) // 5
    middle = (width * (3 + seed % 5) // 10, height // 3)
    pen.ellipse((middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), fill=disc)
    for layer in range(3):
        base = height * (6 + layer) // 10
        edge = [
            (x, base + int(math.sin(x / width * math.tau * (1.5 + layer) + seed + layer) * height / 18))
            for x in range(0, width + 16, 16)
        ]
        shade = tuple(max(0, channel - 22 * layer) for channel in ground)
        pen.polygon([(0, height), *edge, (width + 16, height)], fill=shade)
    return picture
