"""Animated PNG and WebP as GIF, for platforms that take animations only so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from media.decode import decoding, open_picture, quiet
from media.probe import frame_ms

if TYPE_CHECKING:
    from PIL.Image import Image

    from media.probe import Probe

STEP_MS = 10
"""A GIF counts in hundredths of a second; browsers slow down what is shown shorter than two of them."""
CLEAR = 255
"""The colour that is none, where the animation is transparent somewhere."""
SEEN = 128
"""The least alpha, of 255, of a pixel that is seen: a GIF has no half ones."""


def make(source: Path, probe: Probe, background: str, out: Path) -> None:
    """Writes the GIF, each picture with up to 256 colours of its own, repeated for ever.

    What is transparent stays so; what is half transparent is put over the background. Decodes twice, since the times
    come before the pictures. Memory: a byte for each pixel of each picture.

    :raises MediaRefused: the source cannot be decoded.
    """
    lasts = [max(2 * STEP_MS, round(shown / STEP_MS) * STEP_MS) for _, shown in _frames(source, probe)]
    pictures = _indexed(source, probe, background)
    first = next(pictures)
    # A transparent picture is wiped away before the next; one that covers all may stay.
    more = {"transparency": CLEAR, "disposal": 2} if probe.has_alpha else {"disposal": 1}
    first.save(out, "GIF", save_all=True, append_images=pictures, duration=lasts, loop=0, **more)


def _frames(source: Path, probe: Probe) -> Iterator[tuple[Image, float]]:
    """The pictures and how long each is shown, in milliseconds."""
    with source.open("rb") as stream, open_picture(stream, probe.format, name=source.name) as opened:
        for number in range(probe.frames):
            with decoding(source.name), quiet():
                opened.seek(number)
                opened.load()
                drawn = opened.convert("RGBA")
            yield drawn, frame_ms(opened)


def _indexed(source: Path, probe: Probe, background: str) -> Iterator[Image]:
    from PIL import Image as pil  # noqa: N813 - the class is called Image too
    from PIL.Image import Palette

    for picture, _ in _frames(source, probe):
        alpha = picture.getchannel("A")
        behind = pil.new("RGB", picture.size, background)
        behind.paste(picture, mask=alpha)
        if not probe.has_alpha:
            yield behind.convert("P", palette=Palette.ADAPTIVE)
            continue
        made = behind.convert("P", palette=Palette.ADAPTIVE, colors=CLEAR)
        made.paste(CLEAR, mask=alpha.point(lambda value: 0 if value >= SEEN else 255))
        made.info["transparency"] = CLEAR
        yield made
