"""How far a platform's clock is from ours, by the ``Date`` of its own answer.

A look-up compares when a post was made, by the platform's clock, with when our attempt began, by ours. Where the two
differ by more than a margin, a post that is there would be taken for an older one, and be sent once more. So what is
looked for begins earlier by the difference that the answer itself tells; and never later, as ``Date`` may come from a
proxy whose clock is not that of the posts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from platforms.base import Reply
from platforms.outcomes import number

UNNOTICED = timedelta(seconds=5)
"""A difference that the way of the answer and the whole seconds of ``Date`` explain; it is none."""
LARGEST = timedelta(days=1)
"""A larger one is no clock that is off, but one that is broken: nothing that it says can be compared."""


class ClockUnusableError(Exception):
    """The two clocks cannot be compared. Its text is for people."""


def skew(reply: Reply, now: datetime) -> timedelta:
    """What has to be added to a time of ours to get the platform's; zero where the answer has no ``Date``.

    :param now: our clock (``Call.now``) when the answer had come.
    :raises ClockUnusableError: the difference is too large to be corrected.
    """
    try:
        told = parsedate_to_datetime(reply.headers.get("date") or "")
    except ValueError:
        return timedelta()  # RFC 9110, 6.6.1: a server has to send one, if it has a clock
    # An answer out of a cache says how old it is (RFC 9111, 5.1).
    age = timedelta(seconds=min(number(reply.headers.get("age")) or 0.0, LARGEST.total_seconds()))
    difference = told.replace(tzinfo=told.tzinfo or UTC) + age - now
    if abs(difference) > LARGEST:
        raise ClockUnusableError(
            f"The platform's clock and ours differ by {abs(difference).days} days; set this machine's clock."
        )
    return difference if abs(difference) > UNNOTICED else timedelta()


def earlier(since: datetime, difference: timedelta) -> datetime:
    """From when on a post may be ours: moved back by a platform's clock that is behind ours, never forward.

    Where only a proxy's clock is ahead, a later time would leave our own post out as an older one. Reading a little
    more costs at most a question to a person.
    """
    return since + min(difference, timedelta())


def later(until: datetime, difference: timedelta) -> datetime:
    """Up to when a post may be ours: moved forward by a platform's clock that is ahead of ours, never back."""
    return until + max(difference, timedelta())
