"""What a file is: told by its content and by decoding all of it, never by its name."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from media import containers, exif, nclx, rights, streams
from media.clip import Clip
from media.decode import check_size, decoding, open_picture, quiet
from media.errors import MediaRefused
from media.sniff import HEAD, MIMES, VIDEO, format_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_FILE_BYTES = 100_000_000
"""The largest picture file we read. The most that any platform of ours takes is 20 MB."""
MAX_VIDEO_BYTES = 8_000_000_000
"""The largest video file we read: twice what TikTok takes, which takes the most of those that have a limit."""
CUTTABLE = frozenset({"JPEG", "PNG", "WEBP", "GIF"})
"""Formats whose structure ``media.containers`` knows; the others are always drawn anew."""
CHUNK = 1 << 20

DAMAGED_PROFILE = "damaged"
"""``Probe.icc`` where a colour profile is there but cannot be read."""


@dataclass(frozen=True)
class Probe:
    """What was found out about a file; stored as JSON."""

    kind: str
    """``image``, ``gif`` for an animated GIF, or ``video``."""
    format: str
    """JPEG, PNG, WEBP, GIF, HEIF, AVIF, TIFF, BMP; MP4, MOV, WEBM, MKV, AVI ..."""
    mime: str
    size: int
    """Bytes."""
    sha256: str
    """Hex, of the whole file."""
    width: int
    """Pixels, as it is meant to be seen (after orientation)."""
    height: int
    orientation: int
    """EXIF, 1 to 8; 1: upright."""
    mode: str
    """Colour model as decoded: L, RGB, RGBA, P, CMYK, I;16 ..."""
    icc: str | None
    """Description of the embedded colour profile; ``damaged`` where it cannot be read."""
    has_alpha: bool
    """Some pixel of some frame lets the background through; an opaque alpha channel does not count."""
    animated: bool
    frames: int
    private: tuple[str, ...] = ()
    """What must not become public: gps, exif, xmp, iptc, comment, thumbnail, other, trailing."""
    regular: bool = True
    """False: the file's structure is odd, so metadata cannot be cut out without drawing it anew."""
    duration_s: float | None = None
    """Of a video or an animation."""
    clip: Clip | None = None
    """What else is known of a video; None for pictures."""

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values; ``from_json`` reads it back."""
        return {**dataclasses.asdict(self), "private": list(self.private)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The probe that ``as_json`` wrote; fields that a later version added are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        known = {key: value for key, value in data.items() if key in names}
        clip = Clip.from_json(data["clip"]) if data.get("clip") else None
        return cls(**{**known, "private": tuple(data.get("private", ())), "clip": clip})


def probe(path: Path, *, name: str = "") -> Probe:
    """Finds out what the file at ``path`` is. Reads all of it; bounded in time and memory.

    :param name: how the author calls it, for messages; the path's last part otherwise.
    :raises MediaRefused: ``missing``, ``unreadable``, ``empty``, ``too_large``, ``not_media``,
        ``unsupported``, ``truncated``, ``corrupt``, ``bomb``, ``too_many_frames``, ``no_video``, ``too_long``
        or ``changed`` (it was written to while we read).
    """
    name = name or path.name
    with open_regular(path, name=name) as stream:
        before = os.fstat(stream.fileno())
        if before.st_size == 0:
            raise MediaRefused("empty", "the file is empty", file=name)
        with _reading(name):
            found = _probe(stream, path, before.st_size, name)
        after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise MediaRefused("changed", "the file was written to while it was read", file=name)
    return found


def open_regular(path: Path, *, name: str) -> IO[bytes]:
    """The file, open for reading. :raises MediaRefused: ``missing`` or ``unreadable``."""
    with _reading(name):
        # Asked before opening: to open a named pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a folder" if path.is_dir() else "not a regular file"
            raise MediaRefused("unreadable", f"this is {what}", file=name)
        return path.open("rb")


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns what the file system says into refusals."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise MediaRefused("missing", "there is no such file", file=name) from None
    except PermissionError:
        raise MediaRefused("unreadable", "the file may not be read (permission denied)", file=name) from None
    except OSError as error:
        message = f"the file cannot be read ({error.strerror or 'input/output error'})"
        raise MediaRefused("unreadable", message, file=name) from None
    except ValueError as error:
        if "null" not in str(error):
            raise
        # A path with a NUL in it names nothing.
        raise MediaRefused("missing", "there is no such file", file=name) from None


def _probe(stream: IO[bytes], path: Path, size: int, name: str) -> Probe:
    head = stream.read(HEAD)
    kind = format_of(head, name=name)
    most = MAX_VIDEO_BYTES if kind == VIDEO else MAX_FILE_BYTES
    if size > most:
        message = f"{size} bytes are more than the {most // 1_000_000} MB we read"
        raise MediaRefused("too_large", message, file=name)
    digest = hashlib.sha256(head)
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    if kind == VIDEO:
        return probe_video(path, size, digest.hexdigest(), name)
    anatomy = _anatomy(stream, size, kind, name)
    stream.seek(0)
    with open_picture(stream, kind, name=name) as picture:
        width, height = picture.size
        orientation = exif.read(exif_of(picture, anatomy, kind)).orientation
        # Pillow would decode a whole GIF to count its frames; the anatomy already has. The pages of a TIFF and
        # the pictures of a HEIF burst are no animation: the first (primary) one counts.
        counted = anatomy.frames if kind == "GIF" else 1
        frames = int(getattr(picture, "n_frames", 1)) if kind in {"PNG", "WEBP", "AVIF"} else counted
        check_size(width, height, frames=frames, name=name)
        mode = picture.mode
        icc = profile_name(profile_of(picture, stream, anatomy, kind))
        has_alpha, lasts_ms = _decode(stream, picture, kind, frames, name, anatomy)
    if orientation >= 5:
        width, height = height, width
    return Probe(
        kind="gif" if kind == "GIF" and frames > 1 else "image",
        format=kind,
        mime=MIMES[kind],
        size=size,
        sha256=digest.hexdigest(),
        width=width,
        height=height,
        orientation=orientation,
        mode=mode,
        icc=icc,
        has_alpha=has_alpha,
        animated=frames > 1,
        frames=frames,
        private=tuple(sorted(anatomy.private)),
        regular=anatomy.regular,
        duration_s=round(lasts_ms / 1000, 3) if frames > 1 else None,
    )


def _anatomy(stream: IO[bytes], size: int, kind: str, name: str) -> containers.Anatomy:
    if kind not in CUTTABLE:
        # Drawn anew in any case, so what travels beside the picture does not matter.
        return containers.Anatomy(regular=False)
    with mmap(stream.fileno(), size, access=ACCESS_READ) as data:
        try:
            return containers.dissect(data, kind)
        except containers.Damaged as damage:
            raise MediaRefused(damage.code, damage.message, file=name) from None


def exif_of(picture: ImageFile, anatomy: containers.Anatomy, kind: str) -> bytes:
    """The EXIF block that says how the picture, as decoded, has to be turned, and whose work it is."""
    if kind in CUTTABLE:
        return anatomy.exif
    if kind == "TIFF":
        # The file is one EXIF block itself; Pillow turns the picture while it decodes.
        with quiet():
            notes = {tag: str(picture.getexif().get(tag, "")) for tag in (exif.ARTIST, exif.COPYRIGHT)}
        return exif.rights(exif.Exif(artist=notes[exif.ARTIST], copyright=notes[exif.COPYRIGHT]))
    found = picture.info.get("exif")
    block = found if isinstance(found, bytes) else b""
    if kind == "HEIF":
        # libheif has turned the picture as its boxes (irot, imir) say. An orientation in EXIF says the same again or,
        # where it stands alone, nothing that counts: "no image transformations expressed by Exif" (ISO/IEC 23000-22,
        # 7.3.10.1), and libheif, libvips and ImageMagick leave it aside.
        return exif.rights(exif.read(block))
    return block


def rights_of(picture: ImageFile, anatomy: containers.Anatomy, kind: str) -> exif.Exif:
    """Whose work it is, wherever the file says so: EXIF first, then what else it carries."""
    found = exif.read(exif_of(picture, anatomy, kind))
    told = rights.Rights(found.artist, found.copyright).or_else(anatomy.told_rights)
    packet = picture.info.get("xmp")
    if kind not in CUTTABLE and isinstance(packet, bytes):
        told = told.or_else(rights.of_xmp(packet))
    return dataclasses.replace(found, artist=told.artist, copyright=told.copyright)


def profile_of(picture: ImageFile, stream: IO[bytes], anatomy: containers.Anatomy, kind: str) -> object:
    """The colour profile: the embedded one, or one for the colours that the file names by numbers; None: neither."""
    if anatomy.colours is not None:
        # Where a PNG has both, the numbers count (PNG, third edition, 12.1).
        return nclx.profile(*anatomy.colours)
    embedded = picture.info.get("icc_profile")
    if not embedded and kind in {"HEIF", "AVIF"}:
        return nclx.of_file(stream.fileno())
    return embedded


def probe_video(path: Path, size: int, sha256: str, name: str) -> Probe:
    """What a video is, without looking for its kind or its hash. :raises MediaRefused: as ``probe``."""
    from media import footage

    form, mime, width, height, frames, private, clip = footage.look(path, name, size)
    return Probe(
        kind="video",
        format=form,
        mime=mime,
        size=size,
        sha256=sha256,
        width=width,
        height=height,
        orientation=1,
        mode=clip.pixel_format,
        icc=None,
        has_alpha=False,
        animated=False,
        frames=frames,
        private=private,
        duration_s=clip.duration_s,
        clip=clip,
    )


LEAST_FRAME_MS = 20
USUAL_FRAME_MS = 100
"""How long a frame of an animation is shown that claims less than 20 ms: so do all browsers."""


def frame_ms(picture: ImageFile) -> float:
    """How long the frame is shown that was decoded last."""
    claimed = picture.info.get("duration", 0)
    lasts = float(claimed) if isinstance(claimed, int | float) else 0.0
    return lasts if LEAST_FRAME_MS <= lasts <= 60_000 else USUAL_FRAME_MS


def _look_behind(stream: IO[bytes], picture: ImageFile, anatomy: containers.Anatomy) -> None:
    """Notes bytes that stand before a JPEG's end mark and belong to no pixel."""
    with mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        if streams.jpeg_has_tail(data, anatomy.pieces[-1][1] - 2, picture.tobytes()):
            anatomy.suspect()


