"""Which addresses are open to all, however they are written."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address

import pytest

from media import addresses


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.9.9.9", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1"),
        *(
            "240.0.0.1",
            "255.255.255.255",
            "192.88.99.1",
            "203.0.113.9",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
        ),
        *(
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2001::1",
            "::ffff:127.0.0.1",
        ),
        *(
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "fec0::1",
        ),
    ],
)
def test_closed(text: str) -> None:
    assert not addresses.is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "192.0.1.1"]
)
def test_open(text: str) -> None:
    assert addresses.is_public(ip_address(text))


@pytest.mark.parametrize("name", ["localhost", "minio", "a.localhost", "nas.local", "db.internal.", "x.LAN"])
def test_local_names(name: str) -> None:
    assert addresses.is_local_name(name)
    assert not addresses.is_local_name("media.example.com")


def test_literals_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert addresses.resolve("[::1]", 80) == [ip_address("::1")]
    assert addresses.resolve("10.1.2.3", 80) == [ip_address("10.1.2.3")]


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_given: object, **_more: object) -> list[object]:
        return [
            (2, 1, 6, "", ("1.1.1.1", 80)),
            (2, 1, 6, "", ("1.1.1.1", 80)),
            (10, 1, 6, "", ("::1", 80, 0, 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert [str(one) for one in addresses.resolve("two.example", 80)] == ["1.1.1.1", "::1"]


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "later"), True),
        (socket.gaierror(socket.EAI_NONAME, "none"), False),
        (UnicodeError("label too long"), False),
    ],
)
def test_no_answer(monkeypatch: pytest.MonkeyPatch, error: Exception, temporary: bool) -> None:
    def fail(*_given: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(addresses.Unresolved) as caught:
        addresses.resolve("none.example", 80)
    assert caught.value.temporary is temporary


def test_a_stuck_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()

    def wait(*_given: object, **_more: object) -> list[object]:
        stuck.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    with pytest.raises(addresses.Unresolved) as caught:
        addresses.resolve("slow.example", 80, timeout_s=0.05)
    stuck.set()
    assert caught.value.temporary
