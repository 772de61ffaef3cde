"""What has to be done to a video so that it satisfies a rule, and why: a pure decision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from media.errors import MediaRefused
from media.geometry import Bounds, Placed, place
from media.limits import MediaRule, VideoRule
from media.rules import violations

if TYPE_CHECKING:
    from media.clip import Clip
    from media.probe import Probe

MP4 = "video/mp4"
CRF = 21
"""x264's constant quality: 18 cannot be told from the original, 23 is its default."""
AUDIO_BITRATE = 128_000
BUDGET = 0.93
"""Share of a byte limit that is planned for; the rest is the container and what the rate control overshoots."""
LEAST_BITS = 0.02
"""Bits a pixel and picture below which x264 blurs and blocks; the picture is made smaller before that."""
LEAST_SIDE = 240
"""Pixels of the shorter side below which a video is refused rather than made smaller to save bytes."""
APART_S = 0.04
"""How much earlier or later than the pictures the sound may come before people notice (ITU-R BT.1359: 45 ms)."""
USUAL_FPS = (24.0, 25.0, 30.0, 50.0, 60.0)
ANIMATION_FPS = 30.0
"""The most pictures a second that are made of an animation; browsers show few faster."""

_IN_MP4 = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"})
_PLAYED_IN_MP4 = frozenset({"aac", "mp3"})
_PLAIN = frozenset({"yuv420p", "yuvj420p"})


