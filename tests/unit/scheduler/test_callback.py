"""The server that the browser is sent back to: what it takes, and what it leaves alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests

from scheduler.callback import CallbackServer
from scheduler.errors import Refused


@pytest.fixture
def server() -> Iterator[CallbackServer]:
    with CallbackServer("localhost", "/callback", 0) as running:
        running.expect("the-state")
        yield running


def get(server: CallbackServer, tail: str, **kwargs: object) -> requests.Response:
    method = str(kwargs.pop("method", "GET"))
    return requests.request(method, server.redirect_uri + tail, timeout=5, **kwargs)  # type: ignore[arg-type]


def test_the_answer_is_taken_and_the_page_says_so(server: CallbackServer) -> None:
    page = get(server, "?code=secret-code&state=the-state")
    assert (page.status_code, "close this page" in page.text) == (200, True)
    assert "secret-code" not in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert server.wait(1) == {"code": "secret-code", "state": "the-state"}


def test_a_refusal_is_taken_as_well(server: CallbackServer) -> None:
    assert "not granted" in get(server, "?error=access_denied&state=the-state").text
    assert server.wait(1)["error"] == "access_denied"


def test_what_is_not_ours_changes_nothing(server: CallbackServer) -> None:
    assert get(server, "?code=1&state=another").status_code == 400
    assert get(server, "?code=1").status_code == 400
    assert get(server, "/further?code=1&state=the-state").status_code == 404
    assert get(server, "?code=1&state=the-state", method="POST").status_code == 405
    # A page whose name was made to lead to this machine sends its own name.
    rebound = {"Host": "evil.example"}
    assert get(server, "?code=1&state=the-state", headers=rebound).status_code == 404
    with pytest.raises(TimeoutError):
        server.wait(0.01)
    assert get(server, "?code=2&state=the-state").status_code == 200
    assert server.wait(1)["code"] == "2"


def test_only_the_first_answer_counts(server: CallbackServer) -> None:
    assert get(server, "?code=1&state=the-state").status_code == 200
    assert get(server, "?code=2&state=the-state").status_code == 409
    assert server.wait(1)["code"] == "1"


def test_nothing_is_taken_before_it_is_known_what_to_expect() -> None:
    with CallbackServer("127.0.0.1", "/callback", 0) as server:
        assert get(server, "?code=1&state=").status_code == 400


def test_a_connection_that_says_nothing_keeps_nobody_waiting(server: CallbackServer) -> None:
    port = int(server.redirect_uri.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)):
        assert get(server, "?code=1&state=the-state").status_code == 200


def test_it_listens_on_this_machine_alone_and_lets_go(server: CallbackServer) -> None:
    assert server._server.server_address[0] == "127.0.0.1"
    server.close()
    with pytest.raises(requests.ConnectionError):
        get(server, "?code=1&state=the-state")


def test_a_port_that_is_taken_is_told(server: CallbackServer) -> None:
    port = int(server.redirect_uri.split(":")[2].split("/")[0])
    with pytest.raises(Refused, match="--port"):
        CallbackServer("127.0.0.1", "/callback", port)


def test_the_code_is_in_no_log(server: CallbackServer, capfd: pytest.CaptureFixture[str]) -> None:
    get(server, "?code=secret-code&state=the-state")
    out, err = capfd.readouterr()
    assert "secret-code" not in out + err
