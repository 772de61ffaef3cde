"""A sandbox for each test, and clients for its platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sandbox_client import Client

from platforms.sandbox import Sandbox


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=7) as running:
        yield running


@pytest.fixture
def x(box: Sandbox) -> Client:
    return Client(box, "sandbox-x-acme")


@pytest.fixture
def pinterest(box: Sandbox) -> Client:
    return Client(box, "sandbox-pinterest-acme")


@pytest.fixture
def board(pinterest: Client) -> str:
    return str(pinterest("GET", "/v5/boards").json()["items"][0]["id"])


@pytest.fixture
def client(box: Sandbox) -> Callable[[str], Client]:
    return lambda token: Client(box, token)
