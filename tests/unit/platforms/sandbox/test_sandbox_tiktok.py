"""The real TikTok module against the sandbox's TikTok, with faults at each step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sandbox_client import VIDEO, Client, picture
from sandbox_tiktok_desk import APP, BIG, PUBLIC, STATUS, Desk, clip, photo, serving, watched

from platforms.base import (
    Absent,
    AuthExpired,
    Found,
    Identity,
    Inconclusive,
    NotPublished,
    NotSent,
    Processing,
    Published,
    RateLimited,
    Ready,
    Refreshed,
    Rejected,
    Repeatable,
    Unknown,
)
from platforms.errors import TransportError
from platforms.sandbox import Sandbox
from platforms.sandbox.tiktok_jobs import FAIL_REASONS
from platforms.sandbox.wire import Response
from platforms.tiktok import PLATFORM
from platforms.tiktok.doubt import GONE_AFTER, STATUS_LAG


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Response]]]:
    """Every answer, all of which have to be described ones."""
    with watched(monkeypatch) as seen:
        yield seen


@pytest.fixture
def tiktok(box: Sandbox) -> Client:
    return Client(box, "sandbox-tiktok-acme")


@pytest.fixture
def store() -> Iterator[tuple[str, dict[str, tuple[bytes, str]]]]:
    """A store on this machine: its address, and its files by path."""
    files: dict[str, tuple[bytes, str]] = {}
    with serving(files) as url:
        yield url, files


@pytest.mark.parametrize("data", [VIDEO, BIG], ids=["one-chunk", "two-chunks"])
def test_an_uploaded_video(box: Sandbox, data: bytes) -> None:
    box.configure(processing_s=0.1)
    desk = Desk(box)
    draft = desk.draft("Soup #lunch", clip(data))
    desk.prepare(draft)
    assert box.accepted() == []
    outcome = desk.finish(draft)
    [row] = box.accepted()
    assert outcome == Published(row["remote_id"], f"https://www.tiktok.com/@acme/video/{row['remote_id']}")
    assert row["content"]["text"] == "Soup #lunch"
    assert row["content"]["privacy"] == PUBLIC


def test_photos_and_a_pulled_video_private_and_inbox(box: Sandbox, store: Any) -> None:
    box.configure(processing_s=0.05)
    url, files = store
    files["/p.jpg"] = (picture(kind="JPEG"), "image/jpeg")
    files["/v.mp4"] = (VIDEO, "video/mp4")
    desk = Desk(box)
    for draft, named in (
        (desk.draft("Photos", photo(f"{url}/p.jpg"), photo(f"{url}/p.jpg"), title="Two"), True),
        (desk.draft("Pulled", clip(url=f"{url}/v.mp4"), media="url"), True),
        (desk.draft("Mine", photo(f"{url}/p.jpg"), privacy="SELF_ONLY"), False),
        (desk.draft("Draft", photo(f"{url}/p.jpg"), mode="inbox", privacy=None), False),
        (desk.draft("", clip(), mode="inbox", privacy=None), False),
    ):
        desk.checkpoint = {}
        desk.prepare(draft)
        outcome = desk.finish(draft)
        assert isinstance(outcome, Published)
        assert (outcome.remote_id is not None) is named
    assert len(box.accepted()) == 5
    assert box.summary()["doubled"] == []


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("reset_early", False),
        ("reset_before", False),
        ("reset_after", True),
        ("cut_answer", True),
        ("server_error", False),
        ("server_error_after", True),
        ("html_error_page", False),
    ],
)
def test_a_doubtful_last_chunk_is_settled_by_its_publish_id(box: Sandbox, kind: str, stored: bool) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("doubtful", clip(BIG))
    desk.prepare(draft)
    box.set_faults([{"step": "tiktok.upload", "kind": kind, "count": 1}])
    outcome = desk.tried(draft)
    # The answer to a chunk has no body: what is cut of it tells all the same.
    told = Processing if kind == "cut_answer" else Unknown
    assert isinstance(outcome, told) or (isinstance(outcome, TransportError) and outcome.sent), outcome
    assert len(box.accepted()) == stored
    desk.late = STATUS_LAG + timedelta(seconds=1)
    found = desk.look(draft)
    assert isinstance(found, Found if stored else Repeatable), found
    if not stored:
        assert isinstance(desk.finish(draft), Published)
    assert len(box.accepted()) == 1


def test_a_lost_answer_of_an_init_that_publishes(box: Sandbox, store: Any) -> None:
    box.configure(processing_s=0.0)
    url, files = store
    files["/p.jpg"] = (picture(kind="JPEG"), "image/jpeg")
    desk = Desk(box)
    draft = desk.draft("Lost & found", photo(f"{url}/p.jpg"))
    desk.prepare(draft)
    box.set_faults([{"step": "*.publish", "kind": "reset_after", "count": 1}])
    with pytest.raises(TransportError):
        PLATFORM.publish(desk.call(), draft)
    found = desk.look(draft)
    assert isinstance(found, Found)
    assert found.remote_id == box.accepted()[0]["remote_id"]
    never = desk.draft("Never sent", photo(f"{url}/p.jpg"))
    assert isinstance(desk.look(never), Inconclusive)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("rate_limited", RateLimited),
        ("expired_token", AuthExpired),
        ("forbidden", AuthExpired),
        ("server_error", Unknown),
    ],
)
def test_refusals_of_an_init_are_understood(box: Sandbox, store: Any, kind: str, outcome: type) -> None:
    url, files = store
    files["/p.jpg"] = (picture(kind="JPEG"), "image/jpeg")
    desk = Desk(box)
    draft = desk.draft("refused", photo(f"{url}/p.jpg"))
    desk.prepare(draft)
    box.set_faults([{"step": "tiktok.content_init", "kind": kind}])
    assert isinstance(PLATFORM.publish(desk.call(), draft), outcome)
    assert box.accepted() == []


@pytest.mark.parametrize("path", ["/gone.jpg", "/text.jpg", "/p.png"])
def test_what_cannot_be_fetched_or_is_no_photo_fails_by_its_status(box: Sandbox, store: Any, path: str) -> None:
    box.configure(processing_s=0.0)
    url, files = store
    files |= {"/text.jpg": (b"no picture", "image/jpeg"), "/p.png": (picture(), "image/png")}
    desk = Desk(box)
    draft = desk.draft("no", photo(f"{url}{path}"))
    desk.prepare(draft)
    assert isinstance(PLATFORM.publish(desk.call(), draft), Processing)
    outcome = PLATFORM.poll(desk.call(), draft)
    # A pull that failed is begun anew; a wrong file is not.
    assert isinstance(outcome, Processing if path == "/gone.jpg" else Rejected)
    assert box.accepted() == []


def test_urls_of_other_machines_are_not_ours_to_use(box: Sandbox) -> None:
    desk = Desk(box)
    draft = desk.draft("far away", photo("https://media.example/p.jpg"))
    desk.prepare(draft)
    outcome = PLATFORM.publish(desk.call(), draft)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.operator_alert) == ("url_ownership_unverified", True)


def test_the_creators_options_are_asked_for_at_each_post(box: Sandbox) -> None:
    desk = Desk(box)
    draft = desk.draft("hi", clip())
    box.account("tiktok", "acme", privacy_level_options=["SELF_ONLY"])
    outcome = PLATFORM.prepare(desk.call(), draft)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "privacy_not_offered"


def test_the_days_cap_is_told_with_status_200(box: Sandbox, tiktok: Client) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    for number in range(15):
        desk.checkpoint = {}
        draft = desk.draft(f"n{number}", clip())
        desk.prepare(draft)
        assert isinstance(desk.finish(draft), Published)
    box.configure(enforce_limits=True)
    answer = tiktok("POST", "/v2/post/publish/creator_info/query/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, "spam_risk_too_many_posts")
    desk.checkpoint = {}
    assert isinstance(PLATFORM.prepare(desk.call(), desk.draft("one more", clip())), RateLimited)


def test_a_refresh_token_works_once(box: Sandbox) -> None:
    made = box.account("tiktok", "acme", expires_in=0.0)
    old = {"access_token": made["token"], "refresh_token": made["refresh_token"], **APP}
    desk = Desk(box, old)
    assert isinstance(PLATFORM.identify(desk.call()), AuthExpired)
    # Who names himself wrongly has spent nothing.
    desk.credentials = {**old, "client_secret": "wrong"}
    assert isinstance(refused := PLATFORM.refresh(desk.call()), AuthExpired)
    assert refused.code == "invalid_client"
    desk.credentials = old
    box.set_faults([{"step": "tiktok.token", "kind": "html_error_page", "status": 403, "count": 1}])
    assert isinstance(PLATFORM.refresh(desk.call()), NotSent)
    renewed = PLATFORM.refresh(desk.call())
    assert isinstance(renewed, Refreshed)
    assert renewed.credentials["refresh_token"] != old["refresh_token"]
    again = PLATFORM.refresh(desk.call())
    assert isinstance(again, AuthExpired)
    assert again.permanent
    desk.credentials = dict(renewed.credentials)
    assert isinstance(PLATFORM.identify(desk.call()), Identity)


# --- What TikTok does not say, or does now and then ---------------------------------------------------------


@pytest.mark.parametrize("answered", [403, 404, 416])
def test_a_lost_last_chunk_a_status_that_lags_and_a_no_make_one_post(box: Sandbox, answered: int) -> None:
    box.configure(processing_s=0.0)
    box.account("tiktok", "acme", finished_upload=answered)
    desk = Desk(box)
    draft = desk.draft("once", clip(BIG))
    desk.prepare(draft)
    lags = {"step": "tiktok.status", "kind": "read_lag", "lag_s": 3600.0}
    box.set_faults([{"step": "tiktok.upload", "kind": "reset_after", "count": 1}, lags])
    outcome = desk.tried(draft)
    assert isinstance(outcome, TransportError)
    assert outcome.sent
    assert isinstance(desk.look(draft), Inconclusive)
    desk.late = STATUS_LAG + timedelta(seconds=1)
    assert desk.look(draft) == Repeatable()
    # Sent again while the status still says "uploading": the upload is complete, and says so in its own way.
    outcome = desk.tried(draft)
    assert isinstance(outcome, Processing if answered == 416 else Unknown), outcome
    if answered != 416:
        assert isinstance(desk.look(draft), Inconclusive)
        assert isinstance(desk.tried(draft), Unknown)
    box.set_faults([])
    assert isinstance(desk.look(draft), Found)
    assert isinstance(desk.finish(draft), Published)
    assert len(box.accepted()) == 1
    assert box.summary()["requests"]["tiktok.video_init"] == 1


@pytest.mark.parametrize("status", [403, 404])
def test_an_upload_host_that_refuses_a_chunk_that_never_came_is_left_in_the_end(box: Sandbox, status: int) -> None:
    box.configure(processing_s=0.0)
    desk = Desk(box)
    draft = desk.draft("later", clip(BIG))
    desk.prepare(draft)
    refuses = {"step": "tiktok.upload", "kind": "html_error_page", "status": status, "count": 1}
    box.set_faults([{"step": "tiktok.upload", "kind": "reset_before", "count": 1}, refuses])
    assert isinstance(desk.tried(draft), TransportError)
    assert isinstance(desk.tried(draft), Unknown)
    desk.late = GONE_AFTER + timedelta(seconds=1)
    assert desk.look(draft) == Absent()
    assert isinstance(desk.finish(draft), Published)
    assert len(box.accepted()) == 1


def test_a_public_post_in_moderation_has_no_id_and_is_in_no_list(box: Sandbox, tiktok: Client) -> None:
    box.configure(processing_s=0.0)
    box.account("tiktok", "acme", moderation_s=0.3)
    desk = Desk(box)
    draft = desk.draft("moderated", clip())
    desk.prepare(draft)
    assert isinstance(PLATFORM.publish(desk.call(), draft), Processing)
    publish_id = desk.checkpoint["job"]["publish_id"]
    told = tiktok("POST", STATUS, json={"publish_id": publish_id}).json()["data"]
    assert told == {"status": "PUBLISH_COMPLETE", "uploaded_bytes": len(VIDEO)}
    assert tiktok("POST", "/v2/video/list/?fields=id", json={"max_count": 5}).json()["data"]["videos"] == []
    outcome = desk.finish(draft)
    assert outcome.remote_id == box.accepted()[0]["remote_id"]
    assert len(tiktok("POST", "/v2/video/list/?fields=id", json={"max_count": 5}).json()["data"]["videos"]) == 1


@pytest.mark.parametrize("reason", FAIL_REASONS)
def test_each_fail_reason_can_be_had(box: Sandbox, reason: str) -> None:
    box.configure(processing_s=0.0)
    box.account("tiktok", "acme", fail_reason=reason)
    desk = Desk(box)
    draft = desk.draft("fails", clip())
    desk.prepare(draft)
    outcome = PLATFORM.publish(desk.call(), draft)
    assert isinstance(outcome, Processing)
    outcome = PLATFORM.poll(desk.call(), draft)
    if reason == "auth_removed":
        assert outcome == NotPublished(AuthExpired("auth_removed", outcome.why.message, permanent=True))
    elif reason == "spam_risk_too_many_posts":
        assert isinstance(outcome.why, RateLimited)
    elif reason in {"internal", "video_pull_failed", "photo_pull_failed"}:
        assert isinstance(outcome, Processing)
        box.account("tiktok", "acme", fail_reason="")
        assert isinstance(PLATFORM.poll(desk.call(), draft), Ready)
        assert isinstance(desk.finish(draft), Published)
        return
    else:
        assert isinstance(outcome, Rejected)
        assert outcome.code == reason
    assert box.accepted() == []


def test_orders_that_tiktok_does_not_know_are_refused(box: Sandbox) -> None:
    for wrong in ({"fail_reason": "bad_mood"}, {"finished_upload": 200}):
        with pytest.raises(ValueError, match="is one of"):
            box.account("tiktok", "acme", **wrong)
