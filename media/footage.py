"""What a video is: told by its container, by reading every packet, and by decoding pictures from all over it.

Reading every packet finds what headers hide (the real length, a rate that varies, a file that ends early:
``media.timing``); decoding samples finds streams that are not what they claim. Every picture is decoded later, when
the rendition is made (``media.transcode``).
"""

from __future__ import annotations

import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media import boxes, ebml
from media.clip import Clip
from media.errors import MediaRefused
from media.timing import Timing

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_FRAME_PIXELS = 8_192 * 4_608
"""Width x height of one picture: 8K. A decoder keeps up to 17 of them."""
MAX_STREAMS = 32
SAMPLES = 8
"""Places where pictures are decoded, spread evenly."""

_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": ("MP4", "video/mp4"),
    "matroska,webm": ("MKV", "video/x-matroska"),
    "avi": ("AVI", "video/x-msvideo"),
    "mpegts": ("MPEGTS", "video/mp2t"),
    "mpeg": ("MPEG", "video/mpeg"),
    "flv": ("FLV", "video/x-flv"),
    "asf": ("ASF", "video/x-ms-asf"),
    "ogg": ("OGG", "video/ogg"),
}
"""FFmpeg's readers that may be used. Others follow lists of files and URLs, which a stranger's file must not."""
_WEBM_CODECS = frozenset({"vp8", "vp9", "av1", "opus", "vorbis", ""})
_TRANSFERS = {16: "pq", 18: "hlg"}
_SAYS_NOTHING = frozenset({0, 2})
"""How streams write that they do not say what their colours are; the container may (ISO 23091)."""
_FLV_LASTS = b"\x00\x08duration\x00"


def look(path: Path, name: str, size: int) -> tuple[str, str, int, int, int, tuple[str, ...], Clip]:
    """Format, MIME type, width and height as seen, frames, what must not become public, and the rest.

    :param size: bytes, of the file.
    :raises MediaRefused: ``corrupt``, ``truncated``, ``unsupported``, ``no_video``, ``bomb``, ``too_long``.
    """
    # Lazy: 60 MB of decoders.
    import av

    av.logging.set_level(None)
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        # Before FFmpeg, which believes what an index claims. Of files of other kinds nothing is found.
        layout = boxes.read(data)
        starts = bytes(data[:4096])
        matroska = ebml.read(data) if starts[:4] == b"\x1a\x45\xdf\xa3" else ebml.Layout()
    if layout.impossible:
        raise MediaRefused("bomb", "its index lists more samples than the file has bytes", file=name)
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            return _look(container, layout, matroska, starts, name, size)
    except MemoryError:
        raise MediaRefused("bomb", "the video does not fit into memory", file=name) from None
    except MediaRefused:
        raise
    except Exception as error:
        # Readers raise anything on hostile bytes, and all of it means the same.
        raise MediaRefused("corrupt", f"the video cannot be read ({_words(error)})", file=name) from error


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or type(error).__name__)


def _look(
    container: InputContainer, layout: boxes.Layout, matroska: ebml.Layout, starts: bytes, name: str, size: int
) -> tuple[str, str, int, int, int, tuple[str, ...], Clip]:
    known = _CONTAINERS.get(container.format.name)
    if known is None:
        message = f"videos of the kind {container.format.name} are not supported; save it as MP4"
        raise MediaRefused("unsupported", message, file=name)
    if known[0] == "MP4":
        if starts[8:12] == b"qt  " or starts[4:8] != b"ftyp":
            known = ("MOV", "video/quicktime")
    else:
        layout = boxes.Layout()
    if not layout.complete or not matroska.complete:
        raise _cut(name)
    stream = _picture_stream(container, name)
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_FRAME_PIXELS:
        raise MediaRefused("bomb", f"{width} x {height} is more than 8K, which we decode at most", file=name)
    sound = next((one for one in container.streams.audio if _codec(one)), None)
    # Asked before the first picture is decoded: what the stream does not say replaces what the container says.
    context = stream.codec_context
    told = [int(one or 0) for one in (context.color_trc, context.color_primaries, context.colorspace)]
    timing = Timing(container, stream, sound, name, ignored_edits=layout.fragmented and layout.edit_list)
    claimed = matroska.lasts_s or _flv_lasts(starts)
    if timing.ends_s < 0.9 * claimed - 0.5:
        raise _cut(name)
    first = _samples(container, stream, timing, name)
    codec = _codec(stream)
    sound_codec = _codec(sound) if sound is not None else ""
    if known[0] == "MKV" and {codec, sound_codec} <= _WEBM_CODECS:
        known = ("WEBM", "video/webm")
    rotation = round(-float(first.rotation)) % 360
    rotation = (rotation + 45) // 90 * 90 % 360
    shown = [int(getattr(first, one, 0) or 0) for one in ("color_trc", "color_primaries", "colorspace")]
    transfer, primaries, matrix = map(_said, shown, told)
    shape = stream.sample_aspect_ratio or 1
    seen = max(1, round(width * float(shape))), height
    if rotation in {90, 270}:
        seen = seen[::-1]
    clip = Clip(
        duration_s=round(timing.duration_s, 3),
        codec=codec,
        profile=str(stream.profile or ""),
        pixel_format=str(stream.codec_context.pix_fmt or first.format.name),
        fps=round(timing.frames / timing.pictures_s, 3),
        variable=timing.variable,
        bitrate=round(size * 8 / timing.duration_s),
        rotation=rotation,
        square_pixels=bool(abs(float(shape) - 1) < 0.005),
        interlaced=bool(first.interlaced_frame),
        hdr=_TRANSFERS.get(transfer, ""),
        stored_width=width,
        stored_height=height,
        audio_codec=sound_codec,
        audio_channels=int(sound.channels) if sound is not None else 0,
        audio_rate=int(sound.rate or 0) if sound is not None else 0,
        audio_bitrate=int(sound.bit_rate or 0) if sound is not None else 0,
        index_first=layout.index_first,
        edit_list=layout.edit_list,
        # One picture may be a matter of rounding.
        trimmed=known[0] in {"MP4", "MOV"} and (layout.spliced or timing.left_out > 1 or timing.hidden_s > 0),
        sound_trimmed=layout.sound_cut and sound is not None,
        hidden_s=timing.hidden_s,
        video_index=stream.index,
        audio_index=sound.index if sound is not None else -1,
        video_start_s=round(timing.video_start_s, 4),
        audio_start_s=round(timing.audio_start_s, 4),
        primaries=primaries,
        matrix=matrix,
        # Whatever box or element of the container told it.
        spherical=first.side_data.get("SPHERICAL") is not None,
        copyright=_note(container, "copyright"),
        artist=_note(container, "artist"),
    )
    private = tuple(sorted(layout.private | matroska.private | _private(container)))
    return *known, *seen, timing.frames, private, clip


