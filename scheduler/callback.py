"""The server on this machine that the browser is sent back to: for one sign-in, on one path, for a while."""

from __future__ import annotations

import hmac
import queue
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from platforms.connect import parameters_of
from scheduler.errors import Refused

LISTEN = "127.0.0.1"
SLOWEST_S = 5.0
"""How long one connection may take: browsers open some that they never use."""
_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>SchedulerX</title></head>
<body style="font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem">
<h1 style="font-size:1.3rem">{title}</h1><p>{words}</p></body></html>
"""
_HEADERS = (
    ("Cache-Control", "no-store"),
    # The address holds the code: it is not to be told to anybody.
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Connection", "close"),
)


class CallbackServer:
    """Listens from its making until it is closed::

        with CallbackServer("localhost", "/callback", 8765) as server:
            server.expect(state)
            answer = server.wait(300)

    It binds 127.0.0.1 alone, whatever the redirect calls this machine. Only a GET of the exact path, with the
    exact ``Host`` and the expected ``state`` counts, and only the first; everything else gets a plain refusal and
    changes nothing.

    :param host: this machine as the redirect names it: ``127.0.0.1`` or ``localhost``.
    :param port: 0: a free one.
    :raises Refused: the port is taken.
    """

    def __init__(self, host: str, path: str, port: int) -> None:
        self._answers: queue.Queue[Mapping[str, str]] = queue.Queue(maxsize=1)
        self._state: str | None = None
        self._path = path
        try:
            self._server = _Listener((LISTEN, port), self)
        except OSError:
            raise Refused(
                f"Port {port} of this machine is taken; choose another one with --port, and register the redirect"
                f" http://{host}:PORT{path} with the platform"
            ) from None
        self._netloc = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="callback", daemon=True)
        self._thread.start()

    @property
    def redirect_uri(self) -> str:
        """Where the browser has to be sent back to."""
        return f"http://{self._netloc}{self._path}"

    def expect(self, state: str) -> None:
        """From now on the answer with this state is taken."""
        self._state = state

    def wait(self, seconds: float) -> Mapping[str, str]:
        """The parameters that the browser brought. :raises TimeoutError: it did not come back in time."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stops listening."""
        self.close()

    def take(self, method: str, target: str, host: str) -> tuple[int, str, str]:
        """What a request is answered: status, title, words. The first right one is kept for ``wait``."""
        # The Host is compared so that a page of somebody else, whose name was made to lead here, cannot speak to us.
        if host.lower() != self._netloc or urlsplit(target).path != self._path:
            return 404, "Not here", "Nothing is at this address."
        if method != "GET":
            return 405, "Not so", "This address is only read."
        answer = parameters_of(target)
        expected = self._state
        if expected is None or not hmac.compare_digest(answer.get("state", "").encode(), expected.encode()):
            return 400, "Not this sign-in", "This address does not belong to the sign-in that is under way."
        try:
            self._answers.put_nowait(answer)
        except queue.Full:
            return 409, "Already done", "The answer has arrived before. You can close this page."
        if answer.get("error") or not answer.get("code"):
            return 200, "Not connected", "Access was not granted. You can close this page; the terminal says more."
        return 200, "Thank you", "SchedulerX has the answer and goes on in the terminal. You can close this page."


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    # Else a port that another program listens on could be shared, and the code be read there.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], owner: CallbackServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    timeout = SLOWEST_S
    server_version = "SchedulerX"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        """Nothing: the line would hold the code."""

    def _answer(self) -> None:
        status, title, words = self.server.owner.take(self.command, self.path, self.headers.get("Host", ""))
        body = _PAGE.format(title=title, words=words).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = do_PUT = do_OPTIONS = do_DELETE = _answer  # noqa: N815 - http.server's names
