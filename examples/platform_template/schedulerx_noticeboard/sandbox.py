"""An emulated Noticeboard, for tests and for trying out: ``python -m schedulerx_noticeboard.sandbox --port 8099``.

It refuses what the contract refuses. ``Board.answer`` is the platform without a network, as the conformance suite
wants it; ``serve`` puts HTTP around it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answered = tuple[int, dict[str, Any]]


@dataclass
class Board:
    """What Noticeboard holds."""

    notices: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key -> notice, in the order they were made."""
    files: dict[str, bytes] = field(default_factory=dict)
    lose_answers: int = 0
    """So many requests that publish take effect and are not answered."""
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """Status and JSON body for one request."""
        if not headers.get("Authorization", "").startswith("Bearer "):
            return 401, {"error": "bad_token", "message": "Sign in."}
        with self._lock:
            match (method, path.strip("/").split("/")):
                case ("GET", ["v1", "me"]):
                    return 200, {"id": "7", "name": "me"}
                case ("POST", ["v1", "files"]):
                    return self._file(body)
                case ("PUT", ["v1", "notices", key]):
                    return self._notice(key, body)
                case ("GET", ["v1", "notices", key]):
                    notice = self.notices.get(key)
                    return (200, notice) if notice else (404, {"error": "no_such_notice"})
        return 404, {"error": "no_such_path"}

    def _file(self, body: bytes) -> Answered:
        if not body or len(body) > 5_000_000:
            return 422, {"error": "bad_file", "message": "A file has 1 to 5,000,000 bytes."}
        name = f"f{next(self._ids)}"
        self.files[name] = body
        return 201, {"file": name}

    def _notice(self, key: str, body: bytes) -> Answered:
        if key in self.notices:
            return 200, self.notices[key]
        asked = json.loads(body)
        if len(asked["text"]) > 500:
            return 422, {"error": "text_too_long", "message": "At most 500 characters."}
        if not set(asked["files"]) <= set(self.files):
            return 422, {"error": "no_such_file", "message": "A file is not here."}
        number = str(next(self._ids))
        self.notices[key] = {**asked, "id": number, "url": f"https://noticeboard.example/n/{number}"}
        return 201, self.notices[key]


@contextmanager
def serve(board: Board, port: int = 0) -> Iterator[str]:
    """The board behind HTTP on this machine; the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.title(): value for name, value in self.headers.items()}
            status, told = board.answer(self.command, self.path, headers, body)
            if self.command == "PUT" and board.lose_answers:
                board.lose_answers -= 1
                self.close_connection = True
                return
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = respond  # noqa: N815 (names that http.server asks for)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name that it overrides)
            """Silence: what was posted is nobody else's business."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    with serve(Board(), parser.parse_args().port) as address:
        print(f"Noticeboard listens at {address}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
