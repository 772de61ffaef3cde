"""What the modules read out of an answer in the same way: when to come back, which option is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from pydantic import BaseModel, ValidationError

from platforms.base import Json, Reply, Violation
from platforms.wording import told

EPOCH_FROM = 1_000_000_000
"""A number of seconds from here on (2001) is a point in time, below it a span."""
LONGEST_WAIT = timedelta(days=31)
"""No platform's quota runs longer than a month; a later time in a header is an error of theirs."""


def number(value: str | None) -> float | None:
    """The number that a header's value starts with; None where there is none ("100;w=60" gives 100)."""
    found = re.match(r"\s*(\d{1,15}(?:\.\d+)?)", value or "")
    return float(found[1]) if found else None


def moment(value: str | None, now: datetime) -> datetime | None:
    """When a header such as ``Retry-After`` or ``x-rate-limit-reset`` says to come back.

    Takes seconds from now, seconds since 1970, or an HTTP date; answers in UTC, never before ``now`` and
    never more than a month after it. None where the value says nothing.
    """
    seconds = number(value)
    if seconds is None:
        try:
            until = parsedate_to_datetime(value or "")
        except ValueError:
            return None
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds()
    elif seconds >= EPOCH_FROM:
        seconds -= now.timestamp()
    # Bounded before it becomes a time: a header may name a year that no calendar has.
    return now + timedelta(seconds=min(max(seconds, 0.0), LONGEST_WAIT.total_seconds()))


def retry_after_s(reply: Reply, now: datetime) -> float | None:
    """Seconds that ``Retry-After`` asks for; None without one."""
    until = moment(reply.headers.get("retry-after"), now)
    return None if until is None else (until - now).total_seconds()


def utc(value: Json) -> datetime | None:
    """An ISO 8601 time (without a zone: UTC) or seconds since 1970, in UTC; None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if not isinstance(value, str):
            return None
        parsed = datetime.fromisoformat(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None  # no time, or one that no calendar has


def mapping(value: Json) -> dict[str, Json]:
    """``value`` where it is an object, else an empty one: answers are not to be trusted in shape."""
    return value if isinstance(value, dict) else {}


def objects(value: Json) -> list[dict[str, Json]]:
    """The objects of a list, leaving out whatever else it holds."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def option_violations(model: type[BaseModel], options: Mapping[str, Json], platform: str) -> Iterator[Violation]:
    """One violation for each option that ``model`` refuses, named ``options.<name>``."""
    try:
        model.model_validate(dict(options))
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            unknown = problem["type"] == "extra_forbidden"
            yield Violation(
                code="unknown_option" if unknown else "invalid_option",
                message=f"{platform} has no option {name!r}." if unknown else f"Option {name!r}: {told(problem)}.",
                field=f"options.{name}" if name else "options",
                platform=platform,
            )