@dataclass(frozen=True)
class VideoPlan:
    """How the video is made. Sizes in pixels and even, rates in bits a second."""

    copy_video: bool
    """True: the coded pictures stay as they are, only what is around them changes."""
    audio: str
    """``copy``, ``aac`` (coded anew) or ``none``."""
    audio_channels: int = 2
    audio_rate: int = 48_000
    crop: tuple[int, int] | None = None
    scale: tuple[int, int] | None = None
    pad: tuple[int, int] | None = None
    fps: float = 0.0
    """Of the rendition, steady; 0: as the source."""
    crf: int = CRF
    max_bitrate: int = 0
    """Of the pictures; 0: no cap."""
    max_bytes: int = 0
    """Of the file; 0: no limit."""
    tonemap: str = ""
    """``pq`` or ``hlg``: brought to the ordinary range."""
    deinterlace: bool = False
    at_least_s: float = 0.0
    """An animation is repeated until it lasts so long."""
    edit_list: bool = False
    """Pictures and sound begin at different times, and what is copied keeps that by an edit list."""
    platform: str = ""
    placement: str = ""
    limits: VideoRule | None = None
    """What the rendition has to satisfy when it is looked at again."""
    fit: str = "refuse"
    copyright: str = ""
    artist: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What ``dataclasses.asdict`` made, after it went through JSON."""
        names = {field.name for field in dataclasses.fields(cls)}
        known = {key: value for key, value in data.items() if key in names}
        for key in ("crop", "scale", "pad"):
            if known.get(key) is not None:
                known[key] = tuple(known[key])
        if known.get("limits") is not None:
            known["limits"] = _rule_from(known["limits"])
        return cls(**known)

    @property
    def rule(self) -> MediaRule | None:
        """The rule that it was made for; None: older plans do not tell."""
        one = self.limits
        if one is None:
            return None
        shape = (one.max_width, one.max_height, one.min_width, one.min_height, one.min_ratio, one.max_ratio)
        return MediaRule(self.platform, self.placement, 1, 1, (), 0, *shape, None, one.source, video=one)


def _rule_from(data: Mapping[str, Any]) -> VideoRule:
    facts: dict[str, Any] = {one.name: data[one.name] for one in dataclasses.fields(VideoRule) if one.name in data}
    for key in ("containers", "codecs", "audio_codecs"):
        facts[key] = tuple(facts[key])
    return VideoRule(**facts)


def misfit(found: Probe, plan: VideoPlan, name: str) -> str:
    """What the platform would still refuse of a rendition, or what would still have to be done; empty: nothing."""
    rule = plan.rule
    if rule is None:
        return ""
    wrong = [problem.message for problem in violations(found, rule, name=name)]
    return (wrong or [why for _, why in decide(found, rule, plan.fit, name)[1]] or [""])[0]


def decide(
    probe: Probe, rule: MediaRule, fit: str, name: str, *, must: tuple[str, str] | None = None
) -> tuple[VideoPlan | None, list[tuple[str, str]]]:
    """The plan and what it does, as (name, why); None: the file already fits and holds nothing private.

    :param must: a reason to code the pictures anew that was found out otherwise.
    :raises MediaRefused: ``cannot_fit``: no picture worth seeing has so few bytes.
    """
    limits = rule.video
    if limits is None:
        raise ValueError("a rule without videos was asked about one")
    where = f"{rule.platform} {rule.placement}"
    clip = probe.clip
    sound, why_sound = _sound(probe, limits, where)
    coding = [must] if must else []
    coding += _reasons_to_code(probe, limits, where, fit, name)
    around = _reasons_to_wrap(probe, limits, where)
    if not coding and not why_sound and not around:
        return None, []
    keeps_apart = False
    if clip is not None:
        if not coding:
            coding, more, keeps_apart = _reasons_found_late(probe, clip, limits, where, sound)
            why_sound += more
        around = [*_wrapped(probe, around), *around]
        coding += _lost_by_coding(clip, limits) if coding else []
        sound, more = _sound_beside(clip, sound, why_sound, coded=bool(coding))
        why_sound += more
    actions = [*coding, *why_sound, *around]
    made: dict[str, Any] = {
        "platform": rule.platform,
        "placement": rule.placement,
        # Where a limit was read decides nothing.
        "limits": dataclasses.replace(limits, source=""),
        "fit": fit,
        "max_bytes": limits.max_bytes,
        "copyright": clip.copyright if clip else "",
        "artist": clip.artist if clip else "",
        **sound,
    }
    if not coding:
        return VideoPlan(copy_video=True, edit_list=keeps_apart, **made), actions
    placed = _placed(probe, limits, fit, where, name)
    # Made steady where it must be, even where the source is: a picture that cannot be decoded would leave a gap.
    fps = _fps(probe, limits) or (clip.fps if clip and limits.steady else 0.0)
    most = _most_bits(probe, limits, sound["audio"] != "none")
    placed, smaller = _bearable(placed, probe, limits, fps or _rate(probe), most, where, name)
    actions += smaller
    size = _even_sides(placed, limits.bounds(probe.width, probe.height))
    return VideoPlan(
        copy_video=False,
        **made,
        crop=_pair(placed.crop_width, placed.crop_height, (probe.width, probe.height)),
        scale=size,
        pad=None
        if (placed.canvas_width, placed.canvas_height) == (placed.width, placed.height)
        else _pair(_even(placed.canvas_width), _even(placed.canvas_height), size),
        fps=fps,
        max_bitrate=most,
        tonemap=clip.hdr if clip else "",
        deinterlace=bool(clip and clip.interlaced),
        at_least_s=limits.min_duration_s if clip is None else 0.0,
    ), actions


def _sound(probe: Probe, limits: VideoRule, where: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """How the sound is made, as fields of the plan, and why it is touched."""
    clip = probe.clip
    if clip is None or not clip.audio_codec:
        return {"audio": "none"}, []
    channels = min(clip.audio_channels or 2, limits.max_audio_channels)
    # At lower rates, what an AAC coder puts before the sound lasts long enough to be noticed.
    rate = clip.audio_rate if 44_100 <= clip.audio_rate <= limits.max_audio_rate else 48_000
    made = {"audio_channels": channels, "audio_rate": min(rate, 48_000)}
    why = []
    if clip.audio_codec not in limits.audio_codecs:
        why.append(("audio", f"{where} takes {', '.join(limits.audio_codecs)}, not {clip.audio_codec}"))
    if clip.audio_channels > limits.max_audio_channels:
        why.append(("downmix", f"{clip.audio_channels} channels; {where} takes {limits.max_audio_channels}"))
    if clip.audio_rate > limits.max_audio_rate:
        why.append(("resample", f"{clip.audio_rate} Hz; {where} takes at most {limits.max_audio_rate}"))
    if clip.sound_trimmed and not clip.trimmed:
        why.append(("edits", "an edit list leaves out sound that is still in the file"))
    return {"audio": "aac" if why else "copy", **made}, why


def _reasons_found_late(
    probe: Probe, clip: Clip, limits: VideoRule, where: str, sound: dict[str, Any]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], bool]:
    """Why pictures or sound that could stay have to be coded after all, since something else is done to the file.

    The third: they stay and keep their distance by an edit list.
    """
    if clip.codec not in _IN_MP4:
        return [("codec", f"{clip.codec} cannot be put into an MP4 file")], [], False
    apart, more = abs(clip.apart_s) > APART_S, []
    late = f"{'its sound begins' if clip.apart_s > 0 else 'its pictures begin'} {abs(clip.apart_s):.2f} s late"
    if apart and not limits.edit_lists:
        why = ("sync", f"{late}; without an edit list, which {where} refuses, that has to be filled")
        if clip.apart_s < 0:
            return [why], [], False
        more = [why] if sound["audio"] == "copy" else []
    codes_sound = bool(more) or _is_coded(clip, sound)
    grows = (AUDIO_BITRATE - clip.audio_bitrate) * clip.duration_s / 8 if codes_sound else 0.0
    if probe.size + grows > limits.max_bytes:
        grown = f"with its sound coded anew it would have more than the {limits.max_bytes} bytes that {where} takes"
        return [("compress", grown)], [], False
    return [], more, apart and limits.edit_lists


def _wrapped(probe: Probe, around: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if probe.mime == MP4 or any(name == "remux" for name, _ in around):
        return []
    return [("remux", f"what is made is {MP4}, not {probe.mime}")]


def _lost_by_coding(clip: Clip, limits: VideoRule) -> list[tuple[str, str]]:
    """What a platform would take and coding does not keep."""
    lost = []
    if clip.spherical:
        lost = [("spherical", "it is a 360-degree video; coded anew it loses the marks of one, and is shown flat")]
    if not limits.any_depth:
        return lost
    if clip.hdr:
        lost.append(("sdr", f"it is HDR ({clip.hdr}); what is coded anew has 8 bits, in which that would look wrong"))
    elif clip.pixel_format not in _PLAIN:
        lost.append(("depth", f"its pixels are {clip.pixel_format}; what is coded anew has 8 bits, 4:2:0"))
    return lost


def _is_coded(clip: Clip, sound: dict[str, Any]) -> bool:
    return sound["audio"] == "aac" or (sound["audio"] == "copy" and clip.audio_codec not in _PLAYED_IN_MP4)


def _sound_beside(
    clip: Clip, sound: dict[str, Any], why: list[tuple[str, str]], *, coded: bool
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The sound that goes with the pictures, and why it is coded where nothing else said so."""
    if sound["audio"] == "none" or (not coded and not why and not _is_coded(clip, sound)):
        return sound, []
    more = []
    if not why and clip.audio_codec not in _PLAYED_IN_MP4:
        more = [("audio", f"players expect AAC in an MP4 file, not {clip.audio_codec}")]
    elif not why:
        more = [("audio", "it is coded along with the pictures, so that both begin and go on together")]
    return {**sound, "audio": "aac"}, more


