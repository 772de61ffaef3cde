"""A form that is read while it is sent: its bytes, its length, and how little of it is ever in memory."""

from __future__ import annotations

import email
import io
import socket
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_servers import Server, answer, serving

from platforms.base import Effect
from platforms.errors import TransportError
from platforms.http import Client
from platforms.multipart import FormUpload

MIB = 1024 * 1024


def form(data: bytes = b"file bytes", size: int | None = None, **more: Any) -> FormUpload:
    fields = {"key": "uploads/3:video:1", "policy": "eyJ9"}
    wanted = {"name": "file", "file_name": "video", "mime": "video/mp4", **more}
    return FormUpload(wanted.pop("fields", fields), io.BytesIO(data), len(data) if size is None else size, **wanted)


def parts(upload: FormUpload, body: bytes) -> list[tuple[str, bytes]]:
    """As the standard library reads it: another reader than the writer."""
    message = email.message_from_bytes(f"Content-Type: {upload.content_type}\r\n\r\n".encode() + body)
    found = [part for part in message.walk() if not part.is_multipart()]
    return [(str(p.get_param("name", header="content-disposition")), p.get_payload(decode=True)) for p in found]


def test_the_fields_come_first_and_the_file_last() -> None:
    upload = form(b"\x00\r\n--bytes")
    body = upload.read()
    assert len(upload) == len(body)
    told = parts(upload, body)
    assert told == [("key", b"uploads/3:video:1"), ("policy", b"eyJ9"), ("file", b"\x00\r\n--bytes")]
    assert b'filename="video"\r\nContent-Type: video/mp4\r\n\r\n' in body


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=70))
def test_any_size_of_pieces_gives_the_same_bytes(data: bytes, size: int) -> None:
    pieces: list[bytes] = []
    upload = form(data)
    while piece := upload.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    body = b"".join(pieces)
    assert len(body) == len(upload)
    assert body.count(data) >= 1
    assert upload.read(size) == b""


def test_a_file_that_ends_early_is_never_taken_for_whole() -> None:
    with pytest.raises(OSError, match="ended before"):
        form(b"short", size=6).read()
    assert form(b"longer than said", size=6).read().count(b"longer than") == 0


@pytest.mark.parametrize("wrong", [{"fields": {'a"b': "1"}}, {"file_name": "a\r\nb"}, {"mime": 'x"'}])
def test_names_that_would_break_the_form_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="quote or a line break"):
        form(**wrong)


class Zeros(io.RawIOBase):
    """A file of zeros that takes no memory."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_a_large_file_goes_through_a_small_memory() -> None:
    size = 48 * MIB
    taken: list[int] = []

    def count(_server: Server, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1024)
        left = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        assert b"transfer-encoding" not in head.lower()
        left -= len(head.partition(b"\r\n\r\n")[2])
        taken.append(left)
        while left:
            left -= len(connection.recv(256 * 1024))
        connection.sendall(answer(status="204 No Content"))
        connection.close()

    beats: list[int] = []
    with serving(count) as server, Client(api_hosts=frozenset()) as http:
        http.request("GET", server.url, effect=Effect.READ)  # what is loaded once is loaded now
        taken.clear()
        upload = FormUpload(
            {"key": "k"}, Zeros(), size, name="file", file_name="v", mime="video/mp4", beat=lambda: beats.append(1)
        )
        tracemalloc.start()
        try:
            headers = {"Content-Type": upload.content_type}
            reply = http.request("POST", server.url, effect=Effect.PREPARES, headers=headers, content=upload)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert reply.status == 204
    assert len(beats) > size // (64 * 1024)
    assert peak < 4 * MIB, peak


def test_a_file_that_breaks_off_is_a_request_that_may_have_been_sent() -> None:
    def drain(_server: Server, connection: socket.socket) -> None:
        while connection.recv(65536):
            pass
        connection.close()

    with serving(drain) as server, Client(api_hosts=frozenset()) as http:
        upload = form(b"x" * 1000, size=2000)
        headers = {"Content-Type": upload.content_type}
        with pytest.raises(TransportError) as raised:
            http.request("POST", server.url, effect=Effect.PREPARES, headers=headers, content=upload)
    assert raised.value.sent
    assert "policy" not in str(raised.value)


def test_what_the_beat_raises_reaches_the_caller() -> None:
    class Taken(Exception):
        """Another worker has the post."""

    def stop() -> None:
        raise Taken

    def drain(_server: Server, connection: socket.socket) -> None:
        while connection.recv(65536):
            pass
        connection.close()

    with serving(drain) as server, Client(api_hosts=frozenset()) as http:
        upload = form(beat=stop)
        with pytest.raises(Taken):
            http.request("POST", server.url, effect=Effect.PREPARES, content=upload)
