"""Colours that a file names by numbers (ITU-T H.273: ``nclx`` in HEIC and AVIF, ``cICP`` in PNG) as an ICC profile.

Decoders of pictures hand out the coded numbers and leave those colours aside; with a profile they are brought to sRGB
as any others. PQ and HLG reach far above what a screen of the ordinary range calls white: their curve bends there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import lru_cache

Row = tuple[float, float, float]
Matrix = tuple[Row, Row, Row]

_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_PRIMARIES: dict[int, tuple[str, tuple[tuple[float, float], ...]]] = {
    # Name; red, green, blue and white, x and y each.
    1: ("BT.709", ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)),
    4: ("BT.470 M", ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C)),
    5: ("BT.470 BG", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65)),
    6: ("BT.601", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)),
    7: ("SMPTE 240", ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)),
    11: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)),
    22: ("EBU 3213", ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65)),
}
_UNSAID = 2
_LIKE_SRGB = frozenset({1, 2, 6, 7, 13, 14, 15})
"""Transfers that viewers show with the curve of sRGB: its own, those of television, and "not said"."""

PAPER_NITS = 203.0
"""The white of ordinary things in HDR (ITU-R BT.2408)."""
KNEE = 0.5
"""Share of the ordinary range, in light, that HDR keeps as it is; what is brighter bends towards white."""
STEPS = 1_024

_BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_D50 = (0.9642, 1.0, 0.8249)


def profile(primaries: int, transfer: int) -> bytes | None:
    """An ICC profile that says the same; None: it is sRGB, or nothing that we know, and is taken for that."""
    if primaries == _UNSAID:
        primaries = 1
    named = _curve(transfer)
    if primaries not in _PRIMARIES or named is None or (primaries == 1 and transfer in _LIKE_SRGB):
        return None
    name, points = _PRIMARIES[primaries]
    return _icc(f"{name}{named[0]}", points, named[1])


def is_hdr(transfer: int) -> bool:
    """Whether it is PQ or HLG."""
    return transfer in {16, 18}


def in_boxes(meta: bytes) -> tuple[int, int] | None:
    """Primaries and transfer that the ``meta`` box of a HEIC or AVIF names first: those of the picture itself."""
    at = meta.find(b"colrnclx")
    return struct.unpack_from(">HH", meta, at + 8) if 0 <= at <= len(meta) - 12 else None


def _curve(transfer: int) -> tuple[str, Callable[[float], float]] | None:
    """Words for it, and how much light a coded value is; both 0 to 1."""
    if transfer in _LIKE_SRGB:
        return "", lambda v: v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
    powers = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
    if transfer in powers:
        power = powers[transfer]
        return f" gamma {power:g}", lambda v: v**power
    return {16: (" PQ", _pq), 18: (" HLG", _hlg)}.get(transfer)


def _pq(value: float) -> float:
    root = value ** (1 / 78.84375)
    light = max(0.0, root - 0.8359375) / (18.8515625 - 18.6875 * root)
    return _bent(10_000 * light ** (1 / 0.1593017578125) / PAPER_NITS)


def _hlg(value: float) -> float:
    # BT.2100: what the camera saw, then a screen of 1,000 nits.
    scene = (
        value * value / 3
        if value <= 0.5
        else (2.718281828459045 ** ((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
    )
    return _bent(1_000 * scene**1.2 / PAPER_NITS)


def _bent(light: float) -> float:
    if light <= KNEE:
        return light
    rest = 1 - KNEE
    return float(KNEE + rest * (1 - 2.718281828459045 ** (-(light - KNEE) / rest)))


def _icc(name: str, points: tuple[tuple[float, float], ...], light: Callable[[float], float]) -> bytes:
    """A matrix profile, version 2.1 (ICC.1:2001-04)."""
    columns = _to_d50(points)
    table = [min(65_535, max(0, round(light(step / (STEPS - 1)) * 65_535))) for step in range(STEPS)]
    said = name.encode("ascii") + b"\0"
    tags: dict[bytes, bytes] = {
        b"desc": b"desc" + struct.pack(">II", 0, len(said)) + said + bytes(4 + 4 + 2 + 1 + 67),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(_D50),
        **{sign: _xyz(column) for sign, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv" + struct.pack(f">II{STEPS}H", 0, STEPS, *table)),
    }
    start = 128 + 4 + 12 * len(tags)
    index, body, places = b"", b"", dict[bytes, int]()
    for sign, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        index += sign + struct.pack(">II", places[data], len(data))
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", *map(_fixed, _D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + body


def _fixed(value: float) -> int:
    return round(value * 65_536)


def _xyz(value: Row) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *map(_fixed, value))


@lru_cache(maxsize=16)
def _to_d50(points: tuple[tuple[float, float], ...]) -> tuple[Row, Row, Row]:
    """The primaries as the profile wants them: scaled to white, adapted to D50 (Bradford)."""
    raw = [(x / y, 1.0, (1 - x - y) / y) for x, y in points]
    red, green, blue, white = raw
    shares = _times(_inverse(_turned((red, green, blue))), white)
    own, wanted = _times(_BRADFORD, white), _times(_BRADFORD, _D50)
    scaled = tuple((wanted[n] / own[n] * _BRADFORD[n][0], wanted[n] / own[n] * _BRADFORD[n][1],
                    wanted[n] / own[n] * _BRADFORD[n][2]) for n in range(3))  # fmt: skip
    back = _inverse(_BRADFORD)
    found = []
    for share, (x, y, z) in zip(shares, (red, green, blue), strict=True):
        found.append(_times(back, _times(scaled, (share * x, share * y, share * z))))  # type: ignore[arg-type]  # three
    return found[0], found[1], found[2]


def _times(matrix: Matrix, vector: Row) -> Row:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def _turned(matrix: Matrix) -> Matrix:
    first, second, third = zip(*matrix, strict=True)
    return first, second, third


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    whole = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / whole, (c * h - b * i) / whole, (b * f - c * e) / whole),
        ((f * g - d * i) / whole, (a * i - c * g) / whole, (c * d - a * f) / whole),
        ((d * h - e * g) / whole, (b * g - a * h) / whole, (a * e - b * d) / whole),
    )


MAX_META = 16 << 20
"""Bytes; the ``meta`` box of a picture in a hundred tiles has some kilobytes."""


def of_file(number: int) -> bytes | None:
    """The profile that an open HEIC or AVIF names by numbers; None: sRGB, or nothing. Its position stays."""
    at = 0
    for _ in range(64):
        head = os.pread(number, 16, at)
        if len(head) < 8:
            return None
        length, name = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if name == b"meta":
            found = in_boxes(os.pread(number, min(length or MAX_META, MAX_META), at))
            return profile(*found) if found else None
        if length < 8:
            return None
        at += length
    return None
