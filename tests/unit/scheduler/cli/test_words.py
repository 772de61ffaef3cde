"""What the command makes of words on its line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.cli.option_words import options_of
from scheduler.cli.output import ago
from scheduler.cli.pictures import draw
from scheduler.cli.posts import media_of
from scheduler.errors import Refused


def test_options_are_grouped_and_json_is_read() -> None:
    given = ["pinterest.board=Recipes", "post.window_minutes=30", "x:acme.made_with_ai=true", "pinterest.title=a=b"]
    assert options_of(given) == {
        "pinterest": {"board": "Recipes", "title": "a=b"},
        "post": {"window_minutes": 30},
        "x:acme": {"made_with_ai": True},
    }


def test_a_long_number_stays_text_for_it_is_an_id() -> None:
    assert options_of(["pinterest.board=549755885175"]) == {"pinterest": {"board": "549755885175"}}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("pinterest.title=2024", "2024"),
        ("pinterest.title=null", None),
        ("pinterest.board=true", "true"),
        ("pinterest.board=1e5", "1e5"),
        ("pinterest.board=007", "007"),
        ("pinterest.board=NaN", "NaN"),
        ("pinterest.board=[a]", "[a]"),
        ("pinterest.ai_modified=true", True),
        ("pinterest.cover_time_s=3", 3),
        ('pinterest.slides=[{"title": "a"}]', [{"title": "a"}]),
        ("pinterest.text=2024", "2024"),
        ("pinterest.files=[0]", [0]),
        ("x.community_id=17", "17"),
        ("x:acme.community_id=17", "17"),
        ('bluesky.langs=["en", "de"]', ["en", "de"]),
        ("bluesky.tags=2024", "2024"),
        ("mastodon.spoiler_text=null", "null"),
        ('post.thread=["b"]', ["b"]),
        ("nobody.knows=2", 2),
        ("x.nobody_knows=2", 2),
        ("x.made_with_ai=perhaps", "perhaps"),
    ],
)
def test_a_value_is_what_the_option_takes(word: str, meant: object) -> None:
    [values] = options_of([word]).values()
    [value] = values.values()
    assert (value, type(value)) == (meant, type(meant))


@pytest.mark.parametrize("word", ["board=Recipes", "pinterest.board", ".board=x", "pinterest.=x"])
def test_what_is_not_an_option_is_refused(word: str) -> None:
    with pytest.raises(Refused, match=r"PLATFORM\.KEY=VALUE"):
        options_of([word])


def test_alt_texts_belong_to_files_in_order() -> None:
    assert [(one.source, one.alt) for one in media_of(["a", "b"], ["first"])] == [("a", "first"), ("b", "")]
    with pytest.raises(Refused):
        media_of(["a"], ["one", "two"])


def test_times_are_told_relative_to_now() -> None:
    now = datetime.now(UTC)
    assert ago(None) == "-"
    assert ago(now - timedelta(hours=3, seconds=1)) == "3 h ago"
    assert ago(now + timedelta(days=2, seconds=5)) == "in 2 d"


def test_the_demo_draws_the_same_pictures_every_time(tmp_path) -> None:  # type: ignore[no-untyped-def]  # a fixture
    first = [path.read_bytes() for path, _ in draw(tmp_path / "a", 4)]
    assert first == [path.read_bytes() for path, _ in draw(tmp_path / "b", 4)]
    assert len(set(first)) == 4
