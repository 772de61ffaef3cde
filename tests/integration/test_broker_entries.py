"""What is no message is dropped and logged; the worker that met it goes on. On a real broker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Exchange, Queue

from workers import broker

broker.install()
NAME = "entries"
QUEUE = Queue(NAME, Exchange(NAME), routing_key=NAME)


def message(**changes: Any) -> str:
    """A message as kombu writes it, but for ``changes``."""
    plain: dict[str, Any] = {
        "body": base64.b64encode(b"[[1, 2], {}, {}]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "publish.deliver", "id": "1"},
        "properties": {
            "delivery_tag": "tag", "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": NAME},
        },
    }  # fmt: skip
    return json.dumps(plain | changes)


BAD = {
    "not JSON": b"hello",
    "half a message": message().encode()[:-40],
    "not UTF-8": b"\xff\xfe\x00",
    "too deep": b"[" * 100_000,
    "a list": b"[1, 2]",
    "a number": b"7",
    "no properties": message(properties=None).encode(),
    "no delivery tag": message(properties={"body_encoding": "base64"}).encode(),
    "a body that is no text": message(body=7).encode(),
    "a body that is not base64": message(body="abc").encode(),
    "a value that kombu cannot make": json.dumps({"__type__": "datetime", "__value__": "never"}).encode(),
}


@pytest.fixture
def url(settings: Any) -> Iterator[str]:
    found = settings.broker()
    with redis.Redis.from_url(found) as client:
        client.delete(NAME)
        yield found
        client.delete(NAME)


@pytest.mark.parametrize(
    ("entry", "prefix"),
    [*(pytest.param(entry, "", id=name) for name, entry in BAD.items()), pytest.param(b"hello", "sx:", id="prefix")],
)
def test_it_is_dropped_and_the_next_message_comes(
    url: str, entry: bytes, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[Any] = []

    def take(body: Any, one: Any) -> None:
        got.append(body)
        one.ack()

    with redis.Redis.from_url(url) as client:
        client.lpush(prefix + NAME, entry)
        client.lpush(prefix + NAME, message())
        with (
            Connection(url, transport_options={"global_keyprefix": prefix}) as connection,
            Consumer(connection, [QUEUE], callbacks=[take], accept=["json"]),
        ):
            while not got:
                connection.drain_events(timeout=10)
        assert client.llen(prefix + NAME) == 0
    assert got == [[[1, 2], {}, {}]]
    dropped = [one.msg for one in caplog.records if "broker.entry_dropped" in str(one.msg)]
    assert len(dropped) == 1
    assert len(entry) <= broker.SHOWN or entry.decode(errors="replace") not in str(dropped[0])


def test_what_is_a_message_is_left_alone() -> None:
    assert broker.flaw(message()) is None
    assert broker.flaw(message(body="").encode()) is None


@pytest.mark.parametrize("scheme", broker.SCHEMES)
def test_both_schemes_of_redis_have_it(scheme: str) -> None:
    connection = Connection(f"{scheme}://127.0.0.1:1/0")
    assert isinstance(connection.transport, broker.Transport)
    assert connection.uri_prefix is None
