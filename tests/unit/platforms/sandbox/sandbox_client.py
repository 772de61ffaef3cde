"""What the sandbox's tests send: small media, and a client that opens a connection for each call."""

from __future__ import annotations

import io
from typing import Any

import requests
from PIL import Image

from platforms.sandbox import Sandbox


def picture(colour: str = "teal", size: tuple[int, int] = (60, 90), kind: str = "PNG") -> bytes:
    """A small picture."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def animation(frames: int = 3) -> bytes:
    """A small animated GIF."""
    out = io.BytesIO()
    images = [Image.new("RGB", (20, 20), (60 * index, 0, 0)) for index in range(frames)]
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=50)
    return out.getvalue()


VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(200)
"""Known to the sandbox by its container only."""


class Client:
    """Speaks to one platform of the sandbox with one token; a fresh connection for each call."""

    def __init__(self, box: Sandbox, token: str) -> None:
        self.box = box
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {**self.headers, **kwargs.pop("headers", {})}
        return requests.request(method, self.box.url + path, headers=headers, timeout=20, **kwargs)

    def upload(self, data: bytes, kind: str = "image/png", category: str = "tweet_image") -> str:
        """X's chunked upload in one segment; the media id."""
        body = {"media_type": kind, "total_bytes": len(data), "media_category": category}
        begun = self("POST", "/2/media/upload/initialize", json=body)
        assert begun.status_code == 200, begun.text
        media_id = str(begun.json()["data"]["id"])
        part = {"media": ("blob", data, "application/octet-stream")}
        added = self("POST", f"/2/media/upload/{media_id}/append", data={"segment_index": "0"}, files=part)
        assert added.status_code == 200, added.text
        done = self("POST", f"/2/media/upload/{media_id}/finalize")
        assert done.status_code == 200, done.text
        return media_id
