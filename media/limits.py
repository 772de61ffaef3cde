"""The shape of a rule: what one placement of one platform takes. The table itself is ``media.rulebook``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from media.geometry import Bounds


@dataclass(frozen=True)
class VideoRule:
    """Limits for the videos of one placement. Bytes, pixels, seconds, bits a second, ratios width / height."""

    max_bytes: int
    min_duration_s: float
    max_duration_s: float
    max_width: int
    max_height: int
    source: str
    """Document and date."""
    max_pixels: int | None = None
    """width x height of a picture of it."""
    min_width: int = 32
    min_height: int = 32
    min_ratio: float = 0.1
    max_ratio: float = 10.0
    turnable: bool = True
    """True: the limits of width and height hold for the longer and the shorter side, whichever way it stands."""
    containers: tuple[str, ...] = ("video/mp4",)
    """MIME types taken as they are. What we make is always MP4."""
    codecs: tuple[str, ...] = ("h264",)
    """Taken as they are, by FFmpeg's names. What we make is always H.264 High, 8 bits, 4:2:0."""
    audio_codecs: tuple[str, ...] = ("aac",)
    max_audio_channels: int = 2
    max_audio_rate: int = 48_000
    """Hz."""
    min_fps: float = 1.0
    max_fps: float = 60.0
    steady: bool = True
    """False: a rate that varies a lot is taken too."""
    max_bitrate: int | None = None
    """Of the whole file."""
    index_first: bool = False
    """True: the index must stand before the pictures (what we make always has it there)."""
    edit_lists: bool = True
    """False: MP4 edit lists are refused."""
    any_depth: bool = False
    """True: 10 bits, other chroma and HDR are taken as they are."""

    def bounds(self, width: int, height: int, *, slack: float = 0.005) -> Bounds:
        """The limits of the shape of a video that is ``width`` x ``height`` as seen.

        :param slack: share of the ratio that is forgiven: sides are even, so no exact ratio can be met.
        """
        wide, high, least_wide, least_high = self.max_width, self.max_height, self.min_width, self.min_height
        if self.turnable and (width > height) != (wide > high):
            wide, high, least_wide, least_high = high, wide, least_high, least_wide
        ratios = self.min_ratio * (1 - slack), self.max_ratio * (1 + slack)
        if self.max_pixels is not None and width * height > self.max_pixels:
            scale = (self.max_pixels / (width * height)) ** 0.5
            wide = max(least_wide, min(wide, int(width * scale)))
            high = max(least_high, min(high, int(height * scale)))
        return Bounds(least_wide, least_high, wide, high, *ratios)


@dataclass(frozen=True)
class MediaRule:
    """Limits for the media of one placement. Sizes in bytes, lengths in pixels, ratios as width / height."""

    platform: str
    placement: str
    min_count: int
    max_count: int
    image_mimes: tuple[str, ...]
    """What the platform takes as it is; anything else we can read is converted to the first of them, or
    to PNG where that is among them and would lose less (transparency, a drawing). Empty: no pictures."""
    max_image_bytes: int
    max_width: int
    max_height: int
    min_width: int
    min_height: int
    min_ratio: float
    max_ratio: float
    alt_text_limit: int | None
    source: str
    """Document and date of every limit that ``ours`` and the comments in the table do not name."""
    ours: str = ""
    """Which limits no source states, and why we have them."""
    max_gif_bytes: int | None = None
    """None: an animated GIF is not taken as such."""
    max_gif_frames: int | None = None
    max_gif_pixels: int | None = None
    """width x height x frames."""
    max_gif_width: int | None = None
    max_gif_height: int | None = None
    max_gif_area: int | None = None
    """width x height of one frame."""
    exclusive_gif: bool = False
    """True: an animated GIF stands alone."""
    same_size: bool = False
    """True: all images of the post must have one size."""
    same_ratio: bool = False
    """True: all files of the post are shown in the ratio of the first."""
    exactly: tuple[int, int] | None = None
    """The one size that this picture must get, because others of its post have it (``media.sets``)."""
    max_image_pixels: int | None = None
    """width x height of a still picture."""
    max_image_sides: int | None = None
    """width + height of a still picture."""
    max_total_bytes: int | None = None
    """Of all files of a post together."""
    video: VideoRule | None = None
    """None: no videos."""
    max_videos: int = 1
    mixed: bool = False
    """True: pictures and videos may stand in one post."""
    gif_to_video: bool = False
    """True: animated pictures become MP4, since the platform plays them only so."""

    @property
    def bounds(self) -> Bounds:
        """The limits of a picture's shape."""
        return Bounds(
            self.min_width,
            self.min_height,
            self.max_width,
            self.max_height,
            self.min_ratio,
            self.max_ratio,
        )

    def within(self, width: int, height: int) -> Bounds:
        """``bounds`` for a picture of this size, with the limits of its area and of both sides together brought down
        to sides.
        """
        if self.exactly is not None:
            wide, high = self.exactly
            return Bounds(wide, high, wide, high, wide / high, wide / high)
        scale = 1.0
        if self.max_image_pixels is not None:
            scale = min(scale, (self.max_image_pixels / (width * height)) ** 0.5)
        if self.max_image_sides is not None:
            scale = min(scale, self.max_image_sides / (width + height))
        if scale >= 1.0:
            return self.bounds
        return replace(
            self.bounds,
            max_width=max(self.min_width, min(self.max_width, int(width * scale))),
            max_height=max(self.min_height, min(self.max_height, int(height * scale))),
        )


@dataclass(frozen=True)
class Problem:
    """One limit that media break and that normalizing cannot mend."""

    code: str
    """For machines, stable: ``ratio``, ``too_small``, ``animated``, ``gif_frames``, ``count``, ``mixed``,
    ``unequal_size``, ``unequal_ratio``, ``too_short``, ``too_long``, ``no_videos``, ``no_pictures`` ..."""
    message: str
    field: str = "media"
    file: str | None = None
