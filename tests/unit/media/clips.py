"""Small videos, made on the spot with PyAV: the plain ones and the awkward ones."""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw

av.logging.set_level(None)
QUIET = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "ultrafast"}}


def frame(width: int, height: int, number: int, of: int) -> Image.Image:
    """A gradient with a bright square that wanders from left to right."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    side = max(2, min(width, height) // 4)
    left = (width - side) * number // max(1, of - 1)
    ImageDraw.Draw(image).rectangle((left, side, left + side, 2 * side), (255, 200, 0))
    return image


def video(
    path: Path,
    *,
    size: tuple[int, int] = (160, 120),
    fps: int = 25,
    seconds: float = 1.0,
    form: str = "mp4",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str = "",
    layout: str = "stereo",
    rate: int = 44_100,
    stamps: list[int] | None = None,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    colour: tuple[int, int, int] | None = None,
    shape: tuple[int, int] | None = None,
) -> Path:
    """A video of that kind.

    :param sound: an audio codec; empty: none.
    :param stamps: the time of each frame in milliseconds, instead of a steady rate.
    :param colour: primaries, transfer and matrix, by their numbers (9, 16, 9: HDR10).
    :param shape: of a pixel, width to height.
    """
    count = len(stamps) if stamps else round(fps * seconds)
    with av.open(str(path), "w", format=form, options=options or {}) as out:
        for key, value in (metadata or {}).items():
            out.metadata[key] = value
        stream: Any = out.add_stream(codec, rate=fps, options=dict(QUIET.get(codec, {})))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        # One: the same bytes on every machine, and tests share theirs.
        stream.codec_context.thread_count = 1
        if stamps:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if shape:
            stream.codec_context.sample_aspect_ratio = Fraction(*shape)
        if colour:
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace = colour
        speech: Any = None
        if sound:
            speech = out.add_stream(sound, rate=rate, layout=layout)
        for number in range(count):
            picture = av.VideoFrame.from_image(frame(*size, number, count)).reformat(format=pixels)
            picture.pts = stamps[number] if stamps else number
            if stamps:
                picture.time_base = Fraction(1, 1000)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if speech is not None:
            _tone(out, speech, layout, rate, seconds)
    return path


def _tone(out: Any, speech: Any, layout: str, rate: int, seconds: float) -> None:
    for start in range(0, round(rate * seconds), 1024):
        wave = array("f", (0.2 * math.sin((start + i) * 440 * math.tau / rate) for i in range(1024)))
        piece = av.AudioFrame(format="fltp", layout=layout, samples=1024)
        for plane in piece.planes:
            plane.update(wave.tobytes())
        piece.sample_rate, piece.pts = rate, start
        out.mux(speech.encode(piece))
    out.mux(speech.encode())


def only_sound(path: Path) -> Path:
    """An MP4 without pictures."""
    with av.open(str(path), "w", format="mp4") as out:
        speech = out.add_stream("aac", rate=44_100, layout="mono")
        _tone(out, speech, "mono", 44_100, 0.5)
    return path
