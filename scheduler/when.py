"""Times as people give them, as UTC.

Decided, and tested:
- A datetime or text with an offset means that instant, whatever ``tz`` says.
- Without an offset, ``tz`` (an IANA name) is needed; a naive time alone is refused.
- A local time that the clocks skip (spring) is refused: it does not exist.
- A local time that the clocks show twice (autumn) means the first of the two, unless the datetime has ``fold=1``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import parser as iso
from dateutil.tz import datetime_exists

from scheduler.errors import InvalidTime

NOW = "now"
GRACE = timedelta(seconds=5)
"""A time that was the present when the caller computed it is not called past."""
LATEST = timedelta(days=366 * 10)
"""Beyond this it is a typing error."""


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name. :raises InvalidTime: there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidTime(f"{name!r} is not a time zone; use an IANA name such as Europe/Berlin") from None


def instant(at: datetime | str, tz: str | tzinfo | None = None) -> datetime | None:
    """``at`` in UTC; None for "now": the database's clock will say.

    :param tz: for times without an offset; an IANA name or a tzinfo.
    :raises InvalidTime: no time, no zone, or a local time that does not exist.
    """
    if isinstance(at, str):
        if at.strip().lower() == NOW:
            return None
        try:
            at = iso.isoparse(at.strip())
        except ValueError:
            raise InvalidTime(
                f"{at!r} is not a time; write it as 2026-12-24T18:00 (with --tz), 2026-12-24T18:00+01:00, or now"
            ) from None
    if not isinstance(at, datetime):
        raise InvalidTime(f"at must be a datetime, ISO text or 'now', not {type(at).__name__}")
    if at.tzinfo is not None and at.utcoffset() is not None:
        place, given = at.tzinfo, at
    elif tz is None:
        raise InvalidTime(
            f"{at.isoformat()} has no time zone: give tz (an IANA name such as Europe/Berlin) or an offset (+01:00, Z)"
        )
    else:
        place = zone(tz) if isinstance(tz, str) else tz
        given = at.replace(tzinfo=place)
    try:
        if not datetime_exists(given):
            raise _skipped(at, place)
        return given.astimezone(UTC)
    except OverflowError:
        raise InvalidTime(f"{at.isoformat()} is out of range") from None


def check_future(due: datetime, now: datetime) -> None:
    """Refuses what is past, or so far ahead that it must be a slip. Both in UTC.

    :raises InvalidTime: it is.
    """
    if due < now - GRACE:
        raise InvalidTime(
            f"{due.isoformat(timespec='seconds')} is past (it is {now.isoformat(timespec='seconds')});"
            " choose a later time, or 'now'"
        )
    if due > now + LATEST:
        raise InvalidTime(f"{due.isoformat(timespec='seconds')} is more than ten years ahead")


def _skipped(at: datetime, place: tzinfo) -> InvalidTime:
    return InvalidTime(
        f"{at.replace(tzinfo=None).isoformat()} does not exist in {place}:"
        " the clocks skip that hour; choose another time"
    )
