"""What ``accounts connect`` takes by ``--answer``: any question of the platform, but for its secrets."""

from __future__ import annotations

import pytest

from scheduler.cli.sign_in import answers
from scheduler.errors import Refused


def test_every_question_may_be_answered() -> None:
    said = ["secret_boards=yes", "access_tier = trial"]
    assert answers("pinterest", said, {}) == {"secret_boards": "yes", "access_tier": "trial"}
    assert answers("instagram", ["business=yes", "profile=a=b"], {}) == {"business": "yes", "profile": "a=b"}
    # As an option is written.
    assert answers("pinterest", ["access-tier=standard"], {"client_id": "a"}) == {
        "client_id": "a",
        "access_tier": "standard",
    }
    assert answers("pinterest", [], {"client_id": None}) == {"client_id": None}


@pytest.mark.parametrize(
    ("platform", "said", "why"),
    [
        ("pinterest", "secret_boards", "NAME=VALUE"),
        ("pinterest", "=yes", "NAME=VALUE"),
        ("pinterest", "secret_boards=", "NAME=VALUE"),
        ("pinterest", "business=yes", "pinterest does not ask for 'business'; it asks for: client_id, secret_boards"),
        ("pinterest", "client_secret=hidden", "SCHEDULERX_PINTEREST_CLIENT_SECRET"),
        ("instagram", "redirect_uri=https://a.example", "does not ask for 'redirect_uri'"),
    ],
)
def test_what_is_no_answer_is_refused(platform: str, said: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        answers(platform, [said], {})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("said", "flags"),
    [(["business=yes", "business=no"], {}), (["login=facebook"], {"login": "instagram"})],
)
def test_nothing_is_said_twice(said: list[str], flags: dict[str, str | None]) -> None:
    with pytest.raises(Refused, match="twice"):
        answers("instagram", said, flags)


def test_a_platform_that_cannot_be_connected_is_left_to_be_told_so() -> None:
    assert answers("myspace", ["a=b"], {}) == {"a": "b"}
