"""What a platform module may say ahead of time about posts that wait. All of it is optional.

Readiness asks each account who it is (``Platform.identify``) and applies the rules again with what it then knows
(boards, an instance's limits, a creator's choices). What is left for a module to add is here: it is found by its
attributes, so a module without them is complete. Nothing here may change anything on the platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from platforms.base import AuthExpired, Call, Draft, Json, NotSent, RateLimited, Rejected, Violation


@dataclass(frozen=True)
class Waiting:
    """A post that waits for its time."""

    draft: Draft
    """Its next part; media may still be on their way to our store (without ``url`` and ``read``)."""
    due_at: datetime
    """UTC."""


Looked = Sequence[Sequence[Violation]] | AuthExpired | RateLimited | NotSent | Rejected
"""For each post what would keep it from going out, in order; or that the platform did not say."""


@runtime_checkable
class ChecksReadiness(Protocol):
    """A module that can read more than ``identify`` does: a quota's present use, a section of a board."""

    def ready_check(self, call: Call, waiting: Sequence[Waiting]) -> Looked:
        """What would keep these posts of one account from going out, by ``Effect.READ`` requests alone.

        All posts of the account that are looked at come together, so that one request serves them all.
        ``call`` has no checkpoint; its clock is the database's.

        :raises platforms.errors.TransportError: no whole answer came.
        """
        ...


@runtime_checkable
class KnowsItsEnd(Protocol):
    """A module whose access may end although it has a refresh token, or go on although it has none."""

    def access_ends_at(self, credentials: Mapping[str, Json]) -> datetime | None:
        """When nothing will renew the access any more (UTC); None: it is renewed for as long as can be seen."""
        ...


@runtime_checkable
class PaidIdentity(Protocol):
    """A module of a platform that charges for reads."""

    identify_is_paid: bool
    """True: readiness calls ``identify`` only where nothing of the last day shows that the access works."""
