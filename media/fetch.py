"""Fetching media from URLs that users name, without being led into our own network.

Each URL (and each redirect) is resolved once, every address is judged, and the connection goes to an address
that was judged, so a name that answers differently the second time changes nothing. Proxies named by the
environment are not used: behind one, the address that was judged would not be the one that is reached.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import IO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from media import addresses, room
from media.errors import MediaRefused, NoRoom, RemoteUnavailable
from media.sniff import HEAD, format_of, sniff

MAX_REDIRECTS = 3
MAX_URL = 4_096
"""Characters."""
PROBE_DEADLINE_S = 15.0
CONNECT_TIMEOUT_S = 5.0
"""For each address."""
STALL_S = 30.0
"""A server that sends nothing for so long is given up, however much time is left."""
CHUNK = 64 << 10
ROOM_EVERY = 64 << 20
"""How often the disk is looked at while a file grows whose server does not say its length, bytes."""

_HEADERS = {
    "User-Agent": "SchedulerX (media fetch)",
    "Accept": "image/*, video/*;q=0.9, */*;q=0.1",
    # Compressed bodies could grow past the cap when unpacked, and pictures are compressed already.
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True)
class RemoteProbe:
    """What the beginning of a remote file says."""

    size: int | None
    """Bytes, as the server claims; None where it does not say."""
    mime: str
    """As the server claims, lower case, without parameters; empty where it does not say."""
    sniffed: str
    """MIME type, by content."""


@dataclass(frozen=True)
class Fetched:
    """What was downloaded."""

    size: int
    """Bytes."""
    sha256: str
    """Hex."""
    sniffed: str
    """MIME type, by content."""


def guard(url: str, *, allow_loopback: bool = False) -> tuple[str, ...]:
    """The addresses behind a URL, all of them judged and found public.

    :param allow_loopback: this machine's own addresses may be fetched from (for tests); nothing else.
    :raises MediaRefused: ``bad_url``, ``private_address`` or ``not_found`` (no such host).
    :raises RemoteUnavailable: the name could not be resolved just now.
    """
    return tuple(str(address) for address in _judged(_split(url), allow_loopback=allow_loopback))


def probe_remote(
    url: str,
    *,
    max_bytes: int,
    max_video_bytes: int | None = None,
    allow_loopback: bool = False,
    redirects: int = MAX_REDIRECTS,
) -> RemoteProbe:
    """Asks for the file and reads only its beginning.

    :param max_bytes: a file that claims to be larger is refused.
    :param max_video_bytes: the same for videos, where they may be larger.
    :param redirects: how many are followed.
    :raises MediaRefused: as ``guard``, and ``not_found``, ``forbidden``, ``too_large``, ``empty``,
        ``not_media``, ``unsupported``, ``redirects``, ``bad_certificate``.
    :raises RemoteUnavailable: no answer in time, or one that says "later".
    """
    deadline = time.monotonic() + PROBE_DEADLINE_S
    with _opened(url, deadline, allow_loopback=allow_loopback, redirects=redirects) as answer:
        head = b""
        announced = answer.response.length  # it counts down while it is read
        while len(head) < HEAD and (chunk := answer.read(HEAD - len(head))):
            head += chunk
        sniffed = answer.judge(head)
        _within(announced, _most(sniffed, max_bytes, max_video_bytes), answer.url)
        return RemoteProbe(announced, answer.mime, sniffed)


def download(
    url: str,
    dest: Path,
    *,
    max_bytes: int,
    deadline_s: float,
    max_video_bytes: int | None = None,
    keep_free: int = 0,
    progress: Callable[[float], None] | None = None,
    allow_loopback: bool = False,
) -> Fetched:
    """Fetches the file into ``dest``, which appears whole or not at all. Streamed: memory stays flat.

    :param max_bytes: more are not read, whatever the server claims.
    :param max_video_bytes: the same for videos, where they may be larger.
    :param deadline_s: seconds for all of it, names, redirects and body together.
    :param keep_free: bytes that have to stay free on the disk.
    :param progress: called with the share that has come (0 where the server says no length); what it raises ends it.
    :raises MediaRefused: as ``probe_remote``.
    :raises RemoteUnavailable: not done in time, broken off, stalled, or "later".
    :raises NoRoom: the disk is too full for it.
    """
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=dest.parent)
    part = Path(name)
    deadline = time.monotonic() + deadline_s
    try:
        with os.fdopen(handle, "wb") as out, _opened(url, deadline, allow_loopback=allow_loopback) as answer:
            fetched = _receive(answer, out, dest.parent, (max_bytes, max_video_bytes), keep_free, progress)
        part.replace(dest)
    except OSError as error:
        # What goes wrong on the way to the server has other words by now: this is the disk.
        part.unlink(missing_ok=True)
        raise NoRoom(f"the file could not be written ({error.strerror or type(error).__name__})") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return fetched


def _receive(
    answer: _Answer,
    out: IO[bytes],
    folder: Path,
    limits: tuple[int, int | None],
    keep_free: int,
    progress: Callable[[float], None] | None,
) -> Fetched:
    # Until its beginning says what it is, the larger of both limits holds; that takes no more than HEAD bytes.
    claimed, most = answer.response.length, max(limits[0], limits[1] or 0)
    _within(claimed, most, answer.url)
    room.make_sure(folder, claimed or 0, keep_free=keep_free)
    digest, size, head, looked_at = hashlib.sha256(), 0, b"", 0
    while chunk := answer.read(CHUNK):
        if len(head) < HEAD:
            head += chunk[: HEAD - len(head)]
            if len(head) == HEAD:
                # As soon as it can be told, so that a gigabyte of something else is not fetched first.
                most = _most(answer.judge(head), *limits)
                _within(claimed, most, answer.url)
        size += len(chunk)
        _within(size, most, answer.url)
        if claimed is None and size - looked_at >= ROOM_EVERY:
            room.make_sure(folder, 0, keep_free=keep_free)
            looked_at = size
        digest.update(chunk)
        out.write(chunk)
        if progress is not None:
            progress(size / claimed if claimed else 0.0)
    # http.client takes a closed connection for the end, even where more was announced.
    if claimed is not None and size != claimed:
        raise RemoteUnavailable(f"{shown(answer.url)}: it broke off after {size} of {claimed} bytes")
    sniffed = answer.judge(head)
    _within(size, _most(sniffed, *limits), answer.url)
    return Fetched(size, digest.hexdigest(), sniffed)


def _most(mime: str, max_bytes: int, max_video_bytes: int | None) -> int:
    return max_video_bytes if max_video_bytes is not None and mime.startswith("video/") else max_bytes


def _within(size: int | None, most: int, url: str) -> None:
    """:raises MediaRefused: ``too_large``."""
    if size is not None and size > most:
        raise MediaRefused("too_large", f"{size} bytes or more; at most {most} are fetched", file=shown(url))


def shown(url: str) -> str:
    """The URL as it may be logged: without user, password, query and fragment, which may be secrets."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(no valid URL)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"[:300]


