"""Whether a stranger gets what we stored, asked as a stranger."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import corpus
import pytest

from media.errors import MediaError, MediaRefused
from media.reach import check_public

PNG = corpus.encoded(corpus.picture(9, 9), "PNG")


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert "Authorization" not in self.headers
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/fine")
            self.end_headers()
            return
        self.send_response(403 if self.path == "/closed" else 200)
        self.send_header("Content-Type", "text/plain" if self.path == "/type" else "image/png")
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(PNG) - (self.path == "/short")))
        self.end_headers()
        self.wfile.write(PNG[: -1 if self.path == "/short" else None])

    def log_message(self, *_given: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_a_platform_could_fetch(origin: str) -> None:
    check_public(f"{origin}/fine", size=len(PNG), mime="image/png", allow_loopback=True)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/moved", "redirects"),
        ("/closed", "forbidden"),
        ("/type", "wrong_type"),
        ("/short", "wrong_length"),
        ("/endless", "wrong_length"),
    ],
)
def test_what_it_could_not(origin: str, path: str, code: str) -> None:
    with pytest.raises(MediaRefused) as caught:
        check_public(f"{origin}{path}", size=len(PNG), mime="image/png", allow_loopback=True)
    assert caught.value.code == code


def test_no_loopback_and_no_plain_http_by_default(origin: str) -> None:
    with pytest.raises(MediaRefused) as caught:
        check_public(f"{origin}/fine", size=len(PNG), mime="image/png")
    assert caught.value.code == "insecure"
    with pytest.raises(MediaError) as other:
        check_public(f"{origin.replace('http:', 'https:')}/fine", size=len(PNG), mime="image/png")
    assert getattr(other.value, "code", "") == "private_address"
