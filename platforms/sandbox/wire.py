"""HTTP/1.1 on asyncio, by hand: little work per request, and full power over the connection.

A framework would hide what the faults need: to cut a connection before the body was read, after the post was
stored, or in the middle of an answer. asyncio sets TCP_NODELAY on every connection by itself, and each answer
leaves in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from platforms.sandbox.accounts import Account

MAX_HEAD = 64 * 1024
MAX_BODY = 600 * 1024 * 1024
"""Larger than the largest video that a platform takes in one request."""

_encode = json.JSONEncoder(ensure_ascii=False).encode
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class BadRequestError(Exception):
    """What came is not HTTP as this server speaks it."""


@dataclass(slots=True)
class Request:
    """A request; ``body`` is empty until it was read in full."""

    method: str
    path: str
    query_string: str
    headers: dict[str, str]
    """Lower-case names."""
    began_at: float
    """Epoch seconds when its first byte arrived."""
    body: bytes = b""
    args: dict[str, str] = field(default_factory=dict)
    """What the route's pattern named."""
    account: Account | None = None
    read_lag_s: float = 0.0
    """Posts younger than this are not shown to this request (a fault)."""
    note: Any = None
    """What the application decided when it saw the head."""

    def query(self) -> dict[str, str]:
        """Query parameters; the last of equal names wins."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def form(self) -> dict[str, str]:
        """The body as application/x-www-form-urlencoded."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Sequence[tuple[str, str]] = ()

    def encoded(self, extra: Sequence[tuple[str, str]], *, close: bool) -> bytes:
        """The whole answer as bytes."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unknown')}", f"date: {_date()}"]
        if self.status != 204:
            lines.append(f"content-length: {len(self.body)}")
        if self.body:
            lines.append(f"content-type: {self.content_type}")
        lines.extend(f"{name}: {value}" for name, value in (*self.headers, *extra))
        if close:
            lines.append("connection: close")
        return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + self.body


def json_response(value: Any, status: int = 200, *, content_type: str = "application/json; charset=utf-8") -> Response:
    """``value`` as JSON."""
    return Response(status, _encode(value).encode(), content_type)


_date_cache: tuple[int, str] = (0, "")


def _date() -> str:
    global _date_cache  # noqa: PLW0603 (one text per second, shared by every answer)
    now = int(time.time())
    if _date_cache[0] != now:
        _date_cache = (now, formatdate(now, usegmt=True))
    return _date_cache[1]


@dataclass(slots=True)
class Part:
    """One part of a multipart/form-data body."""

    name: str
    filename: str | None
    content_type: str
    data: bytes


def multipart(request: Request) -> list[Part]:
    """The parts of a multipart/form-data body, in order.

    :raises BadRequestError: it is not such a body.
    """
    boundary = _parameters(request.headers.get("content-type", "")).get("boundary", "")
    if request.media_type != "multipart/form-data" or not boundary:
        raise BadRequestError("not multipart/form-data with a boundary")
    pieces = (b"\r\n" + request.body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise BadRequestError("the multipart body has no closing boundary")
    parts = []
    for piece in pieces[1:-1]:
        head, found, data = piece.partition(b"\r\n\r\n")
        if not found:
            raise BadRequestError("a part of the multipart body has no header")
        headers = _header_lines(head.decode("utf-8", "replace").split("\r\n"))
        disposition = _parameters(headers.get("content-disposition", ""))
        content_type = headers.get("content-type", "text/plain")
        parts.append(Part(disposition.get("name", ""), disposition.get("filename"), content_type, data))
    return parts


def _parameters(value: str) -> dict[str, str]:
    found = {}
    for piece in value.split(";")[1:]:
        name, _, text = piece.strip().partition("=")
        found[name.lower()] = text.strip('"')
    return found


def _header_lines(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


class Application(Protocol):
    """What answers."""

    def sees_head(self, request: Request) -> bool:
        """Called before the body is read. False: cut the connection now."""
        ...

    async def answer(self, request: Request, connection: Connection) -> None:
        """Called with the whole request; sends through ``connection``."""
        ...


class Live:
    """The connections and the requests of one listener, so that they can be ended together."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def end(self) -> None:
        """Ends them all; requests under way are not answered."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.reset()
        # Twice: aborting tells the connection in the next turn of the loop, which closes its socket there.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """One TCP connection; its requests are answered one after the other."""

    def __init__(self, application: Application, live: Live) -> None:
        self._application = application
        self._live = live
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._request: Request | None = None
        self._chunks: bytearray | None = None
        self._needed = 0
        self._busy = False
        self._close_after = False
        self._began_at = 0.0

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._live.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        # A request that was read in full is carried out all the same: so do the real platforms.
        self._transport = None
        self._live.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if not self._buffer and self._request is None:
            self._began_at = time.time()
        self._buffer += data
        if not self._busy:
            self._advance()

    # --- what the application uses ---

    def send(self, response: Response, extra: Sequence[tuple[str, str]] = ()) -> None:
        """The whole answer in one write."""
        if self._transport is not None:
            self._transport.write(response.encoded(extra, close=self._close_after))

    async def drip(self, response: Response, interval_s: float) -> None:
        """The answer byte by byte, until it is out or the client is gone."""
        for byte in response.encoded((), close=True):
            if self._transport is None:
                return
            self._transport.write(bytes((byte,)))
            await asyncio.sleep(interval_s)
        self._close_after = True

    def cut(self, response: Response) -> None:
        """Half of the answer, then the end of the connection."""
        whole = response.encoded((), close=True)
        if self._transport is not None:
            self._transport.write(whole[: max(1, len(whole) - max(1, len(response.body) // 2 + 1))])
        self._close_after = True

    def reset(self) -> None:
        """Cuts the connection with an RST and no answer."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # Linger of zero seconds makes the close an RST rather than a polite FIN.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        self._transport = None

    # --- reading ---

    def _advance(self) -> None:
        try:
            if self._request is None and not self._read_head():
                return
            if not self._read_body():
                return
        except BadRequestError as error:
            self._close_after = True
            self.send(json_response({"error": str(error)}, 400))
            self._close()
            return
        request = self._request
        if request is None:
            return
        self._request = None
        self._busy = True
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._live.tasks.add(task)
        task.add_done_callback(self._live.tasks.discard)

    async def _answer(self, request: Request) -> None:
        try:
            await self._application.answer(request, self)
        finally:
            self._busy = False
            if self._close_after:
                self._close()
            elif self._buffer and self._transport is not None:
                self._began_at = time.time()
                self._advance()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestError("the head is too large")
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequestError("the first line is not an HTTP/1 request")
        target = words[1]
        if "://" in target[:10]:
            target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
        path, _, query = target.partition("?")
        request = Request(words[0], unquote(path), query, _header_lines(lines[1:]), self._began_at)
        self._request = request
        self._close_after = request.headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
        self._begin_body(request.headers)
        if not self._application.sees_head(request):
            self._request = None
            self.reset()
            return False
        if request.headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _begin_body(self, headers: Mapping[str, str]) -> None:
        self._chunks = bytearray() if "chunked" in headers.get("transfer-encoding", "").lower() else None
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise BadRequestError("content-length is not a number that this server takes")
        self._needed = int(length)

    def _read_body(self) -> bool:
        if self._request is None:
            return False
        if self._chunks is not None:
            return self._read_chunks(self._request, self._chunks)
        if len(self._buffer) < self._needed:
            return False
        self._request.body = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        return True

    def _read_chunks(self, request: Request, chunks: bytearray) -> bool:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            try:
                size = int(self._buffer[:end].partition(b";")[0], 16)
            except ValueError:
                raise BadRequestError("a chunk has no size") from None
            if len(chunks) + size > MAX_BODY:
                raise BadRequestError("the body is too large")
            if len(self._buffer) < end + 2 + size + 2:
                return False
            chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 2 + size + 2]
            if size == 0:
                request.body = bytes(chunks)
                return True
        return False
