"""What the sandbox's tests send: small media, and a client that opens a connection for each call."""

from __future__ import annotations

import io
import struct
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


def _box(kind: bytes, *inner: bytes) -> bytes:
    data = b"".join(inner)
    return struct.pack(">I4s", len(data) + 8, kind) + data


def clip(seconds: float = 6.0, width: int = 720, height: int = 1280, *, filler: int = 200) -> bytes:
    """An MP4 with a true header and no pictures: what the sandbox looks at."""
    mvhd = struct.pack(">4xIIII", 0, 0, 1000, round(seconds * 1000)) + bytes(80)
    tkhd = bytes(76) + struct.pack(">II", width << 16, height << 16)
    moov = _box(b"moov", _box(b"mvhd", mvhd), _box(b"trak", _box(b"tkhd", tkhd)))
    return _box(b"ftyp", b"mp42", bytes(12)) + moov + _box(b"mdat", bytes(filler))


VIDEO = clip()


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
