"""What has to be done to a file so that it satisfies a rule, and why: a pure decision."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from media import video_plan
from media.errors import MediaRefused
from media.geometry import FITS, Bounds, place
from media.probe import CUTTABLE, DAMAGED_PROFILE, Probe
from media.rules import MediaRule, becomes_video, violations
from media.video_plan import VideoPlan

RECIPE_VERSION = 5
"""Part of each recipe's hash. Raised whenever the same recipe would give other pixels, so that old renditions
are not taken for new ones."""

JPEG, PNG, WEBP, GIF = "image/jpeg", "image/png", "image/webp", "image/gif"
ANIMATIONS = ("keep", "first_frame")

QUALITY_FLOOR = 40
"""The lowest JPEG or WebP quality tried before the picture is made smaller."""
SSIM_FLOOR = 0.95
"""How much the coded picture must still look like the one it was made from (``media.similarity``). Where no
quality reaches it within the bytes, the picture is made smaller instead: small and clean beats large and blocky."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Options:
    """What the author may choose."""

    fit: str = "refuse"
    """A ratio that is not allowed: ``refuse``, ``pad`` (with the background) or ``crop`` (centred)."""
    background: str = "#ffffff"
    """``#rrggbb``: behind transparency where the platform has none, and around a padded picture."""
    quality: int = 90
    """Of JPEG and WebP, 1 to 100; lower is tried where the bytes demand it."""
    animation: str = "keep"
    """``keep``: it stays one, as GIF or video, or is refused; ``first_frame``: only its first picture is used."""

    @property
    def still(self) -> bool:
        """Whether of an animation only the first picture is wanted."""
        return self.animation == "first_frame"

    def __post_init__(self) -> None:
        """:raises ValueError: an option makes no sense; the message names it."""
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, not {self.fit!r}")
        if not _COLOUR.fullmatch(self.background):
            raise ValueError(f"background must look like #ffffff, not {self.background!r}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be 1 to 100, not {self.quality}")
        if self.animation not in ANIMATIONS:
            raise ValueError(f"animation must be one of {', '.join(ANIMATIONS)}, not {self.animation!r}")


DEFAULTS = Options()


@dataclass(frozen=True)
class Action:
    """One thing that is done to the file. ``name`` is stable, ``why`` is for people."""

    name: str
    why: str


@dataclass(frozen=True)
class Recipe:
    """How the rendition is made from the original. Knows no platform: two that ask for the same share it."""

    method: str
    """``keep`` (byte for byte), ``strip`` (metadata cut out, coded picture untouched), ``draw`` (anew),
    ``animate`` (anew as GIF), ``video`` (as ``video`` says) or ``poster`` (a picture out of a video, drawn)."""
    mime: str
    """Of the rendition."""
    actions: tuple[Action, ...] = ()
    fallback_mime: str | None = None
    """Instead of ``mime``, where that cannot be brought under ``max_bytes`` at full size."""
    bounds: Bounds | None = None
    max_bytes: int = 0
    fit: str = "refuse"
    background: str = "#ffffff"
    quality: int = 90
    quality_floor: int = QUALITY_FLOOR
    ssim_floor: float = SSIM_FLOOR
    flatten: bool = False
    """Transparency is replaced by the background, because the format has none."""
    drawing: bool = False
    """The source was coded without loss: colours are not subsampled."""
    video: VideoPlan | None = None
    at_s: float = 0.0
    """Where in the video a poster is taken."""

    @property
    def keeps_bytes(self) -> bool:
        """The file already fits and holds nothing private."""
        return self.method == "keep"

    @property
    def hash(self) -> str:
        """sha256, hex, over what decides the pixels and bytes (the words of the actions do not)."""
        facts = {**self.as_json(), "recipe_version": RECIPE_VERSION}
        del facts["actions"]
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values; ``from_json`` reads it back."""
        return {
            **dataclasses.asdict(self),
            "actions": [dataclasses.asdict(action) for action in self.actions],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The recipe that ``as_json`` wrote."""
        names = {field.name for field in dataclasses.fields(cls)}
        known = {key: value for key, value in data.items() if key in names}
        known["actions"] = tuple(Action(**action) for action in data.get("actions", ()))
        if known.get("bounds") is not None:
            known["bounds"] = Bounds(**known["bounds"])
        if known.get("video") is not None:
            known["video"] = VideoPlan.from_json(known["video"])
        return cls(**known)


