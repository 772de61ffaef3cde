"""When the pictures and the sound of a video are shown and heard, from the time stamps of all its packets.

Headers claim what they like, and an edit list may leave out half of what is in the file: what counts is what a
player shows. Memory stays flat: of each packet only a number is kept.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

from media.boxes import SOUND_CUT_S
from media.errors import MediaRefused

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

MAX_DURATION_S = 12 * 3600.0
"""The longest that any platform takes (YouTube)."""
MAX_PACKETS = 12_000_000
PRIMING_S = 0.035
"""How much of what a coder puts before the sound may stay where no edit list hides it: nobody hears so small a lag."""
TAIL_S = 0.25
"""Sound that goes on for so long after the last picture makes the video longer; less is what a coder fills up."""

_TOLERANCE = 0.25
"""How much longer or shorter than usual a frame may last before it counts as odd."""


class Timing:
    """How long the video is, how evenly its frames follow, and when its sound begins."""

    def __init__(
        self, container: InputContainer, stream: VideoStream, sound: Any, name: str, *, ignored_edits: bool = False
    ) -> None:
        """Reads every packet.

        :param sound: the track of the sound, or None.
        :param ignored_edits: there is an edit list and FFmpeg leaves nothing out by it, as in a file in fragments. It
            moves all by it still: what is not to be played stands before zero.
        :raises MediaRefused: ``bomb``, ``corrupt``, ``truncated`` or ``too_long``.
        """
        begins = (container.start_time or 0) / 1e6
        self.hidden_s = -begins if ignored_edits and begins < -SOUND_CUT_S else 0.0
        """How much stands before where playing begins, and would be played by FFmpeg."""
        self._begins = begins + self.hidden_s
        self._ends: dict[int, tuple[int, float]] = {}
        self._stamps = array("q")
        self._heard = math.inf
        self._broken = self._coded = 0
        for number, packet in enumerate(container.demux()):
            if number > MAX_PACKETS:
                raise MediaRefused("bomb", f"more than {MAX_PACKETS} packets", file=name)
            self._note(packet, stream.index, sound.index if sound is not None else -1)
        base = float(stream.time_base or 0)
        if not self._stamps or not base:
            raise MediaRefused("corrupt", "the video track holds no pictures", file=name)
        if self._broken:
            raise MediaRefused("truncated", "the file ends in the middle of the video", file=name)
        self.frames = len(self._stamps)
        self.left_out = max(0, max(self._coded, stream.frames) - self.frames)
        """Pictures that are in the file and that an edit list leaves out."""
        self._measure(sorted(self._stamps), base, float(stream.average_rate or 25))
        self._place(base, sound, name)

    def _note(self, packet: Packet[Any], pictures: int, sound: int) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        index = packet.stream_index
        if index == pictures:
            self._broken += packet.size > 0 and packet.is_corrupt
            self._coded += stamp is not None
        if stamp is None or packet.size == 0:
            return
        base = float(packet.time_base)
        if index == sound and stamp * base - self._begins >= -PRIMING_S:
            self._heard = min(self._heard, stamp * base - self._begins)
        if packet.is_discard or (self.hidden_s and stamp * base < -0.001):
            # It is decoded because others need it, and never shown.
            return
        end = stamp + (packet.duration or 0)
        if end > self._ends.get(index, (end - 1, base))[0]:
            self._ends[index] = end, base
        if index == pictures:
            self._stamps.append(stamp)

    def _measure(self, stamps: list[int], base: float, claimed: float) -> None:
        steps = array("d", ((after - before) * base for before, after in itertools.pairwise(stamps)))
        usual = sorted(steps)[len(steps) // 2] if steps else 1 / claimed
        if not usual or not math.isfinite(usual):
            usual = 1 / claimed
        self.first, self.last = stamps[0], stamps[-1]
        self.pictures_s = max((stamps[-1] - stamps[0]) * base + usual, 0.001)
        odd = Counter(abs(step - usual) > usual * _TOLERANCE for step in steps)[True]
        self.variable = odd * 100 > len(steps)

    def _place(self, base: float, sound: Any, name: str) -> None:
        self.ends_s = max(end * unit for end, unit in self._ends.values()) - self._begins
        """Where the last of all tracks ends."""
        self.video_start_s = self.first * base - self._begins
        self.audio_start_s = self._heard if math.isfinite(self._heard) else self.video_start_s
        lead = max(0.0, self.video_start_s - max(0.0, self.audio_start_s))
        end, unit = self._ends.get(sound.index, (0, 0.0)) if sound is not None else (0, 0.0)
        tail = end * unit - self._begins - (self.video_start_s + self.pictures_s)
        self.duration_s = self.pictures_s + (lead if lead > PRIMING_S else 0.0) + (tail if tail > TAIL_S else 0.0)
        if self.duration_s > MAX_DURATION_S:
            message = f"{self.duration_s:.0f} seconds are more than the {MAX_DURATION_S:.0f} we process"
            raise MediaRefused("too_long", message, file=name)
