"""X's rules for a draft, the body it sends, who it says it is."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp
from pydantic import ValidationError
from worlds import X_ACCOUNT, X_SUBJECT, XWorld, clip, picture

from platforms.base import AuthExpired, Draft, Identity, MediaKind, NotSent, Published, Unknown
from platforms.x import PLATFORM
from platforms.x.models import Credentials

OAUTH1 = {"consumer_key": "ck", "consumer_secret": "cs", "token": "t", "token_secret": "ts"}
DRAFT = Draft("hi", X_ACCOUNT)
ANY_LINK = "a link counts 23, whatever its length."


def codes(text: str = "hi", media: tuple[Any, ...] = (), **options: Any) -> set[str]:
    found = PLATFORM.validate(Draft(text, X_ACCOUNT, media, options))
    assert all(violation.platform == "x" for violation in found)
    return {violation.code for violation in found}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"text": "x" * 280}, set()),
        ({"text": "x" * 281}, {"text_too_long"}),
        ({"text": "\u65e5" * 141}, {"text_too_long"}),
        ({"text": ""}, {"empty_post"}),
        ({"text": " \n"}, {"empty_post"}),
        ({"text": "", "media": (picture(),)}, set()),
        ({"text": "a\ufeffb"}, {"invalid_character"}),
        ({"text": "$AAA rises"}, set()),
        ({"text": "$AAA and $BBB"}, {"too_many_cashtags"}),
        ({"text": "costs $5 or $6"}, set()),
        ({"media": (picture(),) * 4}, set()),
        ({"media": (picture(),) * 5}, {"too_many_media"}),
        ({"media": (picture(kind=MediaKind.GIF),)}, set()),
        ({"media": (picture(kind=MediaKind.GIF), picture())}, {"gif_not_alone"}),
        ({"media": (clip(),)}, set()),
        ({"text": "", "media": (clip(alt="a boat"),)}, set()),
        ({"media": (clip(), picture())}, {"video_not_alone"}),
        ({"media": (clip(), clip(sha="w"))}, {"video_not_alone"}),
        ({"media": (clip(), picture(kind=MediaKind.GIF))}, {"video_not_alone", "gif_not_alone"}),
        ({"media": (clip(alt="x" * 1001),)}, {"alt_too_long"}),
        ({"media": (picture(alt="x" * 1000),)}, set()),
        ({"media": (picture(alt="x" * 1001),)}, {"alt_too_long"}),
        ({"reply_settings": "verified"}, set()),
        ({"reply_settings": "nobody"}, {"invalid_option"}),
        ({"nullcast": True}, {"unknown_option"}),
        ({"made_with_ai": "true", "paid_partnership": True}, set()),
        ({"community_id": "12x"}, {"invalid_option"}),
        ({"share_with_followers": True}, {"invalid_option"}),
        ({"share_with_followers": True, "community_id": "12"}, set()),
        ({"tagged_user_ids": ["1"]}, {"tags_without_media"}),
        ({"poll": {"options": ["a"], "duration_minutes": 60}}, {"invalid_option"}),
        ({"poll": {"options": ["a", "b"], "duration_minutes": 1}}, {"invalid_option"}),
        (
            {"poll": {"options": ["a", "b"], "duration_minutes": 5}, "media": (picture(),)},
            {"poll_with_media"},
        ),
    ],
)
def test_rules(arguments: dict[str, Any], expected: set[str]) -> None:
    assert codes(**arguments) == expected


def test_an_alt_text_violation_names_the_file() -> None:
    [found] = PLATFORM.validate(Draft("hi", X_ACCOUNT, (picture(), picture(alt="x" * 1001, sha="b"))))
    assert (found.file, found.field) == ("b.jpg", "alt")


def body(draft: Draft, checkpoint: dict[str, Any] | None = None) -> Any:
    http = FakeHttp(XWorld())
    outcome = PLATFORM.publish(X_SUBJECT.call(http, checkpoint), draft)
    if isinstance(outcome, Published):
        assert outcome.url == f"https://x.com/acme/status/{outcome.remote_id}"
    return http.sent[-1].json


def test_defaults_are_not_sent() -> None:
    assert body(Draft("cafe\u0301", X_ACCOUNT, options={"reply_settings": "everyone"})) == {"text": "cafe\u0301"}


def test_options_are_sent_under_the_names_of_the_api() -> None:
    options = {
        "reply_settings": "subscribers",
        "made_with_ai": True,
        "community_id": "12",
        "paid_partnership": True,
    }
    assert body(Draft("hi", X_ACCOUNT, options=options)) == {"text": "hi", **options}


def test_media_and_tags() -> None:
    world, checkpoint = XWorld(), {}
    draft = Draft("hi", X_ACCOUNT, (picture(), picture(sha="b")), {"tagged_user_ids": ["7"]})
    PLATFORM.prepare(X_SUBJECT.call(FakeHttp(world), checkpoint, checkpoint.update), draft)
    http = FakeHttp(world)
    PLATFORM.publish(X_SUBJECT.call(http, checkpoint), draft)
    assert http.sent[-1].json["media"] == {"media_ids": list(world.uploads), "tagged_user_ids": ["7"]}


def test_what_the_draft_needs() -> None:
    assert not PLATFORM.needs_prepare(Draft("hi", X_ACCOUNT))
    assert PLATFORM.needs_prepare(Draft("hi", X_ACCOUNT, (picture(),)))
    assert not PLATFORM.wants_url(Draft("hi", X_ACCOUNT, (picture(),)))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"refresh_token": "r"},
        {**OAUTH1, "token": None},
        {**OAUTH1, "access_token": "a"},
        {"access_token": ""},
        {"access_token": "a", "surprise": 1},
    ],
)
def test_half_credentials_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Credentials.model_validate(given)


@pytest.mark.parametrize("given", [OAUTH1, {"access_token": "a"}, {"access_token": "a", "expires_at": 1.0}])
def test_whole_credentials(given: dict[str, Any]) -> None:
    Credentials.model_validate(given)


def test_oauth1_signs_each_request_and_does_not_run_out() -> None:
    subject = dataclasses.replace(X_SUBJECT, credentials=OAUTH1)
    http = FakeHttp(XWorld())
    assert isinstance(PLATFORM.identify(subject.call(http)), Identity)
    header = http.sent[0].headers["Authorization"]
    assert header.startswith("OAuth ")
    assert 'oauth_token="t"' in header
    assert '"ts"' not in header
    assert PLATFORM.refresh(subject.call(http)) is None
    assert PLATFORM.expires_at(OAUTH1) is None
    refused = PLATFORM.identify(subject.call(FakeHttp(lambda _: Answer(401, {}))))
    assert isinstance(refused, AuthExpired)
    assert refused.permanent


@pytest.mark.parametrize(
    ("body", "clock_s", "kind"),
    [
        ({"errors": [{"code": 135, "message": "Timestamp out of bounds."}]}, None, NotSent),
        ({"title": "Unauthorized"}, -3600, NotSent),
        ({"title": "Unauthorized"}, 400 * 86_400, NotSent),
        ({"title": "Unauthorized"}, 0, AuthExpired),
        ({"errors": [{"code": 89, "message": "Invalid or expired token."}]}, None, AuthExpired),
    ],
)
def test_a_signature_of_a_wrong_clock_is_no_fault_of_the_account(body: Any, clock_s: float | None, kind: type) -> None:
    # A signature bears this machine's time, whatever the database's clock says.
    machine = datetime.now(UTC)
    headers = {} if clock_s is None else {"Date": format_datetime(machine + timedelta(seconds=clock_s), usegmt=True)}
    answer = FakeHttp(lambda _: Answer(401, body, headers))
    signed = dataclasses.replace(X_SUBJECT, credentials=OAUTH1)
    for outcome in (PLATFORM.identify(signed.call(answer)), PLATFORM.publish(signed.call(answer), DRAFT)):
        assert isinstance(outcome, kind), outcome
        assert outcome.code == ("clock_wrong" if kind is NotSent else "unauthorized")
    # A Bearer token has no time in it.
    assert isinstance(PLATFORM.identify(X_SUBJECT.call(answer)), AuthExpired)


def test_a_duplicate_is_in_doubt_and_refused_if_none_of_ours_is_there() -> None:
    answer = Answer(403, {"detail": "You are not allowed to create a Tweet with duplicate content."})
    outcome = PLATFORM.publish(X_SUBJECT.call(FakeHttp(lambda _: answer)), DRAFT)
    assert isinstance(outcome, Unknown)
    assert outcome.if_absent is not None
    assert outcome.if_absent.code == "duplicate"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x" * 283, "X counts 283 characters, 3 more than the 280 that it allows."),
        ("日" * 141, "X counts 282 characters, 2 more than the 280 that it allows: 141 of the text count 2."),
        ("x" * 280 + "🎉", "X counts 282 characters, 2 more than the 280 that it allows: 1 of the text counts 2."),
        (
            "x" * 270 + " see acme.com",
            f"X counts 298 characters, 18 more than the 280 that it allows: {ANY_LINK}",
        ),
        (
            "日" * 140 + " acme.com",
            f"X counts 304 characters, 24 more than the 280 that it allows: 140 of the text count 2, and {ANY_LINK}",
        ),
    ],
)
def test_a_text_that_is_too_long_is_told_by_how_much_and_why(text: str, told: str) -> None:
    assert [one.message for one in PLATFORM.validate(Draft(text, X_ACCOUNT))] == [told]


def test_missing_scopes_are_named_where_the_scopes_are_known() -> None:
    subject = dataclasses.replace(
        X_SUBJECT, credentials={**X_SUBJECT.credentials, "scope": "tweet.read tweet.write users.read"}
    )
    identity = PLATFORM.identify(subject.call(FakeHttp(XWorld())))
    assert isinstance(identity, Identity)
    assert identity.missing_scopes == ("media.write", "offline.access")
    unknown = PLATFORM.identify(X_SUBJECT.call(FakeHttp(XWorld())))
    assert isinstance(unknown, Identity)
    assert unknown.missing_scopes == ()


def test_the_longest_of_several_spent_limits_is_waited_for() -> None:
    def reset(seconds: int) -> str:
        return str(int(NOW.timestamp()) + seconds)

    headers = {
        "x-rate-limit-remaining": "5",
        "x-rate-limit-reset": reset(100),
        "x-user-limit-24hour-remaining": "0",
        "x-user-limit-24hour-reset": reset(5000),
    }
    outcome: Any = PLATFORM.publish(
        X_SUBJECT.call(FakeHttp(lambda _: Answer(429, {}, headers))), Draft("hi", X_ACCOUNT)
    )
    assert (outcome.until - NOW).total_seconds() == 5000
