"""What all embedded services share, seen with a small server of our own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import service
from stack.credentials import Credentials
from stack.home import StackError, prepare_home
from stack.processes import MARK, marked, wait_until
from stack.service import Service, answers, clean_environment, open_log, tail, words_for

SERVER = """
import signal, socket, sys
print('hello from', sys.argv[1], flush=True)
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    server.accept()[0].close()
"""


class Dummy(Service):
    name = "dummy"
    order = 10
    code = SERVER
    start_timeout_s = 20.0

    @property
    def url(self) -> str:
        return f"dummy://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.code, str(self.port)]

    def ready(self) -> bool:
        return answers(self.port)


@pytest.fixture
def dummy(tmp_path: Path) -> Iterator[Dummy]:
    home = prepare_home(tmp_path / "home")
    one = Dummy(home, Credentials(home))
    yield one
    one.stop(hurry=True)


def test_it_starts_answers_and_stops(dummy: Dummy) -> None:
    dummy.start()
    assert dummy.alive()
    assert answers(dummy.port)
    assert f"hello from {dummy.port}" in tail(dummy.log_path)
    dummy.stop()
    assert not dummy.alive()
    assert dummy.ending() == "signal SIGTERM"
    dummy.stop()  # twice is harmless


def test_a_failed_start_shows_the_log(dummy: Dummy) -> None:
    dummy.code = "import sys; print('out of disk'); sys.exit(7)"
    with pytest.raises(StackError, match=r"(?s)dummy did not start \(exit code 7\).*out of disk"):
        dummy.start()


def test_a_port_taken_between_choice_and_use_is_replaced(dummy: Dummy, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        taken = thief.getsockname()[1]
        monkeypatch.setattr(dummy.credentials, "port", lambda _name: taken)
        # A real service proves that the answer is its own; this one does by its pid's absence.
        monkeypatch.setattr(Dummy, "ready", lambda self: self.port != taken and answers(self.port))
        dummy.start()
        assert dummy.port != taken
        assert answers(dummy.port)


def test_an_orphan_is_found_and_ended(dummy: Dummy) -> None:
    dummy.start()
    found = marked(dummy.credentials.secret("mark"))
    heir = Dummy(dummy.home, Credentials(dummy.home))
    assert heir.end_orphans(None, found["dummy"]) == 1
    assert wait_until(lambda: not dummy.alive(), 5)
    assert heir.end_orphans(None, []) == 0


def test_services_do_not_see_peoples_secrets(dummy: Dummy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULERX_SECRET_KEY", "secret")
    monkeypatch.setenv("PGPORT", "1")
    given = dummy.marked_environment()
    assert "SCHEDULERX_SECRET_KEY" not in given
    assert "PGPORT" not in given
    assert given[MARK]
    assert "PATH" in clean_environment()


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(service, "LOG_LIMIT_BYTES", 10)
    log = tmp_path / "x.log"
    log.write_text("a long long line\n")
    os.close(open_log(log))
    assert log.read_text() == ""
    assert (tmp_path / "x.1.log").read_text() == "a long long line\n"


@pytest.mark.parametrize(
    ("code", "words"), [(None, "unknown"), (0, "exit code 0"), (-9, "signal SIGKILL"), (-200, "signal 200")]
)
def test_endings_in_words(code: int | None, words: str) -> None:
    assert words_for(code) == words


def test_no_log_is_said(tmp_path: Path) -> None:
    assert tail(tmp_path / "missing") == "(no log)"
