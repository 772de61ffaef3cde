"""Makes the rendition of a video, exactly as its plan says. Same input and plan, same bytes, on any machine.

H.264 High with AAC in an MP4 whose index stands first. Every picture of the source is decoded here, also where
the coded pictures are kept, so that damage in the middle is found before a platform finds it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from media import ffmpeg
from media.decode import decoding, open_picture
from media.errors import MediaRefused
from media.ffmpeg import Progress, place_of
from media.video_plan import AUDIO_BITRATE, VideoPlan

if TYPE_CHECKING:
    from PIL.Image import Image

    from media.probe import Probe

THREADS = "4"
"""Of x264, fixed: its bytes depend on their number, and renditions are named by their bytes."""
PRESET = "fast"
GROUP_S = 2.0
"""A picture that needs no other at least so often: platforms ask for 2 to 5 seconds."""
TRIES = 3
"""How often a video that became too large is made again with fewer bits."""

_TONEMAP = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv"
)
_INPUT = ("-threads", "2", "-protocol_whitelist", "file")


def make(source: Path, probe: Probe, plan: VideoPlan, background: str, out: Path, progress: Progress | None) -> None:
    """Writes the rendition into ``out``.

    :param background: ``#rrggbb``, behind transparency and around a padded video.
    :raises MediaRefused: ``corrupt``, ``memory``, ``cannot_fit`` ...
    :raises MachineFailed: this machine could not.
    """
    name = source.name
    if probe.clip is None:
        _from_animation(source, probe, plan, background, out, progress)
        return
    if plan.copy_video:
        decode_all(source, probe, progress)
        ffmpeg.run(
            [
                *_INPUT,
                "-i",
                place_of(source),
                *_map(plan),
                "-c:v",
                "copy",
                *_tag(probe),
                *_sound(plan),
                *_file(plan),
                place_of(out),
            ],
            name=name,
        )
        return
    wanted = plan
    for _ in range(TRIES):
        command = [
            *_INPUT,
            "-xerror",
            "-i",
            place_of(source),
            *_map(wanted),
            "-vf",
            _filters(wanted, background, probe),
            *_coded(wanted, wanted.fps or probe.clip.fps),
            *_sound(wanted),
            *_file(wanted),
            place_of(out),
        ]
        ffmpeg.run(["-progress", "pipe:1", *command], name=name, lasts_s=probe.clip.duration_s, progress=progress)
        size = out.stat().st_size
        if not wanted.max_bytes or size <= wanted.max_bytes:
            return
        cap = wanted.max_bitrate or round(size * 8 / probe.clip.duration_s)
        wanted = dataclasses.replace(wanted, max_bitrate=int(cap * wanted.max_bytes / size * 0.9))
    raise MediaRefused("cannot_fit", f"the video cannot be brought under {plan.max_bytes} bytes", file=name)


def decode_all(source: Path, probe: Probe, progress: Progress | None = None) -> None:
    """Decodes everything and keeps nothing. :raises MediaRefused: something in it is damaged."""
    lasts = probe.clip.duration_s if probe.clip else 0.0
    command = [*_INPUT, "-xerror", "-i", place_of(source), "-map", "0:v:0", "-map", "0:a:0?", "-f", "null", "-"]
    ffmpeg.run(["-progress", "pipe:1", *command], name=source.name, lasts_s=lasts, progress=progress)


def still(source: Path, at_s: float, probe: Probe) -> Image:
    """One picture of a video, upright, in the ordinary range. :raises MediaRefused: it cannot be decoded."""
    lasts = probe.clip.duration_s if probe.clip else 0.0
    step = 1 / max(probe.clip.fps if probe.clip else 25.0, 1.0)
    at = max(0.0, min(at_s, lasts - 2 * step))
    hdr = bool(probe.clip and probe.clip.hdr)
    with tempfile.TemporaryDirectory(dir=source.parent, prefix="poster-") as folder:
        out = Path(folder) / "still.png"
        filters = ",".join([f"scale={probe.width}:{probe.height}", *([_TONEMAP] if hdr else []), "format=rgb24"])
        ffmpeg.run(
            [
                *_INPUT,
                "-ss",
                f"{at:.3f}",
                "-i",
                place_of(source),
                "-map",
                "0:v:0",
                "-frames:v",
                "1",
                "-vf",
                filters,
                "-f",
                "image2",
                "-update",
                "1",
                "-c:v",
                "png",
                place_of(out),
            ],
            name=source.name,
        )
        if not out.is_file():
            raise MediaRefused("corrupt", f"there is no picture at {at:.1f} s", file=source.name)
        with out.open("rb") as stream, open_picture(stream, "PNG", name=source.name) as picture:
            with decoding(source.name):
                picture.load()
            return picture.copy()


def _map(plan: VideoPlan) -> list[str]:
    """The first video and the first sound; no data tracks, notes or chapters."""
    sound = [] if plan.audio == "none" else ["-map", "0:a:0?"]
    return ["-map", "0:v:0", *sound, "-map_metadata", "-1", "-map_chapters", "-1", "-sn", "-dn"]


def _tag(probe: Probe) -> list[str]:
    # Apple's players show H.265 only under this mark.
    return ["-tag:v", "hvc1"] if probe.clip and probe.clip.codec == "hevc" else []


def _filters(plan: VideoPlan, background: str, probe: Probe) -> str:
    chain = []
    if plan.deinterlace:
        chain.append("yadif")
    if probe.clip and not probe.clip.square_pixels:
        chain += [f"scale={probe.width}:{probe.height}:flags=lanczos", "setsar=1"]
    if plan.crop:
        chain.append(f"crop={plan.crop[0]}:{plan.crop[1]}")
    if plan.scale:
        chain.append(f"scale={plan.scale[0]}:{plan.scale[1]}:flags=lanczos")
    if plan.tonemap:
        # After scaling: it works in 12 bytes a pixel.
        chain.append(_TONEMAP)
    if plan.pad:
        chain.append(f"pad={plan.pad[0]}:{plan.pad[1]}:(ow-iw)/2:(oh-ih)/2:color=0x{background[1:]}")
    if plan.fps:
        chain.append(f"fps={plan.fps:g}")
    return ",".join([*chain, "setsar=1", "format=yuv420p"])


def _coded(plan: VideoPlan, fps: float) -> list[str]:
    command = [
        "-c:v",
        "libx264",
        "-preset",
        PRESET,
        "-profile:v",
        "high",
        "-crf",
        str(plan.crf),
        "-threads:v",
        THREADS,
        "-g",
        str(max(1, round(GROUP_S * fps))),
    ]
    if plan.max_bitrate:
        command += ["-maxrate", str(plan.max_bitrate), "-bufsize", str(plan.max_bitrate * 2)]
    if plan.tonemap:
        command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    return command


def _sound(plan: VideoPlan) -> list[str]:
    if plan.audio == "none":
        return ["-an"]
    if plan.audio == "copy":
        return ["-c:a", "copy"]
    return ["-c:a", "aac", "-b:a", str(AUDIO_BITRATE), "-ac", str(plan.audio_channels), "-ar", str(plan.audio_rate)]


def _file(plan: VideoPlan) -> list[str]:
    """The container: index first, no edit list, nothing in it that changes from run to run."""
    rights = [("copyright", plan.copyright), ("artist", plan.artist)]
    notes = [part for key, text in rights if text for part in ("-metadata", f"{key}={text}")]
    return [
        *notes,
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-flags:a",
        "+bitexact",
        "-use_editlist",
        "0",
        "-movflags",
        "+faststart+negative_cts_offsets",
        "-f",
        "mp4",
    ]


# --- Animations -------------------------------------------------------------------------------------------


def _from_animation(
    source: Path, probe: Probe, plan: VideoPlan, background: str, out: Path, progress: Progress | None
) -> None:
    """Its pictures, each shown as long as it says, as a video of a steady rate without sound."""
    filters = _filters(dataclasses.replace(plan, fps=0.0), background, probe)
    wanted = plan
    for _ in range(TRIES):
        command = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{probe.width}x{probe.height}",
            "-r",
            f"{plan.fps:g}",
            "-i",
            "pipe:0",
            "-vf",
            filters,
            *_coded(wanted, plan.fps),
            "-an",
            *_file(wanted),
            place_of(out),
        ]
        ffmpeg.run(command, name=source.name, pictures=_ticks(source, probe, plan, background, progress))
        size = out.stat().st_size
        if size <= plan.max_bytes:
            return
        lasts = max(probe.duration_s or 0.0, plan.at_least_s, 0.1)
        cap = wanted.max_bitrate or round(size * 8 / lasts)
        wanted = dataclasses.replace(wanted, max_bitrate=int(cap * plan.max_bytes / size * 0.9))
    raise MediaRefused("cannot_fit", f"the video cannot be brought under {plan.max_bytes} bytes", file=source.name)


def _ticks(source: Path, probe: Probe, plan: VideoPlan, background: str, progress: Progress | None) -> Iterator[bytes]:
    """One raw picture for each tick of the rate, the whole animation as often as it takes."""
    lasts = max(probe.duration_s or 0.0, 1 / plan.fps)
    rounds = max(1, -(-int(plan.at_least_s * 1000) // max(1, int(lasts * 1000))))
    sent, clock = 0, 0.0
    for turn in range(rounds):
        for number, (picture, shown_s) in enumerate(frames(source, probe, background)):
            clock += shown_s
            until = max(round(clock * plan.fps), sent + 1 if number == 0 and turn == 0 else 0)
            raw = picture.tobytes() if until > sent else b""
            for _ in range(until - sent):
                yield raw
            sent = max(sent, until)
            if progress is not None:
                progress(min(0.99, (turn + number / probe.frames) / rounds))


def frames(source: Path, probe: Probe, background: str) -> Iterator[tuple[Image, float]]:
    """The pictures of an animation over the background, in RGB, and how long each is shown, in seconds."""
    from PIL import Image as pil  # noqa: N813 - the class is called Image too

    from media.decode import quiet
    from media.probe import frame_ms

    with source.open("rb") as stream, open_picture(stream, probe.format, name=source.name) as opened:
        for number in range(probe.frames):
            with decoding(source.name), quiet():
                opened.seek(number)
                opened.load()
                lasts = frame_ms(opened) / 1000
                drawn = opened.convert("RGBA")
            behind = pil.new("RGB", drawn.size, background)
            behind.paste(drawn, mask=drawn.getchannel("A"))
            yield behind, lasts
