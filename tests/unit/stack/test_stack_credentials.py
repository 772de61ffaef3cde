"""Ports and passwords are chosen once and kept."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from stack.credentials import HIGHEST_PORT, LOWEST_PORT, Credentials, free_port, port_is_free
from stack.home import StackError


def test_secrets_are_kept_and_private(tmp_path: Path) -> None:
    secret = Credentials(tmp_path).secret("a.password")
    assert len(secret) == 32
    assert secret.isalnum()
    assert Credentials(tmp_path).secret("a.password") == secret
    assert Credentials(tmp_path).secret("b.password") != secret
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600


def test_a_port_is_kept_while_it_is_free(tmp_path: Path) -> None:
    port = Credentials(tmp_path).port("a")
    assert LOWEST_PORT <= port < HIGHEST_PORT
    assert Credentials(tmp_path).port("a") == port
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free(port)
        moved = Credentials(tmp_path).port("a")
    assert moved != port
    assert Credentials(tmp_path).port("a") == moved


def test_our_own_services_never_share_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Credentials(tmp_path)
    offers = iter([7, 7, 8])
    monkeypatch.setattr("stack.credentials.secrets.randbelow", lambda _limit: next(offers))
    monkeypatch.setattr("stack.credentials.port_is_free", lambda _port: True)
    assert credentials.another_port("a") == LOWEST_PORT + 7
    assert credentials.another_port("b") == LOWEST_PORT + 8


def test_no_port_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.credentials.port_is_free", lambda _port: False)
    with pytest.raises(StackError, match="no free port"):
        free_port()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a.port": "many"}'])
def test_a_damaged_file_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials.json").write_text(text)
    with pytest.raises(StackError, match="damaged"):
        Credentials(tmp_path)
