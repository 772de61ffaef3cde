"""Logs: structlog, as JSON lines or for a terminal, with secrets taken out on the way.

One ``correlation_id`` binds every line from the script that scheduled a post to the platform call.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_NAMES = re.compile(
    r"(?i)(authorization|cookie|password|passwd|secret|token|credential|api_?key|access_?key|signature|private)"
)
PLAIN_NAMES = frozenset({"token_version", "idempotency_key", "platform_key", "token_expires_at"})
SECRET_TEXT = re.compile(
    r"(?i)(bearer\s+|basic\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|((?:access_token|refresh_token|client_secret|oauth_token|sig|x-amz-signature|x-amz-credential|code)=)[^&\s\"']+"
    r"|(://[^/\s:@]*:)[^/\s@]+(?=@)"
)
HIDDEN = "[hidden]"


def scrub(value: Any) -> Any:
    """``value`` with what looks like a secret replaced, at any depth."""
    if isinstance(value, str):
        return SECRET_TEXT.sub(lambda found: (found[1] or found[2] or found[3] or "") + HIDDEN, value)
    if isinstance(value, dict):
        return {
            key: HIDDEN if SECRET_NAMES.search(str(key)) and key not in PLAIN_NAMES else scrub(one)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(scrub(one) for one in value)
    return value


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: no secret leaves the process by a log line."""
    for key, value in list(event.items()):
        if SECRET_NAMES.search(key) and key not in PLAIN_NAMES:
            event[key] = HIDDEN
        elif key not in {"_record", "_from_structlog", "exc_info"}:
            event[key] = scrub(value)
    return event


def configure(*, form: str = "auto", level: str = "INFO") -> None:
    """Sets up structlog and the standard library's logging, once for each process.

    :param form: ``json``, ``console``, or ``auto``: console on a terminal, JSON elsewhere.
    """
    human = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Any] = (
        [
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if human
        else [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
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


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; what is bound to the context (correlation id, post) is on each of its lines."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
