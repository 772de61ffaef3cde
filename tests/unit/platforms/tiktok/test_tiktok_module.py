"""TikTok's rules for a draft, the bodies it sends, who it says it is, its tokens."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from pydantic import ValidationError
from world_tiktok import (
    PUBLIC,
    PULLS,
    TIKTOK_ACCOUNT,
    TIKTOK_CREDENTIALS,
    UPLOADS,
    TikTokWorld,
    no,
    photo,
    told,
    video,
)

from platforms.base import AuthExpired, Draft, Identity, MediaKind, NotSent, RateLimited, Refreshed
from platforms.kinds import kinds_of
from platforms.tiktok import PLATFORM
from platforms.tiktok.models import Credentials


def codes(text: str = "hi", media: tuple[Any, ...] | None = None, **options: Any) -> set[str]:
    draft = Draft(text, TIKTOK_ACCOUNT, (video(),) if media is None else media, {"privacy": PUBLIC} | options)
    found = PLATFORM.validate(draft)
    assert all(violation.platform == "tiktok" for violation in found)
    return {violation.code for violation in found}


GIF = dataclasses.replace(photo(), kind=MediaKind.GIF)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, set()),
        ({"privacy": None}, {"privacy_required"}),
        ({"privacy": "EVERYBODY"}, {"invalid_option"}),
        ({"mode": "inbox", "privacy": None, "text": ""}, set()),
        ({"mode": "inbox", "privacy": None}, {"text_without_effect"}),
        ({"mode": "inbox", "text": ""}, {"option_without_effect"}),
        ({"mode": "inbox", "privacy": None, "media": (photo(),)}, set()),
        ({"text": "x" * 2200}, set()),
        ({"text": "x" * 2201}, {"text_too_long"}),
        ({"text": "\U0001f44b" * 1101}, {"text_too_long"}),
        ({"text": "x" * 4000, "media": (photo(),)}, set()),
        ({"text": "x" * 4001, "media": (photo(),)}, {"text_too_long"}),
        ({"media": ()}, {"media_required"}),
        ({"media": (video(), photo())}, {"mixed_media"}),
        ({"media": (video(), video())}, {"mixed_media"}),
        ({"media": (photo(),) * 35}, set()),
        ({"media": (photo(),) * 36}, {"too_many_media"}),
        ({"media": (GIF,)}, set()),
        ({"media": (photo(),), "title": "x" * 90}, set()),
        ({"media": (photo(),), "title": "x" * 91}, {"invalid_option"}),
        ({"title": "for photos"}, {"option_without_effect"}),
        ({"media": (photo(),), "disable_duet": True}, {"option_without_effect"}),
        ({"media": (photo(),), "ai_generated": True}, {"option_without_effect"}),
        ({"media": (photo(), photo()), "cover_index": 1}, set()),
        ({"media": (photo(),), "cover_index": 1}, {"cover_index"}),
        ({"brand_content": True, "brand_organic": True, "ai_generated": True}, set()),
        ({"cover_timestamp_ms": -1}, {"invalid_option"}),
        ({"colour": "red"}, {"unknown_option"}),
    ],
)
def test_rules(arguments: dict[str, Any], expected: set[str]) -> None:
    # "media" is the files here; the option of that name has a test of its own.
    assert codes(**arguments) == expected


def test_facts_of_the_creator_are_held_against_the_draft() -> None:
    creator = {"privacy_level_options": ["SELF_ONLY"], "max_video_post_duration_sec": 10}
    account = dataclasses.replace(TIKTOK_ACCOUNT, facts={"creator": creator})
    found = PLATFORM.validate(Draft("hi", account, (video(duration_s=12.0),), {"privacy": PUBLIC}))
    assert {violation.code for violation in found} == {"privacy_not_offered", "video_too_long"}


def test_the_body_of_photos() -> None:
    world = TikTokWorld()
    http = FakeHttp(world)
    draft = PULLS.drafts["photos"]
    call = PULLS.call(http)
    PLATFORM.prepare(call, draft)
    PLATFORM.publish(call, draft)
    assert told(http.sent[-1]) == {
        "media_type": "PHOTO",
        "post_mode": "DIRECT_POST",
        "post_info": {
            "description": "Two <3", "title": "Soup", "privacy_level": PUBLIC, "disable_comment": False,
            "auto_add_music": False, "brand_content_toggle": False, "brand_organic_toggle": False,
        },
        "source_info": {
            "source": "PULL_FROM_URL", "photo_cover_index": 1,
            "photo_images": ["https://media.example/p.jpg", "https://media.example/p.jpg"],
        },
    }  # fmt: skip
    assert http.sent[-1].headers["Content-Type"] == "application/json; charset=UTF-8"
    assert call.checkpoint["job"] == {"publish_id": "p_pub_url~v2.1"}


def test_the_body_of_a_draft_of_photos_has_no_privacy() -> None:
    http = FakeHttp(TikTokWorld())
    PLATFORM.publish(PULLS.call(http), PULLS.drafts["inbox-photos"])
    [sent] = http.sent
    assert told(sent)["post_mode"] == "MEDIA_UPLOAD"
    assert told(sent)["post_info"] == {"description": "Draft", "title": "t"}


def test_a_cap_in_the_creators_answer_comes_with_status_200() -> None:
    world = TikTokWorld()
    capped = no(200, "spam_risk_too_many_posts")
    call = UPLOADS.call(FakeHttp(lambda sent: capped if "creator_info" in sent.path else world(sent)))
    outcome = PLATFORM.prepare(call, UPLOADS.drafts["upload"])
    assert isinstance(outcome, RateLimited)
    assert outcome.until == NOW + timedelta(hours=6)


def test_direct_posts_and_the_inbox_have_quotas_of_their_own_over_all_kinds_of_media() -> None:
    calls: dict[str, set[str]] = {"direct": set(), "inbox": set()}
    for kind in kinds_of(PLATFORM):
        draft = kind.example
        calls[draft.options.get("mode", "direct")].add(PLATFORM.publishing_call(draft).name)
    daily = {quota.call: quota.count for quota in PLATFORM.capabilities.quotas if quota.per_s == 24 * 3600}
    [direct], [inbox] = calls["direct"], calls["inbox"]
    assert daily == {direct: 15, inbox: 5}


@pytest.mark.parametrize("where", ["init", "creator_info"])
def test_a_full_inbox_says_nothing_of_the_account(where: str) -> None:
    world = TikTokWorld()
    full = no(403, "spam_risk_too_many_pending_share")
    call = UPLOADS.call(FakeHttp(lambda sent: full if where in sent.path else world(sent)))
    outcome = PLATFORM.prepare(call, UPLOADS.drafts["inbox-upload" if where == "init" else "upload"])
    # Its direct posts need not wait.
    assert isinstance(outcome, RateLimited)
    assert (outcome.until, outcome.scope) == (call.now() + timedelta(hours=6), "post")


# --- Accounts ---------------------------------------------------------------------------------------------


def test_identify_keeps_what_the_creator_may_do() -> None:
    identity = PLATFORM.identify(UPLOADS.call(FakeHttp(TikTokWorld())))
    assert isinstance(identity, Identity)
    assert (identity.remote_id, identity.handle, identity.missing_scopes) == ("open-1", "acme", ())
    assert identity.facts["creator"]["max_video_post_duration_sec"] == 600
    assert "video.list" in identity.facts["scopes"]


def test_identify_asks_only_for_what_was_granted() -> None:
    http = FakeHttp(TikTokWorld())
    call = UPLOADS.call(http)
    call.credentials = {**TIKTOK_CREDENTIALS, "scope": "user.info.basic,video.upload"}
    identity = PLATFORM.identify(call)
    assert isinstance(identity, Identity)
    assert "video.publish" in identity.missing_scopes
    assert [sent.params for sent in http.sent] == [{"fields": "open_id,display_name"}]


def refresh(answer: Any, **credentials: Any) -> tuple[Any, list[Sent]]:
    http = FakeHttp(lambda _sent: answer)
    call = UPLOADS.call(http)
    call.credentials = {**TIKTOK_CREDENTIALS, **credentials}
    return PLATFORM.refresh(call), http.sent


def test_the_refresh_token_changes_and_lifetimes_are_taken_from_the_answer() -> None:
    outcome, [sent] = refresh(TikTokWorld()(Sent("POST", "https://x/v2/oauth/token/", None, {}, {}, None, {}, {})))  # type: ignore[arg-type]  # the world looks at the path alone
    assert isinstance(outcome, Refreshed)
    assert outcome.credentials["refresh_token"] == "rft.new"
    assert outcome.expires_at == NOW + timedelta(hours=2)
    assert outcome.credentials["refresh_expires_at"] == (NOW + timedelta(days=180)).isoformat()
    assert sent.form == {
        "client_key": "key", "client_secret": "secret", "grant_type": "refresh_token", "refresh_token": "rft.1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(200, {"error": "invalid_grant"}), AuthExpired),
        (Answer(400, {"error": "invalid_grant"}), AuthExpired),
        (Answer(200, {"error": "invalid_client"}), AuthExpired),
        (Answer(401, {"error": "invalid_client"}), AuthExpired),
        (Answer(403, {"error": "access_denied"}), AuthExpired),
        (Answer(200, {"error": "server_error"}), NotSent),
        (Answer(400, {"error": "temporarily_unavailable"}), NotSent),
        # An edge in front of the token endpoint says nothing of the token.
        (Answer(403, b"<html>"), NotSent),
        (Answer(401, b"<html>"), NotSent),
        (Answer(400, b""), NotSent),
        (Answer(403, {"message": "Forbidden"}), NotSent),
        (Answer(500, b"oops"), NotSent),
        (Answer(200, b"<html>"), NotSent),
        (Answer(429, b""), RateLimited),
        (no(200, "rate_limit_exceeded"), RateLimited),
    ],
)
def test_only_a_dead_token_asks_for_a_person(answer: Answer, kind: type) -> None:
    outcome, _ = refresh(answer)
    assert isinstance(outcome, kind)
    assert getattr(outcome, "permanent", True)


def test_nothing_is_asked_where_nothing_can_be_renewed() -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    gone = (NOW - timedelta(hours=1)).isoformat()
    for credentials in ({"refresh_token": None}, {"refresh_expires_at": gone}):
        outcome, sent = refresh(None, expires_at=later, **credentials)
        assert (outcome, sent) == (None, [])
        outcome, sent = refresh(None, expires_at=gone, **credentials)
        assert isinstance(outcome, AuthExpired)
        assert sent == []


def test_credentials() -> None:
    assert Credentials.model_validate(TIKTOK_CREDENTIALS).client_key == "key"
    for wrong in ({}, {"access_token": ""}, {"access_token": "a", "colour": 1}):
        with pytest.raises(ValidationError):
            Credentials.model_validate(wrong)
