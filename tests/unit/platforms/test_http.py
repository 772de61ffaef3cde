"""The HTTP client against servers that misbehave: what it says about "sent", time, secrets and size."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from loopback_servers import Server, answer, answering, certificate, closed_port, read_request, reset, serving

from platforms import connections
from platforms.base import Effect
from platforms.errors import FenceExpired, TransportError
from platforms.http import Client

EVERY_EFFECT = pytest.mark.parametrize("effect", list(Effect))
SECRET = "s3cr3t-in-the-query"


def client(**kwargs: Any) -> Client:
    return Client(api_hosts=kwargs.pop("api_hosts", frozenset()), **kwargs)


def failing(http: Client, url: str, effect: Effect = Effect.PUBLISHES, **kwargs: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        http.request("POST", url, effect=effect, json={"text": "hello"}, **kwargs)
    return caught.value


# --- What is sent -----------------------------------------------------------------------------------------


@EVERY_EFFECT
def test_an_answer_is_given_whatever_its_status(effect: Effect) -> None:
    reply_bytes = answer(b'{"a": 1}', status="503 Busy", headers=("X-Rate-Limit-Reset: 7",))
    with serving(answering(reply_bytes)) as server, client() as http:
        reply = http.request("POST", f"{server.url}/2/tweets?secret=1", effect=effect, json={"text": "é"})
    assert (reply.status, reply.json(), reply.headers["x-rate-limit-reset"]) == (503, {"a": 1}, "7")
    assert reply.url == f"{server.url}/2/tweets"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == '{"text":"é"}'.encode()
    assert head.startswith(b"POST /2/tweets?secret=1 HTTP/1.1")
    assert (b"connection: close" in head.lower()) is (effect is Effect.PUBLISHES)


def test_a_form_and_files_become_multipart_with_the_form_first() -> None:
    with serving(answering(answer())) as server, client() as http:
        http.request(
            "POST", server.url, effect=Effect.PREPARES, form={"segment_index": "3"},
            files={"media": ("media", b"\x00bytes", "application/octet-stream")},
        )  # fmt: skip
    sent = server.requests[0]
    assert b"multipart/form-data" in sent
    assert sent.index(b'name="segment_index"') < sent.index(b'name="media"')
    assert b"\x00bytes" in sent


def test_nothing_of_ours_but_the_user_agent_goes_to_the_platform() -> None:
    with serving(answering(answer())) as server, client(correlation_id="ours-42", user_agent="UA/1") as http:
        http.request("GET", server.url, effect=Effect.READ)
    head = server.requests[0].lower()
    assert b"user-agent: ua/1" in head
    assert b"ours-42" not in head


def test_netrc_and_proxies_of_the_environment_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(answering(answer())) as server, client() as http:
        http.request("GET", server.url, effect=Effect.READ, headers={"Authorization": "Bearer token"})
    assert b"Authorization: Bearer token" in server.requests[0]


@EVERY_EFFECT
def test_a_redirect_is_an_answer_and_is_not_followed(effect: Effect) -> None:
    with serving(answering(answer())) as other:
        moved = answer(status="307 Temporary Redirect", headers=(f"Location: {other.url}/elsewhere",))
        with serving(answering(moved)) as server, client() as http:
            assert http.request("POST", server.url, effect=effect, json={}).status == 307
    assert other.connections == 0


def test_cookies_are_not_kept() -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        for _ in range(2):
            server.requests.append(read_request(connection))
            connection.sendall(answer(keep=True, headers=("Set-Cookie: a=b",)))

    with serving(behave) as server, client() as http:
        for _ in range(2):
            http.request("GET", server.url, effect=Effect.READ)
    assert b"cookie" not in server.requests[1].lower()


def test_reads_share_a_connection_and_what_publishes_gets_its_own() -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        while request := read_request(connection):
            server.requests.append(request)
            connection.sendall(answer(keep=True))

    with serving(behave) as server, client() as http:
        for effect in (Effect.READ, Effect.PREPARES, Effect.READ):
            http.request("POST", server.url, effect=effect)
        assert server.connections == 1
        for _ in range(2):
            http.request("POST", server.url, effect=Effect.PUBLISHES)
        assert server.connections == 3


# --- Where it is sent -------------------------------------------------------------------------------------


def test_an_override_replaces_the_origin_of_the_api_hosts_only() -> None:
    hosts = frozenset({"api.x.com"})
    with serving(answering(answer())) as server, client(api_hosts=hosts, override=server.url) as http:
        reply = http.request("GET", "https://api.x.com/2/me", effect=Effect.READ, params={"a": "b c"})
        assert reply.url == f"{server.url}/2/me"
        with pytest.raises(ValueError, match="https"):
            http.request("GET", "http://elsewhere.example/", effect=Effect.READ)
    assert server.requests[0].startswith(b"GET /2/me?a=b+c ")


def test_beside_an_override_nothing_is_published_for_real() -> None:
    """An account that names its own server is not replaced: what is marked as a test would go out there."""
    with serving(answering(answer())) as server, client(override="http://127.0.0.1:9") as http:
        error = failing(http, "https://mastodon.example/api/v1/statuses")
        assert (error.sent, error.code, http.publish_sent) == (False, "other_origin", False)
        assert "own server mastodon.example: unset it" in error.detail
        assert http.request("POST", server.url, effect=Effect.PUBLISHES).status == 200, "a stand-in of its own"


@pytest.mark.parametrize("url", ["http://api.x.com/2", "http://10.0.0.1/", "ftp://api.x.com/"])
def test_plain_http_to_other_machines_is_refused(url: str) -> None:
    with client() as http, pytest.raises(ValueError, match="https"):
        http.request("GET", url, effect=Effect.READ)


def test_credentials_in_a_url_are_refused() -> None:
    with client() as http, pytest.raises(ValueError, match="user name"):
        http.request("GET", "https://me:pw@api.x.com/", effect=Effect.READ)


@pytest.mark.parametrize("override", ["127.0.0.1:9000", "ftp://host", "http://a:b@host", "http://"])
def test_an_override_must_be_an_origin(override: str) -> None:
    with pytest.raises(ValueError, match="override"):
        client(override=override)


# --- Whether it was sent ----------------------------------------------------------------------------------


def test_a_refused_connection_sent_nothing() -> None:
    with client() as http:
        error = failing(http, f"http://127.0.0.1:{closed_port()}/2/tweets")
    assert (error.sent, error.code) == (False, "network")
    assert (http.publish_sent, http.publish_sent_at) == (False, None)
    assert "refused" in error.detail


def test_a_connection_reset_before_the_request_is_read_may_have_sent_it() -> None:
    def behave(_: Server, connection: socket.socket) -> None:
        reset(connection)

    with serving(behave) as server, client() as http:
        error = failing(http, server.url)
    assert error.sent
    assert http.publish_sent


def test_a_connection_reset_after_the_request_was_read_has_sent_it() -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        server.requests.append(read_request(connection))
        reset(connection)

    before = time.time()
    with serving(behave) as server, client() as http:
        error = failing(http, server.url)
    assert error.sent
    assert http.publish_sent_at is not None
    assert before <= http.publish_sent_at <= time.time()
    assert len(server.requests) == 1


def test_only_what_publishes_counts_as_published() -> None:
    with serving(answering(answer())) as server, client() as http:
        http.request("POST", server.url, effect=Effect.PREPARES)
        assert not http.publish_sent
        http.request("POST", server.url, effect=Effect.PUBLISHES)
        assert http.publish_sent


def test_an_answer_before_the_whole_request_was_read_is_an_answer() -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(answer(status="413 Too Large"))
        server.ended.wait(0.2)

    with serving(behave) as server, client() as http:
        reply = http.request("POST", server.url, effect=Effect.PREPARES, content=b"x" * 200_000)
    assert reply.status == 413


def test_an_answer_cut_short_is_no_answer() -> None:
    def behave(_: Server, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer(b"x" * 100)[:-50])

    with serving(behave) as server, client() as http:
        assert failing(http, server.url).sent


# --- TLS --------------------------------------------------------------------------------------------------


def test_tls_works_and_a_wrong_certificate_sends_nothing(tmp_path: Path) -> None:
    pem, context = certificate(tmp_path)

    def behave(server: Server, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            server.requests.append(read_request(secure))
            secure.sendall(answer())

    with serving(behave) as server:
        url = f"https://127.0.0.1:{server.port}/"
        with client(ca_bundle=str(pem)) as http:
            assert http.request("POST", url, effect=Effect.PUBLISHES).status == 200
        with client() as http:
            error = failing(http, url)
    assert (error.sent, error.code, http.publish_sent) == (False, "tls", False)
    assert len(server.requests) == 1


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    pem, context = certificate(tmp_path, host="127.0.0.2")

    def behave(_: Server, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            read_request(secure)

    with serving(behave) as server, client(ca_bundle=str(pem)) as http:
        error = failing(http, f"https://127.0.0.1:{server.port}/")
    assert (error.sent, error.code) == (False, "tls")


def test_tls_broken_after_the_request_was_read_has_sent_it(tmp_path: Path) -> None:
    pem, context = certificate(tmp_path)

    def behave(server: Server, connection: socket.socket) -> None:
        raw = connection.dup()
        with raw, context.wrap_socket(connection, server_side=True) as secure:
            server.requests.append(read_request(secure))
            # No TLS record: the client's library reports the same class as for a failed handshake.
            raw.sendall(b"this is not TLS at all, but five bytes of it look like a record head")

    with serving(behave) as server, client(ca_bundle=str(pem)) as http:
        error = failing(http, f"https://127.0.0.1:{server.port}/")
    assert (error.sent, error.code) == (True, "tls")
    assert len(server.requests) == 1


def test_a_handshake_that_hangs_ends_at_the_deadline_and_sent_nothing() -> None:
    def behave(server: Server, _: socket.socket) -> None:
        server.ended.wait(2)

    with serving(behave) as server, client(deadline_s=0.15) as http:
        started = time.monotonic()
        error = failing(http, f"https://127.0.0.1:{server.port}/")
    assert (error.sent, error.code) == (False, "timeout")
    assert time.monotonic() - started < 1


# --- The fence --------------------------------------------------------------------------------------------


def test_a_fence_that_raises_after_connecting_sends_nothing() -> None:
    expired = FenceExpired("too late")

    def fence() -> None:
        raise expired

    served = threading.Event()

    def behave(server: Server, connection: socket.socket) -> None:
        server.requests.append(read_request(connection))
        served.set()

    with serving(behave) as server:
        with client(fence=fence) as http, pytest.raises(FenceExpired) as caught:
            http.request("POST", server.url, effect=Effect.PUBLISHES, json={"text": "hello"})
        assert caught.value is expired
        assert not http.publish_sent
        assert served.wait(2)
    assert server.requests == [b""]
    assert server.connections == 1


def test_the_fence_comes_after_tls_and_once(tmp_path: Path) -> None:
    pem, context = certificate(tmp_path)
    order: list[str] = []

    def behave(_: Server, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            order.append("tls")
            read_request(secure)
            secure.sendall(answer())

    def fence() -> None:
        # TLS 1.3 lets the client end its handshake before the server has read the last message of it.
        order.append("fence")

    with serving(behave) as server, client(fence=fence, ca_bundle=str(pem)) as http:
        url = f"https://127.0.0.1:{server.port}/"
        http.request("POST", url, effect=Effect.PUBLISHES, content=b"x" * 100_000)
    assert order.count("fence") == 1


@pytest.mark.parametrize("effect", [Effect.READ, Effect.PREPARES])
def test_the_fence_is_only_for_what_publishes(effect: Effect) -> None:
    def fence() -> None:
        raise FenceExpired

    with serving(answering(answer())) as server, client(fence=fence) as http:
        assert http.request("POST", server.url, effect=effect).status == 200


# --- Size and secrets -------------------------------------------------------------------------------------


def test_an_answer_that_is_too_large_is_refused() -> None:
    with serving(answering(answer(b"x" * 2000))) as server, client(max_body=1000) as http:
        error = failing(http, server.url)
    assert (error.sent, error.code) == (True, "too_large")


def test_a_packed_answer_is_measured_unpacked() -> None:
    packed = answer(gzip.compress(b"x" * 100_000), headers=("Content-Encoding: gzip",))
    with serving(answering(packed)) as server, client(max_body=10_000) as http:
        assert failing(http, server.url).code == "too_large"


def whole_story(error: BaseException) -> str:
    told, waiting = [], [error]
    while waiting:
        current = waiting.pop()
        told.append(f"{current!r} {current} {vars(current)}")
        waiting += [other for other in (current.__cause__, current.__context__) if other is not None]
    return "\n".join(told)


def test_no_secret_in_errors_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[tuple[Any, ...]] = []

    def behave(_: Server, connection: socket.socket) -> None:
        read_request(connection)
        reset(connection)

    with serving(behave) as server, serving(answering(answer())) as good:
        urls = [f"{server.url}/path?t={SECRET}", f"http://127.0.0.1:{closed_port()}/path?t={SECRET}"]
        with client(observe=lambda *args: seen.append(args)) as http:
            for url in urls:
                with pytest.raises(TransportError) as caught:
                    http.request(
                        "POST", url, effect=Effect.PUBLISHES, json={"a": SECRET},
                        headers={"Authorization": f"Bearer {SECRET}"}, params={"u": SECRET},
                    )  # fmt: skip
                assert "/path" in caught.value.detail
                assert SECRET not in whole_story(caught.value)
            http.request("GET", f"{good.url}/path?t={SECRET}", effect=Effect.READ)
            with pytest.raises(ValueError) as broken:
                http.request("GET", good.url, effect=Effect.READ, headers={"Authorization": f"{SECRET}\n"})
    assert SECRET not in whole_story(broken.value)
    assert SECRET not in caplog.text
    assert SECRET not in repr(seen)


def test_the_observer_is_told_of_each_request() -> None:
    seen: list[tuple[Any, ...]] = []
    slow = answering(answer(status="429 Slow"))
    with serving(slow) as server, client(observe=lambda *args: seen.append(args)) as http:
        http.request("GET", f"{server.url}/2/x?q=1", effect=Effect.READ)
        failing(http, f"http://127.0.0.1:{closed_port()}/")
    assert [(row[0], row[2], row[4]) for row in seen] == [("GET", 429, True), ("POST", None, False)]
    assert seen[0][1] == f"127.0.0.1:{server.port}/2/x"
    assert 0 <= seen[0][3] < 5


def test_tls_versions_before_1_2_are_off() -> None:
    assert connections.trust(None).minimum_version >= ssl.TLSVersion.TLSv1_2


def options_of(connection: socket.socket) -> tuple[tuple[int, int], int]:
    """(lingering, seconds) and the longest that sent bytes may stay unacknowledged, milliseconds."""
    linger = struct.unpack("ii", connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
    return (linger[0], linger[1]), connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is Linux's")
@pytest.mark.parametrize(
    ("effect", "linger"), [(Effect.PUBLISHES, (1, 0)), (Effect.READ, (0, 0))], ids=["publishes", "reads"]
)
def test_the_kernel_sends_nothing_of_a_publishing_call_after_we_gave_up(
    effect: Effect, linger: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after the deadline nor after our death: a request that arrives later than its look-ups doubles a post."""
    seen: list[tuple[tuple[int, int], int]] = []
    send = socket.socket.sendall

    def note(self: socket.socket, *data: object) -> None:
        seen.append(options_of(self))
        send(self, *data)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(socket.socket, "sendall", note)
    with serving(answering(answer())) as server, client() as http:
        http.request("POST", server.url, effect=effect, json={"text": "hello"}, timeout_s=7.0)
    assert seen[0][0] == linger
    assert (6000 <= seen[0][1] <= 7000) is (effect is Effect.PUBLISHES)


