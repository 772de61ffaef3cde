"""The monitor: ``/live``, ``/ready`` and ``/metrics`` over HTTP, for probes and Prometheus.

``/live``: this process answers. ``/ready``: 200 unless health is down, then 503; the body says what is wrong.
``/metrics``: figures. Both come from Postgres, Redis and the store, looked at when asked and remembered for a few
seconds, so that many who ask at once cost one look. ``python -m scheduler.monitor`` is the light way to start it.
"""

from __future__ import annotations

import hmac
import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import workers  # noqa: F401 - first: it loads structlog without rich, 5 MB that nothing here prints with
from platforms.hosts import is_loopback
from scheduler import health
from scheduler.errors import NotConfigured
from scheduler.health import Check, State
from scheduler.logging import logger
from scheduler.metrics import CONTENT_TYPE, Collector, exposition
from scheduler.settings import Settings

log = logger(__name__)

T = TypeVar("T")

HEALTH_KEPT_S = 5.0
FIGURES_KEPT_S = 5.0
READ_S = 10.0
"""A client that sends nothing for so long is let go."""


class Kept(Generic[T]):
    """What ``look`` returned last, for ``seconds``; whoever asks meanwhile waits for one look, not for one each."""

    def __init__(self, seconds: float, look: Callable[[], T]) -> None:
        self._seconds = seconds
        self._look = look
        self._lock = threading.Lock()
        self._last: tuple[float, T] | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= self._seconds:
                found = self._look()
                self._last = (time.monotonic(), found)
            return self._last[1]


class Monitor:
    """What is served, without the serving."""

    def __init__(self, settings: Settings, *, kept_s: float | None = None) -> None:
        self.settings = settings
        self.health: Kept[list[Check]] = Kept(
            HEALTH_KEPT_S if kept_s is None else kept_s, partial(health.examine, settings)
        )
        collector = Collector(settings, self.health)
        self.figures: Kept[bytes] = Kept(FIGURES_KEPT_S if kept_s is None else kept_s, partial(exposition, collector))

    def answer(self, path: str, *, trusted: bool) -> tuple[int, str, bytes]:
        """(status, content type, body) of a request.

        :param trusted: whoever asks may see figures and reasons; others see states only.
        """
        if path == "/live":
            return 200, "text/plain; charset=utf-8", b"live\n"
        if path == "/ready":
            found = self.health()
            state = health.overall(found)
            checks = [
                {"name": one.name, "state": one.state, **({"message": one.message} if trusted else {})} for one in found
            ]
            body = json.dumps({"state": state, "checks": checks}, indent=2).encode() + b"\n"
            return 503 if state is State.DOWN else 200, "application/json", body
        if path == "/metrics":
            if not trusted:
                return 401, "text/plain; charset=utf-8", b"a token is needed: SCHEDULERX_MONITOR_TOKEN\n"
            return 200, CONTENT_TYPE, self.figures()
        return 404, "text/plain; charset=utf-8", b"there are /live, /ready and /metrics\n"

    def trusts(self, authorization: str, *, loopback: bool) -> bool:
        """With a token set, only who shows it; without one, everybody where only this machine can ask."""
        token = self.settings.monitor_token
        if token is None:
            return loopback
        return hmac.compare_digest(authorization.encode(), f"Bearer {token.get_secret_value()}".encode())


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server_version = "schedulerx"
    sys_version = ""
    timeout = READ_S

    def __init__(self, monitor: Monitor, loopback: bool, *args: Any) -> None:
        self.monitor = monitor
        self.loopback = loopback
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answers, whatever happens."""
        trusted = self.monitor.trusts(self.headers.get("Authorization", ""), loopback=self.loopback)
        try:
            status, kind, body = self.monitor.answer(urlsplit(self.path).path, trusted=trusted)
        except Exception as error:  # a bug of ours is an answer, too: a probe must not hang on it
            log.exception("monitor.failed", path=urlsplit(self.path).path, error=type(error).__name__)
            status, kind, body = 500, "text/plain; charset=utf-8", b"failed; see the log\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - http.server's own name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
        """Says nothing: a line for each probe would bury the rest."""


class Server(ThreadingHTTPServer):
    """Threads that never keep the process from ending."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's own
        """A client that went away is nobody's error."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("monitor.request", error=type(error).__name__)


def listen(settings: Settings, host: str, port: int, *, kept_s: float | None = None) -> Server:
    """A server that is bound and not yet serving. :raises NotConfigured: it cannot listen there."""
    monitor = Monitor(settings, kept_s=kept_s)
    if not is_loopback(host) and settings.monitor_token is None:
        log.warning("monitor.open", host=host, told="figures and reasons are refused without SCHEDULERX_MONITOR_TOKEN")
    try:
        return Server((host, port), partial(Handler, monitor, is_loopback(host)))
    except OSError as error:
        raise NotConfigured(
            f"The monitor cannot listen on {host}:{port} ({error.strerror}); set SCHEDULERX_MONITOR_PORT"
        ) from None


def serve(settings: Settings, host: str, port: int) -> None:
    """Serves until the process is ended."""
    with listen(settings, host, port) as server:
        sys.stdout.write(f"monitor ready on http://{host}:{server.server_address[1]} (/live, /ready, /metrics)\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def main() -> int:
    """``python -m scheduler.monitor``: from the environment, without the rest of the command line."""
    import argparse

    from scheduler import logging as logs
    from scheduler.settings import from_environment

    words = argparse.ArgumentParser(
        prog="python -m scheduler.monitor", description="Serves /live, /ready and /metrics."
    )
    words.add_argument("--host", help="address to listen on; SCHEDULERX_MONITOR_HOST otherwise")
    words.add_argument("--port", type=int, help="SCHEDULERX_MONITOR_PORT otherwise")
    asked = words.parse_args()
    try:
        settings = from_environment()
        logs.configure(form=settings.log_format, level=settings.log_level)
        serve(
            settings,
            asked.host or settings.monitor_host,
            settings.monitor_port if asked.port is None else asked.port,
        )
    except NotConfigured as error:
        sys.stderr.write(f"monitor: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
