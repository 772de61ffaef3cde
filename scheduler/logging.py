"""Logs: structlog, as JSON lines or for a terminal, with secrets taken out on the way.

One ``correlation_id`` binds every line from the script that scheduled a post to the platform call. The first
word of an event names its stream: ``audit.*`` (who did what), ``security.*`` (use of credentials, what was
refused), ``performance.*`` (timings); everything else is of the program itself.

Secrets go in three ways: what this process ever opened or sealed is hidden by value (``db.redaction``),
fields named like a secret lose their value, and what looks like a secret is cut out of texts.
"""

from __future__ import annotations

import functools
import http.client
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from types import TracebackType
from typing import Any

import structlog

from db.redaction import HIDDEN, clean

SECRET_NAMES = re.compile(
    r"(?i)(authorization|cookie|password|passwd|secret|token|credential|api_?key|access_?key|signature|private)"
)
PLAIN_NAMES = frozenset({"token_version", "idempotency_key", "platform_key", "token_expires_at"})
STREAMS = ("audit", "security", "performance")
_CLEAN = "_clean"


@functools.lru_cache(maxsize=1024)
def _named_secret(key: str) -> bool:
    """Whether a field's name says that its value is a secret. Remembered: the same few names are in every line."""
    return key not in PLAIN_NAMES and SECRET_NAMES.search(key) is not None


def scrub(value: Any) -> Any:
    """``value`` with what looks like a secret replaced, at any depth."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: HIDDEN if _named_secret(str(key)) else scrub(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(one) for one in value]
    # What a renderer would write of it by itself (an exception, a response, bytes), it may write clean only.
    return scrub(value.isoformat() if isinstance(value, datetime) else repr(value))


def tell_stream(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: names the stream, for whoever keeps them apart."""
    first = str(event.get("event", "")).partition(".")[0]
    event["stream"] = first if first in STREAMS else "app"
    return event


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: no secret leaves the process by a log line."""
    for key, value in list(event.items()):
        if _named_secret(key):
            event[key] = HIDDEN
        elif key not in {"_record", "_from_structlog", "exc_info"}:
            event[key] = scrub(value)
    return event


def _redact_foreign(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: ``redact`` for records that did not come through our loggers, which clean theirs."""
    if event.pop(_CLEAN, False) and event.get("_from_structlog"):
        return event
    return redact(logger, method, event)


def _adapted(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    """structlog processor: hands the event to our formatter, or as one line to whatever logging the script has."""
    if _state["ours"]:
        event[_CLEAN] = True
        return structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, method, event)
    return structlog.processors.KeyValueRenderer(key_order=["event"])(logger, method, redact(logger, method, event))


SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
_state = {"ours": False}
"""Whether this process's logging is ours. A script that imports us keeps its own, and hears warnings only."""


def configure(*, form: str = "auto", level: str = "INFO") -> None:
    """Sets up the standard library's logging for our processes, once for each.

    :param form: ``json``, ``console``, or ``auto``: console on a terminal, JSON elsewhere.
    """
    human = form == "console" or (form == "auto" and sys.stderr.isatty())
    last: list[Any] = [tell_stream]
    if human:
        plain = structlog.dev.plain_traceback
        last.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))
    else:
        last.append(structlog.processors.JSONRenderer())
    _state["ours"] = True
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)
    # http.client's debugging prints whole requests, with their Authorization, to standard output.
    vars(http.client)["print"] = _debugged
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*SHARED, structlog.stdlib.ExtraAdder()],
            # Only when its traceback has become words.
            processors=[
                structlog.processors.format_exc_info,
                _redact_foreign,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "PIL", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Celery logs "received" and "succeeded" for every task: two lines a second for the tick alone.
    for chatty in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """A traceback on its way to the terminal, without secrets: an exception's own words may hold one."""
    if not issubclass(kind, SystemExit):
        sys.stderr.write(scrub("".join(traceback.format_exception(kind, error, trace))))


def _debugged(*words: Any, **_: Any) -> None:
    logging.getLogger("http.client").debug("%s", scrub(" ".join(str(word) for word in words)))


class _Bound(structlog.stdlib.BoundLogger):
    def exception(self, event: str | None = None, *args: Any, **kw: Any) -> Any:
        """As an error with its traceback as text: ``Logger.exception`` gives handlers the exception as it is."""
        kw.setdefault("exc_info", True)
        return self.error(event, *args, **kw)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; what is bound to the context (correlation id, post) is on each of its lines.

    It does not depend on structlog's global configuration, which belongs to the program, not to a library.
    """
    bound: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        # Clean before it becomes a record: handlers that are not ours (a test's, an error tracker's) see it, too.
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.processors.format_exc_info,
            redact,
            _adapted,
        ],
        wrapper_class=_Bound,
        cache_logger_on_first_use=True,
    )
    return bound
