"""Limits in few words, for the tables of ``schedulerx platforms``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def plain(value: Any) -> str:
    """A value as people write it."""
    if value is None or (not value and isinstance(value, str | list | tuple | dict)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def amount(value: float) -> str:
    """A number without a needless ``.0``."""
    return f"{value:g}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that they fill."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{amount(round(seconds / length, 1))} {unit}"
    return f"{amount(round(seconds, 1))} s"


def size(count: int) -> str:
    """Bytes, decimal: MB = 1,000,000."""
    for unit, length in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= length:
            return f"{amount(round(count / length, 1))} {unit}"
    return f"{count} B"


def shortened(words: str) -> str:
    """Help as plain text: without the marks of documentation strings."""
    return words.replace("``", "")


def quota(one: dict[str, Any]) -> str:
    """``100 in 15 min``."""
    return f"{one['count']} in {duration(one['per_s'])}"


def _types(names: Sequence[str]) -> str:
    return "/".join(name.partition("/")[2].removeprefix("x-") for name in names)


def pictures(rule: dict[str, Any]) -> str:
    """What still pictures may be."""
    found = rule["pictures"]
    if found is None:
        return "none"
    shape = f"{found['min_width']}x{found['min_height']} to {found['max_width']}x{found['max_height']}"
    ratio = f"ratio {amount(round(found['min_ratio'], 2))} to {amount(round(found['max_ratio'], 2))}"
    area = f", {found['max_pixels']:,} pixels" if found["max_pixels"] else ""
    area += f", width and height {found['max_width_and_height']:,}" if found["max_width_and_height"] else ""
    same = ", all of one size" if rule["same_size"] else ", all of one ratio" if rule["same_ratio"] else ""
    same += f", {size(rule['max_total_bytes'])} in all" if rule["max_total_bytes"] else ""
    return f"{_types(found['types'])}, {size(found['max_bytes'])}, {shape}, {ratio}{area}{same}"


def animations(rule: dict[str, Any]) -> str:
    """How an animation is taken."""
    found = rule["animations"]
    if found is None:
        return "none"
    if found["as"] == "video":
        return "as video"
    limits = [size(found["max_bytes"])]
    if found["max_frames"]:
        limits.append(f"{found['max_frames']} frames")
    if found["alone"]:
        limits.append("alone")
    if found["max_pixels"]:
        limits.append(f"{found['max_pixels']:,} pixels")
    return ", ".join([*limits, f"{found['max_width']}x{found['max_height']}"])


def video(rule: dict[str, Any]) -> str:
    """What videos may be."""
    found = rule["video"]
    if found is None:
        return "none"
    length = f"{amount(found['min_duration_s'])} s to {duration(found['max_duration_s'])}"
    shape = f"{found['min_width']}x{found['min_height']} to {found['max_width']}x{found['max_height']}"
    rate = f"{amount(found['min_fps'])} to {amount(found['max_fps'])} fps"
    count = f"{found['max_count']} of " if found["max_count"] > 1 else ""
    beside = ", beside pictures" if rule["mixed"] else ""
    return f"{count}{_types(found['types'])}, {size(found['max_bytes'])}, {length}, {shape}, {rate}{beside}"


def summary(rules: Sequence[dict[str, Any]]) -> str:
    """The placements, a line each: how many files, and whether pictures, animations and videos."""
    lines = []
    for rule in rules:
        takes = [name for name, key in (("pictures", "pictures"), ("video", "video")) if rule[key]]
        if rule["animations"]:
            takes.insert(1, "GIF")
        least, most = rule["min_count"], rule["max_count"]
        count = str(most) if least == most else f"{least}-{most}"
        lines.append(f"{rule['placement']}: {count} ({', '.join(takes)})")
    return "\n".join(lines)
