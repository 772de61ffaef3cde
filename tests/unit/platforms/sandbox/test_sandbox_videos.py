"""Videos that the platforms refuse for their length or their size are refused here, in the platforms' own words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sandbox_client import Client, clip

from platforms.sandbox import Sandbox
from platforms.sandbox.bluesky_words import HOST

OPEN_ID = "sandbox-tiktok-acme"
UPLOAD_ORIGIN = "https://open-upload.tiktokapis.com"


def settled(look: Callable[[], dict[str, Any]], working: set[str], key: str) -> dict[str, Any]:
    """What ``look`` says once the platform has done its work."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = look()
        if found[key] not in working:
            return found
        time.sleep(0.02)
    raise AssertionError("never done")


def tiktok(box: Sandbox, data: bytes) -> str:
    """What became of an upload."""
    client = Client(box, OPEN_ID)
    source = {"source": "FILE_UPLOAD", "video_size": len(data), "chunk_size": len(data), "total_chunk_count": 1}
    body = {"post_info": {"privacy_level": "SELF_ONLY"}, "source_info": source}
    made = client("POST", "/v2/post/publish/video/init/", json=body).json()["data"]
    headers = {"Content-Type": "video/mp4", "Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
    url = made["upload_url"].replace(UPLOAD_ORIGIN, box.url)
    assert requests.put(url, data=data, headers=headers, timeout=10).status_code == 201

    def look() -> dict[str, Any]:
        told = client("POST", "/v2/post/publish/status/fetch/", json={"publish_id": made["publish_id"]})
        return dict(told.json()["data"])

    found = settled(look, {"PROCESSING_UPLOAD"}, "status")
    return str(found.get("fail_reason") or found["status"])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (clip(3.0), "PUBLISH_COMPLETE"),
        (clip(2.9), "duration_check_failed"),
        (clip(600.0), "PUBLISH_COMPLETE"),
        (clip(601.0), "duration_check_failed"),
        (clip(width=360, height=4096), "PUBLISH_COMPLETE"),
        (clip(width=358), "picture_size_check_failed"),
        (clip(height=4098), "picture_size_check_failed"),
        (b"\0\0\0\x14ftypmp42" + bytes(200), "file_format_check_failed"),
    ],
)
def test_tiktok(box: Sandbox, data: bytes, told: str) -> None:
    box.configure(processing_s=0.02)
    assert tiktok(box, data) == told
    assert len(box.accepted()) == (told == "PUBLISH_COMPLETE")


def test_tiktok_holds_a_creator_to_the_length_that_creator_info_names(box: Sandbox) -> None:
    box.configure(processing_s=0.02)
    box.account("tiktok", "acme", max_video_post_duration_sec=60)
    assert tiktok(box, clip(61.0)) == "duration_check_failed"


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("REELS", clip(3.0), "FINISHED"),
        ("REELS", clip(2.0), "ERROR"),
        ("REELS", clip(900.0), "FINISHED"),
        ("REELS", clip(901.0), "ERROR"),
        ("REELS", clip(width=1922, height=1080), "ERROR"),
        ("STORIES", clip(60.0), "FINISHED"),
        ("STORIES", clip(61.0), "ERROR"),
    ],
)
def test_instagram(box: Sandbox, kind: str, data: bytes, told: str) -> None:
    box.configure(processing_s=0.02)
    box.account("instagram", "acme", login="facebook")
    token = "sandbox-instagram-acme"
    user = requests.get(f"{box.url}/v26.0/me", params={"fields": "user_id", "access_token": token}, timeout=10).json()
    form = {"media_type": kind, "upload_type": "resumable", "access_token": token}
    made = requests.post(f"{box.url}/v26.0/{user['user_id']}/media", data=form, timeout=10).json()["id"]
    headers = {"Authorization": f"OAuth {token}", "offset": "0", "file_size": str(len(data))}
    sent = requests.post(f"{box.url}/ig-api-upload/v26.0/{made}", data=data, headers=headers, timeout=10)
    assert sent.json()["success"] is True

    def look() -> dict[str, Any]:
        query = {"fields": "status_code,status", "access_token": token}
        return dict(requests.get(f"{box.url}/v26.0/{made}", params=query, timeout=10).json())

    found = settled(look, {"IN_PROGRESS"}, "status_code")
    assert found["status_code"] == told
    assert ("2207026" in found["status"]) is (told == "ERROR")


@pytest.mark.parametrize(("seconds", "told"), [(600.0, "JOB_STATE_COMPLETED"), (601.0, "JOB_STATE_FAILED")])
def test_bluesky(box: Sandbox, seconds: float, told: str) -> None:
    box.configure(processing_s=0.02)
    sign_in = {"identifier": "acme", "password": "sandbox-bluesky-acme"}
    session = requests.post(f"{box.url}/xrpc/com.atproto.server.createSession", json=sign_in, timeout=10).json()
    bluesky = Client(box, session["accessJwt"])
    query = {"aud": f"did:web:{HOST}", "lxm": "com.atproto.repo.uploadBlob", "exp": str(int(time.time()) + 600)}
    token = bluesky("GET", "/xrpc/com.atproto.server.getServiceAuth", params=query).json()["token"]
    service = Client(box, token)
    headers = {"Content-Type": "video/mp4"}
    path = "/xrpc/app.bsky.video.uploadVideo"
    job = service("POST", path, params={"did": session["did"]}, data=clip(seconds), headers=headers).json()

    def look() -> dict[str, Any]:
        asked = service("GET", "/xrpc/app.bsky.video.getJobStatus", params={"jobId": job["jobId"]})
        return dict(asked.json()["jobStatus"])

    found = settled(look, {"JOB_STATE_ENCODING"}, "state")
    assert found["state"] == told
    assert ("blob" in found) is (told == "JOB_STATE_COMPLETED")
    assert (found.get("failureCode") == "validation_failure") is (told == "JOB_STATE_FAILED")


@pytest.mark.parametrize(("width", "height", "status"), [(3840, 2160, 202), (3840, 2162, 422)])
def test_mastodon(box: Sandbox, width: int, height: int, status: int) -> None:
    mastodon = Client(box, "sandbox-mastodon-acme")
    files = {"file": ("a.mp4", clip(width=width, height=height), "video/mp4")}
    answer = mastodon("POST", "/api/v2/media", files=files)
    assert answer.status_code == status
    assert ("not supported" in answer.text) is (status == 422)
