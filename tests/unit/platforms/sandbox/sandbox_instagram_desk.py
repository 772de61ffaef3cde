"""What the tests of the sandbox's Instagram share: a store to fetch from, and an account as a worker would use it."""

from __future__ import annotations

import functools
import io
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
from sandbox_client import VIDEO, Client, picture

from platforms.base import (
    AccountRef,
    Call,
    Doubt,
    Draft,
    Identity,
    MediaItem,
    MediaKind,
    Processing,
    Ready,
)
from platforms.errors import TransportError
from platforms.http import Client as Http
from platforms.instagram import PLATFORM
from platforms.sandbox import Sandbox

JPEG = picture(kind="JPEG", size=(90, 100))
TOKEN = "sandbox-instagram-acme"


@contextmanager
def serving() -> Iterator[str]:
    """A store on this machine; its address."""
    files = {
        "/i.jpg": (JPEG, "image/jpeg"), "/wide.jpg": (picture(kind="JPEG", size=(400, 100)), "image/jpeg"),
        "/p.png": (picture(), "image/png"), "/v.mp4": (VIDEO, "video/mp4"), "/t.mp4": (b"no video", "video/mp4"),
    }  # fmt: skip

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
        self.credentials = dict(credentials or {"access_token": TOKEN})
        self.http = Http(api_hosts=PLATFORM.api_hosts, override=box.url, deadline_s=10)
        self.checkpoint: dict[str, Any] = {}
        self.account = AccountRef("instagram", "acme")
        identity = PLATFORM.identify(self.call())
        if isinstance(identity, Identity):
            facts = dict(identity.facts)
            self.account = AccountRef("instagram", "acme", identity.handle, identity.remote_id, facts)

    def call(self) -> Call:
        return Call(self.http, self.account, self.credentials, lambda: datetime.now(UTC), self.checkpoint)

    def draft(self, text: str, *media: MediaItem, **options: Any) -> Draft:
        draft = Draft(text, self.account, media, options)
        assert PLATFORM.validate(draft) == []
        return draft

    def prepared(self, draft: Draft) -> Any:
        """What ``prepare`` comes to, asked again as long as Instagram works."""
        for _ in range(100):
            outcome = PLATFORM.prepare(self.call(), draft)
            if not isinstance(outcome, Processing):
                return outcome
            time.sleep(0.02)
        raise AssertionError("never ready")

    def tried(self, draft: Draft) -> Any:
        """What ``publish`` answers or raises."""
        try:
            return self.publish(draft)
        except TransportError as error:
            return error

    def publish(self, draft: Draft) -> Any:
        """What ``publish`` answers; what goes with it is kept, as the core does."""
        outcome = PLATFORM.publish(self.call(), draft)
        if isinstance(outcome, Processing):
            self.checkpoint.update(outcome.checkpoint or {})
        return outcome

    def finish(self, draft: Draft) -> Any:
        """Until it is public, or will not be."""
        outcome = self.publish(draft)
        for _ in range(100):
            if isinstance(outcome, Ready):
                outcome = self.publish(draft)
            if not isinstance(outcome, Processing):
                return outcome
            time.sleep(0.02)
            outcome = PLATFORM.poll(self.call(), draft)
        raise AssertionError("never done")

    def look(self, draft: Draft) -> Any:
        now = datetime.now(UTC)
        return PLATFORM.reconcile(self.call(), draft, Doubt(now - timedelta(seconds=30), now, frozenset()))


def image(url: str, alt: str = "") -> MediaItem:
    return MediaItem(MediaKind.IMAGE, "image/jpeg", len(JPEG), 90, 100, f"{hash(url) % 10**9:064d}", alt=alt, url=url)


def clip(url: str | None) -> MediaItem:
    return MediaItem(
        MediaKind.VIDEO, "video/mp4", len(VIDEO), 90, 160, "7" * 64, duration_s=9.0, url=url,
        read=lambda: io.BytesIO(VIDEO),
    )  # fmt: skip


def make(ig: Client, user: str, **form: str) -> requests.Response:
    return ig("POST", f"/v26.0/{user}/media", params={"access_token": TOKEN}, data=form)
