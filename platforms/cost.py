"""What a platform charges for a post. Optional: most charge nothing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from platforms.base import Draft


@dataclass(frozen=True)
class Cost:
    """What publishing a draft once costs, by the platform's price list."""

    amount: Decimal
    currency: str
    """ISO 4217."""
    words: str
    """What the amount is made of, for people."""
    source: str
    """Document and date of the prices."""


@runtime_checkable
class HasCost(Protocol):
    """A module whose platform charges for posts."""

    def cost(self, draft: Draft) -> Cost | None:
        """What publishing ``draft`` costs; None: nothing. Pure."""
        ...
