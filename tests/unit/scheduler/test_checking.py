"""The rules, as far as they are ours and no platform's."""

from __future__ import annotations

import pytest
from fakes import FakePlatform

from platforms import registry
from scheduler.checking import too_long


def test_a_text_that_is_too_long_says_by_how_much_and_how_it_was_counted():
    assert too_long("a" * 500, FakePlatform()) == []
    [violation] = too_long("a" * 507, FakePlatform())
    assert violation.code == "text_too_long"
    assert violation.message == "the text counts 507, 7 more than the 500 that fake takes (characters)"


@pytest.mark.parametrize("name", ["x", "bluesky", "mastodon", "instagram", "tiktok", "pinterest"])
def test_every_platform_says_how_it_counts(name):
    module = registry.get(name)
    [violation] = too_long("a" * (module.capabilities.text_limit + 1), module)
    assert "1 more than" in violation.message
    assert violation.message.endswith(f"({module.capabilities.text_unit})")
