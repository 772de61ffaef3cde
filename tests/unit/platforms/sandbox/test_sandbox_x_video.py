"""X's videos and animations in the sandbox: what processing finds, and what the post call refuses."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
import requests
from PIL import Image
from sandbox_client import Client, clip, picture

from platforms.sandbox import Sandbox
from platforms.sandbox.clip import Clip, read_clip

MIB = 1024 * 1024


def state(x: Client, media_id: str) -> dict[str, Any]:
    answer = x("GET", "/2/media/upload", params={"command": "STATUS", "media_id": media_id})
    found: dict[str, Any] = answer.json()["data"]["processing_info"]
    return found


def posted(x: Client, *media_ids: str) -> requests.Response:
    return x("POST", "/2/tweets", json={"text": "film", "media": {"media_ids": list(media_ids)}})


@pytest.fixture(autouse=True)
def at_once(box: Sandbox) -> None:
    box.configure(processing_s=0.0)


def test_a_video_is_shown_and_counted(box: Sandbox, x: Client) -> None:
    media_id = x.upload(clip(), "video/mp4", "tweet_video")
    alt = {"id": media_id, "metadata": {"alt_text": {"text": "a boat"}}}
    assert x("POST", "/2/media/metadata", json=alt).status_code == 200
    assert posted(x, media_id).status_code == 201
    [shown] = box.accepted()[0]["content"]["pictures"]
    assert shown["alt"] == "a boat"
    page = requests.get(box.url, timeout=10)
    assert f'<video src="/_sandbox/blob/{shown["sha256"]}"' in page.text
    assert "media-src 'self'" in page.headers["content-security-policy"]
    blob = requests.get(f"{box.url}/_sandbox/blob/{shown['sha256']}", timeout=10)
    assert (blob.content, blob.headers["content-type"]) == (clip(), "video/mp4")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x00\x00\x00\x18ftypmp42" + bytes(200), "Unsupported"),
        (clip(0.4), "too short"),
        (clip(width=1300, height=1000), "dimensions"),
        (clip(width=1280, height=1100), "dimensions"),
        (clip(width=1000, height=300), "dimensions"),
        (clip(width=30, height=40), "dimensions"),
    ],
)
def test_what_cannot_be_processed_fails_there(x: Client, data: bytes, why: str) -> None:
    media_id = x.upload(data, "video/mp4", "tweet_video")
    found = state(x, media_id)
    assert found["state"] == "failed"
    assert why in found["error"]["message"]
    assert posted(x, media_id).status_code == 400


@pytest.mark.parametrize(("width", "height"), [(1280, 1024), (1024, 1280), (720, 1280), (960, 320)])
def test_both_ways_to_hold_it_are_fine(x: Client, width: int, height: int) -> None:
    assert posted(x, x.upload(clip(width=width, height=height), "video/mp4", "tweet_video")).status_code == 201


def test_long_and_large_videos_are_for_premium(box: Sandbox, x: Client) -> None:
    long = x.upload(clip(141), "video/mp4", "tweet_video")
    assert state(x, long)["state"] == "succeeded"
    refused = posted(x, long)
    assert refused.status_code == 403
    assert "longer than 2 minutes" in refused.json()["detail"]
    box.account("x", "acme", premium=True)
    assert posted(x, long).status_code == 201
    assert posted(x, x.upload(clip(width=1920, height=1080), "video/mp4", "tweet_video")).status_code == 201


def test_media_cannot_be_mixed(x: Client) -> None:
    film, other, still = (
        x.upload(clip(), "video/mp4", "tweet_video"),
        x.upload(clip(7), "video/mp4", "tweet_video"),
        x.upload(picture()),
    )
    for pair in ((film, still), (film, other)):
        assert posted(x, *pair).status_code == 400
    body = {"text": "?", "media": {"media_ids": [film]}, "poll": {"options": ["a", "b"], "duration_minutes": 60}}
    assert x("POST", "/2/tweets", json=body).status_code == 400


def test_an_animation_with_too_many_frames_fails(x: Client) -> None:
    out = io.BytesIO()
    images = [Image.new("P", (2, 2), index % 256) for index in range(351)]
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=20, optimize=False)
    found = state(x, x.upload(out.getvalue(), "image/gif", "tweet_gif"))
    assert (found["state"], "too many frames" in found["error"]["message"]) == ("failed", True)
    wide = io.BytesIO()
    frames = [Image.new("P", (1300, 10), index) for index in range(2)]
    frames[0].save(wide, "GIF", save_all=True, append_images=frames[1:], duration=20)
    assert state(x, x.upload(wide.getvalue(), "image/gif", "tweet_gif"))["state"] == "failed"


def test_segments_must_be_whole_small_enough_and_add_up(x: Client) -> None:
    data = clip(filler=3 * MIB)
    body = {"media_type": "video/mp4", "total_bytes": len(data), "media_category": "tweet_video"}
    media_id = x("POST", "/2/media/upload/initialize", json=body).json()["data"]["id"]
    path = f"/2/media/upload/{media_id}"

    def append(index: int, piece: bytes) -> int:
        part = {"media": base64.b64encode(piece).decode(), "segment_index": index}
        return x("POST", f"{path}/append", json=part).status_code

    assert append(0, b"") == 400
    assert append(0, data[: MIB + 1]) == 413
    assert append(1000, data[:5]) == 400
    assert append(0, data[:MIB]) == 200
    assert append(2, data[2 * MIB : 3 * MIB]) == 200
    assert x("POST", f"{path}/finalize").status_code == 400
    assert append(1, data[MIB : 2 * MIB]) == 200
    assert x("POST", f"{path}/finalize").status_code == 400
    assert append(3, data[3 * MIB :] + b"more") == 400
    assert append(3, data[3 * MIB :]) == 200
    assert x("POST", f"{path}/finalize").status_code == 200
    assert append(4, b"late") == 400
    assert posted(x, media_id).status_code == 201


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(8),
        b"\x00\x00\x00\x08moov",
        clip()[:60],
        clip().replace(b"mvhd", b"free"),
        clip().replace(b"tkhd", b"free"),
        clip(width=0),
        b"\x00\x00\x00\x01moov" + b"\xff" * 8,
    ],
)
def test_a_broken_header_is_no_clip(data: bytes) -> None:
    assert read_clip(data) is None


def test_a_header_tells_time_and_size() -> None:
    assert read_clip(clip(6.5, 320, 240)) == Clip(6.5, 320, 240)