def _decode(
    stream: IO[bytes], picture: ImageFile, kind: str, frames: int, name: str, anatomy: containers.Anatomy
) -> tuple[bool, float]:
    """Decodes every frame, to find damage; whether one is transparent somewhere, and how long all last."""
    with decoding(name):
        if kind == "JPEG":
            # An eighth of the size still reads every coded bit, with a sixty-fourth of the memory.
            picture.draft(None, (1, 1))
        picture.load()
        if kind == "JPEG" and anatomy.baseline and anatomy.regular:
            _look_behind(stream, picture, anatomy)
        has_alpha = is_transparent(picture)
        lasts_ms = frame_ms(picture)
        for frame in range(1, frames):
            picture.seek(frame)
            picture.load()
            lasts_ms += frame_ms(picture)
            has_alpha = has_alpha or is_transparent(picture)
    return has_alpha, lasts_ms


def is_transparent(picture: Image) -> bool:
    """Whether some pixel of a decoded picture lets the background through."""
    if not picture.has_transparency_data:
        return False
    with quiet():
        alpha = picture if "A" in picture.getbands() else picture.convert("RGBA")
    lowest, _highest = alpha.getchannel("A").getextrema()
    return bool(lowest < 255)  # type: ignore[operator]  # one band of 8 bits gives two numbers, not pairs


def profile_name(profile: object) -> str | None:
    """The description of an ICC profile; None where there is none."""
    if not isinstance(profile, bytes) or not profile:
        return None
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        words = ImageCms.getProfileDescription(opened).strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return DAMAGED_PROFILE
    return "".join(mark for mark in words if mark.isprintable())[:120] or "unnamed"
