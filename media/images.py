"""Makes the rendition of a picture, exactly as its recipe says: same input and recipe, same bytes."""

from __future__ import annotations

import hashlib
import io
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from media import containers, exif
from media.decode import decoding, open_picture, quiet
from media.errors import MediaRefused
from media.geometry import Bounds, Placed, place
from media.probe import CHUNK, CUTTABLE, Probe, is_transparent, open_regular, probe, profile_of, rights_of
from media.recipe import JPEG, PNG, WEBP, Action, Recipe, is_srgb
from media.similarity import ssim
from media.sniff import HEAD, SUFFIXES, VIDEO, format_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

SHRINK_STEPS = 8
"""How often a picture is made smaller to save bytes; each step takes at least a fifth of its area."""

DECODED = 4 / 3
"""How much larger than wanted a JPEG is decoded at least; the good filter does the rest. Measured against decoding
all of it (12 megapixels to 1440 pixels): similarity 0.98 to 0.99 for text, fine rings and photographs (a bicubic filter
on all of it: 0.97 to 0.99), for half of the CPU time. At 1, what the filter has to work with shows in fine lines."""

_SAVES: dict[str, tuple[str, dict[str, Any]]] = {
    JPEG: ("JPEG", {}),
    PNG: ("PNG", {"optimize": True}),
    WEBP: ("WEBP", {"method": 4}),
}


@dataclass(frozen=True)
class Rendered:
    """The rendition, in a file."""

    path: Path
    """Inside ``out_dir``, named by its hash; the caller removes it."""
    sha256: str
    size: int
    """Bytes."""
    mime: str
    width: int
    height: int
    actions: tuple[Action, ...]
    """What was done, with what only turned out on the way (the quality, a smaller size)."""
    kind: str = "image"
    """``image``, ``gif`` or ``video``."""
    duration_s: float | None = None
    peak_bytes: int | None = None
    """The most memory that the process which made it held at once (or one that it started), where that is known."""


def normalize(
    source: Path, recipe: Recipe, out_dir: Path, *, progress: Callable[[float], None] | None = None
) -> Rendered:
    """Makes the rendition of ``source`` in ``out_dir`` (made if absent). The source is only read.

    :param progress: told now and then how much is done, 0 to 1; only videos take long enough for that.
    :raises MediaRefused: the file is not what was probed, or (``cannot_fit``) no quality and size satisfies
        the limits.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    actions = list(recipe.actions)
    with open_regular(source, name=source.name) as stream:
        if recipe.method == "keep":
            made = _write(iter(lambda: stream.read(CHUNK), b""), recipe.mime, out_dir)
        elif recipe.method == "strip":
            made = _write(_stripped(stream, source.name), recipe.mime, out_dir)
        elif recipe.method in {"video", "animate"}:
            made = _moving(source, recipe, out_dir, progress)
        else:
            mime, data = _draw(stream, source, recipe, actions)
            made = _write([data], mime, out_dir)
    try:
        found = _checked(made, recipe, source.name)
        if recipe.method == "keep" and found.clip is not None:
            from media import transcode

            # A video is kept only if all of it can be decoded; pictures were decoded by probing them.
            transcode.decode_all(made, found, progress)
    except MediaRefused:
        made.unlink(missing_ok=True)
        raise
    return Rendered(
        path=made,
        sha256=found.sha256,
        size=found.size,
        mime=found.mime,
        width=found.width,
        height=found.height,
        actions=tuple(actions),
        kind=found.kind,
        duration_s=found.duration_s,
    )


def _write(chunks: Iterable[bytes], mime: str, out_dir: Path) -> Path:
    """Writes a file named by its hash; it appears whole or not at all."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=out_dir)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
        made = out_dir / (digest.hexdigest() + SUFFIXES[mime])
        part.replace(made)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return made


def _moving(source: Path, recipe: Recipe, out_dir: Path, progress: Callable[[float], None] | None) -> Path:
    """Writes the video or GIF, named by its hash."""
    # Lazy: only here the encoders are needed.
    from media import gifs, transcode

    found = probe(source, name=source.name)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=out_dir)
    os.close(handle)
    part = Path(name)
    try:
        if recipe.video is None:
            gifs.make(source, found, recipe.background, part)
        else:
            transcode.make(source, found, recipe.video, recipe.background, part, progress)
        with part.open("rb") as made:
            sha256 = hashlib.file_digest(made, "sha256").hexdigest()
        return part.replace(out_dir / (sha256 + SUFFIXES[recipe.mime]))
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _stripped(stream: IO[bytes], name: str) -> Iterator[bytes]:
    kind = format_of(stream.read(HEAD), name=name)
    with mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        try:
            yield from containers.clean(data, kind)
        except containers.Damaged as damage:
            raise MediaRefused(damage.code, damage.message, file=name) from None


