"""What ``identify`` learns of an account: boards, sections, names they had, the app's tier; and what it costs."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from worlds import PINTEREST_SUBJECT, PinterestWorld, picture

from platforms.base import AuthExpired, Draft, Identity, NotSent, RateLimited
from platforms.pinterest import PLATFORM, api, boards
from platforms.pinterest.models import board_id


def identify(answerer: Any, facts: Any = None, now: datetime = NOW, **credentials: Any) -> tuple[Any, FakeHttp]:
    http = FakeHttp(answerer)
    subject = dataclasses.replace(
        PINTEREST_SUBJECT,
        account=dataclasses.replace(PINTEREST_SUBJECT.account, facts=facts or {}),
        credentials={**PINTEREST_SUBJECT.credentials, **credentials},
    )
    return PLATFORM.identify(dataclasses.replace(subject.call(http), now=lambda: now)), http


def known(answerer: Any, facts: Any = None, now: datetime = NOW, **credentials: Any) -> dict[str, Any]:
    identity, _ = identify(answerer, facts, now, **credentials)
    assert isinstance(identity, Identity), identity
    return dict(identity.facts)


def test_all_boards_and_their_sections_are_read() -> None:
    identity, http = identify(PinterestWorld())
    assert isinstance(identity, Identity)
    read = NOW.isoformat()
    assert identity.facts["boards"] == [
        {"id": "1", "name": "Recipes", "privacy": None, "sections": [{"id": "11", "name": "Salads"}],
         "sections_at": read},
        {"id": "2", "name": "Soups", "privacy": None, "sections": [], "sections_at": read},
    ]  # fmt: skip
    assert [sent.params.get("bookmark") for sent in http.sent if sent.path == "/v5/boards"] == [None, "next"]
    assert identity.missing_scopes == ("boards:write", "pins:read", "user_accounts:read")


@pytest.mark.parametrize(("answer", "kind"), [(Answer(429, {}), RateLimited), (Answer(500, b""), NotSent)])
def test_boards_that_cannot_be_read_are_said_to_be(answer: Answer, kind: type) -> None:
    world = PinterestWorld()
    outcome, _ = identify(lambda sent: answer if sent.path.endswith("boards") else world(sent))
    assert isinstance(outcome, kind)


@pytest.mark.parametrize("answer", [Answer(429, {}), Answer(500, b""), Answer(403, {}), Answer(404, {})])
def test_sections_that_cannot_be_read_are_no_reason_to_doubt_the_account(answer: Answer) -> None:
    world = PinterestWorld()
    broken = lambda sent: answer if sent.path.endswith("sections") else world(sent)  # noqa: E731 - used twice
    assert all("sections" not in board for board in known(broken)["boards"])
    old = known(world)
    later = NOW + timedelta(hours=1)
    assert known(broken, old, later)["boards"] == old["boards"]
    refused, _ = identify(lambda sent: Answer(401, {}) if sent.path.endswith("sections") else world(sent))
    assert isinstance(refused, AuthExpired)


def test_sections_are_read_again_only_after_a_while() -> None:
    world = PinterestWorld()
    facts = known(world)
    for minutes, reads in ((5, 0), (6, 2)):
        _, http = identify(world, facts, NOW + timedelta(minutes=minutes))
        assert len([sent for sent in http.sent if sent.path.endswith("sections")]) == reads


def test_an_account_of_many_boards_spends_few_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MAX_SECTION_READS", 3)
    world = PinterestWorld()
    many = [{"id": str(number), "name": f"Board {number}"} for number in range(1, 6)]

    def answers(sent: Sent) -> Answer:
        if sent.path == "/v5/boards":
            return Answer(200, {"items": many, "bookmark": None})
        return Answer(200, {"items": [], "bookmark": None}) if sent.path.endswith("sections") else world(sent)

    def read(http: FakeHttp) -> list[str]:
        return [sent.path.split("/")[3] for sent in http.sent if sent.path.endswith("sections")]

    first, http = identify(answers)
    assert read(http) == ["1", "2", "3"]
    # Those that were never read come first, then the oldest.
    again, http = identify(answers, first.facts, NOW + timedelta(minutes=1))
    assert read(http) == ["4", "5"]
    _, http = identify(answers, again.facts, NOW + timedelta(minutes=15))
    assert read(http) == ["1", "2", "3"]


def test_a_renamed_board_is_still_found_by_the_name_it_had() -> None:
    world = PinterestWorld()
    facts = known(world)

    def named(name: str) -> Any:
        def answers(sent: Sent) -> Answer:
            if sent.path == "/v5/boards":
                return Answer(200, {"items": [{"id": "1", "name": name}, {"id": "2", "name": "Soups"}]})
            return world(sent)

        return answers

    facts = known(named("Food"), facts)
    assert [board_id(name, facts) for name in ("Recipes", "Food", "1")] == ["1", "1", "1"]
    facts = known(named("Meals"), facts)
    assert facts["boards"][0]["former_names"] == ["Food", "Recipes"]
    # Back to its first name: that is no former one then.
    assert known(named("Recipes"), facts)["boards"][0]["former_names"] == ["Meals", "Food"]
    # A name that another board bears now means that board.
    taken = {"boards": [*facts["boards"], {"id": "3", "name": "Recipes"}]}
    assert board_id("Recipes", taken) == "3"
    for number in range(9):
        facts = known(named(f"Name {number}"), facts)
    assert len(facts["boards"][0]["former_names"]) == boards.MAX_FORMER_NAMES


@pytest.mark.parametrize(
    ("reset", "declared", "tier"),
    [
        (None, None, "unknown"),
        ("42", None, "unknown"),
        ("86000", None, "trial"),
        ("86000", "standard", "standard"),
        (None, "trial", "trial"),
    ],
)
def test_the_tier_is_declared_or_told_from_a_limit_of_a_day(reset: str | None, declared: str | None, tier: str) -> None:
    world = PinterestWorld()

    def answers(sent: Sent) -> Answer:
        answer = world(sent)
        return dataclasses.replace(answer, headers={"X-RateLimit-Reset": reset}) if reset else answer

    facts = known(answers, **({"access_tier": declared} if declared else {}))
    assert facts["tier"] == tier
    assert ("visible to this account alone" in facts.get("notice", "")) is (tier == "trial")
    assert PLATFORM.credentials_model.model_validate({"access_token": "a", "access_tier": declared})


SECRET = ("boards:read_secret", "boards:write_secret", "pins:read_secret", "pins:write_secret")


def test_a_secret_board_is_refused_where_the_access_is_known_not_to_reach_it() -> None:
    def wrong(board: str, *scopes: str) -> list[tuple[str, str]]:
        facts = {**PINTEREST_SUBJECT.account.facts, **({"scopes": list(scopes)} if scopes else {})}
        account = dataclasses.replace(PINTEREST_SUBJECT.account, facts=facts)
        found = PLATFORM.validate(Draft("hi", account, (picture(),), {"board": board}))
        return [(violation.code, violation.field) for violation in found]

    assert wrong("Soups") == wrong("Soups", *api.SCOPES, *SECRET) == wrong("Recipes", *api.SCOPES) == []
    for lacking in SECRET:
        granted = [scope for scope in (*api.SCOPES, *SECRET) if scope != lacking]
        assert wrong("Soups", *granted) == [("scope_missing", "options.board")]


def test_what_was_granted_is_kept_with_the_account() -> None:
    assert known(PinterestWorld(), scope="boards:read,pins:write")["scopes"] == ["boards:read", "pins:write"]
    assert "scopes" not in known(PinterestWorld(), scope=None)


def test_the_scopes_of_secret_boards_are_asked_for_on_demand() -> None:
    facts = PLATFORM.connector.facts
    assert facts({}).scopes == facts({"secret_boards": "no"}).scopes == api.SCOPES
    assert facts({"secret_boards": "yes"}).scopes == (*api.SCOPES, *SECRET)


# --- The trial tier -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tier", "limits"), [("trial", [100, 300]), ("standard", [100]), ("unknown", [100])])
def test_an_app_on_trial_has_its_day(tier: str, limits: list[int]) -> None:
    account = dataclasses.replace(PINTEREST_SUBJECT.account, facts={"tier": tier})
    call = PLATFORM.publishing_call(Draft("hi", account, (picture(),), {"board": "1"}))
    found = [quota for quota in PLATFORM.capabilities.quotas if quota.call in {"", call.name}]
    assert [quota.count for quota in found] == limits
    # On trial the limit is the app's: two accounts of one app have one day together.
    assert [quota.scope for quota in found] == ["account", "app"][: len(limits)]


@pytest.mark.parametrize(
    ("tier", "reset", "scope"),
    [("trial", "42", "app"), (None, "80000", "app"), (None, "42", "account"), ("standard", "80000", "account")],
)
def test_whose_limit_it_is(tier: str | None, reset: str, scope: str) -> None:
    limited = Answer(429, {"code": 8, "message": "Slow down"}, {"x-ratelimit-reset": reset})
    outcome, _ = identify(lambda _sent: limited, **({"access_tier": tier} if tier else {}))
    assert isinstance(outcome, RateLimited)
    assert outcome.scope == scope
    assert outcome.until == NOW + timedelta(seconds=int(reset))


@pytest.mark.parametrize(
    "body",
    [
        {"code": 9, "message": "Our spam filter stopped this"},
        {"code": 9, "message": "Blocked", "message_detail": "Looks like Spam to us"},
        {"code": 9, "message_detail": "spam"},
    ],
)
def test_a_spam_block_is_told_by_either_text_and_lasts(body: dict[str, Any]) -> None:
    outcome, _ = identify(lambda _sent: Answer(429, body, {"x-ratelimit-reset": "1"}))
    assert isinstance(outcome, RateLimited)
    assert outcome.until == NOW + timedelta(hours=6)
    assert str(body.get("message_detail") or body["message"]) in outcome.message
