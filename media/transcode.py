"""Makes the rendition of a video, exactly as its plan says. Same input and plan, same bytes, on any machine.

H.264 High with AAC in an MP4 whose index stands first. Every picture of the source is decoded here, also where
the coded pictures are kept, so that damage in the middle is found before a platform finds it.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from media import ffmpeg
from media.decode import decoding, open_picture
from media.errors import MediaRefused
from media.ffmpeg import Progress, place_of
from media.probe import Probe, probe_video
from media.timing import PRIMING_S
from media.video_plan import AUDIO_BITRATE, VideoPlan, decide, misfit

if TYPE_CHECKING:
    from PIL.Image import Image

    from media.clip import Clip

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
_TRANSFERS = {"pq": "smpte2084", "hlg": "arib-std-b67"}
_PRIMARIES = {1: "bt709", 9: "bt2020", 12: "smpte432"}
_MATRICES = {1: "bt709", 9: "bt2020nc", 10: "bt2020c"}
_INPUT = ("-threads", "2", "-protocol_whitelist", "file")


def make(source: Path, probe: Probe, plan: VideoPlan, background: str, out: Path, progress: Progress | None) -> None:
    """Writes the rendition into ``out``.

    :param background: ``#rrggbb``, behind transparency and around a padded video.
    :raises MediaRefused: ``corrupt``, ``memory``, ``cannot_fit`` (also for a rendition that its rule still refuses) ...
    :raises MachineFailed: this machine could not.
    """
    if probe.clip is None:
        _from_animation(source, probe, plan, background, out, progress)
    else:
        _from_video(source, probe, probe.clip, plan, background, out, progress)
    if plan.limits is not None:
        found = probe_video(out, out.stat().st_size, "", source.name)
        if wrong := misfit(found, plan, source.name):
            raise MediaRefused("cannot_fit", f"the video that was made of it does not fit: {wrong}", file=source.name)


def _from_video(
    source: Path, probe: Probe, clip: Clip, plan: VideoPlan, background: str, out: Path, progress: Progress | None
) -> None:
    wanted = plan
    if plan.copy_video:
        decode_all(source, probe, progress)
        _copy(source, clip, plan, out, progress)
        if plan.rule is None or out.stat().st_size <= plan.max_bytes:
            return
        # What is around the pictures took more than the limit leaves.
        must = ("compress", f"repacked it has more than {plan.max_bytes} bytes")
        wanted = decide(probe, plan.rule, plan.fit, source.name, must=must)[0] or plan
    for _ in range(TRIES):
        command = [
            *_INPUT,
            "-xerror",
            # From where the file begins, and to the picture.
            *(["-ss", f"{clip.hidden_s:.6f}"] if clip.hidden_s else []),
            "-i",
            place_of(source),
            *_map(clip, wanted),
            "-vf",
            _filters(wanted, background, probe),
            *_coded(wanted, wanted.fps or clip.fps),
            *_sound(clip, wanted),
            *_file(wanted),
            place_of(out),
        ]
        ffmpeg.run(["-progress", "pipe:1", *command], name=source.name, lasts_s=clip.duration_s, progress=progress)
        size = out.stat().st_size
        if not wanted.max_bytes or size <= wanted.max_bytes:
            return
        cap = wanted.max_bitrate or round(size * 8 / clip.duration_s)
        wanted = dataclasses.replace(wanted, max_bitrate=int(cap * wanted.max_bytes / size * 0.9))
    raise MediaRefused("cannot_fit", f"the video cannot be brought under {plan.max_bytes} bytes", file=source.name)


def _copy(source: Path, clip: Clip, plan: VideoPlan, out: Path, progress: Progress | None) -> None:
    # Apple's players show H.265 only under this mark.
    tag = ["-tag:v", "hvc1"] if clip.codec == "hevc" else []
    # FFmpeg's MP4 keeps the marks of a 360-degree video (sv3d, st3d) only so.
    marks = ["-strict", "unofficial"] if clip.spherical else []
    around = [*_map(clip, plan), "-c:v", "copy", *tag, *_sound(clip, plan), *marks, *_file(plan)]
    command = ["-progress", "pipe:1", *_INPUT, "-i", place_of(source), *around, place_of(out)]
    ffmpeg.run(command, name=source.name, lasts_s=clip.duration_s, progress=progress)


def decode_all(source: Path, probe: Probe, progress: Progress | None = None) -> None:
    """Decodes everything and keeps nothing. :raises MediaRefused: something in it is damaged."""
    clip = probe.clip
    if clip is None:
        raise ValueError("only videos are decoded here")
    command = [*_INPUT, "-xerror", "-i", place_of(source), *_tracks(clip), "-f", "null", "-"]
    ffmpeg.run(["-progress", "pipe:1", *command], name=source.name, lasts_s=clip.duration_s, progress=progress)


def still(source: Path, at_s: float, probe: Probe) -> Image:
    """One picture of a video, upright, in the ordinary range. :raises MediaRefused: it cannot be decoded."""
    clip = probe.clip
    if clip is None:
        raise ValueError("only videos have a moment")
    rate = max(clip.fps, 1.0)
    # The sound may begin before the pictures and go on after them.
    last = clip.video_start_s + max(0.0, (probe.frames - 2) / rate)
    at = min(max(_begins(clip) + at_s, clip.video_start_s), last)
    filters = ",".join([f"scale={probe.width}:{probe.height}", *_tonemap(clip, clip.hdr), "format=rgb24"])
    seek = [*_INPUT, "-ss", f"{clip.hidden_s + at:.3f}", "-i", place_of(source), "-map", f"0:{clip.video_index}"]
    data = ffmpeg.picture(
        [*seek, "-frames:v", "1", "-vf", filters, "-f", "image2pipe", "-c:v", "png"], name=source.name
    )
    if not data:
        raise MediaRefused("corrupt", f"there is no picture at {at_s:.1f} s", file=source.name)
    with open_picture(io.BytesIO(data), "PNG", name=source.name) as picture:
        with decoding(source.name):
            picture.load()
        return picture.copy()


def _tracks(clip: Clip) -> list[str]:
    """Those that were looked at: a cover picture may stand before the pictures, a track nobody can decode before
    the sound."""
    sound = ["-map", f"0:{clip.audio_index}"] if clip.audio_codec else []
    return ["-map", f"0:{clip.video_index}", *sound]


def _tonemap(clip: Clip, hdr: str) -> list[str]:
    """Brings HDR to the ordinary range. What only the container says of the colours is said to the filter."""
    if not hdr:
        return []
    told = [f"color_trc={_TRANSFERS[hdr]}"]
    # HDR without a word about its colours is BT.2020.
    told += [] if clip.primaries else ["color_primaries=bt2020"]
    told += [] if clip.matrix else ["colorspace=bt2020nc"]
    for key, names, value in (("color_primaries", _PRIMARIES, clip.primaries), ("colorspace", _MATRICES, clip.matrix)):
        told += [f"{key}={names[value]}"] if value in names else []
    return [f"setparams={':'.join(told)}", _TONEMAP]


def _map(clip: Clip, plan: VideoPlan) -> list[str]:
    """The pictures and the sound; no data tracks, notes or chapters."""
    tracks = _tracks(clip) if plan.audio != "none" else _tracks(clip)[:2]
    return [*tracks, "-map_metadata", "-1", "-map_chapters", "-1", "-sn", "-dn"]


def _zero(clip: Clip, plan: VideoPlan) -> float:
    """What becomes the first moment of the rendition, in seconds from where the file begins.

    A track that is not taken may begin before those that are.
    """
    if plan.copy_video:
        return 0.0 if plan.edit_list else clip.video_start_s
    return _begins(clip)


def _begins(clip: Clip) -> float:
    """Where the first picture is shown or the first sound is heard, whichever comes first."""
    return min(clip.video_start_s, max(0.0, clip.audio_start_s)) if clip.audio_codec else clip.video_start_s


def _moved(zero: float) -> str:
    return f"PTS-{zero:.4f}/TB" if zero > 0.001 else "PTS"


def _filters(plan: VideoPlan, background: str, probe: Probe) -> str:
    chain = []
    clip, fps = probe.clip, plan.fps
    if clip and clip.video_start_s > 0.001:
        # The first picture is shown from the beginning, should the sound begin before it. The filter forgets the rate,
        # without which the encoder does not know how many bits a second are.
        chain.append(f"setpts='if(eq(N,0),0,{_moved(_zero(clip, plan))})'")
        fps = fps or clip.fps
    if plan.deinterlace:
        chain.append("yadif")
    if probe.clip and not probe.clip.square_pixels:
        chain += [f"scale={probe.width}:{probe.height}:flags=lanczos", "setsar=1"]
    if plan.crop:
        chain.append(f"crop={plan.crop[0]}:{plan.crop[1]}")
    if plan.scale:
        chain.append(f"scale={plan.scale[0]}:{plan.scale[1]}:flags=lanczos")
    if clip:
        # After scaling: it works in 12 bytes a pixel.
        chain += _tonemap(clip, plan.tonemap)
    if plan.pad:
        chain.append(f"pad={plan.pad[0]}:{plan.pad[1]}:(ow-iw)/2:(oh-ih)/2:color=0x{background[1:]}")
    if fps:
        chain.append(f"fps={fps:g}")
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


def _sound(clip: Clip, plan: VideoPlan) -> list[str]:
    if plan.audio == "none":
        return ["-an"]
    if plan.audio == "copy":
        # Without an edit list nothing hides what the coder put before the sound, and all of it would come later.
        priming = [] if plan.edit_list else ["-bsf:a", f"noise=drop='lt(pts*tb,-{PRIMING_S})'"]
        return ["-c:a", "copy", *priming]
    # Silence where nothing is heard yet, or where something is missing; players do not agree about gaps.
    filters = f"asetpts={_moved(_zero(clip, plan))},aresample=async=1:first_pts=0"
    rate = ["-b:a", str(AUDIO_BITRATE), "-ac", str(plan.audio_channels), "-ar", str(plan.audio_rate)]
    return ["-af", filters, "-c:a", "aac", *rate]


def _file(plan: VideoPlan) -> list[str]:
    """The container: index first, an edit list only where it is needed, nothing in it that changes from run to run."""
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
        str(int(plan.edit_list)),
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