@pytest.mark.parametrize(("effect", "whole"), [(Effect.PUBLISHES, False), (Effect.PREPARES, True)], ids=str)
def test_a_request_that_the_platform_gets_to_after_our_deadline_is_not_there_any_more(
    effect: Effect, whole: bool
) -> None:
    """All of it was handed to the kernel in time; the platform was too busy to read it until we had given up."""
    body = {"text": "x" * 300_000}
    with contextlib.closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with client() as http, pytest.raises(TransportError) as caught:
            http.request("POST", url, effect=effect, json=body, timeout_s=0.5)
        assert (caught.value.sent, caught.value.code) == (True, "timeout")
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            try:
                received = len(read_request(connection))
            except ConnectionResetError:
                received = 0
    assert (received > len(body["text"])) is whole


def test_of_several_addresses_a_dead_one_uses_up_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 that leads nowhere must not keep a post from ever passing its fence."""
    with serving(answering(answer())) as server, contextlib.closing(socket.socket()) as listener:
        # It takes one connection and no more: the next is never answered, as in a black hole.
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        dead = int(listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", dead)):
            found = [connections.resolve("127.0.0.1", port, 1.0)[0] for port in (dead, server.port)]
            monkeypatch.setattr(connections, "resolve", lambda *_: found)
            began = time.monotonic()
            with client() as http:
                assert http.request("GET", server.url, effect=Effect.READ).status == 200
    assert connections.MOMENT_S <= time.monotonic() - began < 2.0