def plan(probe: Probe, rule: MediaRule, *, options: Options = DEFAULTS, name: str = "") -> Recipe:
    """What must be done to a file so that it satisfies ``rule``. Pure: reads no file.

    What already fits is kept byte for byte; what only carries private metadata has it cut out.

    :raises MediaRefused: it cannot be made to fit; the code is that of the first of ``rules.violations``.
    """
    for problem in violations(probe, rule, name=name, fit=options.fit, still=options.still):
        raise MediaRefused(problem.code, problem.message, file=name)
    if becomes_video(probe, rule, still=options.still):
        return _video(probe, rule, options, name)
    if probe.animated and not options.still:
        return _without_drawing(probe) if probe.kind == "gif" else _animate(probe, rule, options)
    actions = _reasons_to_draw(probe, rule, options)
    if probe.animated:
        actions.append(Action("first_frame", "of the animation only the first picture is wanted"))
    if not actions and probe.mime in rule.image_mimes:
        return _without_drawing(probe)
    mime, fallback = _target(probe, rule)
    flatten = probe.has_alpha and mime == JPEG
    if mime != probe.mime:
        why = _why_convert(probe, rule, mime)
        actions.append(Action("convert", why))
    if flatten:
        actions.append(Action("flatten", f"{mime} has no transparency; {options.background} is put behind"))
    if probe.private:
        actions.append(_strip_action(probe))
    return Recipe(
        method="draw",
        mime=mime,
        actions=tuple(actions),
        fallback_mime=fallback,
        bounds=rule.within(probe.width, probe.height),
        max_bytes=rule.max_image_bytes,
        fit=options.fit,
        background=options.background,
        quality=options.quality,
        quality_floor=min(QUALITY_FLOOR, options.quality),
        # One of several that must be of one size cannot be made smaller alone.
        ssim_floor=SSIM_FLOOR if rule.exactly is None else -1.0,
        flatten=flatten,
        drawing=probe.format in {"PNG", "GIF", "BMP"},
    )


def poster(rule: MediaRule, *, at_s: float = 0.0, options: Options = DEFAULTS, max_bytes: int = 2_000_000) -> Recipe:
    """A JPEG cover out of a video.

    :param rule: the cover keeps within the limits of its videos' size.
    :param at_s: where in the video, seconds; its last picture, if it is shorter.
    """
    limits = rule.video
    bounds = limits.bounds(1, 2) if limits else rule.bounds
    most = max(bounds.max_width, bounds.max_height)
    return Recipe(
        method="poster",
        mime=JPEG,
        actions=(Action("poster", f"a cover for {rule.platform} {rule.placement}, taken at {at_s:g} s"),),
        bounds=Bounds(1, 1, most, most, 1e-3, 1e3),
        max_bytes=max_bytes,
        quality=options.quality,
        quality_floor=min(QUALITY_FLOOR, options.quality),
        at_s=at_s,
    )


def _video(probe: Probe, rule: MediaRule, options: Options, name: str) -> Recipe:
    how, why = video_plan.decide(probe, rule, options.fit, name)
    if how is None:
        return Recipe(method="keep", mime=probe.mime)
    actions = tuple(Action(*one) for one in why)
    if probe.has_alpha:
        actions += (Action("flatten", f"a video has no transparency; {options.background} is put behind"),)
    # Only an animation has transparency; of a video the colour matters where it is padded.
    seen = how.pad is not None or probe.has_alpha
    behind = options.background if seen else Recipe.background
    return Recipe(method="video", mime=video_plan.MP4, actions=actions, video=how, background=behind)


def _animate(probe: Probe, rule: MediaRule, options: Options) -> Recipe:
    why = f"{rule.platform} {rule.placement} takes animations as GIF, not as {probe.format}"
    actions = [Action("convert", why)]
    if probe.has_alpha:
        soft = f"a GIF's pixels are transparent or not; {options.background} is put behind those that are half so"
        actions.append(Action("flatten", soft))
    return Recipe(
        method="animate",
        mime=GIF,
        actions=tuple(actions),
        max_bytes=rule.max_gif_bytes or 0,
        background=options.background,
    )


def _without_drawing(probe: Probe) -> Recipe:
    if probe.private:
        return Recipe(method="strip", mime=probe.mime, actions=(_strip_action(probe),))
    return Recipe(method="keep", mime=probe.mime)


