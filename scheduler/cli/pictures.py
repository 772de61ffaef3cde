"""Pictures and a short video for the demo, drawn here: some as they should be, some as a real camera roll has them."""

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


FILM_SIZE = (540, 960)
FILM_FPS = 24


def film(path: Path, seconds: float = 5.0) -> str:
    """A short upright video with a silent sound track: the sun goes down behind the hills. Returns what it shows.

    :raises media.errors.MachineFailed: this machine has no ffmpeg, or its disk is full.
    """
    from media import ffmpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    count = round(seconds * FILM_FPS)
    width, height = FILM_SIZE
    arguments = [
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FILM_FPS), "-i", "pipe:0",
        "-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo", "-t", str(seconds),
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart", "-use_editlist", "0", "-map_metadata", "-1",
        ffmpeg.place_of(path),
    ]  # fmt: skip
    ffmpeg.run(arguments, name=path.name, pictures=(sunset(FILM_SIZE, at / count).tobytes() for at in range(count)))
    return "The sun sets behind red hills"


def sunset(size: tuple[int, int], done: float) -> Image.Image:
    """One picture of the film; ``done`` from 0 to 1."""
    sky, disc, ground = PALETTES[0]
    width, height = size
    shade = 1.0 - 0.55 * done
    picture = Image.new("RGB", size, tuple(int(channel * shade) for channel in sky))
    pen = ImageDraw.Draw(picture)
    radius = width // 5
    middle = (width // 2, int(height * (0.25 + 0.45 * done)))
    pen.ellipse((middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), fill=disc)
    for layer in range(3):
        base = height * (6 + layer) // 10
        edge = [
            (x, base + int(math.sin(x / width * math.tau * (1.5 + layer) + layer) * height / 18))
            for x in range(0, width + 16, 16)
        ]
        fill = tuple(int(max(0, channel - 22 * layer) * shade) for channel in ground)
        pen.polygon([(0, height), *edge, (width + 16, height)], fill=fill)
    return picture
