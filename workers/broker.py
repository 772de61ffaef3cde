"""Celery's Redis transport, lighter, and an entry of a queue that is no message is dropped and logged.

kombu reads the JSON of an entry in the consumer's loop, where nothing catches what is wrong with it: one entry that
is not JSON (written by hand, by another program on the same Redis, cut off by a disk that was full) ends the worker
that meets it, with all that the others of its threads had in hand. What is a message, but none that a worker
understands (an unknown task, another content type), Celery already drops and logs by itself.
"""

from __future__ import annotations

import base64
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from kombu import transport
from kombu.transport import redis
from kombu.utils.json import loads
from redis import Redis

from db import failpoints
from scheduler.logging import logger

log = logger(__name__)

SCHEMES = ("redis", "rediss")
SHOWN = 20
"""Characters of a dropped entry in the log: enough to guess whose it is, too few to tell what was in it."""


def flaw(entry: bytes | str) -> str | None:
    """Why an entry of a queue cannot become a message, in a few words; None: it can."""
    try:
        message = loads(entry)  # type: ignore[no-untyped-call]  # kombu's types are not complete
    except (ValueError, RecursionError):
        return "not JSON"
    except Exception as error:  # noqa: BLE001 - kombu's JSON makes objects of marked values, which may fail in any way
        return f"not readable ({type(error).__name__})"
    if not isinstance(message, dict) or not isinstance(properties := message.get("properties"), dict):
        return "no properties"
    if not isinstance(properties.get("delivery_tag"), str):
        return "no delivery tag"
    body = message.get("body")
    if not isinstance(body, str | None):
        return "its body is no text"
    if body and properties.get("body_encoding") == "base64":
        try:
            base64.b64decode(body)
        except ValueError:
            return "its body is not base64"
    return None


class _Checked:
    """Mixed into redis-py's client: an entry that is no message is answered as by a queue that stayed empty.

    So the consumer asks again at once, and nothing else changes.
    """

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """As the client does it."""
        answer = super().parse_response(connection, command_name, **options)  # type: ignore[misc]  # by the MRO
        if command_name == "BRPOP" and answer and (why := flaw(answer[1])) is not None:
            log.error(
                "broker.entry_dropped",
                queue=_text(answer[0]),
                why=why,
                size=len(answer[1]),
                begins=_text(answer[1])[:SHOWN],
            )
            return None
        if failpoints.ARMED is not None and command_name == "BRPOP" and answer:
            failpoints.hit("hint.taken", _task(loads(answer[1])))  # type: ignore[no-untyped-call]  # kombu's types
        return answer


class _Client(_Checked, Redis):
    pass


class _PrefixedClient(_Checked, redis.PrefixedStrictRedis):
    pass


def _task(message: dict[str, Any]) -> str:
    """The name of the task that a message asks for."""
    return str((message.get("headers") or {}).get("task", ""))


def _text(words: bytes | str) -> str:
    return words.decode(errors="replace") if isinstance(words, bytes) else words


class Channel(redis.Channel):
    """A channel whose consumer outlives an entry that is no message, and that does not make a client for each command.

    A client of redis-py is a face for a pool of connections, made to be shared by threads. kombu makes a new one for
    each command, which costs a fifth of a send, and as much for each message that is taken and acknowledged.
    """

    _shared: tuple[Any, Any] | None = None

    @contextlib.contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """kombu's own way to a client; a new one only where the pool is another (after a fork, a lost broker)."""
        if client is None:
            pool = self.pool
            if self._shared is None or self._shared[0] is not pool:
                self._shared = (pool, self._create_client())  # type: ignore[no-untyped-call]  # kombu's types
            client = self._shared[1]
        yield client

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """kombu's own, between two places where the crash tests strike."""
        if failpoints.ARMED is None:
            super().basic_ack(delivery_tag, multiple)  # type: ignore[no-untyped-call]  # kombu's types
            return
        task = str(self.qos.get(delivery_tag).headers.get("task", ""))
        failpoints.hit("ack.before", task)
        super().basic_ack(delivery_tag, multiple)  # type: ignore[no-untyped-call]  # kombu's types
        failpoints.hit("ack.after", task)

    def _get_client(self) -> Callable[..., Any]:
        """kombu's own hook for the class of its clients, which it calls after its look at the version."""
        super()._get_client()  # type: ignore[no-untyped-call]  # kombu's types are not complete
        if self.global_keyprefix:
            return functools.partial(_PrefixedClient, global_keyprefix=self.global_keyprefix)
        return _Client


class Transport(redis.Transport):
    """kombu's transport with that channel."""

    Channel = Channel


def install() -> None:
    """Gives the schemes of Redis this transport. By name: a ``broker_transport`` would take TLS from ``rediss``."""
    for scheme in SCHEMES:
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
