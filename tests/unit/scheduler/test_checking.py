"""The rules, as far as they are ours and no platform's."""

from __future__ import annotations

import pytest
from fakes import FakePlatform

from platforms import registry
from platforms.base import Violation
from scheduler.checking import _number_told_twice, too_long


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


FILES = Violation("count", "x post: 5 files given, at most 4 wanted")
VIDEOS = Violation("count", "x post: 2 videos given, at most 1 wanted")


@pytest.mark.parametrize(
    ("said", "count", "found", "twice"),
    [
        (("too_many_media", "X takes up to 4 images."), 5, [FILES, VIDEOS], FILES),
        (("too_many_media", "X takes up to 20 images."), 5, [FILES], None),
        (("too_many_media", "A video has one cover."), 4, [VIDEOS], None),
        (("media_required", "It needs a picture."), 5, [FILES], None),
        (("empty_post", "It needs 4 words."), 5, [FILES], None),
        (("too_many_media", "X takes up to 4 images."), 5, [Violation("count", "too long", file="a")], None),
    ],
)
def test_the_number_of_files_is_told_once_and_hides_nothing_else(said, count, found, twice):
    rule = registry.get("x").capabilities.media["post"]
    assert _number_told_twice([Violation(*said)], found, count, rule) == twice
