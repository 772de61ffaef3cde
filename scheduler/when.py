"""Times as people give them, as UTC.

Decided, and tested:
- A datetime or text with an offset means that instant, whatever ``tz`` says.
- Without an offset, ``tz`` (an IANA name) is needed; a naive time alone is refused.
- A local time that the clocks skip (spring) is refused: it does not exist.
- A local time that the clocks show twice (autumn) means the first of the two, unless the datetime has ``fold=1``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
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


def zone_given(tz: str | tzinfo | None) -> tzinfo | None:
    """The zone that a caller named. :raises InvalidTime: it is none, whether or not the time needs it."""
    given: object = tz
    if given is None:
        return None
    if isinstance(given, str):
        return zone(given)
    if not isinstance(given, tzinfo):
        raise InvalidTime(f"tz must be an IANA name such as Europe/Berlin, or a tzinfo, not {type(given).__name__}")
    # A zone of pytz, taken as it is, means the local mean time of its first city: Berlin is 53 minutes off.
    name = getattr(given, "zone", None)
    return zone(name) if isinstance(name, str) else given


def instant(at: datetime | str, tz: str | tzinfo | None = None) -> datetime | None:
    """``at`` in UTC; None for "now": the database's clock will say.

    :param tz: for times without an offset; an IANA name or a tzinfo.
    :raises InvalidTime: no time, no zone, or a local time that does not exist.
    """
    place = zone_given(tz)
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
    try:
        if at.tzinfo is not None and at.utcoffset() is not None:
            _check_attached(at)
            place, given = at.tzinfo, at
        elif place is None:
            raise InvalidTime(
                f"{at.isoformat()} has no time zone: give tz (an IANA name such as Europe/Berlin) or an offset"
                " (+01:00, Z)"
            )
        else:
            given = at.replace(tzinfo=place)
        if not datetime_exists(given):
            raise _skipped(at, place)
        return given.astimezone(UTC)
    except OverflowError:
        raise InvalidTime(f"{at.replace(tzinfo=None).isoformat()} is out of range") from None
    except (NotImplementedError, ValueError, TypeError) as error:  # a tzinfo of somebody's own
        raise InvalidTime(f"its time zone (tz, or that of at) cannot say its offset: {type(error).__name__}") from None


def _check_attached(at: datetime) -> None:
    """Refuses a zone of pytz that was put into a datetime without ``localize()``: its offset is that of 1890.

    :raises InvalidTime: it was, or pytz was asked for a local time that does not exist.
    """
    name: object = getattr(at.tzinfo, "zone", None)
    normalize: Any = getattr(at.tzinfo, "normalize", None)
    if not isinstance(name, str) or normalize is None or normalize(at).utcoffset() == at.utcoffset():
        return
    if not datetime_exists(at.replace(tzinfo=zone(name))):
        raise _skipped(at, zone(name))
    raise InvalidTime(
        f"{at.isoformat()} has an offset that {name} does not have then: a pytz zone is attached with localize();"
        f" or give the time without a zone, and tz={name!r}"
    )


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
