"""Which answers a sign-in takes, from where, and which redirects it refuses; nothing is sent for it."""

from __future__ import annotations

from typing import Any

import pytest

from platforms import registry
from platforms.connect import Question
from scheduler import connect
from scheduler.errors import Refused


class NoSettings:
    """Settings as far as questions need them."""

    def __init__(self, api_url: str | None = None) -> None:
        self.url = api_url

    def api_url(self, _platform: str) -> str | None:
        return self.url


def answers(platform: str, given: dict[str, str], kept: dict[str, str], said: str = "", url: str | None = None) -> Any:
    asked: list[str] = []

    def ask(question: Question) -> str:
        asked.append(question.name)
        return said

    connector: Any = registry.get(platform).connector  # type: ignore[attr-defined]  # those that are Connectable
    settings: Any = NoSettings(url)
    return connect._answers(settings, platform, connector, given, kept, ask), asked


def test_the_command_line_comes_first_then_the_environment_then_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"client_id": "stored", "client_secret": "stored-secret"}
    assert answers("x", {}, kept)[0] == kept
    monkeypatch.setenv("SCHEDULERX_X_CLIENT_ID", "set")
    assert answers("x", {}, kept)[0]["client_id"] == "set"
    assert answers("x", {"client_id": "given"}, kept)[0]["client_id"] == "given"


def test_a_secret_is_never_taken_from_the_command_line() -> None:
    told, asked = answers("x", {"client_id": "a", "client_secret": "on-the-line"}, {}, "typed")
    assert (told["client_secret"], asked) == ("typed", ["client_secret"])


def test_an_app_of_x_may_have_no_secret_and_one_of_pinterest_may_not() -> None:
    assert answers("x", {"client_id": "a"}, {})[0] == {"client_id": "a"}
    with pytest.raises(Refused, match="SCHEDULERX_PINTEREST_CLIENT_SECRET"):
        answers("pinterest", {"client_id": "a"}, {})


def test_blueskys_key_is_asked_for_only_with_an_app() -> None:
    assert answers("bluesky", {"handle": "a.b"}, {})[1] == []
    assert answers("bluesky", {"handle": "a.b", "client_id": "https://a.b/c"}, {})[1] == ["client_secret"]


def test_an_override_stands_for_the_server() -> None:
    assert answers("mastodon", {}, {}, url="http://127.0.0.1:1")[0] == {}
    with pytest.raises(Refused, match="--server"):
        answers("mastodon", {}, {})


def test_choices_are_kept_to() -> None:
    app = {"client_id": "a", "client_secret": "b"}
    assert answers("instagram", {}, app)[0]["login"] == "instagram"
    with pytest.raises(Refused, match="none of: instagram, facebook"):
        answers("instagram", {"login": "meta"}, app)


def test_the_secret_of_one_app_is_not_sent_with_the_id_of_another() -> None:
    kept = {"client_id": "stored", "client_secret": "stored-secret"}
    told, asked = answers("x", {"client_id": "new"}, kept)
    assert (told, asked) == ({"client_id": "new"}, ["client_secret"])
    assert answers("x", {"client_id": "stored"}, kept)[0] == kept


def kept_of(platform: str, stored: dict[str, Any], *, another: bool = False) -> dict[str, str]:
    connector: Any = registry.get(platform).connector  # type: ignore[attr-defined]  # those that are Connectable
    return connect._answers_in(connector, stored, another=another)


SECRET = "boards:read boards:write boards:read_secret boards:write_secret pins:read_secret pins:write_secret"


@pytest.mark.parametrize(
    ("platform", "stored", "same", "another"),
    [
        ("x", {"client_id": "a", "client_secret": "b"}, {"client_id": "a", "client_secret": "b"}, None),
        ("pinterest", {"client_id": "a", "scope": SECRET}, {"client_id": "a", "secret_boards": "yes"}, ["client_id"]),
        ("pinterest", {"client_id": "a", "scope": "boards:read,pins:write"}, {"client_id": "a"}, None),
        ("tiktok", {"client_key": "a", "client_secret": "b"}, {"client_id": "a", "client_secret": "b"}, None),
        ("mastodon", {"server": "https://m.example"}, {"server": "https://m.example"}, None),
        ("instagram", {"login": "instagram", "ig_user_id": "17841"}, {"login": "instagram"}, None),
        (
            "instagram",
            {"login": "facebook", "ig_user_id": "17841", "scope": "instagram_basic,business_management"},
            {"login": "facebook", "profile": "17841", "business": "yes"},
            ["login"],
        ),
        (
            "bluesky",
            {"client_id": "https://a.b/c", "handle": "acme.example", "server": "https://pds.example"},
            {"client_id": "https://a.b/c", "handle": "acme.example", "server": "https://pds.example"},
            ["client_id"],
        ),
        ("bluesky", {"client_id": "http://localhost?scope=atproto", "handle": "a.b"}, {"handle": "a.b"}, []),
    ],
)
def test_what_was_said_once_is_kept_and_of_another_profile_only_the_app(
    platform: str, stored: dict[str, Any], same: dict[str, str], another: list[str] | None
) -> None:
    assert kept_of(platform, stored) == same
    assert kept_of(platform, stored, another=True) == {
        name: same[name] for name in same if another is None or name in another
    }


@pytest.mark.parametrize(
    ("platform", "login", "redirect", "good"),
    [
        ("x", "", "", True),
        ("x", "", "http://127.0.0.1:9000/callback", True),
        ("x", "", "https://example.com/back", True),
        ("x", "", "http://127.0.0.1/callback", False),
        ("x", "", "http://example.com/back", False),
        ("x", "", "https://example.com/back?a=b", False),
        ("x", "", "https://u:p@example.com/back", False),
        ("x", "", "not an address", False),
        ("instagram", "", "", False),
        ("instagram", "", "http://localhost:9000/callback", False),
        ("instagram", "", "https://example.com/back", True),
        ("instagram", "facebook", "", True),
    ],
)
def test_redirects(platform: str, login: str, redirect: str, good: bool) -> None:
    connector: Any = registry.get(platform).connector  # type: ignore[attr-defined]  # those that are Connectable
    facts = connector.facts({"login": login})
    if good:
        connect._check_redirect(platform, facts, redirect)
        return
    with pytest.raises(Refused):
        connect._check_redirect(platform, facts, redirect)
