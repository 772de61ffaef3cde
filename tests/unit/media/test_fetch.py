"""Fetching from servers that are honest, slow, lying or hostile; all of them on this machine."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import corpus
import pytest

from media import addresses, fetch
from media.errors import MediaError, MediaRefused, NoRoom, RemoteUnavailable

PICTURE = corpus.encoded(corpus.picture(200, 150), "JPEG")
SECRET = "token=sesame"


class Server:
    """Answers each connection with what ``script`` writes; keeps what was asked."""

    def __init__(self, script: Callable[[socket.socket, bytes], None]) -> None:
        self.script = script
        self.asked: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads: list[threading.Thread] = []
        self.main = threading.Thread(target=self._serve)
        self.main.start()

    def url(self, path: str = "/a.jpg", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}?{SECRET}"

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                asked = connection.recv(65_536)
                if asked == b"stop":
                    return
                self.asked.append(asked)
                with contextlib.suppress(OSError):
                    self.script(connection, asked)

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"stop")
        self.main.join(10)
        self.listener.close()


Serve = Callable[[Callable[[socket.socket, bytes], None]], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(script: Callable[[socket.socket, bytes], None]) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def reply(body: bytes = PICTURE, status: str = "200 OK", *headers: str, length: int | None = -1) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: image/jpeg; charset=x", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(data: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, _asked: connection.sendall(data)


def get(url: str, dest: Path, *, max_bytes: int = 1_000_000, deadline_s: float = 5.0) -> fetch.Fetched:
    return fetch.download(url, dest, max_bytes=max_bytes, deadline_s=deadline_s, allow_loopback=True)


def fails(url: str, folder: Path, **limits: float) -> MediaError:
    """What probing or downloading raises; no file is left, no secret is told."""
    with pytest.raises(MediaError) as caught:
        get(url, folder / "a.jpg", **limits)  # type: ignore[arg-type]  # whole numbers where they are wanted
    told = f"{caught.value} {getattr(caught.value, 'file', '')} {caught.value.__cause__}"
    assert SECRET not in told
    assert list(folder.iterdir()) == []
    return caught.value


def test_downloads(serve: Serve, tmp_path: Path) -> None:
    server = serve(says(reply()))
    found = get(server.url("/a b.jpg".replace(" ", "%20")), tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == PICTURE
    assert found == fetch.Fetched(len(PICTURE), hashlib.sha256(PICTURE).hexdigest(), "image/jpeg")
    request = server.asked[0].decode().lower()
    assert request.startswith(f"get /a%20b.jpg?{SECRET} http/1.1\r\nhost: 127.0.0.1:{server.port}\r\n")
    assert "accept-encoding: identity" in request


VIDEO = (4).to_bytes(3, "big") + b"\x18ftypmp42\0\0\0\0mp42isom" + bytes(4_000)
"""As far as its beginning says."""


@pytest.mark.parametrize(
    ("body", "fits", "length"),
    [
        (VIDEO, True, -1),
        (VIDEO, True, None),
        (PICTURE + bytes(3_000), False, -1),
        (PICTURE + bytes(3_000), False, None),
        (VIDEO + bytes(4_000), False, -1),
        (VIDEO + bytes(4_000), False, None),
        (PICTURE[:100], True, -1),
    ],
)
def test_pictures_and_videos_have_limits_of_their_own(
    serve: Serve, tmp_path: Path, body: bytes, fits: bool, length: int | None
) -> None:
    server = serve(says(reply(body, length=length)))
    limits = {"max_bytes": 3_000, "max_video_bytes": 5_000, "allow_loopback": True}
    if fits:
        assert fetch.download(server.url(), tmp_path / "a", deadline_s=5.0, **limits).size == len(body)
        assert fetch.probe_remote(server.url(), **limits).size in {len(body), None}
        return
    with pytest.raises(MediaRefused) as caught:
        fetch.download(server.url(), tmp_path / "a", deadline_s=5.0, **limits)
    assert caught.value.code == "too_large"
    assert list(tmp_path.iterdir()) == []
    if length is not None:
        with pytest.raises(MediaRefused, match="at most"):
            fetch.probe_remote(server.url(), **limits)


@pytest.mark.parametrize("length", [-1, None])
def test_a_disk_without_room_ends_it_early_and_keeps_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int | None
) -> None:
    monkeypatch.setattr(fetch, "ROOM_EVERY", 1)
    free = shutil.disk_usage(tmp_path).free
    server = serve(says(reply(PICTURE, length=length)))
    with pytest.raises(NoRoom, match="MB are free"):
        fetch.download(
            server.url(),
            tmp_path / "a.jpg",
            max_bytes=1_000_000,
            deadline_s=5.0,
            keep_free=free + 1_000_000_000,
            allow_loopback=True,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_no_fault_of_the_server(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdopen

    class Full:
        """A file on a disk that has just become full."""

        def __init__(self, *args: object) -> None:
            self.file = real(*args)  # type: ignore[call-overload]  # as it was called

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch.os, "fdopen", Full)
    with pytest.raises(NoRoom, match="No space left"):
        get(serve(says(reply())).url(), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_falls_silent_is_given_up_long_before_the_deadline(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "STALL_S", 0.3)
    over = threading.Event()

    def silent(connection: socket.socket, _asked: bytes) -> None:
        connection.sendall(reply(PICTURE, length=len(PICTURE) + 10))
        over.wait(20)

    began = time.monotonic()
    assert isinstance(fails(serve(silent).url(), tmp_path, deadline_s=60.0), RemoteUnavailable)
    over.set()
    assert time.monotonic() - began < 10


def test_how_far_it_is_and_who_may_end_it(serve: Serve, tmp_path: Path) -> None:
    told: list[float] = []
    body = PICTURE + bytes(200_000)
    fetch.download(
        serve(says(reply(body))).url(),
        tmp_path / "a.jpg",
        max_bytes=1_000_000,
        deadline_s=5.0,
        progress=told.append,
        allow_loopback=True,
    )
    assert told == sorted(told)
    assert (len(told) > 1, told[-1]) == (True, 1.0)


def test_probes_without_reading_it_all(serve: Serve) -> None:
    def endless(connection: socket.socket, _asked: bytes) -> None:
        connection.sendall(reply(PICTURE, length=50_000_000))
        while True:
            connection.sendall(bytes(65_536))

    found = fetch.probe_remote(serve(endless).url(), max_bytes=60_000_000, allow_loopback=True)
    assert found == fetch.RemoteProbe(50_000_000, "image/jpeg", "image/jpeg")
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PICTURE), PICTURE)
    server = serve(says(b"HTTP/1.1 200 OK\r\n" + chunked))
    assert fetch.probe_remote(server.url(), max_bytes=1_000_000, allow_loopback=True).size is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (reply(b"gone", "404 Not Found"), "not_found"),
        (reply(b"", "410 Gone"), "not_found"),
        (reply(b"", "204 No Content"), "not_found"),
        (reply(b"", "403 Forbidden"), "forbidden"),
        (reply(b""), "empty"),
        (reply(b"<!DOCTYPE html><html><body>Please sign in</body></html>"), "not_media"),
        (reply(PICTURE, "200 OK", "Content-Encoding: gzip"), "unsupported"),
        (reply(PICTURE, length=99_000_000), "too_large"),
        (reply(PICTURE + bytes(1_200_000), length=None), "too_large"),
        (reply(b"", "302 Found"), "bad_url"),
        (reply(b"", "302 Found", "Location: file:///etc/passwd"), "bad_url"),
        (reply(b"", "302 Found", "Location: http://169.254.169.254/latest"), "private_address"),
        (reply(b"", "302 Found", "Location: http://[::ffff:10.0.0.1]/"), "private_address"),
        (reply(b"", "302 Found", "Location: /again"), "redirects"),
    ],
)
def test_refusals(serve: Serve, tmp_path: Path, data: bytes, code: str) -> None:
    error = fails(serve(says(data)).url(), tmp_path)
    assert isinstance(error, MediaRefused)
    assert error.code == code


@pytest.mark.parametrize(
    "data",
    [
        reply(b"", "503 Unavailable"),
        reply(b"", "429 Too Many"),
        reply(PICTURE[:-100], length=len(PICTURE)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + PICTURE[:100],
        b"not HTTP at all\r\n\r\n",
        b"",
    ],
)
def test_what_may_be_tried_again(serve: Serve, tmp_path: Path, data: bytes) -> None:
    assert isinstance(fails(serve(says(data)).url(), tmp_path), RemoteUnavailable)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert isinstance(fails(f"http://127.0.0.1:{port}/?{SECRET}", tmp_path), RemoteUnavailable)


def test_redirects_are_followed_and_judged_each(serve: Serve, tmp_path: Path) -> None:
    end = serve(says(reply()))
    middle = serve(says(reply(b"", "307 Temporary", f"Location: {end.url()}")))
    start = serve(says(reply(b"", "301 Moved", f"Location: {middle.url()}")))
    assert get(start.url(), tmp_path / "a").size == len(PICTURE)
    assert len(end.asked) == 1


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_dripping_server_is_cut_off(serve: Serve, tmp_path: Path, part: str) -> None:
    def drip(connection: socket.socket, _asked: bytes) -> None:
        data = reply()
        if part == "body":
            start = data.index(b"\r\n\r\n") + 10
            connection.sendall(data[:start])
            data = data[start:]
        for at in range(len(data)):
            connection.sendall(data[at : at + 1])
            time.sleep(0.05)

    started = time.monotonic()
    error = fails(serve(drip).url(), tmp_path, deadline_s=0.5)
    assert time.monotonic() - started < 3
    assert isinstance(error, RemoteUnavailable)
    assert "too long" in str(error)


def test_a_silent_server_is_cut_off(serve: Serve, tmp_path: Path) -> None:
    silent = threading.Event()
    server = serve(lambda _connection, _asked: silent.wait(3) and None)
    assert "too long" in str(fails(server.url(), tmp_path, deadline_s=0.3))
    silent.set()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a.jpg",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http://",
        "http:///a.jpg",
        "http://user@example.com/",
        "http://:secret@example.com/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://exa mple.com/",
        "http://example.com/\r\nHost: other",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/" + "a" * 5_000,
    ],
)
def test_what_is_no_url_for_us(url: str) -> None:
    with pytest.raises(MediaRefused) as caught:
        fetch.guard(url)
    assert caught.value.code == "bad_url"
    assert "secret" not in f"{caught.value} {caught.value.file}"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ),
        *("10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "0", "[::]"),
    ],
)
def test_private_hosts_however_written(host: str) -> None:
    with pytest.raises(MediaRefused) as caught:
        fetch.guard(f"http://{host}/a.jpg")
    assert caught.value.code == "private_address"


def test_loopback_by_permission_only() -> None:
    assert fetch.guard("http://127.0.0.1:8080/", allow_loopback=True) == ("127.0.0.1",)
    with pytest.raises(MediaRefused, match="public internet"):
        fetch.guard("http://192.168.0.1/", allow_loopback=True)
    assert fetch.guard("https://1.1.1.1/") == ("1.1.1.1",)


def fake_dns(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """The resolver gives these answers, one after the other, then the last for ever."""
    left, asked = list(answers), []

    def answer(host: str, port: int, **_more: object) -> list[object]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", answer)
    return asked


def test_one_bad_address_spoils_all(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dns(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(MediaRefused) as caught:
        fetch.guard("http://two.example/")
    assert caught.value.code == "private_address"


def test_the_connection_goes_where_it_was_judged(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(says(reply()))
    real = fetch._dial
    gone_to = []

    def dial(address: addresses.Address, port: int, timeout_s: float) -> socket.socket:
        gone_to.append(str(address))
        return real(address, port, timeout_s)

    # The second answer would be another address; it must never be asked for.
    asked = fake_dns(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    monkeypatch.setattr(fetch, "_dial", dial)
    get(server.url(host="media.example"), tmp_path / "a")
    monkeypatch.undo()
    assert asked == ["media.example"]
    assert gone_to == ["127.0.0.1"]
    assert f"Host: media.example:{server.port}".encode() in server.asked[0]


def test_the_next_address_is_tried(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(says(reply()))
    fake_dns(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    found = get(server.url(host="media.example"), tmp_path / "a")
    monkeypatch.undo()
    assert found.size == len(PICTURE)


def test_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for temporary, kind in [(True, RemoteUnavailable), (False, MediaRefused)]:

        def fail(host: str, *_given: object, temporary: bool = temporary, **_more: object) -> None:
            raise addresses.Unresolved(host, temporary=temporary)

        monkeypatch.setattr(addresses, "resolve", fail)
        with pytest.raises(kind):
            fetch.guard("http://none.example/")


def tls_files(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (
        corpus.written(folder, "cert.pem", certificate.public_bytes(pem)),
        corpus.written(folder, "key.pem", private),
    )


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_verified_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    certificate, key = tls_files(tmp_path, "media.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    seen: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: seen.append(name)
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65_536)
            tls.sendall(reply())
            tls.recv(1)
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    if trusted:
        real = ssl.create_default_context
        monkeypatch.setattr(fetch.ssl, "create_default_context", lambda: real(cafile=str(certificate)))
    fake_dns(monkeypatch, ["127.0.0.1"])
    url = f"https://media.example:{listener.getsockname()[1]}/a.jpg"
    if trusted:
        assert get(url, tmp_path / "a").size == len(PICTURE)
    else:
        with pytest.raises(MediaRefused) as caught:
            get(url, tmp_path / "a")
        assert caught.value.code == "bad_certificate"
    thread.join(10)
    listener.close()
    assert seen == ["media.example"]


def test_shown() -> None:
    assert fetch.shown("https://u:p@host.example:8443/a/b.jpg?sig=1#x") == "https://host.example:8443/a/b.jpg"
    assert fetch.shown("http://[::1") == "(no valid URL)"