def _reasons_to_code(probe: Probe, limits: VideoRule, where: str, fit: str, name: str) -> list[tuple[str, str]]:
    """Why the pictures have to be coded anew."""
    clip = probe.clip
    if clip is None:
        return [("video", f"{where} plays animations only as video"), *_shape(probe, limits, fit, where, name)]
    found = []
    if clip.trimmed:
        found.append(("edits", "an edit list leaves out or rearranges pictures that are still in the file"))
    if clip.codec not in limits.codecs:
        found.append(("codec", f"{where} takes {', '.join(limits.codecs)}, not {clip.codec}"))
    if clip.hdr and not limits.any_depth:
        found.append(("sdr", f"it is HDR ({clip.hdr}); {where} would show it washed out"))
    elif clip.pixel_format not in _PLAIN and not limits.any_depth:
        found.append(("depth", f"its pixels are {clip.pixel_format}; {where} takes 8 bits, 4:2:0"))
    if clip.interlaced:
        found.append(("deinterlace", f"it is interlaced; {where} wants whole pictures"))
    if not clip.square_pixels:
        found.append(("square", "its pixels are not square; not every player stretches them"))
    if clip.stored_width % 2 or clip.stored_height % 2:
        found.append(("even", f"{clip.stored_width} x {clip.stored_height} has an odd side, which 4:2:0 cannot code"))
    fps = _fps(probe, limits)
    if fps:
        what = "a rate that varies" if clip.variable else f"{clip.fps:g} pictures a second"
        limit = f"a steady rate of {limits.min_fps:g} to {limits.max_fps:g}"
        found.append(("fps", f"it has {what}; {where} takes {limit}: made {fps:g}"))
    if probe.size > limits.max_bytes:
        found.append(("compress", f"{probe.size} bytes are more than the {limits.max_bytes} that {where} takes"))
    elif limits.max_bitrate and clip.bitrate > limits.max_bitrate:
        found.append(("compress", f"{clip.bitrate} bits a second are more than {limits.max_bitrate}"))
    return found + _shape(probe, limits, fit, where, name)


