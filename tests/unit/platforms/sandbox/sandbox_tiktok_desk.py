"""What the tests of the sandbox's TikTok share: a store to fetch from, an account as a worker would use it, and a watch
over every answer: it has to be one that TikTok's pages describe.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_client import VIDEO, Client

from platforms.base import AccountRef, Call, Doubt, Draft, Identity, MediaItem, MediaKind, Processing, Ready
from platforms.errors import TransportError
from platforms.http import Client as Http
from platforms.sandbox import Sandbox
from platforms.sandbox.emulator import RefusedError, Route
from platforms.sandbox.tiktok import TikTok
from platforms.sandbox.wire import Request, Response
from platforms.tiktok import PLATFORM

PUBLIC = "PUBLIC_TO_EVERYONE"
INIT = "/v2/post/publish/video/init/"
STATUS = "/v2/post/publish/status/fetch/"
BIG = VIDEO + bytes(11 * 1024 * 1024)
UPLOADS = "https://open-upload.tiktokapis.com"
APP = {"client_key": "sandbox-app-tiktok", "client_secret": "sandbox-secret-tiktok"}
SPEC = Path(os.environ.get("SCHEDULERX_SHARED") or Path(__file__).parents[4].parent / "shared") / (
    "specs/tiktok-content-posting.json"
)


@contextmanager
def serving(files: Mapping[str, tuple[bytes, str]]) -> Iterator[str]:
    """A store on this machine with these files by path; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data, kind = files.get(self.path, (b"", ""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Desk:
    """One account, as a worker would use it: one post over one checkpoint."""

    def __init__(self, box: Sandbox, credentials: Mapping[str, Any] | None = None) -> None:
        self.box = box
        self.credentials = dict(credentials or {"access_token": "sandbox-tiktok-acme"})
        self.http = Http(api_hosts=PLATFORM.api_hosts, override=box.url, deadline_s=10)
        self.checkpoint: dict[str, Any] = {}
        self.late = timedelta()
        """How far the module's clock is ahead."""
        self.account = AccountRef("tiktok", "acme")
        identity = PLATFORM.identify(self.call())
        if isinstance(identity, Identity):
            facts = {**identity.facts, "scopes": ["video.list"]}
            self.account = AccountRef("tiktok", "acme", identity.handle, identity.remote_id, facts)

    def call(self) -> Call:
        now = lambda: datetime.now(UTC) + self.late  # noqa: E731 - a clock
        return Call(self.http, self.account, self.credentials, now, self.checkpoint)

    def draft(self, text: str, *media: MediaItem, **options: Any) -> Draft:
        draft = Draft(text, self.account, media, {"privacy": PUBLIC} | options)
        assert PLATFORM.validate(draft) == []
        return draft

    def prepare(self, draft: Draft) -> None:
        if PLATFORM.needs_prepare(draft):
            assert isinstance(PLATFORM.prepare(self.call(), draft), Ready)

    def tried(self, draft: Draft) -> Any:
        """What ``publish`` answers or raises."""
        try:
            return PLATFORM.publish(self.call(), draft)
        except TransportError as error:
            return error

    def finish(self, draft: Draft, outcome: Any = None) -> Any:
        outcome = outcome or PLATFORM.publish(self.call(), draft)
        for _ in range(100):
            if not isinstance(outcome, Processing):
                return outcome
            self.checkpoint.update(outcome.checkpoint or {})
            time.sleep(0.02)
            outcome = PLATFORM.poll(self.call(), draft)
        raise AssertionError("never done")

    def look(self, draft: Draft) -> Any:
        now = datetime.now(UTC)
        return PLATFORM.reconcile(self.call(), draft, Doubt(now - timedelta(seconds=30), now, frozenset()))


def clip(data: bytes = VIDEO, url: str | None = None) -> MediaItem:
    """A video."""
    sha = f"{len(data):064x}"
    return MediaItem(
        MediaKind.VIDEO, "video/mp4", len(data), 720, 1280, sha, duration_s=9.0, url=url, read=lambda: io.BytesIO(data)
    )


def photo(url: str) -> MediaItem:
    """A photo that can be fetched."""
    return MediaItem(MediaKind.IMAGE, "image/jpeg", 100, 60, 90, "1" * 64, url=url)


def begin(tiktok: Client, size: int, chunk: int, count: int, level: str = PUBLIC, title: str = "") -> requests.Response:
    """The answer to an init for an upload."""
    source = {"source": "FILE_UPLOAD", "video_size": size, "chunk_size": chunk, "total_chunk_count": count}
    body = {"post_info": {"privacy_level": level, "title": title}, "source_info": source}
    return tiktok("POST", INIT, json=body)


def put(box: Sandbox, url: str, data: bytes = VIDEO, **headers: str) -> requests.Response:
    """The answer to a video that is sent as one chunk."""
    told = {"Content-Type": "video/mp4", "Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}", **headers}
    return requests.put(url.replace(UPLOADS, box.url), data=data, headers=told, timeout=10)


# --- A watch over the answers -------------------------------------------------------------------------------


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Response]]]:
    """Sandboxes that are made meanwhile answer as TikTok's pages describe, as far as they say anything.

    :returns: the answers, and the step that each is from ("": the framework's own).
    """
    seen: list[tuple[str, Response]] = []
    routes, error = TikTok.routes, TikTok.error

    def watching(route: Route) -> Route:
        async def handler(request: Request) -> Response:
            try:
                response = await route.handler(request)
            except RefusedError as refusal:
                seen.append((route.step, refusal.response))
                raise
            seen.append((route.step, response))
            return response

        return dataclasses.replace(route, handler=handler)

    def told(self: TikTok, status: int, message: str = "") -> Response:
        seen.append(("", error(self, status, message)))
        return seen[-1][1]

    monkeypatch.setattr(TikTok, "routes", lambda self: [watching(route) for route in routes(self)])
    monkeypatch.setattr(TikTok, "error", told)
    yield seen
    if SPEC.is_file():
        described = json.loads(SPEC.read_text())
        for step, response in seen:
            _check(described, step, response)


def _check(described: Any, step: str, response: Response) -> None:
    body = json.loads(response.body) if response.body else {}
    error = body.get("error")
    if not isinstance(error, dict):
        return  # chunks have no body, and of OAuth's flat errors nothing is described
    assert set(error) == {"code", "message", "log_id"}
    group = "5xx" if response.status >= 500 else str(response.status)
    if error["code"] == "ok":
        assert response.status == 200
        data = body["data"]
        assert data.get("status", "FAILED") in described["status_values"]
        reasons = {reason for group in described["fail_reasons"].values() for reason in group}
        assert ("fail_reason" in data) is (data.get("status") == "FAILED")
        assert data.get("fail_reason", "internal") in reasons
        assert set(data.get("privacy_level_options", ())) <= set(described["privacy_levels"])
    elif (step, group) == ("creator_info", "200"):
        assert error["code"] in described["error_codes"]["403"]  # seen live: a cap, with status 200
    else:
        assert error["code"] in described["error_codes"][group], (step, response.status, error)
