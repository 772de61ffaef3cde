"""What is seen of Bluesky ahead of a post's time: the day's videos, and the end of a session."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from fake_http import NOW, Answer, FakeHttp, Sent
from world_bluesky import BLUESKY_ACCOUNT, BLUESKY_CREDENTIALS, BLUESKY_SUBJECT, CLIP

from platforms.base import AuthExpired, Draft, Effect, NotSent, RateLimited
from platforms.bluesky import PLATFORM
from platforms.readiness import ChecksReadiness, KnowsItsEnd, Waiting

TEXT = Draft("hi", BLUESKY_ACCOUNT)
VIDEO = Draft("", BLUESKY_ACCOUNT, (dataclasses.replace(CLIP, size=1_000),))


def look(limits: Answer, *drafts: Draft, hours: float = 1.0, **credentials: Any) -> tuple[Any, list[Sent]]:
    """What is found of posts an hour apart, and what was asked for it."""
    http = FakeHttp(lambda sent: limits if "getUploadLimits" in sent.path else Answer(200, {"token": "pass"}))
    call = BLUESKY_SUBJECT.call(http)
    call.credentials = {**BLUESKY_CREDENTIALS, **credentials}
    waiting = [Waiting(draft, NOW + timedelta(hours=hours * (place + 1))) for place, draft in enumerate(drafts)]
    return PLATFORM.ready_check(call, waiting), http.sent


def codes(found: Any) -> list[list[str]]:
    return [[bad.code for bad in one] for one in found]


def test_it_says_both() -> None:
    assert isinstance(PLATFORM, ChecksReadiness)
    assert isinstance(PLATFORM, KnowsItsEnd)


def test_nothing_is_asked_for_posts_without_a_video_or_on_a_server_of_this_machine() -> None:
    assert look(Answer(500, b""), TEXT, TEXT) == ([[], []], [])
    assert look(Answer(500, b""), VIDEO, server="http://localhost:2583") == ([[]], [])


def test_a_pass_of_its_own_is_used() -> None:
    _, [asked, limits] = look(Answer(200, {"canUpload": True}), VIDEO)
    assert asked.params["aud"] == "did:web:video.bsky.app"
    assert asked.params["lxm"] == "app.bsky.video.getUploadLimits"
    assert (limits.headers["Authorization"], limits.effect) == ("Bearer pass", Effect.READ)
    assert limits.url.startswith("https://video.bsky.app/")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"canUpload": True, "remainingDailyVideos": 2, "remainingDailyBytes": 10_000}, [[], [], [], []]),
        ({"canUpload": True, "remainingDailyVideos": 1, "remainingDailyBytes": 10_000}, [[], [], ["daily_videos"], []]),
        ({"canUpload": True, "remainingDailyVideos": 9, "remainingDailyBytes": 1_999}, [[], [], ["daily_videos"], []]),
        ({"canUpload": False, "remainingDailyVideos": 0, "message": "User has exceeded daily upload videos limit"},
         [["daily_videos"], [], ["daily_videos"], []]),
        ({"canUpload": False, "message": "Account is not old enough to upload videos"},
         [["video_forbidden"], [], ["video_forbidden"], ["video_forbidden"]]),
        ({"canUpload": True}, [[], [], [], []]),
        ({}, [[], [], [], []]),
    ],
)  # fmt: skip
def test_what_the_days_limits_mean(limits: dict[str, Any], expected: list[list[str]]) -> None:
    """The last one is due after the day: what is used up by then is free again."""
    found, _ = look(Answer(200, limits), VIDEO, TEXT, VIDEO, VIDEO, hours=7)
    assert codes(found) == expected


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(400, {"error": "InvalidRequest"}), list),
        (Answer(404, b""), list),
        (Answer(501, {"error": "MethodNotImplemented"}), list),
        (Answer(401, {"error": "BadJwt"}), list),
        (Answer(503, b""), NotSent),
        (Answer(429, {}), RateLimited),
    ],
)
def test_a_service_that_does_not_say_keeps_no_post(answer: Answer, kind: type) -> None:
    found, _ = look(answer, VIDEO)
    assert isinstance(found, kind)
    if kind is list:
        assert found == [[]]


def test_without_a_session_the_account_is_asked_to_make_one() -> None:
    found, _ = look(Answer(200, {}), VIDEO, access_token=None)
    assert isinstance(found, AuthExpired)
    assert not found.permanent


@pytest.mark.parametrize(
    ("credentials", "ends"),
    [
        ({"identifier": "a", "password": "p", "refresh_token": "r"}, None),
        ({"dpop_key": {"kty": "EC"}}, None),
        ({"dpop_key": {"kty": "EC"}, "session_began_at": NOW.isoformat()}, NOW + timedelta(weeks=2)),
        ({"dpop_key": {"kty": "EC"}, "session_began_at": NOW.isoformat(), "client_key": {"kty": "EC"}},
         NOW + timedelta(days=730)),
    ],
)  # fmt: skip
def test_when_a_session_ends_whatever_is_renewed(credentials: dict[str, Any], ends: datetime | None) -> None:
    assert PLATFORM.access_ends_at(credentials) == ends
