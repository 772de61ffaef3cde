"""The video service of the sandbox's Bluesky: passes, the day's limits, jobs, and the real module with them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from bluesky_desk import Desk, item
from sandbox_client import VIDEO, Client, clip

from platforms.base import Draft, MediaKind, Processing, Published, RateLimited, Ready, Rejected
from platforms.bluesky import PLATFORM
from platforms.readiness import Waiting
from platforms.sandbox import Sandbox
from platforms.sandbox.bluesky_video import FOR_LIMITS, FOR_SERVER


@pytest.fixture
def bluesky(box: Sandbox) -> Client:
    return Client(box, "sandbox-bluesky-acme")


@pytest.fixture
def did(bluesky: Client) -> str:
    return str(bluesky("GET", "/xrpc/com.atproto.server.getSession").json()["did"])


def a_pass(bluesky: Client, audience: str, method: str) -> dict[str, str]:
    query = {"aud": audience, "lxm": method} if method else {"aud": audience}
    answer = bluesky("GET", "/xrpc/com.atproto.server.getServiceAuth", params=query)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


@pytest.mark.parametrize("audience", ["", "somebody", "did:", "did:web:", "did:plc:short", "https://video.bsky.app"])
def test_a_pass_is_for_a_did(bluesky: Client, audience: str) -> None:
    answer = bluesky("GET", "/xrpc/com.atproto.server.getServiceAuth", params={"aud": audience, "lxm": "a.b.c"})
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("audience", "method", "error"),
    [
        ("did:web:bsky.social", FOR_SERVER[1], "BadJwtAudience"),
        (FOR_LIMITS[0], FOR_SERVER[1], "BadJwtAudience"),
        (FOR_SERVER[0], "app.bsky.video.uploadVideo", "BadJwtLexiconMethod"),
        (FOR_SERVER[0], "", "BadJwtLexiconMethod"),
    ],
)
def test_a_pass_for_something_else_is_not_taken(
    bluesky: Client, did: str, audience: str, method: str, error: str
) -> None:
    headers = {**a_pass(bluesky, audience, method), "Content-Type": "video/mp4"}
    answer = bluesky("POST", "/xrpc/app.bsky.video.uploadVideo", params={"did": did}, data=VIDEO, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, error)


def test_a_days_videos(box: Sandbox, bluesky: Client, did: str) -> None:
    box.configure(enforce_limits=True)
    box.account("bluesky", "acme", daily_videos=1)

    def limits() -> Any:
        headers = a_pass(bluesky, *FOR_LIMITS)
        return bluesky("GET", "/xrpc/app.bsky.video.getUploadLimits", headers=headers).json()

    def send(film: bytes) -> requests.Response:
        headers = {**a_pass(bluesky, *FOR_SERVER), "Content-Type": "video/mp4"}
        return bluesky("POST", "/xrpc/app.bsky.video.uploadVideo", params={"did": did}, data=film, headers=headers)

    assert (limits()["canUpload"], limits()["remainingDailyVideos"]) == (True, 1)
    assert send(VIDEO).status_code == 200
    assert (limits()["canUpload"], limits()["remainingDailyVideos"]) == (False, 0)
    refused = send(clip(filler=300))
    assert (refused.status_code, refused.json()["error"]) == (400, "DailyLimitExceeded")
    assert bluesky("GET", "/xrpc/app.bsky.video.getUploadLimits").json()["error"] == "AuthMissing"


def test_a_video_is_waited_for(box: Sandbox) -> None:
    box.configure(processing_s=0.3)
    desk = Desk(box)
    draft = Draft("It moves", desk.account, (item(VIDEO, MediaKind.VIDEO, "video/mp4"),))
    assert isinstance(PLATFORM.prepare(desk.call(), draft), Processing)
    outcome: Any = Processing(0)
    until = time.monotonic() + 20
    while isinstance(outcome, Processing) and time.monotonic() < until:
        time.sleep(0.02)
        outcome = PLATFORM.poll(desk.call(), draft)
    assert isinstance(outcome, Ready), outcome
    assert isinstance(PLATFORM.publish(desk.call(), draft), Published)
    # The same film again: the service has it, and says so by an error that names it.
    desk.checkpoint.clear()
    assert isinstance(desk.publish(draft), Published)


def test_a_days_videos_are_seen_ahead_and_told_when_they_are_refused(box: Sandbox) -> None:
    box.configure(enforce_limits=True)
    desk = Desk(box)
    draft = Draft("It moves", desk.account, (item(VIDEO, MediaKind.VIDEO, "video/mp4"),))
    waiting = [Waiting(draft, datetime.now(UTC) + timedelta(hours=1))]
    assert PLATFORM.ready_check(desk.call(), waiting) == [[]]
    box.account("bluesky", "acme", daily_videos=0)
    [[told]] = PLATFORM.ready_check(desk.call(), waiting)
    assert told.code == "daily_videos"
    outcome = PLATFORM.prepare(desk.call(), draft)
    assert isinstance(outcome, RateLimited)
    assert outcome.scope == "post"


def test_an_account_whose_address_is_not_confirmed_is_told_so(box: Sandbox) -> None:
    desk = Desk(box)
    box.account("bluesky", "acme", email_confirmed=False)
    draft = Draft("It moves", desk.account, (item(VIDEO, MediaKind.VIDEO, "video/mp4"),))
    outcome = PLATFORM.prepare(desk.call(), draft)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "email_unconfirmed"