def _cut(name: str) -> MediaRefused:
    return MediaRefused("truncated", "the file ends in the middle of the video", file=name)


def _said(shown: int, told: int) -> int:
    """What the picture says of its colours, else what its container does; 0: nothing."""
    return next((one for one in (shown, told) if one not in _SAYS_NOTHING), 0)


def _flv_lasts(starts: bytes) -> float:
    """How long an FLV says it is; 0: it does not, or is none."""
    at = starts.find(_FLV_LASTS) + len(_FLV_LASTS)
    if starts[:3] != b"FLV" or at < len(_FLV_LASTS) or at + 8 > len(starts):
        return 0.0
    return float(struct.unpack_from(">d", starts, at)[0])


def _picture_stream(container: InputContainer, name: str) -> VideoStream:
    if len(container.streams) > MAX_STREAMS:
        raise MediaRefused("bomb", f"{len(container.streams)} tracks are more than we read", file=name)
    from av.stream import Disposition

    for stream in container.streams.video:
        # A cover picture of a sound file is a track too, and no video.
        if not stream.disposition & Disposition.attached_pic:
            # FFmpeg has no decoder for some, and then there is nothing to ask; the wheel's types do not say so.
            context: Any = stream.codec_context
            if context is None or not context.width or _codec(stream) in {"", "none"}:
                raise MediaRefused("unsupported", "the video's codec is not known", file=name)
            return stream
    raise MediaRefused("no_video", "the file holds no video track", file=name)


def _codec(stream: Any) -> str:
    try:
        # canonical_name: the codec, not the library that decodes it (libdav1d).
        return str(stream.codec_context.codec.canonical_name)
    except (AttributeError, ValueError):
        return ""


def _samples(container: InputContainer, stream: VideoStream, timing: Timing, name: str) -> VideoFrame:
    """Decodes the first picture and some from all over; the first."""
    import av

    stream.thread_type = "NONE"
    first: VideoFrame | None = None
    span = timing.last - timing.first
    for number in range(SAMPLES if span else 1):
        target = timing.first + span * number // SAMPLES
        try:
            container.seek(target, stream=stream, backward=True, any_frame=False)
            frame = next(container.decode(stream), None)
        except (av.FFmpegError, EOFError, StopIteration) as error:
            message = f"the video cannot be decoded at {number * 100 // SAMPLES} % ({_words(error)})"
            raise MediaRefused("corrupt", message, file=name) from None
        if frame is None and number == 0:
            raise MediaRefused("corrupt", "no picture of the video can be decoded", file=name)
        first = first or frame
    if first is None:
        raise MediaRefused("corrupt", "no picture of the video can be decoded", file=name)
    if first.width * first.height > MAX_FRAME_PIXELS:
        raise MediaRefused("bomb", f"{first.width} x {first.height} is more than we decode", file=name)
    return first


def _note(container: InputContainer, key: str) -> str:
    text = str(container.metadata.get(key, ""))
    return "".join(mark for mark in text if mark.isprintable())[:512]


def _private(container: InputContainer) -> set[str]:
    """What tags and further tracks tell that the public need not know."""
    found: set[str] = set()
    tags = [container.metadata, *(stream.metadata for stream in container.streams)]
    for key in {key.lower() for one in tags for key in one}:
        if "location" in key or key in {"xyz", "gps"}:
            found.add("gps")
        elif key.startswith(("com.", "make", "model", "serial")) or key in {"comment", "description"}:
            found.add("other")
    if any(stream.type in {"data", "attachment"} for stream in container.streams):
        # Action cameras write their position into a data track.
        found.add("other")
    return found