def _checked(made: Path, recipe: Recipe, name: str) -> Probe:
    """Probes the rendition as if it were a stranger's file. :raises MediaRefused: ``cannot_fit``."""
    found = probe(made, name=name)
    wrong = ""
    if found.mime not in {recipe.mime, recipe.fallback_mime}:
        wrong = f"it became {found.mime}"
    elif found.private:
        wrong = "metadata remained: " + ", ".join(found.private)
    elif recipe.bounds is not None and not recipe.bounds.allows(found.width, found.height):
        wrong = f"{found.width} x {found.height} pixels are outside the limits"
    elif recipe.method in {"draw", "animate", "poster"} and found.size > recipe.max_bytes:
        wrong = f"{found.size} bytes are more than {recipe.max_bytes}"
    if wrong:
        raise MediaRefused("cannot_fit", f"the picture cannot be made to fit: {wrong}", file=name)
    return found


# --- Drawing ----------------------------------------------------------------------------------------------


def _draw(stream: IO[bytes], source: Path, recipe: Recipe, actions: list[Action]) -> tuple[str, bytes]:
    """The rendition's type and bytes; notes in ``actions`` what turned out on the way."""
    if recipe.bounds is None:
        raise ValueError("a recipe that draws needs bounds")
    name = source.name
    kind = format_of(stream.read(HEAD), name=name)
    if kind == VIDEO:
        return _fitted(*_poster(source, recipe), recipe, b"", name, actions)
    anatomy = containers.Anatomy()
    if kind in CUTTABLE:
        with mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
            try:
                anatomy = containers.dissect(data, kind)
            except containers.Damaged as damage:
                raise MediaRefused(damage.code, damage.message, file=name) from None
    stream.seek(0)
    with open_picture(stream, kind, name=name) as opened, decoding(name):
        facts = rights_of(opened, anatomy, kind)
        turned = facts.orientation >= 5
        width, height = opened.size[::-1] if turned else opened.size
        placed = place(width, height, recipe.bounds, recipe.fit)
        if placed is None:
            raise MediaRefused("cannot_fit", "no size satisfies all limits", file=name)
        picture = _upright(opened, kind, facts.orientation, placed)
        picture = _finish(picture, profile_of(opened, stream, anatomy, kind), placed, recipe)
    # It holds the picture at full size.
    del opened
    return _fitted(picture, recipe.bounds, recipe, exif.rights(facts), name, actions)


def _poster(source: Path, recipe: Recipe) -> tuple[Image, Bounds]:
    from media import transcode

    picture = transcode.still(source, recipe.at_s, probe(source, name=source.name))
    bounds = recipe.bounds or Bounds(1, 1, *picture.size, 0.0, 1e9)
    placed = place(*picture.size, bounds, "refuse")
    if placed is None:
        raise MediaRefused("cannot_fit", "no size satisfies all limits", file=source.name)
    return _resized(picture, (placed.width, placed.height)), bounds


def _fitted(
    picture: Image, bounds: Bounds, recipe: Recipe, note: bytes, name: str, actions: list[Action]
) -> tuple[str, bytes]:
    """Encodes the picture, made smaller where no bearable quality has few enough bytes."""
    whole = picture
    shrink = 1.0
    for _ in range(SHRINK_STEPS):
        mime, data_out, quality = _encode(picture, recipe, note)
        if len(data_out) <= recipe.max_bytes:
            if shrink < 1.0:
                why = f"no quality without visible damage fits {recipe.max_bytes} bytes at full size"
                actions.append(Action("downscale", f"{why}: to {picture.width} x {picture.height}"))
            if mime == JPEG and picture.mode == "RGBA":
                why = f"with transparency it does not fit {recipe.max_bytes} bytes; {recipe.background} is put behind"
                actions.append(Action("flatten", why))
            if quality:
                actions.append(Action("quality", f"encoded at {quality} of 100, {len(data_out)} bytes"))
            return mime, data_out
        # Bytes go with the area, a little less than in proportion.
        shrink *= min(0.9, (recipe.max_bytes / len(data_out)) ** 0.5 * 0.97)
        smaller = place(*whole.size, bounds, "refuse", shrink=shrink)
        if smaller is None:
            break
        picture = _resized(whole, (smaller.canvas_width, smaller.canvas_height))
    message = f"the picture cannot be brought under {recipe.max_bytes} bytes"
    raise MediaRefused("cannot_fit", message, file=name)


