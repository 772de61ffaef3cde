"""Opening a picture with Pillow, safely: one known format, limits before pixels, no warnings to the outside.

The plugin classes are used directly instead of ``Image.open``: it would try its own list of formats, turn
some JPEG files into multi-picture ones, and warn about large pictures before anybody could see their size.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from media.errors import MediaRefused

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 100_000_000
"""Width x height. Pillow keeps 4 bytes for each, so a decoded picture takes at most 400 MB."""
MAX_SIDE = 100_000
"""Pixels; bounds what is kept for each row and each column."""
MAX_FRAMES = 2_000
MAX_ANIMATION_PIXELS = 400_000_000
"""Width x height x frames: bounds the time it takes to decode them all."""

_filters = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's own warnings (damaged EXIF, odd chunks) inside.

    ``catch_warnings`` swaps a list of the whole process, hence the lock, short stretches only, and a filter
    that names Pillow alone: should another thread restore the list out of order, nothing else falls silent.
    """
    with _filters, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def open_picture(stream: IO[bytes], kind: str, *, name: str = "") -> ImageFile:
    """The picture, its header read and its size within bounds; no pixel decoded yet.

    :param kind: JPEG, PNG, WEBP, GIF, HEIF, AVIF, TIFF or BMP.
    :raises MediaRefused: ``bomb`` (too large to be decoded) or ``corrupt``.
    """
    with decoding(name), quiet():
        picture = _decoder(kind)(stream)
    check_size(picture.width, picture.height, name=name)
    return picture


def _decoder(kind: str) -> type[ImageFile]:
    """The decoder of a format. Each is imported when it is needed: some take 15 ms, some 30 MB."""
    if kind == "JPEG":
        from PIL import JpegImagePlugin

        return JpegImagePlugin.JpegImageFile
    if kind == "PNG":
        from PIL import PngImagePlugin

        return PngImagePlugin.PngImageFile
    if kind == "WEBP":
        from PIL import WebPImagePlugin

        return WebPImagePlugin.WebPImageFile
    if kind == "GIF":
        from PIL import GifImagePlugin

        return GifImagePlugin.GifImageFile
    if kind == "HEIF":
        import pillow_heif

        # One thread: the limits of the process count the memory of each, and a picture is small work.
        pillow_heif.options.DECODE_THREADS = 1
        return pillow_heif.HeifImageFile
    if kind == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        return AvifImagePlugin.AvifImageFile
    if kind == "TIFF":
        from PIL import TiffImagePlugin

        return TiffImagePlugin.TiffImageFile
    from PIL import BmpImagePlugin

    return BmpImagePlugin.BmpImageFile


def check_size(width: int, height: int, *, frames: int = 1, name: str = "") -> None:
    """:raises MediaRefused: more pixels or frames than we decode (``bomb``, ``too_many_frames``)."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels, {MAX_SIDE} a side"
        raise MediaRefused("bomb", f"{width} x {height} pixels are more than we decode ({limit})", file=name)
    if frames > MAX_FRAMES:
        raise MediaRefused("too_many_frames", f"{frames} frames are more than {MAX_FRAMES}", file=name)
    if frames > 1 and width * height * frames > MAX_ANIMATION_PIXELS:
        message = f"{frames} frames of {width} x {height} are more than we decode"
        raise MediaRefused("bomb", message, file=name)


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Whatever a decoder raises becomes a refusal with words."""
    try:
        yield
    except MediaRefused:
        raise
    except MemoryError:
        raise MediaRefused("bomb", "the picture does not fit into memory", file=name) from None
    except Exception as error:
        # Decoders raise anything on hostile bytes, and all of it means the same.
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise MediaRefused("truncated", "the file ends in the middle of the picture", file=name) from error
        raise MediaRefused("corrupt", "the picture cannot be decoded", file=name) from error