def _shape(probe: Probe, limits: VideoRule, fit: str, where: str, name: str) -> list[tuple[str, str]]:
    placed = _placed(probe, limits, fit, where, name)
    found = []
    ratios = f"{where} allows ratios from {limits.min_ratio:.3g} to {limits.max_ratio:.3g}"
    if (placed.crop_width, placed.crop_height) != (probe.width, probe.height):
        found.append(("crop", f"{ratios}: to {placed.crop_width} x {placed.crop_height}"))
    if (placed.width, placed.height) != (placed.crop_width, placed.crop_height):
        found.append(("downscale", f"{where} takes at most {limits.max_width} x {limits.max_height}"))
    if (placed.canvas_width, placed.canvas_height) != (placed.width, placed.height):
        found.append(("pad", f"{ratios}: to {placed.canvas_width} x {placed.canvas_height}"))
    return found


def _reasons_to_wrap(probe: Probe, limits: VideoRule, where: str) -> list[tuple[str, str]]:
    """Why the container has to be written anew; the coded pictures may stay."""
    clip = probe.clip
    if clip is None:
        return []
    found = []
    if probe.mime not in limits.containers:
        found.append(("remux", f"{where} takes {', '.join(limits.containers)}, not {probe.mime}"))
    elif limits.index_first and not clip.index_first:
        found.append(("remux", f"{where} wants the index before the pictures"))
    elif clip.edit_list and not limits.edit_lists:
        found.append(("remux", f"{where} refuses edit lists"))
    if probe.private:
        words = {
            "gps": "the place where it was taken",
            "trailing": "data behind its end",
            "xmp": "editing history (XMP)",
        }
        told = ", ".join(words.get(one, "data of other programs or of the camera") for one in probe.private)
        found.append(("strip", f"not for the public: {told}"))
    return found


def _rate(probe: Probe) -> float:
    if probe.clip is not None:
        return probe.clip.fps
    return min(ANIMATION_FPS, probe.frames / max(probe.duration_s or 1.0, 0.04))


