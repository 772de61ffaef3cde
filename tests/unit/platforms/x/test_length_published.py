"""X's counter against what twitter-text publishes: its configuration and its list of top-level domains.

The files are not part of this project: they are looked for in ``$SCHEDULERX_SHARED``, then beside the checkout.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from platforms.x.length import LIGHT_RANGES, LIMIT, URL_LENGTH, links, normalize

SHARED = Path(os.environ.get("SCHEDULERX_SHARED") or Path(__file__).parents[4].parent / "shared")
PUBLISHED = SHARED / "specs" / "twitter-text"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"twitter-text is not in {PUBLISHED} (set SCHEDULERX_SHARED)"),
]


def test_weights_and_limits_are_those_of_version_three() -> None:
    told = json.loads((PUBLISHED / "config-v3.json").read_text())
    assert (told["version"], told["scale"], told["defaultWeight"]) == (3, 100, 200)
    assert (told["maxWeightedTweetLength"], told["transformedURLLength"]) == (LIMIT, URL_LENGTH)
    assert told["emojiParsingEnabled"] is True
    assert [(one["start"], one["end"]) for one in told["ranges"]] == list(LIGHT_RANGES)
    assert {one["weight"] for one in told["ranges"]} == {100}


def test_links_with_each_published_top_level_domain_are_found() -> None:
    told = yaml.safe_load((PUBLISHED / "tlds.yml").read_text())["tests"]
    vectors = [(one["text"], one["expected"]) for group in told.values() for one in group]
    assert len(vectors) > 1_000
    wrong = [text for text, expected in vectors if [link.url for link in links(normalize(text))] != expected]
    assert wrong == []
