"""Animated PNG and WebP as GIF, for platforms that take animations only so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from media.transcode import frames

if TYPE_CHECKING:
    from PIL.Image import Image

    from media.probe import Probe

STEP_MS = 10
"""A GIF counts in hundredths of a second; browsers slow down what is shown shorter than two of them."""


def make(source: Path, probe: Probe, background: str, out: Path) -> None:
    """Writes the GIF, each picture over the background and with 256 colours of its own, repeated for ever.

    Decodes twice, since the times come before the pictures. Memory: a byte for each pixel of each picture.

    :raises MediaRefused: the source cannot be decoded.
    """
    lasts = [
        max(2 * STEP_MS, round(shown_s * 1000 / STEP_MS) * STEP_MS) for _, shown_s in frames(source, probe, background)
    ]
    pictures = _indexed(source, probe, background)
    first = next(pictures)
    first.save(out, "GIF", save_all=True, append_images=pictures, duration=lasts, loop=0, disposal=1)


def _indexed(source: Path, probe: Probe, background: str) -> Iterator[Image]:
    from PIL.Image import Palette

    for picture, _ in frames(source, probe, background):
        yield picture.convert("P", palette=Palette.ADAPTIVE)
