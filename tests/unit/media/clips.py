"""Small videos, made on the spot with PyAV: the plain ones and the awkward ones."""

from __future__ import annotations

import math
import struct
import subprocess
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw

from media import ffmpeg
from media.probe import probe

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
    clap_s: float = 0.0,
    sound_from: float = 0.0,
    pictures_from: float = 0.0,
) -> Path:
    """A video of that kind.

    :param sound: an audio codec; empty: none.
    :param stamps: the time of each frame in milliseconds, instead of a steady rate.
    :param colour: primaries, transfer and matrix, by their numbers (9, 16, 9: HDR10).
    :param shape: of a pixel, width to height.
    :param clap_s: until then black and silent, from then on white and loud (``clap_apart`` measures that).
    :param sound_from: when the sound begins, seconds; ``pictures_from``: when the pictures do.
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
        late = round(pictures_from * (1000 if stamps else fps))
        for number in range(count):
            image = frame(*size, number, count)
            at = (stamps[number] if stamps else number) + late
            if clap_s:
                image = Image.new("RGB", size, "white" if at / (1000 if stamps else fps) >= clap_s else "black")
            picture = av.VideoFrame.from_image(image).reformat(format=pixels)
            picture.pts = at
            if stamps:
                picture.time_base = Fraction(1, 1000)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if speech is not None:
            _tone(out, speech, layout, rate, seconds, sound_from, clap_s)
    return path


def _tone(
    out: Any, speech: Any, layout: str, rate: int, seconds: float, since: float = 0.0, clap_s: float = 0.0
) -> None:
    for start in range(round(rate * since), round(rate * seconds), 1024):
        # From the clap on.
        heard = [0.2 if start + i >= clap_s * rate else 0.0 for i in range(1024)]
        wave = array("f", (heard[i] * math.sin((start + i) * 440 * math.tau / rate) for i in range(1024)))
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


def by_hand(path: Path, *arguments: str) -> Path:
    """What ffmpeg makes of these arguments, for what PyAV cannot write."""
    command = [ffmpeg.program(), "-nostdin", "-loglevel", "error", "-y", *arguments, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def trimmed(path: Path, *, since: float = 3.3, fragments_s: float = 0.0, **given: Any) -> Path:
    """A video cut without coding it anew: an edit list hides what stands before the cut, which is still there.

    :param fragments_s: in fragments of that length; 0: none.
    """
    whole = video(path.with_suffix(".whole"), **{"seconds": 6.0, "sound": "aac", **given})
    form = ["-f", "mp4"]
    if fragments_s:
        form += ["-movflags", "empty_moov+delay_moov", "-frag_duration", str(round(fragments_s * 1e6))]
    return by_hand(path, "-ss", str(since), "-i", str(whole), "-c", "copy", *form)


def cover_first(path: Path, *, damaged: bool = False) -> Path:
    """A video whose cover picture is listed before its tracks, so that it is the first of all pictures.

    :param damaged: of the video, a stretch in the middle is not what was coded.
    """
    film = video(path.with_suffix(".film"), size=(320, 240), seconds=2, sound="aac", options={"movflags": "faststart"})
    cover = path.with_suffix(".jpg")
    frame(64, 64, 1, 2).save(cover)
    both = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic", "-movflags", "faststart")
    data = bytearray(by_hand(path, "-i", str(film), "-i", str(cover), *both, "-f", "mp4").read_bytes())
    index, notes, track = (data.index(name) - 4 for name in (b"moov", b"udta", b"trak"))
    end = index + int.from_bytes(data[index : index + 4], "big")
    data[track:end] = data[notes:end] + data[track:notes]
    if damaged:
        middle = (end + len(data)) // 2
        data[middle : middle + 3_000] = bytes(3_000)
    path.write_bytes(data)
    return path


def colours_in_the_container(path: Path) -> Path:
    """HDR of which only the container tells; the stream says that it does not say."""
    source = video(path.with_suffix(".plain"), codec="libx265", pixels="yuv420p10le", colour=(9, 16, 9))
    quiet = "hevc_metadata=colour_primaries=2:transfer_characteristics=2:matrix_coefficients=2"
    told = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
    copied = ("-i", str(source), "-c", "copy", "-bsf:v", quiet, *told, "-tag:v", "hvc1")
    return by_hand(path, *copied, "-movflags", "write_colr", "-f", "mp4")


def clap_apart(path: Path) -> float:
    """How much later than it is seen a clap is heard, in seconds."""
    found = probe(path).clip
    assert found is not None
    with av.open(str(path)) as opened:
        pictures = list(opened.decode(opened.streams[found.video_index]))
        light: list[Any] = [one.to_image().convert("L").resize((1, 1)).getpixel((0, 0)) for one in pictures]  # type: ignore[union-attr]  # pictures
    middle = (max(light) + min(light)) / 2
    seen = next(one.time for one, bright in zip(pictures, light, strict=True) if bright > middle)
    with av.open(str(path)) as opened:
        for one in opened.decode(opened.streams[found.audio_index]):
            wave = array("f", bytes(one.planes[0]))  # type: ignore[arg-type]  # a buffer
            for number, height in enumerate(wave):
                if abs(height) > 0.05:
                    return float(one.time + number / one.sample_rate - seen)  # type: ignore[operator, union-attr]  # sound
    raise AssertionError("no clap is heard")


def turned(path: Path) -> Path:
    """A video as a telephone takes it upright: 160 x 120 as coded, to be turned a quarter to the right."""
    flat = video(path.with_suffix(".flat"))
    return by_hand(path, "-display_rotation", "-90", "-i", str(flat), "-c", "copy", "-f", "mp4")


def spherical(path: Path, *, newer: bool = False, **given: Any) -> Path:
    """A 360-degree video, marked as cameras do it: by a box of XML, or (newer) by boxes beside the codec's.

    :param newer: also where it is no MP4: FFmpeg writes what its container has for that.
    """
    data = bytearray(video(path.with_suffix(".flat"), size=(320, 160), sound="aac", **given).read_bytes())
    true = "".join(f"<GSpherical:{one}>true</GSpherical:{one}>" for one in ("Spherical", "Stitched"))
    said = {"StitchingSoftware": "a camera", "ProjectionType": "equirectangular"}
    kind = "".join(f"<GSpherical:{one}>{word}</GSpherical:{one}>" for one, word in said.items())
    text = f'<rdf:SphericalVideo xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/">{true}{kind}'
    body = bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + f"{text}</rdf:SphericalVideo>".encode()
    box = struct.pack(">I4s", 8 + len(body), b"uuid") + body
    index, track = data.index(b"moov") - 4, data.index(b"trak") - 4
    # Behind the pictures, so that nothing that is pointed to moves.
    assert data.index(b"mdat") < index
    end = track + int.from_bytes(data[track : track + 4], "big")
    for at in (index, track):
        struct.pack_into(">I", data, at, int.from_bytes(data[at : at + 4], "big") + len(box))
    data[end:end] = box
    path.write_bytes(data)
    if not newer:
        return path
    older = path.rename(path.with_suffix(".older"))
    form = "matroska" if path.suffix == ".mkv" else "mp4"
    return by_hand(path, "-i", str(older), "-c", "copy", "-strict", "unofficial", "-f", form)


def interlaced(path: Path) -> Path:
    """25 pictures a second of two fields each."""
    source = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=50:duration=1", "-vf", "interlace")
    coded = ("-flags", "+ildct+ilme", "-c:v", "libx264", "-x264opts", "tff=1", "-pix_fmt", "yuv420p", "-f", "mp4")
    return by_hand(path, *source, *coded)


def endless(path: Path, *, count: int = 2_000_000, filled: bool = True) -> Path:
    """A video that claims so many pictures of one byte each: decoding them takes minutes.

    :param filled: with a box that makes the claim possible; without it the file has a few kilobytes.
    """
    data = bytearray(video(path).read_bytes())
    if filled:
        data += struct.pack(">I4s", count, b"free") + bytes(count - 8)
    struct.pack_into(">II", data, data.index(b"stsz") + 8, 1, count)
    struct.pack_into(">I", data, data.index(b"stsc") + 16, count)
    struct.pack_into(">I", data, data.index(b"stts") + 12, count)
    path.write_bytes(data)
    return path


def claiming(path: Path, width: int, height: int) -> Path:
    """An AVI of JPEG pictures, each of which claims another size than it has."""
    data = bytearray(video(path, form="avi", codec="mjpeg", pixels="yuvj420p").read_bytes())
    struct.pack_into("<II", data, data.index(b"strf") + 12, width, height)
    mark = b"\xff\xc0\x00\x11\x08"
    at = data.index(mark)
    while at >= 0:
        struct.pack_into(">HH", data, at + len(mark), height, width)
        at = data.find(mark, at + 1)
    path.write_bytes(data)
    return path