# --- The guard --------------------------------------------------------------------------------------------


def _split(url: str) -> SplitResult:
    """:raises MediaRefused: ``bad_url``."""

    def refuse(why: str) -> MediaRefused:
        return MediaRefused("bad_url", why, file=shown(url))

    if len(url) > MAX_URL or any(ord(mark) <= 32 or ord(mark) == 127 for mark in url):
        raise refuse(f"a URL has no blanks and at most {MAX_URL} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse("this is no valid URL") from None
    if parts.scheme not in {"http", "https"}:
        raise refuse("only http and https URLs are fetched")
    if parts.username is not None or parts.password is not None:
        raise refuse("a URL with a user name or password in it is not fetched")
    if not parts.hostname or port == 0 or "%" in parts.hostname or "\\" in parts.netloc:
        raise refuse("the URL names no host")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _judged(
    parts: SplitResult, *, allow_loopback: bool, timeout_s: float = addresses.RESOLVE_TIMEOUT_S
) -> list[IPv4Address | IPv6Address]:
    url, host = parts.geturl(), parts.hostname or ""
    try:
        found = addresses.resolve(host, _port(parts), timeout_s=min(timeout_s, addresses.RESOLVE_TIMEOUT_S))
    except addresses.Unresolved as error:
        if error.temporary:
            raise RemoteUnavailable(f"{shown(url)}: the name could not be resolved just now") from None
        raise MediaRefused("not_found", f"there is no host {host}", file=shown(url)) from None
    for address in found:
        loopback = addresses.plain(address).is_loopback
        if not (addresses.is_public(address) or (allow_loopback and loopback)):
            # One bad address spoils all: which of them answers is not ours to choose.
            raise MediaRefused("private_address", f"{host} is not on the public internet", file=shown(url))
    if not found:
        raise MediaRefused("not_found", f"there is no host {host}", file=shown(url))
    return found


# --- The connection ---------------------------------------------------------------------------------------


def _dial(address: IPv4Address | IPv6Address, port: int, timeout_s: float) -> socket.socket:
    """A connection to exactly this address; nothing is resolved."""
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect((str(address), port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was judged, for the host that the URL names; cut at the deadline."""

    def __init__(self, parts: SplitResult, found: list[IPv4Address | IPv6Address], deadline: float) -> None:
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        if self._tls:
            # Also what keeps the port out of the Host header.
            self.default_port = 443
        super().__init__(_ascii(parts.hostname or ""), _port(parts))
        self._found = found
        self._deadline = deadline
        self._watch = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        self._watch.daemon = True
        # http.client lets go of both before the body is read.
        self._held: socket.socket | None = None
        self._reply: http.client.HTTPResponse | None = None
        self.expired = False

    def connect(self) -> None:
        """Tries the judged addresses in their order."""
        failure: OSError = TimeoutError("deadline")
        for address in self._found:
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            try:
                self.sock = _dial(address, self.port, min(left, CONNECT_TIMEOUT_S))
            except OSError as error:
                failure = error
                continue
            break
        else:
            raise failure
        if self.sock is None:
            raise failure
        self.sock.settimeout(max(0.1, min(STALL_S, self._deadline - time.monotonic())))
        self._held = self.sock
        self._watch.start()
        if self._tls:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self._held = self.sock
            self.sock.do_handshake()

    def _cut(self) -> None:
        """A time-out on the socket counts from its last byte, and a server may drip; this one is absolute."""
        self.expired = True
        if self._held is not None:
            with contextlib.suppress(OSError):
                # Below TLS: its own shutdown would wait for the other side.
                socket.socket.shutdown(self._held, socket.SHUT_RDWR)

    def finish(self) -> None:
        """Stops the watch and closes everything."""
        self._watch.cancel()
        if self._reply is not None:
            self._reply.close()
        self.close()

    def fetch(self, target: str) -> http.client.HTTPResponse:
        """Sends the request; the answer's head is read, its body not."""
        self.request("GET", target, headers=_HEADERS)
        self._reply = self.getresponse()
        return self._reply


class _Answer:
    """An answer of status 200, its body not yet read."""

    def __init__(self, url: str, connection: _Pinned, response: http.client.HTTPResponse) -> None:
        self.url = url
        self.connection = connection
        self.response = response

    @property
    def mime(self) -> str:
        """As the server claims."""
        return (self.response.getheader("Content-Type") or "").partition(";")[0].strip().lower()[:100]

    def read(self, most: int) -> bytes:
        """Up to ``most`` bytes; empty at the end."""
        with _talking(self.url, self.connection):
            return self.response.read(most)

    def judge(self, head: bytes) -> str:
        """The MIME type by content. :raises MediaRefused: nothing, a web page, or what we do not take."""
        if not head:
            raise MediaRefused("empty", "the file is empty", file=shown(self.url))
        format_of(head, name=shown(self.url))
        return sniff(head)


@contextmanager
def _opened(url: str, deadline: float, *, allow_loopback: bool, redirects: int = MAX_REDIRECTS) -> Iterator[_Answer]:
    """The answer with the file in it, after redirects; closed at the end."""
    first = url
    for _ in range(redirects + 1):
        parts = _split(url)
        left = max(0.0, deadline - time.monotonic())
        connection = _Pinned(parts, _judged(parts, allow_loopback=allow_loopback, timeout_s=left), deadline)
        try:
            response = _get(url, parts, connection)
            following = _following(response, url)
            if following is None:
                yield _Answer(url, connection, response)
                return
        finally:
            connection.finish()
        url = following
    told = f"more than {redirects} redirects" if redirects else "it redirects elsewhere"
    raise MediaRefused("redirects", told, file=shown(first))


def _get(url: str, parts: SplitResult, connection: _Pinned) -> http.client.HTTPResponse:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    with _talking(url, connection):
        return connection.fetch(f"{path}?{query}" if query else path)


@contextmanager
def _talking(url: str, connection: _Pinned) -> Iterator[None]:
    """Turns what goes wrong on the way into words."""
    try:
        yield
    except ssl.SSLCertVerificationError:
        raise MediaRefused("bad_certificate", "its certificate is not valid", file=shown(url)) from None
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        # AttributeError: what the standard library raises when the watch cuts a TLS socket while it reads.
        why = "it took too long" if connection.expired or isinstance(error, TimeoutError) else "broken connection"
        raise RemoteUnavailable(f"{shown(url)}: {why} ({type(error).__name__})") from None
    if connection.expired:
        raise RemoteUnavailable(f"{shown(url)}: it took too long")


def _following(answer: http.client.HTTPResponse, url: str) -> str | None:
    """Where a redirect leads; None where the file is here. :raises: for every other status."""
    status, name = answer.status, shown(url)
    if status == 200:
        encoding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
        if encoding != "identity":
            raise MediaRefused("unsupported", f"it is sent compressed ({encoding[:20]}) unasked", file=name)
        return None
    if status in {301, 302, 303, 307, 308}:
        location = answer.getheader("Location")
        if not location:
            raise MediaRefused("bad_url", "it redirects to nowhere", file=name)
        try:
            return urljoin(url, location)
        except ValueError:
            raise MediaRefused("bad_url", "it redirects to something that is no URL", file=name) from None
    if status in {404, 410}:
        raise MediaRefused("not_found", f"there is no such file (HTTP {status})", file=name)
    if status in {408, 425, 429} or status >= 500:
        raise RemoteUnavailable(f"{name}: HTTP {status}")
    if status in {401, 402, 403, 451}:
        raise MediaRefused("forbidden", f"it may not be fetched (HTTP {status})", file=name)
    raise MediaRefused("not_found", f"no file came (HTTP {status})", file=name)


def _ascii(host: str) -> str:
    """The host as it is written on the wire (IDNA); the resolver saw the same name."""
    if host.isascii():
        return host
    return host.encode("idna").decode()
