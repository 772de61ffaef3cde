"""The sandbox with one emulator more for each kind of reconcile: ``python -m tests.crash.emulator``.

The same judge, the same faults, the same journal as for X and Pinterest. What each kind honours is derived
from the stored posts, so a kill -9 of the emulator forgets no key.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from platforms.sandbox.box import Sandbox
from platforms.sandbox.emulator import Emulator, Headers, Route, signed_in
from platforms.sandbox.ledger import Post
from platforms.sandbox.registry import EMULATORS
from platforms.sandbox.wire import Request, Response, json_response
from tests.crash.kinds import KINDS

_nonce = itertools.count()
_looks: Counter[str] = Counter()
READY_AFTER = 3
"""Looks at a container until it is ready."""


class KindEmulator(Emulator):
    """Every handle at once; which of them a platform has is decided by the module that asks."""

    title: ClassVar[str] = "Kind"

    def routes(self) -> Sequence[Route]:
        root = f"/{self.name}"
        return (
            Route("POST", f"{root}/posts", "create", "publish", self.create),
            Route("GET", f"{root}/posts", "list", "read", self.list),
            Route("PUT", f"{root}/records/{{rkey}}", "put", "publish", self.put),
            Route("POST", f"{root}/containers", "container", "prepare", self.container),
            Route("GET", f"{root}/containers/{{id}}", "status", "read", self.status),
            Route("POST", f"{root}/containers/{{id}}/publish", "publish", "publish", self.publish),
        )

    def error(self, status: int, message: str = "") -> Response:
        return json_response({"error": message or str(status)}, status)

    def limit_headers(self, limit: int, remaining: int, reset_at: float) -> Headers:
        return (("retry-after", str(max(1, int(reset_at - time.time())))),)

    def link(self, post: Post) -> str:
        return f"/{self.name}/posts/{post.remote_id}"

    def _stored(self, request: Request, said: Mapping[str, Any], mark: str) -> Response:
        """The post that was made with this mark, made now if there is none."""
        account = signed_in(request)
        found = self._by_mark(account.name, mark)
        if found is None:
            before = said.get("reply_to")
            if before is not None and self.world.ledger.find(self.name, before) is None:
                raise self.refuse(404, "there is no post to answer")
            fields = {} if before is None else {"reply_to": before}
            found = self.world.ledger.accept(
                Post(self.name, account.name, self.world.next_id(), said["text"], [], time.time(), request.began_at,
                     fields=fields, private={"mark": mark})
            )  # fmt: skip
        return json_response({"id": found.remote_id}, 201)

    def _by_mark(self, account: str, mark: str) -> Post | None:
        posts = self.world.ledger.newest_first(self.name, account) if mark else []
        return next((post for post in posts if post.private.get("mark") == mark), None)

    async def create(self, request: Request) -> Response:
        """Without a key every request makes a post."""
        return self._stored(request, self.json_body(request), request.headers.get("idempotency-key", ""))

    async def put(self, request: Request) -> Response:
        """Create if absent: the client names the record."""
        return self._stored(request, self.json_body(request), request.args["rkey"])

    async def list(self, request: Request) -> Response:
        posts = self.world.ledger.newest_first(self.name, signed_in(request).name, lag_s=request.read_lag_s)
        shown = [{"id": post.remote_id, "text": post.text, "reply_to": post.fields.get("reply_to")} for post in posts]
        return json_response({"posts": shown})

    async def container(self, request: Request) -> Response:
        """A container's id holds its content: nothing has to be remembered."""
        held = {"text": self.json_body(request)["text"], "nonce": f"{time.time_ns()}-{next(_nonce)}"}
        made = base64.urlsafe_b64encode(json.dumps(held).encode()).decode()
        return json_response({"id": made}, 201)

    async def status(self, request: Request) -> Response:
        """Ready from the third look on: time would say nothing on a busy machine."""
        found = self._by_mark(signed_in(request).name, request.args["id"])
        _looks[request.args["id"]] += 1
        ready = _looks[request.args["id"]] >= READY_AFTER
        return json_response({"post": found.remote_id if found else None, "ready": ready})

    async def publish(self, request: Request) -> Response:
        """Publishing a container twice gives the same post."""
        after = self.json_body(request) if request.body else {}
        return self._stored(request, {**_held(request), **after}, request.args["id"])


def _held(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(request.args["id"]))
    return found


def kind_emulator(name: str) -> type[Emulator]:
    """The class for a platform's name."""
    return type(f"Kind_{name}", (KindEmulator,), {"name": name, "title": name})


def main() -> int:
    """Serves until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.emulator", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=Path)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    wanted = parser.parse_args()
    box = Sandbox(
        data=wanted.data, seed=wanted.seed, port=wanted.port, latency_ms=wanted.latency_ms,
        faults=json.loads(wanted.faults.read_text(encoding="utf-8")) if wanted.faults else (),
        emulators=(*EMULATORS, *(kind_emulator(name) for name in KINDS)),
    )  # fmt: skip

    def ready(url: str) -> None:
        sys.stdout.write(f"emulator listens at {url} ({os.getpid()})\n")
        sys.stdout.flush()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: box.stop())
    asyncio.run(box.serve(ready))
    return 0


if __name__ == "__main__":
    sys.exit(main())
