"""Options: for the post, for a platform, for one account; nothing is ignored silently."""

from __future__ import annotations

import pytest

from scheduler.options import PostOptions, for_target, post_options, strangers


def codes(violations):
    return [(one.code, one.field) for one in violations]


def test_an_accounts_own_options_win_over_its_platforms(fake):
    options = {"fake": {"colour": "blue", "must_be_short": 3}, "fake:acme": {"colour": "green"}}
    assert for_target(options, "fake", "acme") == ({"colour": "green", "must_be_short": 3}, [])
    assert for_target(options, "fake", "other") == ({"colour": "blue", "must_be_short": 3}, [])


def test_defaults_are_filled_in(fake):
    assert for_target({}, "fake", "acme") == ({"colour": "red", "must_be_short": None}, [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"fake": {"shape": 1}}, [("unknown_option", "options.fake.shape")]),
        ({"fake": {"must_be_short": "x"}}, [("bad_option", "options.fake.must_be_short")]),
        ({"fake": None}, [("bad_option", "options.fake")]),
        ({"fake:acme": [1]}, [("bad_option", "options.fake:acme")]),
    ],
)
def test_wrong_options_are_told_with_their_place(fake, given, expected):
    chosen, wrong = for_target(given, "fake", "acme")
    assert (chosen, codes(wrong)) == ({}, expected)
    assert all(one.platform == "fake" for one in wrong)


def test_options_of_nobody_are_told(fake):
    targets = [("fake", "acme"), ("x", "a")]
    fine = {"post": {}, "fake": {}, "fake:acme": {}, "x": {}, "x:a": {}}
    assert strangers(fine, targets) == []
    assert codes(strangers({**fine, "fake:other": {}, "pinterest": {}, 7: {}}, targets)) == [
        ("unknown_option", "options.fake:other"),
        ("unknown_option", "options.pinterest"),
        ("unknown_option", "options.7"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"window_minutes": 0},
        {"window_minutes": 43_201},
        {"fit": "stretch"},
        {"background": "red"},
        {"background": "#12345"},
        {"colour": 1},
        "words",
        [1],
    ],
)
def test_wrong_options_of_the_post_are_told(given):
    found, wrong = post_options({"post": given})
    assert found == PostOptions()
    assert wrong
    assert all(one.field.startswith("options.post") for one in wrong)


def test_options_of_the_post_are_read():
    found, wrong = post_options({"post": {"window_minutes": 30, "fit": "pad", "background": "#00FF00"}})
    assert (found.window_minutes, found.fit, found.background, wrong) == (30, "pad", "#00FF00", [])


@pytest.mark.parametrize(
    ("platform", "given", "expected"),
    [
        ("x", {"nosuch": 1}, "x.nosuch: there is no such option; there are: community_id, files, "),
        ("pinterest", {}, "pinterest.board: is needed; give it by --option pinterest.board=..., in Python by"),
        ("pinterest", {"board": "a", "first_slide": "two"}, "pinterest.first_slide: must be a whole number"),
        ("pinterest", {"board": "a", "first_slide": 5}, "pinterest.first_slide: must be at most 4"),
        ("pinterest", {"board": "a", "title": 1}, "pinterest.title: must be text"),
        ("pinterest", {"board": "a", "media": "x"}, "pinterest.media: must be 'auto', 'url' or 'bytes'"),
        ("x", {"made_with_ai": "maybe"}, "x.made_with_ai: must be true or false"),
        ("x", {"share_with_followers": True}, "x: share_with_followers needs a community_id"),
    ],
)
def test_wrong_options_are_told_in_words(platform, given, expected):
    [wrong] = for_target({platform: given}, platform, "acme")[1]
    assert wrong.message.startswith(expected)
