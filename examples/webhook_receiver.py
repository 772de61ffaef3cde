"""A receiver of SchedulerX webhooks, with nothing but Python's standard library.

    WEBHOOK_KEY=whsec_... python examples/webhook_receiver.py 8080

It believes a request only if its signature fits, its timestamp is young, and its id was not seen before.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_S = 300
"""How far apart the clocks may be, and how long a request may have been on its way."""
LARGEST = 1_000_000


def believable(key: str, headers: Any, body: bytes, now: float) -> str:
    """Why a request is not believed; empty: it is."""
    stamp, number = headers.get("SchedulerX-Timestamp", ""), headers.get("SchedulerX-Id", "")
    if not stamp.isdigit() or abs(now - int(stamp)) > TOLERANCE_S:
        return "its timestamp is missing, too old, or of the future"
    signed = f"{stamp}.{number}.".encode() + body
    wanted = "v1=" + hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()
    # compare_digest takes the same time however much fits. Several signatures may come, separated by blanks.
    given = headers.get("SchedulerX-Signature", "").split()
    if not any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given):
        return "its signature does not fit"
    return ""


class Once:
    """The ids of what was handled already: a retry whose answer was lost, and a replay, come with the same id."""

    def __init__(self, file: str) -> None:
        self._file = file
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE IF NOT EXISTS handled (id TEXT PRIMARY KEY, at REAL)")

    def handle(self, number: str, body: bytes) -> None:
        """Handles an event whose id is new. If that fails the id stays new, and the retry is handled."""
        with sqlite3.connect(self._file) as db:
            if db.execute("INSERT OR IGNORE INTO handled VALUES (?, ?)", (number, time.time())).rowcount:
                handle(json.loads(body))


def handle(event: dict[str, Any]) -> None:
    """Your own work. Answer quickly: what takes long belongs into a queue of yours."""
    sys.stdout.write(f"{event['type']} {json.dumps(event['data'], ensure_ascii=False)}\n")
    sys.stdout.flush()


def serve(port: int, key: str, file: str = "webhooks.db") -> ThreadingHTTPServer:
    """A server on this machine; put it behind something that speaks https."""
    once = Once(file)

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= LARGEST:
                self._answer(413)
                return
            body = self.rfile.read(length)
            why = believable(key, self.headers, body, time.time())
            if why:
                sys.stderr.write(f"refused: {why}\n")
                self._answer(401)
                return
            once.handle(self.headers["SchedulerX-Id"], body)
            self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent: the standard library would log each request."""

    return ThreadingHTTPServer(("127.0.0.1", port), Receiver)


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8080, os.environ["WEBHOOK_KEY"]).serve_forever()
