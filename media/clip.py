"""What is known of a video beside what every file has: codecs, rate, sound, colour. Plain data, stored as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Clip:
    """The measured facts of a video. Times in seconds, rates in bits or frames a second."""

    duration_s: float
    """From the first to the end of the last frame."""
    codec: str
    """FFmpeg's name: h264, hevc, vp9, av1, mpeg4 ..."""
    profile: str
    """As the codec calls it ("High", "Main 10"); empty where it says nothing."""
    pixel_format: str
    """FFmpeg's name: yuv420p, yuv420p10le, yuv444p ..."""
    fps: float
    """Frames divided by duration."""
    variable: bool
    """More than one frame in a hundred lasts a quarter longer or shorter than the usual one."""
    bitrate: int
    """Of the whole file."""
    rotation: int
    """Degrees clockwise that a player has to turn it: 0, 90, 180 or 270."""
    square_pixels: bool = True
    interlaced: bool = False
    hdr: str = ""
    """``pq`` (HDR10, Dolby Vision) or ``hlg``; empty: an ordinary range."""
    stored_width: int = 0
    """Pixels as coded, before rotation and the pixels' own shape; the probe's size is as seen."""
    stored_height: int = 0
    audio_codec: str = ""
    """Empty: there is no sound."""
    audio_channels: int = 0
    audio_rate: int = 0
    """Hz."""
    audio_bitrate: int = 0
    index_first: bool = True
    """False: an MP4 whose index (moov) stands behind the pictures, so that playing has to wait for all of it."""
    edit_list: bool = False
    """An MP4 whose tracks are cut or shifted by an edit list, which some platforms refuse."""
    copyright: str = ""
    artist: str = ""

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What ``as_json`` wrote; fields that a later version added are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in names})
