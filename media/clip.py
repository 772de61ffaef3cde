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
    """How long it plays: from where the picture or the sound begins to where the picture or the sound ends."""
    codec: str
    """FFmpeg's name: h264, hevc, vp9, av1, mpeg4 ..."""
    profile: str
    """As the codec calls it ("High", "Main 10"); empty where it says nothing."""
    pixel_format: str
    """FFmpeg's name: yuv420p, yuv420p10le, yuv444p ..."""
    fps: float
    """Frames divided by how long the pictures last."""
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
    trimmed: bool = False
    """An edit list leaves out pictures that are in the file, or plays them in pieces or at another speed."""
    sound_trimmed: bool = False
    """The same of the sound."""
    hidden_s: float = 0.0
    """How much of the beginning an edit list leaves out that FFmpeg would play: it follows none in fragmented files."""
    video_index: int = 0
    """Which of the file's tracks the pictures are."""
    audio_index: int = -1
    """Which the sound is; -1: there is none."""
    video_start_s: float = 0.0
    """Where the first picture is shown, from where the file begins."""
    audio_start_s: float = 0.0
    """Where the first sound is heard, with what its coder puts before it (at most 35 ms)."""
    primaries: int = 0
    """Colours, as numbered by ISO 23091; 0: nobody says."""
    matrix: int = 0
    spherical: bool = False
    """A 360-degree video, by the marks that tell a player to let people look around in it."""
    copyright: str = ""
    artist: str = ""

    @property
    def apart_s(self) -> float:
        """How much later than the pictures the sound begins; below zero: earlier."""
        return self.audio_start_s - self.video_start_s if self.audio_codec else 0.0

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What ``as_json`` wrote; fields that a later version added are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in names})
