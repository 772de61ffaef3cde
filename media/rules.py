"""What each platform accepts, applied: what is wrong with a file that nothing can mend.

Used by ``schedulerx check``, by ``schedule()`` and by the workers alike. The limits are in ``media.rulebook``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.geometry import FITS, place
from media.limits import MediaRule, Problem, VideoRule
from media.rulebook import RULES

if TYPE_CHECKING:
    from media.probe import Probe

__all__ = ["RULES", "MediaRule", "Problem", "VideoRule", "rule", "violations"]

MAX_REPEATED_S = 60.0
"""The longest that a short animation is repeated to reach the least duration of a platform."""


def rule(platform: str, placement: str) -> MediaRule:
    """The rule of a placement. :raises KeyError: there is none."""
    return RULES[platform, placement]


def becomes_video(probe: Probe, rule: MediaRule, *, still: bool = False) -> bool:
    """Whether what the platform gets is a video: a video, or an animation where it plays only videos."""
    if probe.clip is not None:
        return True
    return probe.animated and not still and rule.gif_to_video and rule.video is not None


def violations(probe: Probe, rule: MediaRule, *, name: str, fit: str = "refuse", still: bool = False) -> list[Problem]:
    """What keeps one file from ever satisfying ``rule``; empty where it fits or can be made to fit.

    Too many bytes or pixels, another format, a sideways or CMYK picture: all that is mended, so none is here.

    :param name: how the author calls the file.
    :param fit: what may be done about the ratio: ``refuse``, ``pad`` or ``crop``.
    :param still: of an animation only the first picture is wanted.
    :raises ValueError: ``fit`` is none of them.
    """
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    if becomes_video(probe, rule, still=still):
        found = _video_problems(probe, rule, fit)
    elif probe.animated and not still:
        found = _gif_problems(probe, rule)
    else:
        found = _image_problems(probe, rule, fit)
    where = f"{rule.platform} {rule.placement}"
    return [Problem(code, f"{where}: {message}", "media", name) for code, message in found]


def _image_problems(probe: Probe, rule: MediaRule, fit: str) -> list[tuple[str, str]]:
    size = f"{probe.width} x {probe.height}"
    if not rule.image_mimes:
        return [("no_pictures", "pictures are not taken here, only videos")]
    if probe.width < rule.min_width or probe.height < rule.min_height:
        least = f"{rule.min_width} x {rule.min_height}"
        return [("too_small", f"{size} pixels are fewer than the {least} that it asks for")]
    if fit == "refuse" and rule.exactly is None and not rule.bounds.allows_ratio(probe.width, probe.height):
        limits = f"{rule.min_ratio:.3g} to {rule.max_ratio:.3g}"
        message = f"{size} has the ratio {probe.width / probe.height:.3g}, allowed is {limits}; pad or crop it"
        return [("ratio", message)]
    if place(probe.width, probe.height, rule.within(probe.width, probe.height), fit) is None:
        return [("too_small", f"{size} cannot be brought into the allowed shape without becoming too small")]
    return []


def _gif_problems(probe: Probe, rule: MediaRule) -> list[tuple[str, str]]:
    if rule.max_gif_bytes is None:
        message = f"an animated {probe.format} is not taken; its first picture alone may be (animation: first_frame)"
        return [("animated", message)]
    found = []
    # Another format is written anew as GIF, whose bytes nobody knows before.
    if probe.kind == "gif" and probe.size > rule.max_gif_bytes:
        found.append(("gif_too_large", f"{probe.size} bytes are more than {rule.max_gif_bytes} for a GIF"))
    if rule.max_gif_frames is not None and probe.frames > rule.max_gif_frames:
        found.append(("gif_frames", f"{probe.frames} frames are more than {rule.max_gif_frames}"))
    pixels = probe.width * probe.height * probe.frames
    if rule.max_gif_pixels is not None and pixels > rule.max_gif_pixels:
        found.append(("gif_pixels", f"{pixels} pixels in all frames are more than {rule.max_gif_pixels}"))
    area = probe.width * probe.height
    if rule.max_gif_area is not None and area > rule.max_gif_area:
        found.append(("gif_dimensions", f"{area} pixels are more than the {rule.max_gif_area} of a GIF"))
    widest, highest = rule.max_gif_width or rule.max_width, rule.max_gif_height or rule.max_height
    if probe.width > widest or probe.height > highest:
        size = f"{probe.width} x {probe.height}"
        found.append(("gif_dimensions", f"{size} is larger than {widest} x {highest} for a GIF"))
    if probe.width < rule.min_width or probe.height < rule.min_height:
        found.append(("too_small", f"{probe.width} x {probe.height} pixels are too few"))
    if not rule.bounds.allows_ratio(probe.width, probe.height):
        found.append(("ratio", f"the ratio {probe.width / probe.height:.3g} is not allowed"))
    return found


def _video_problems(probe: Probe, rule: MediaRule, fit: str) -> list[tuple[str, str]]:
    limits = rule.video
    if limits is None:
        return [("no_videos", "videos are not taken here")]
    found = []
    lasts = probe.duration_s or 0.0
    if lasts < limits.min_duration_s - 0.05:
        # An animation may be shown again and again; a video may not.
        if probe.clip is not None or limits.min_duration_s > MAX_REPEATED_S or lasts <= 0:
            message = f"{lasts:.1f} seconds are fewer than the {limits.min_duration_s:g} that it asks for"
            found.append(("too_short", message))
    elif lasts > limits.max_duration_s + 0.05:
        found.append(("too_long", f"{lasts:.1f} seconds are more than the {limits.max_duration_s:g} that it takes"))
    bounds = limits.bounds(probe.width, probe.height)
    size = f"{probe.width} x {probe.height}"
    if fit == "refuse" and not bounds.allows_ratio(probe.width, probe.height):
        ratio = f"{probe.width / probe.height:.3g}, allowed is {limits.min_ratio:.3g} to {limits.max_ratio:.3g}"
        found.append(("ratio", f"{size} has the ratio {ratio}; pad or crop it"))
    elif place(probe.width, probe.height, bounds, fit) is None:
        least = f"{bounds.min_width} x {bounds.min_height}"
        found.append(("too_small", f"{size} pixels cannot be brought into a shape of at least {least}"))
    return found
