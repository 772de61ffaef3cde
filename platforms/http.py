"""The one HTTP client of all platform modules.

It tells, for every failure, whether the platform may have acted; it ends on time whatever happens there; it
follows no redirect, repeats nothing, and reads neither proxies nor ``.netrc`` from the environment (a
``.netrc`` replaced our Bearer token, measured). No message of its own holds a query, a header or a body.
"""

from __future__ import annotations

import contextlib
import http.client
import json as jsonlib
import logging
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit, urlunsplit

import requests
import urllib3.exceptions as urllib3_errors

from db import failpoints
from platforms.base import Effect, Json, Reply, Streamed
from platforms.connections import CURRENT, Adapter, Journey
from platforms.deadline import WATCHDOG, Flight
from platforms.errors import TransportError
from platforms.hosts import is_among, is_covered, is_loopback

USER_AGENT = "SchedulerX/0.1"
DEFAULT_DEADLINE_S = 30.0
MAX_BODY = 16 * 1024 * 1024
"""Bytes of an answer, unpacked."""
_PIECE = 64 * 1024

Observe = Callable[[str, str, int | None, float, bool], None]
"""Called after each request: method, host and path, status (None: no answer), seconds, whether sent."""

_log = logging.getLogger(__name__)


class _Silence(logging.Filter):
    """urllib3 logs whole URLs, with their queries: at DEBUG, and in a warning about odd headers."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - nothing of it may pass
        return False


for _name in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(_name).addFilter(_Silence())


class _NoAnswerError(Exception):
    """Why no whole answer came, in words of our own."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Client:
    """Sends requests for one visit to a platform. Not to be shared between threads.

    :param api_hosts: the platform's hosts, whose origin ``override`` replaces; one that begins with a dot
        stands for all hosts below it (a platform that spreads its accounts over many).
    :param override: scheme, host and port to send to instead; path and query stay. Nothing is published then on a
        host that it does not replace, unless that is this machine.
    :param deadline_s: for a whole request, seconds, from name resolution to the last byte of the answer.
    :param fence: called right before the first byte of a request that publishes, after connect and TLS; what
        it raises (``platforms.errors.FenceExpired``) reaches the caller as it is, and nothing is sent.
    :param gate: called right before the first byte of every request, after the fence; as with that, what it raises
        reaches the caller and nothing is sent.
    :param correlation_id: goes into our log lines, never to a platform.
    :param ca_bundle: a file of certificates to trust instead of certifi's.
    """

    def __init__(
        self,
        *,
        api_hosts: frozenset[str],
        override: str | None = None,
        deadline_s: float = DEFAULT_DEADLINE_S,
        fence: Callable[[], None] | None = None,
        gate: Callable[[], None] | None = None,
        correlation_id: str = "",
        user_agent: str = USER_AGENT,
        observe: Observe | None = None,
        max_body: int = MAX_BODY,
        ca_bundle: str | None = None,
    ) -> None:
        self.publish_sent = False
        """Whether a first byte of any request that publishes has left."""
        self.publish_sent_at: float | None = None
        """When it did: seconds since 1970, this machine's clock."""
        self._api_hosts = api_hosts
        self._override = self._origin(override) if override else None
        self._deadline_s = deadline_s
        self._fence = fence
        self._gate = gate
        self._correlation_id = correlation_id
        self._user_agent = user_agent
        self._observe = observe
        self._max_body = max_body
        self._ca_bundle = ca_bundle
        self._kept: Adapter | None = None

    @staticmethod
    def _origin(override: str) -> SplitResult:
        parts = urlsplit(override)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("An API override must look like http://host:port.")
        return parts

    def close(self) -> None:
        """Closes the connections that are kept alive."""
        if self._kept is not None:
            self._kept.close()

    @property
    def _pool(self) -> Adapter:
        """Connections that are kept alive; made when the first is wanted, since many a visit only publishes."""
        if self._kept is None:
            self._kept = Adapter(self._ca_bundle)
        return self._kept

    def __enter__(self) -> Client:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    # --- Sending ------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        url: str,
        *,
        effect: Effect,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        json: Json = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        content: bytes | Streamed | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """The answer, whatever its status; see ``platforms.base.Http``."""
        target = self._target(url)
        if effect is Effect.PUBLISHES:
            self._must_stay_a_test(target.hostname or "")
        label = f"{target.netloc}{target.path}"
        flight = Flight(timeout_s if timeout_s is not None else self._deadline_s)
        started = time.monotonic()
        reply: Reply | None = None
        trouble: _NoAnswerError | None = None
        try:
            prepared = self._prepare(method, target, effect, headers, params, json, form, files, content)
            reply = self._fly(prepared, effect, flight, urlunsplit((*target[:3], "", "")))
        except _NoAnswerError as problem:
            trouble = problem
        finally:
            flight.finish()
            self._note(method, label, reply, time.monotonic() - started, flight.sent)
        if reply is None:
            code, words = (trouble.code, trouble.words) if trouble else ("network", "no answer")
            # Raised outside of the handler: the exceptions below know the URL with its query.
            raise TransportError(f"{method} {label}: {words}", sent=flight.sent, code=code)
        return reply

    def _target(self, url: str) -> SplitResult:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError("A URL with a user name in it would replace the request's own credentials.")
        if self._override is not None and is_among(parts.hostname or "", self._api_hosts):
            parts = parts._replace(scheme=self._override.scheme, netloc=self._override.netloc)
        elif parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ValueError("Only https is sent to other machines.")
        return parts

    def _must_stay_a_test(self, host: str) -> None:
        """Where the platform is replaced by a stand-in nothing is published for real.

        :raises TransportError: it would be, on an account's own server.
        """
        if self._override is not None and not is_covered(host, self._api_hosts, self._override.geturl()):
            raise TransportError(
                f"the platform's address is replaced by {self._override.netloc} (SCHEDULERX_<PLATFORM>_API_URL), which"
                f" does not speak for the account's own server {host}: unset it to publish there",
                sent=False,
                code="other_origin",
            )

    def _prepare(
        self,
        method: str,
        target: SplitResult,
        effect: Effect,
        headers: Mapping[str, str] | None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None,
        json: Json,
        form: Mapping[str, str] | None,
        files: Mapping[str, tuple[str, bytes, str]] | None,
        content: bytes | Streamed | None,
    ) -> requests.PreparedRequest:
        """Without a session of requests: it would bring cookies, the environment and redirects along."""
        all_headers = {"User-Agent": self._user_agent, "Accept": "*/*", "Accept-Encoding": "gzip"}
        all_headers |= dict(headers or {})
        if effect is Effect.PUBLISHES:
            all_headers["Connection"] = "close"
        problem: type[Exception] | None = None
        try:
            data: bytes | Streamed | dict[str, str] | None = content
            if json is not None:
                data = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":")).encode()
                all_headers["Content-Type"] = "application/json"
            elif form is not None:
                data = dict(form)
            return requests.Request(
                method,
                urlunsplit(target._replace(fragment="")),
                headers=all_headers,
                params=params if isinstance(params, Mapping) or params is None else list(params),
                data=data,
                files=dict(files) if files else None,
            ).prepare()
        except (requests.RequestException, UnicodeError) as error:
            problem = type(error)
        # A bug of the module. Its words are left out: they hold the header that was refused.
        raise ValueError(f"The request could not be built ({problem.__name__}).")

    def _fly(self, prepared: requests.PreparedRequest, effect: Effect, flight: Flight, url: str) -> Reply:
        publishes = effect is Effect.PUBLISHES
        # A stale keep-alive cannot be told from a lost answer: what publishes gets a connection of its own.
        adapter = Adapter(self._ca_bundle) if publishes else self._pool
        CURRENT.journey = Journey(
            flight, self._departure if publishes else self._pass_gate, effect.value, exacting=publishes
        )
        WATCHDOG.watch(flight)
        try:
            with _told_apart(flight):
                if failpoints.ARMED is not None:
                    failpoints.hit(f"http.{effect.value}.before_connect")
                timeout = flight.remaining()
                answer = adapter.send(prepared, stream=True, timeout=timeout, proxies={})
                if failpoints.ARMED is not None:
                    failpoints.hit(f"http.{effect.value}.head_read")
                try:
                    body = self._read(answer)
                finally:
                    answer.close()
                if flight.expired:
                    # A stream without a length ends like a whole one when the socket is shut.
                    raise TimeoutError
                flight.answered()
        finally:
            CURRENT.journey = None
            if publishes:
                adapter.close()
        return Reply(answer.status_code, {name.lower(): text for name, text in answer.headers.items()}, body, url)

    def _pass_gate(self) -> None:
        if self._gate is not None:
            self._gate()

    def _departure(self) -> None:
        if self._fence is not None:
            self._fence()
        self._pass_gate()
        self.publish_sent = True
        self.publish_sent_at = time.time()

    def _read(self, answer: requests.Response) -> bytes:
        body = bytearray()
        for piece in answer.iter_content(_PIECE):
            body += piece
            if len(body) > self._max_body:
                raise _NoAnswerError("too_large", f"the answer is larger than {self._max_body} bytes")
        return bytes(body)

    def _note(self, method: str, label: str, reply: Reply | None, seconds: float, sent: bool) -> None:
        status = reply.status if reply else None
        _log.debug(
            "request",
            extra={
                "method": method,
                "target": label,
                "status": status,
                "correlation_id": self._correlation_id,
            },
        )
        if self._observe is not None:
            self._observe(method, label, status, seconds, sent)