def _upright(opened: ImageFile, kind: str, orientation: int, placed: Placed) -> Image:
    """Decoded, cropped, scaled, then turned: in this order, so that only the small picture is turned."""
    from PIL.Image import Transpose

    crop = (placed.crop_width, placed.crop_height)
    target = (placed.width, placed.height)
    if orientation >= 5:
        crop, target = crop[::-1], target[::-1]
    full = opened.size
    if kind == "JPEG":
        # libjpeg scales while it decodes, by leaving out the finest waves of each block.
        wanted = tuple(max(1, math.ceil(DECODED * full[i] * target[i] / crop[i])) for i in (0, 1))
        if wanted[0] < full[0] and wanted[1] < full[1]:
            opened.draft(None, (wanted[0], wanted[1]))
    opened.load()
    picture = _plain_mode(opened)
    scale = (picture.width / full[0], picture.height / full[1])
    left, top = (full[0] - crop[0]) // 2, (full[1] - crop[1]) // 2
    box = (
        left * scale[0],
        top * scale[1],
        min(picture.width, (left + crop[0]) * scale[0]),
        min(picture.height, (top + crop[1]) * scale[1]),
    )
    picture = _resized(picture, target, box)
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(turns[orientation]) if orientation in turns else picture


def _plain_mode(picture: Image) -> Image:
    """In a mode with 8 bits a channel that can be scaled: L, RGB, RGBA or CMYK."""
    with quiet():
        if picture.has_transparency_data:
            return picture if picture.mode == "RGBA" else picture.convert("RGBA")
        if picture.mode.startswith("I"):
            # 16 bits of grey: convert() would clip instead of scaling.
            return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
        if picture.mode in {"L", "RGB", "CMYK"}:
            return picture
        return picture.convert("L" if picture.mode in {"1", "LA"} else "RGB")


