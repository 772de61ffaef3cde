"""What a post on X costs under pay-per-use credits, as data and as a pure function.

Accounts that still have an old monthly plan (Basic, Pro) pay otherwise; X does not tell which one an app has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from platforms.base import Draft
from platforms.cost import Cost
from platforms.x.length import links, normalize

_WITH_SCHEME = re.compile(r"https?://[^\s/]+\.[^\W\d_]", re.IGNORECASE)

CURRENCY = "USD"
SOURCE = "X API pay-per-use price list, 2026-08 (prices since 2026-02-06)"


@dataclass(frozen=True)
class Price:
    """One line of the price list."""

    amount: Decimal
    what: str


POST = Price(Decimal("0.015"), "a post")
POST_WITH_URL = Price(Decimal("0.200"), "a post with a link")
MEDIA_METADATA = Price(Decimal("0.005"), "an alt text")
READ_POST = Price(Decimal("0.005"), "reading a post")
READ_OWN_POST = Price(Decimal("0.001"), "reading a post, where the app's owner is the account itself")
READ_USER = Price(Decimal("0.010"), "reading a user (``accounts check``)")
PRICES = (POST, POST_WITH_URL, MEDIA_METADATA, READ_POST, READ_OWN_POST, READ_USER)
"""What we may cause. Uploads have no price there; a read of the same object costs once in 24 hours (UTC)."""


def cost(draft: Draft) -> Cost:
    """What publishing ``draft`` costs: the post, and each alt text. Looking for a doubtful post costs reads beside.

    Any link counts, also one without a scheme, as X makes a link of it; and one with a scheme whose top-level domain
    is newer than the list by which lengths are counted.
    """
    post = POST_WITH_URL if links(normalize(draft.text)) or _WITH_SCHEME.search(draft.text) else POST
    alts = sum(1 for item in draft.media if item.alt)
    words = f"{post.what} {post.amount}"
    if alts:
        words += f", {alts} alt text{'s' if alts > 1 else ''} at {MEDIA_METADATA.amount}"
    return Cost(post.amount + alts * MEDIA_METADATA.amount, CURRENCY, words, SOURCE)
