"""Videos of all sorts for every placement that takes videos: each ends as one that satisfies the rule, or is refused
for its shape; normalizing it again changes nothing; a clap is heard when it is seen. Pictures have theirs in
``test_images``.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import clips
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_videos import made

from media.errors import MediaRefused
from media.rules import RULES, MediaRule
from media.video_plan import APART_S

KINDS: tuple[dict[str, Any], ...] = (
    {"form": "mp4", "codec": "libx264"},
    {"form": "mp4", "codec": "libx264", "trimmed": True},
    {"form": "mp4", "codec": "mpeg4", "trimmed": True},
    {"form": "mp4", "codec": "libx265"},
    {"form": "mp4", "codec": "libx265", "pixels": "yuv420p10le", "colour": (9, 16, 9)},
    {"form": "mov", "codec": "libx264", "pixels": "yuv422p"},
    {"form": "matroska", "codec": "libx264"},
    {"form": "webm", "codec": "libvpx-vp9"},
    {"form": "mpegts", "codec": "libx264"},
    {"form": "avi", "codec": "mpeg4"},
)
LATE: tuple[dict[str, float], ...] = ({}, {}, {"sound_from": 0.2}, {"pictures_from": 0.2})
CLAP_S = 0.45
SOUNDS: tuple[dict[str, Any], ...] = (
    {},
    {"layout": "mono", "rate": 22_050},
    {"layout": "stereo", "rate": 48_000},
    {"layout": "5.1", "rate": 44_100},
)


def eased(one: MediaRule) -> MediaRule:
    """The rule for clips of a second and of a few hundred pixels, so that a hundred of them are made in a minute."""
    assert one.video is not None
    return replace(one, video=replace(one.video, min_duration_s=0.1, min_width=32, min_height=32))


def squeezed(one: MediaRule) -> MediaRule:
    """The rule with so few pixels, bytes and pictures a second that something has to give."""
    assert one.video is not None
    less = replace(one.video, max_width=160, max_height=160, max_bytes=60_000, max_fps=30.0, max_ratio=1.91)
    return replace(one, video=less)


TAKERS = [eased(one) for one in RULES.values() if one.video is not None]
EXAMPLES: dict[str, Any] = {
    "size": st.tuples(st.integers(32, 150), st.integers(32, 150)).map(lambda pair: (2 * pair[0], 2 * pair[1])),
    "kind": st.sampled_from(KINDS),
    "sound": st.sampled_from(SOUNDS),
    "late": st.sampled_from(LATE),
    "fps": st.sampled_from([8, 15, 24, 25, 30, 50, 60, 75]),
    "unsteady": st.booleans(),
    "shape": st.sampled_from([None, None, (4, 3), (8, 9)]),
    "fit": st.sampled_from(["refuse", "pad", "crop"]),
    "one": st.sampled_from([*TAKERS, *map(squeezed, TAKERS)]),
}


def satisfies(
    size: tuple[int, int],
    kind: dict[str, Any],
    sound: dict[str, Any],
    late: dict[str, float],
    fps: int,
    unsteady: bool,
    shape: tuple[int, int] | None,
    fit: str,
    one: MediaRule,
) -> None:
    options = dict(kind)
    trimmed = options.pop("trimmed", False)
    if kind["form"] != "avi":
        # Which knows no times, only a rate.
        options |= late
    if sound:
        codec = {"webm": "libopus", "avi": "mp3"}.get(kind["form"], "aac")
        options |= {**sound, "sound": codec}
        if codec == "libopus":
            options["rate"] = 48_000
        elif codec == "mp3" and options["layout"] == "5.1":
            options["layout"] = "stereo"
    if unsteady and kind["form"] != "avi":
        options["stamps"] = [n * 40 if n < 10 else 400 + (n - 10) * 110 for n in range(18)]
    if kind["form"] != "webm":
        options["shape"] = shape
    with tempfile.TemporaryDirectory() as name:
        make = clips.trimmed if trimmed else clips.video
        more = {"since": 0.15, "sound": ""} if trimmed else {}
        options = {"size": size, "fps": fps, "seconds": 0.9, "clap_s": CLAP_S, **more, **options}
        source = make(Path(name) / "source", **options)
        try:
            rendered, found, _ = made(source, one, Path(name), fit=fit)
        except MediaRefused as refusal:
            # Asserting what the refusals mean: the shape or the bytes, never a failure on the way.
            assert refusal.code in {"ratio", "too_small", "cannot_fit"}  # noqa: PT017 - most examples do not raise
            assert "was made" not in refusal.message  # noqa: PT017 - a rendition that its rule refuses
            return
        if sound and found.clip is not None:
            # Half a picture of the slower rate comes on top, where the rate changes.
            slack = 0.5 / min(found.clip.fps, fps)
            assert abs(clips.clap_apart(rendered.path) - clips.clap_apart(source)) < APART_S + slack


@given(**EXAMPLES)
@settings(deadline=None, derandomize=True, database=None, max_examples=12)
def test_every_video_satisfies_its_rule(**example: Any) -> None:
    satisfies(**example)


@pytest.mark.slow
@given(**EXAMPLES)
@settings(deadline=None, derandomize=True, database=None, max_examples=80)
def test_many_videos_satisfy_their_rules(**example: Any) -> None:
    satisfies(**example)
