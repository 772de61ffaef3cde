"""Instagram's rules for a draft, who it says it is, its tokens, its words for errors."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp
from pydantic import ValidationError
from world_instagram import (
    FACEBOOK_ACCOUNT,
    FACEBOOK_CREDENTIALS,
    FACEBOOK_SUBJECT,
    INSTAGRAM_ACCOUNT,
    INSTAGRAM_CREDENTIALS,
    INSTAGRAM_SUBJECT,
    USER,
    InstagramWorld,
    clip,
    image,
    no,
)

from platforms.base import AuthExpired, Draft, Identity, NotSent, RateLimited, Refreshed, Rejected
from platforms.instagram import PLATFORM, api
from platforms.instagram.models import Credentials


def codes(
    text: str = "hi", media: tuple[Any, ...] | None = None, account: Any = INSTAGRAM_ACCOUNT, **more: Any
) -> set[str]:
    options = {"media" if name == "how" else name: value for name, value in more.items()}
    found = PLATFORM.validate(Draft(text, account, (image(),) if media is None else media, options))
    assert all(violation.platform == "instagram" for violation in found)
    return {violation.code for violation in found}


TAG = {"username": "cook"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, set()),
        ({"text": ""}, set()),
        ({"text": "x" * 2201}, {"text_too_long"}),
        ({"text": "#a " * 30}, set()),
        ({"text": "#a " * 31}, {"too_many_hashtags"}),
        ({"text": "@a " * 21}, {"too_many_mentions"}),
        ({"text": "me@example.com " * 21}, set()),
        ({"media": ()}, {"media_required"}),
        ({"media": (image(),) * 10}, set()),
        ({"media": (image(), clip()) * 6}, {"too_many_media"}),
        ({"media": (image(alt="x" * 1001),)}, {"alt_too_long"}),
        ({"media": (clip(),)}, set()),
        ({"media": (clip(),), "placement": "feed"}, set()),
        ({"placement": "reel"}, {"reel_needs_video"}),
        ({"media": (clip(), clip()), "placement": "reel"}, {"reel_needs_video"}),
        ({"placement": "story"}, {"text_without_effect"}),
        ({"text": "", "placement": "story"}, set()),
        ({"text": "", "placement": "story", "media": (image(), image())}, {"too_many_media"}),
        ({"text": "", "placement": "story", "collaborators": ["friend"]}, {"option_without_effect"}),
        ({"audio_name": "Mine"}, {"option_without_effect"}),
        ({"share_to_feed": False}, {"option_without_effect"}),
        ({"media": (clip(),), "share_to_feed": False, "trial": "SS_PERFORMANCE"}, set()),
        ({"collaborators": ["a", "b", "c", "d"]}, {"invalid_option"}),
        ({"collaborators": ["ACME"]}, {"own_collaborator"}),
        ({"user_tags": [{**TAG, "x": 0.1, "y": 0.9}]}, set()),
        ({"user_tags": [{**TAG, "x": 0.1}]}, {"invalid_option"}),
        ({"user_tags": [TAG]}, {"tag_place"}),
        ({"user_tags": [TAG], "media": (clip(),)}, set()),
        ({"user_tags": [{**TAG, "x": 0, "y": 0, "item": 1}]}, {"tag_without_item"}),
        ({"how": "bytes", "media": (clip(),)}, {"upload_unsupported"}),
        ({"how": "bytes", "media": (clip(),), "account": FACEBOOK_ACCOUNT}, set()),
        ({"how": "bytes", "account": FACEBOOK_ACCOUNT}, {"upload_unsupported"}),
        ({"cover_url": "ftp://x"}, {"invalid_option"}),
        ({"last_comment": "hi"}, {"unknown_option"}),
    ],
)
def test_rules(arguments: dict[str, Any], expected: set[str]) -> None:
    assert codes(**arguments) == expected


@pytest.mark.parametrize(
    ("media", "options", "placement", "url"),
    [
        ((image(),), {}, "feed", True),
        ((image(), clip()), {}, "carousel", True),
        ((clip(),), {}, "reel", True),
        ((image(),), {"placement": "story"}, "story", True),
    ],
)
def test_placements(media: tuple[Any, ...], options: dict[str, Any], placement: str, url: bool) -> None:
    draft = Draft("", INSTAGRAM_ACCOUNT, media, options)
    assert PLATFORM.placement(draft) == placement
    assert PLATFORM.wants_url(draft) is url
    assert placement in PLATFORM.capabilities.media


def test_only_a_pages_video_without_an_address_goes_by_bytes() -> None:
    assert not PLATFORM.wants_url(Draft("", FACEBOOK_ACCOUNT, (clip(url=None),)))
    assert PLATFORM.wants_url(Draft("", FACEBOOK_ACCOUNT, (clip(),)))
    assert PLATFORM.wants_url(Draft("", FACEBOOK_ACCOUNT, (clip(url=None),), {"media": "url"}))
    assert not PLATFORM.wants_url(Draft("", FACEBOOK_ACCOUNT, (clip(),), {"media": "bytes"}))
    assert PLATFORM.wants_url(Draft("", FACEBOOK_ACCOUNT, (image(url=None),)))


# --- Accounts ---------------------------------------------------------------------------------------------


def test_identify_by_both_logins() -> None:
    identity = PLATFORM.identify(INSTAGRAM_SUBJECT.call(FakeHttp(InstagramWorld())))
    assert isinstance(identity, Identity)
    assert (identity.remote_id, identity.handle, identity.facts["login"]) == (USER, "acme", "instagram")
    assert identity.missing_scopes == ("instagram_business_content_publish",)
    http = FakeHttp(InstagramWorld())
    identity = PLATFORM.identify(FACEBOOK_SUBJECT.call(http))
    assert isinstance(identity, Identity)
    assert (identity.remote_id, identity.facts["login"], identity.missing_scopes) == (USER, "facebook", ())
    assert http.sent[0].url == f"https://graph.facebook.com/v26.0/{USER}"


def test_the_graph_version_can_be_set() -> None:
    http = FakeHttp(InstagramWorld())
    call = INSTAGRAM_SUBJECT.call(http)
    call.credentials = {**INSTAGRAM_CREDENTIALS, "api_version": "v25.0"}
    PLATFORM.identify(call)
    assert http.sent[0].url == "https://graph.instagram.com/v25.0/me"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"access_token": "a", "login": "facebook"},
        {"access_token": "a", "login": "meta"},
        {"access_token": "a", "api_version": "26"},
        {"access_token": "a", "ig_user_id": "acme"},
    ],
)
def test_wrong_credentials(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Credentials.model_validate(wrong)


def test_an_id_given_as_a_number_keeps_its_digits() -> None:
    found = Credentials.model_validate({**FACEBOOK_CREDENTIALS, "ig_user_id": int(USER)})
    assert found.ig_user_id == USER


def refresh(answer: Any, **credentials: Any) -> tuple[Any, int]:
    http = FakeHttp(lambda _sent: answer)
    call = INSTAGRAM_SUBJECT.call(http)
    call.credentials = {**INSTAGRAM_CREDENTIALS, **credentials}
    return PLATFORM.refresh(call), len(http.sent)


def test_a_token_is_renewed_between_its_first_day_and_its_last() -> None:
    answer = Answer(200, {"access_token": "new", "expires_in": 5_183_944, "permissions": "a,b"})
    outcome, _ = refresh(answer)
    assert isinstance(outcome, Refreshed)
    assert outcome.expires_at == NOW + timedelta(seconds=5_183_944)
    assert (outcome.credentials["issued_at"], outcome.credentials["scope"]) == (NOW.isoformat(), "a,b")
    assert refresh(answer, issued_at=(NOW - timedelta(hours=23)).isoformat()) == (None, 0)
    gone, asked = refresh(answer, expires_at=(NOW - timedelta(seconds=1)).isoformat())
    assert isinstance(gone, AuthExpired)
    assert (gone.permanent, asked) == (True, 0)
    assert PLATFORM.capabilities.refresh_ahead_s == 10 * 86_400


def test_a_token_whose_end_nobody_told_is_renewed_once_it_is_a_day_old() -> None:
    ahead = timedelta(seconds=PLATFORM.capabilities.refresh_ahead_s)
    before = datetime.now(UTC)
    until = PLATFORM.expires_at({"access_token": "t", "login": "instagram"})
    assert until is not None
    due = until - ahead
    assert timedelta(0) <= due - before - timedelta(hours=24) < timedelta(minutes=1)
    # Where it is known since when it is there, so is its end; and what was told is believed.
    issued = {"access_token": "t", "issued_at": NOW.isoformat()}
    assert PLATFORM.expires_at(issued) == NOW + timedelta(days=60)
    assert PLATFORM.expires_at({**issued, "expires_at": NOW.isoformat()}) == NOW
    assert PLATFORM.expires_at(FACEBOOK_CREDENTIALS) is None
    # Renewing learns the end; 60 days where the answer has none.
    renewed, _ = refresh(Answer(200, {"access_token": "new"}), expires_at=None, issued_at=None)
    assert isinstance(renewed, Refreshed)
    assert renewed.expires_at == NOW + timedelta(days=60)
    assert PLATFORM.expires_at(renewed.credentials) == renewed.expires_at


def test_facebooks_data_access_ends_after_90_days() -> None:
    ends = NOW + timedelta(days=90)
    told = {**FACEBOOK_CREDENTIALS, "data_access_ends_at": ends.isoformat()}
    assert Credentials.model_validate(told)
    assert PLATFORM.access_ends_at(told) == ends
    assert PLATFORM.access_ends_at(FACEBOOK_CREDENTIALS) is None
    sooner = {**told, "expires_at": NOW.isoformat()}
    assert PLATFORM.access_ends_at(sooner) == NOW
    assert PLATFORM.expires_at(told) is None
    assert PLATFORM.access_ends_at(INSTAGRAM_CREDENTIALS) is None


def test_a_page_of_a_business_portfolio_is_asked_for_on_demand() -> None:
    def scopes(**told: str) -> tuple[str, ...]:
        return tuple(PLATFORM.connector.facts(told).scopes)

    assert "business_management" not in scopes(login="facebook", business="no") + scopes(business="yes")
    assert scopes(login="facebook", business="yes") == (*scopes(login="facebook"), "business_management")


def test_a_pages_token_is_not_renewed() -> None:
    assert refresh(None, login="facebook", ig_user_id=USER, expires_at=None) == (None, 0)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (no(190), AuthExpired),
        (no(10), AuthExpired),
        (no(2), NotSent),
        (no(100), NotSent),
        (Answer(500, b""), NotSent),
        (Answer(200, b"<html>"), NotSent),
        (no(4), RateLimited),
    ],
)
def test_only_a_dead_token_asks_for_a_person(answer: Answer, kind: type) -> None:
    outcome, _ = refresh(answer)
    assert isinstance(outcome, kind)
    assert getattr(outcome, "permanent", True)


# --- Errors -----------------------------------------------------------------------------------------------

TABLE = (
    Path(os.environ.get("SCHEDULERX_SHARED") or Path(__file__).parents[4].parent / "shared")
    / "specs/meta/instagram-error-codes.json"
)
CLASSES = {
    "retry": NotSent, "retry_new_container": NotSent, "retry_30_120s_then_new_container": NotSent, "wait": NotSent,
    "permanent": Rejected, "permanent_url": Rejected, "policy": RateLimited, "quota": RateLimited,
    "auth_user_action": AuthExpired,
}  # fmt: skip


@pytest.mark.shared
@pytest.mark.skipif(not TABLE.is_file(), reason="Meta's table of error codes is not beside the checkout")
def test_every_row_of_metas_table_has_its_class() -> None:
    rows = json.loads(TABLE.read_text())["rows"]
    assert len(rows) > 20
    call = INSTAGRAM_SUBJECT.call(FakeHttp(InstagramWorld()))
    for code, subcode, name, _note in rows:
        answer = no(code, subcode)
        http = FakeHttp(lambda _sent, answer=answer: answer)
        call.http = http
        reply = http.request("GET", "https://graph.instagram.com/x", effect=api.Effect.READ)
        assert isinstance(api.refusal(call, reply), CLASSES[name]), (code, subcode, name)


def test_the_subcode_comes_before_the_code() -> None:
    """Code 4 is a rate limit, but with subcode 2207051 it is a suspicion, and waiting minutes makes it worse."""
    call = INSTAGRAM_SUBJECT.call(FakeHttp(InstagramWorld()))
    waits = {}
    for subcode in (None, 2207051):
        reply = FakeHttp(lambda _sent, subcode=subcode: no(4, subcode)).request(
            "GET", "https://graph.instagram.com/x", effect=api.Effect.READ
        )
        outcome = api.refusal(call, reply)
        assert isinstance(outcome, RateLimited)
        waits[subcode] = outcome.until - NOW
    assert waits == {None: timedelta(minutes=15), 2207051: timedelta(hours=12)}