def _resized(picture: Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> Image:
    from PIL.Image import Resampling

    whole = (0.0, 0.0, float(picture.width), float(picture.height))
    box = box or whole
    if size == picture.size and box == whole:
        return picture
    if box[2] - box[0] == size[0] and box[3] - box[1] == size[1]:
        return picture.crop((int(box[0]), int(box[1]), int(box[2]), int(box[3])))
    return picture.resize(size, Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _finish(picture: Image, profile: object, placed: Placed, recipe: Recipe) -> Image:
    """In sRGB, flattened and padded as the recipe says; carries nothing but pixels."""
    from PIL import Image as pil  # noqa: N813 - the class is called Image too

    picture = _srgb(picture, profile)
    if picture.mode not in {"L", "RGB", "RGBA"}:
        picture = picture.convert("RGB")
    padded = (placed.canvas_width, placed.canvas_height) != picture.size
    if picture.mode == "RGBA" and not is_transparent(picture):
        picture = picture.convert("RGB")
    if picture.mode == "RGBA" and (recipe.flatten or padded or recipe.mime == JPEG):
        picture = _flattened(picture, recipe.background)
    if padded:
        canvas = pil.new("RGB", (placed.canvas_width, placed.canvas_height), recipe.background)
        at = ((placed.canvas_width - picture.width) // 2, (placed.canvas_height - picture.height) // 2)
        canvas.paste(picture.convert("RGB"), at)
        picture = canvas
    # Encoders write the comments and profiles that they find here.
    picture.info = {}
    return picture


def _flattened(picture: Image, background: str) -> Image:
    from PIL import Image as pil  # noqa: N813 - the class is called Image too

    behind = pil.new("RGB", picture.size, background)
    behind.paste(picture, mask=picture.getchannel("A"))
    return behind


def _srgb(picture: Image, profile: object) -> Image:
    if not isinstance(profile, bytes) or not profile:
        return picture
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if is_srgb(ImageCms.getProfileDescription(source).strip()):
            return picture
        alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
        grey = str(source.profile.xcolor_space).strip() == "GRAY"
        plain = picture.convert("L" if grey else "RGB") if alpha or grey else picture
        # profileToProfile without inPlace always answers with a picture.
        converted = ImageCms.profileToProfile(
            plain,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # A damaged profile says nothing; the numbers are taken as sRGB, as every viewer does.
        return picture
    if converted is None:
        return picture
    if alpha:
        converted.putalpha(alpha)
    return converted


# --- Encoding ---------------------------------------------------------------------------------------------


def _encode(picture: Image, recipe: Recipe, note: bytes) -> tuple[str, bytes, int | None]:
    """The best encoding within ``recipe.max_bytes``, or the smallest at this size: type, bytes, quality."""
    if recipe.mime == PNG:
        data = _save(picture, PNG, None, recipe, note)
        if len(data) <= recipe.max_bytes or recipe.fallback_mime is None:
            return PNG, data, None
        if picture.mode == "RGBA" and recipe.fallback_mime == JPEG:
            picture = _flattened(picture, recipe.background)
        data, quality = _by_quality(picture, recipe.fallback_mime, recipe, note)
        return recipe.fallback_mime, data, quality
    data, quality = _by_quality(picture, recipe.mime, recipe, note)
    return recipe.mime, data, quality


def _by_quality(picture: Image, mime: str, recipe: Recipe, note: bytes) -> tuple[bytes, int]:
    """The highest quality whose bytes fit; more bytes than that where none that does looks well enough."""
    quality = recipe.quality
    best = _save(picture, mime, quality, recipe, note)
    if len(best) > recipe.max_bytes:
        quality = recipe.quality_floor
        best = _save(picture, mime, quality, recipe, note)
        low, high = quality + 1, recipe.quality - 1
        while low <= high and len(best) <= recipe.max_bytes:
            middle = (low + high) // 2
            data = _save(picture, mime, middle, recipe, note)
            if len(data) <= recipe.max_bytes:
                best, quality, low = data, middle, middle + 1
            else:
                high = middle - 1
        if len(best) <= recipe.max_bytes and not _looks_well(picture, best, recipe):
            return _good_enough(picture, mime, quality, recipe, note)
    bearable = len(best) < picture.width * picture.height * 0.9
    if mime == JPEG and bearable and len(best) < recipe.max_bytes * 1.2:
        # The search looks at plain files, which are written several times faster. This makes a better packed one
        # of the same pixels: with tables of its own (5 % smaller, for 14 ms a megapixel of CPU time), where bytes
        # are short also progressive (11 %, for 40 ms; pointless where a fifth is missing). libjpeg needs all of it
        # in one buffer, for which Pillow sets aside a byte a pixel: hence what is bearable.
        short = quality < recipe.quality or len(best) > recipe.max_bytes
        polished = _save(picture, mime, quality, recipe, note, optimize=True, progressive=short)
        best = min(best, polished, key=len)
    return best, quality


def _looks_well(picture: Image, data: bytes, recipe: Recipe) -> bool:
    """Whether the coded picture keeps above the recipe's floor of similarity."""
    from PIL import Image as pil  # noqa: N813 - the class is called Image too

    with pil.open(io.BytesIO(data)) as coded:
        coded.load()
        return ssim(picture, coded) >= recipe.ssim_floor


def _good_enough(picture: Image, mime: str, quality: int, recipe: Recipe, note: bytes) -> tuple[bytes, int]:
    """A quality that looks well, whatever its bytes: the caller makes the picture smaller by them."""
    while quality < recipe.quality:
        quality = min(recipe.quality, quality + 10)
        data = _save(picture, mime, quality, recipe, note)
        if len(data) > recipe.max_bytes and _looks_well(picture, data, recipe):
            return data, quality
    return _save(picture, mime, recipe.quality, recipe, note), recipe.quality


def _save(picture: Image, mime: str, quality: int | None, recipe: Recipe, note: bytes, **more: bool) -> bytes:
    name, settings = _SAVES[mime]
    extra = {**settings, **more}
    if quality is not None:
        extra["quality"] = quality
    if mime == JPEG:
        extra["subsampling"] = "4:4:4" if recipe.drawing else "4:2:0"
    if note:
        extra["exif"] = b"Exif\0\0" + note
    out = io.BytesIO()
    picture.save(out, name, **extra)
    return out.getvalue()