def _strip_action(probe: Probe) -> Action:
    words = {
        "gps": "the place where it was taken",
        "exif": "camera data that may identify",
        "xmp": "editing history (XMP)",
        "iptc": "press data (IPTC)",
        "comment": "comments",
        "thumbnail": "an embedded thumbnail",
        "trailing": "data behind the end of the picture",
        "other": "data of other programs",
    }
    return Action("strip", "not for the public: " + ", ".join(words.get(what, what) for what in probe.private))


def _reasons_to_draw(probe: Probe, rule: MediaRule, options: Options) -> list[Action]:
    """Why the pixels have to be touched, apart from the format."""
    actions = []
    where = f"{rule.platform} {rule.placement}"
    if probe.orientation != 1:
        actions.append(Action("rotate", f"stored with orientation {probe.orientation}; not every viewer turns it"))
    if probe.mode == "CMYK" or not is_srgb(probe.icc):
        profile = probe.icc or probe.mode
        actions.append(Action("srgb", f"its colours are {profile}; screens without that profile show others"))
    within = rule.within(probe.width, probe.height)
    placed = place(probe.width, probe.height, within, options.fit)
    if placed is None:
        raise MediaRefused("cannot_fit", f"{where}: no size satisfies all limits")
    ratios = f"{where} allows ratios from {rule.min_ratio:.3g} to {rule.max_ratio:.3g}"
    most = f"{where} takes at most {within.max_width} x {within.max_height}"
    if rule.exactly is not None:
        ratios = most = f"all pictures of this post get one size, {within.max_width} x {within.max_height}"
    if (placed.crop_width, placed.crop_height) != (probe.width, probe.height):
        why = ratios
        actions.append(Action("crop", f"{why}: to {placed.crop_width} x {placed.crop_height}"))
    if (placed.width, placed.height) != (placed.crop_width, placed.crop_height):
        why = most
        actions.append(Action("downscale", f"{why}: to {placed.width} x {placed.height}"))
    if (placed.canvas_width, placed.canvas_height) != (placed.width, placed.height):
        why = ratios
        actions.append(Action("pad", f"{why}: to {placed.canvas_width} x {placed.canvas_height}"))
    if probe.size > rule.max_image_bytes:
        why = f"{probe.size} bytes are more than the {rule.max_image_bytes} that {where} takes"
        actions.append(Action("compress", why))
    if not probe.regular and probe.format in CUTTABLE:
        actions.append(Action("redraw", "the file's structure is irregular"))
    return actions


def _target(probe: Probe, rule: MediaRule) -> tuple[str, str | None]:
    """The format to draw, and another one should its bytes not suffice."""
    taken = rule.image_mimes
    lossy = WEBP if probe.has_alpha and WEBP in taken else JPEG if JPEG in taken else None
    if probe.mime in taken:
        mime = probe.mime
    elif PNG in taken and (probe.has_alpha or probe.format in {"PNG", "GIF", "BMP"}):
        mime = PNG
    else:
        mime = taken[0]
    if mime != PNG:
        return mime, None
    # A photograph stored as PNG gets smaller only as something else; transparency stays where it can.
    fallback = None if lossy is None or (probe.has_alpha and lossy == JPEG and rule.exactly is None) else lossy
    if fallback and probe.mime == PNG and probe.size > rule.max_image_bytes:
        return fallback, None
    return mime, fallback


def _why_convert(probe: Probe, rule: MediaRule, mime: str) -> str:
    where = f"{rule.platform} {rule.placement}"
    if probe.mime not in rule.image_mimes:
        return f"{where} takes {_list(rule.image_mimes)}, not {probe.mime}"
    return f"{probe.mime} cannot be made smaller than {rule.max_image_bytes} bytes without loss; {mime} can"


def _list(mimes: tuple[str, ...]) -> str:
    return ", ".join(mime.removeprefix("image/") for mime in mimes)


def is_srgb(profile: str | None) -> bool:
    """Whether a profile's description (``Probe.icc``) means sRGB; without a profile the web assumes it."""
    if profile is None:
        return True
    if profile == DAMAGED_PROFILE:
        return False
    words = profile.casefold()
    # "c2" and "uRGB" are the small profiles that photo sites embed for sRGB.
    return "srgb" in words or words in {"c2", "urgb"}