@contextlib.contextmanager
def _told_apart(flight: Flight) -> Iterator[None]:
    """Turns what requests, urllib3, ``http.client`` and the socket raise into words without a URL."""
    try:
        yield
    except _NoAnswerError:
        raise
    except (
        requests.RequestException,
        urllib3_errors.HTTPError,
        http.client.HTTPException,
        OSError,
        ValueError,
    ) as error:
        chain = list(_causes(error))
        if flight.expired or any(_is_timeout(cause) for cause in chain):
            raise _NoAnswerError("timeout", "took too long") from None
        if any(isinstance(cause, urllib3_errors.NameResolutionError) for cause in chain):
            raise _NoAnswerError("dns", "the host name is not known") from None
        # The system's words for the number: an exception's own text may hold the URL.
        numbers = (cause.errno for cause in chain if isinstance(cause, OSError))
        what = next((os.strerror(number) for number in numbers if isinstance(number, int)), "")
        if any(isinstance(cause, ssl.SSLError) for cause in chain):
            raise _NoAnswerError("tls", "TLS failed") from None
        words = "the connection broke" if flight.sent else "could not connect"
        raise _NoAnswerError("network", f"{words}{f' ({what})' if what else ''}") from None


def _is_timeout(error: BaseException) -> bool:
    """urllib3 counts a refused connection and an unknown host among its timeouts; they are none."""
    if isinstance(error, urllib3_errors.NewConnectionError):
        return False
    return isinstance(error, TimeoutError | urllib3_errors.TimeoutError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that stands behind it: requests and urllib3 wrap by cause, context and argument."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