def _fps(probe: Probe, limits: VideoRule) -> float:
    """The steady rate to make; 0: the source's is fine."""
    clip = probe.clip
    if clip is None:
        return min(max(ANIMATION_FPS, limits.min_fps), limits.max_fps)
    inside = limits.min_fps - 0.1 <= clip.fps <= limits.max_fps + 0.1
    if inside and not (clip.variable and limits.steady):
        return 0.0
    wanted = min(max(clip.fps, limits.min_fps), limits.max_fps)
    near = [rate for rate in USUAL_FPS if abs(rate - wanted) <= 0.02 * rate and rate <= limits.max_fps]
    if near:
        return min(near, key=lambda rate: abs(rate - wanted))
    # The next usual rate above: no picture is lost, and every player knows it.
    above = [rate for rate in USUAL_FPS if wanted - 0.1 <= rate <= limits.max_fps]
    return above[0] if above else wanted


def _placed(probe: Probe, limits: VideoRule, fit: str, where: str, name: str) -> Placed:
    bounds = limits.bounds(probe.width, probe.height)
    if not bounds.allows_ratio(probe.width, probe.height):
        bounds = limits.bounds(probe.width, probe.height, slack=0.0)
    placed = place(probe.width, probe.height, _even_bounds(bounds), fit)
    if placed is None:
        raise MediaRefused("cannot_fit", f"{where}: no size satisfies all limits", file=name)
    return placed


def _even_bounds(bounds: Bounds) -> Bounds:
    return dataclasses.replace(bounds, max_width=bounds.max_width // 2 * 2, max_height=bounds.max_height // 2 * 2)


def _most_bits(probe: Probe, limits: VideoRule, sounds: bool) -> int:
    """The cap of the pictures' bit rate; 0: none is needed."""
    lasts = max(probe.duration_s or 0.0, limits.min_duration_s, 0.5)
    by_bytes = limits.max_bytes * 8 * BUDGET / lasts
    most = min(by_bytes, (limits.max_bitrate or math.inf) * BUDGET) - (AUDIO_BITRATE if sounds else 0)
    # Far above what any quality needs, a cap only costs time.
    return 0 if most > 200_000_000 else max(1, int(most))


def _bearable(
    placed: Placed, probe: Probe, limits: VideoRule, fps: float, most: int, where: str, name: str
) -> tuple[Placed, list[tuple[str, str]]]:
    """The size at which the allowed bits still give a picture worth seeing."""
    if not most:
        return placed, []
    area = placed.canvas_width * placed.canvas_height
    affordable = most / (LEAST_BITS * max(fps, 1.0))
    if area <= affordable:
        return placed, []
    shrink = math.sqrt(affordable / area)
    bounds = limits.bounds(probe.width, probe.height)
    wide, high = _even(math.floor(placed.width * shrink)), _even(math.floor(placed.height * shrink))
    ratio = placed.canvas_width / placed.width, placed.canvas_height / placed.height
    whole = _even(round(wide * ratio[0])), _even(round(high * ratio[1]))
    if min(whole) < min(LEAST_SIDE, placed.canvas_width, placed.canvas_height) or not bounds.allows(*whole):
        message = f"{where}: {probe.duration_s:.0f} seconds in {limits.max_bytes} bytes would not be worth seeing"
        raise MediaRefused("cannot_fit", message, file=name)
    why = f"at full size {limits.max_bytes} bytes would wreck the picture: to {whole[0]} x {whole[1]}"
    return Placed(placed.crop_width, placed.crop_height, wide, high, *whole), [("downscale", why)]


def _even_sides(placed: Placed, bounds: Bounds) -> tuple[int, int]:
    """The size in even numbers; of a small picture that alone may leave the allowed ratio."""
    wide, high = _even(placed.width), _even(placed.height)
    if (placed.canvas_width, placed.canvas_height) != (placed.width, placed.height):
        return wide, high
    near = [(wide, high), (wide - 2, high), (wide, high - 2)]
    return next((one for one in near if min(one) > 0 and bounds.allows_ratio(*one)), (wide, high))


def _even(side: int) -> int:
    return max(2, side // 2 * 2)


def _pair(width: int, height: int, unless: tuple[int, int]) -> tuple[int, int] | None:
    return None if (width, height) == unless else (width, height)
