"""Talking S3: the client, what may be repeated, and errors in words without a secret in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from media.errors import StoreUnavailable

T = TypeVar("T")

TRIES, TRY_FOR_S = 3, 10.0
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30

_PASSING = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestTimeout", "InternalError"}
    | {"ServiceUnavailable", "BadDigest", "InvalidDigest", "IncompleteBody"}
)
"""Error codes after which the same request may succeed; a wrong digest means bytes were bent on the way."""
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload", "NoSuchBucket"})


def connect(endpoint_url: str, access_key_id: str, secret_access_key: str, region: str) -> Any:
    """A client for R2 and its like; safe to share between threads, not across a fork.

    :raises StoreUnavailable: the endpoint is no URL.
    """
    # Lazy: boto3 takes 40 MB and half a second, and most processes never talk to the store.
    import boto3
    import botocore.session
    from botocore.config import Config

    settings = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        # R2 refuses the checksum trailers that boto3 adds by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # One try each: repeating is decided in ``call``, in one place.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=32,
    )
    # A session of its own, since the default one is not safe to share, and one that ignores AWS_PROFILE and
    # ~/.aws: what is said there is meant for another store, and a profile that is gone would fail this one.
    unset = (None, None, None, None)
    own = botocore.session.Session(
        session_vars={
            "profile": unset,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    try:
        return boto3.session.Session(botocore_session=own).client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=settings,
        )
    except ValueError:
        raise StoreUnavailable(f"the store's endpoint is no URL: {origin(endpoint_url)}") from None


def call(what: str, request: Callable[[], T], *, where: str, absent: bool = False) -> T | None:
    """Sends a request, repeats what may be repeated, and says in plain words what went wrong.

    :param what: what the request does, for the message ("store an object").
    :param where: endpoint and bucket, for the message.
    :param absent: None is returned where the object, upload or bucket is not there.
    :raises StoreUnavailable: without URL, headers or anything secret.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay
    from tenacity import wait_random_exponential as backoff

    retrying = Retrying(
        stop=stop_after_attempt(TRIES) | stop_after_delay(TRY_FOR_S),
        wait=backoff(multiplier=0.2, max=2),
        retry=retry_if_exception(_may_repeat),
        reraise=True,
    )
    try:
        return retrying(request)
    except ClientError as error:
        code, status = _code(error)
        if absent and code in _ABSENT:
            return None
        words = _words(code, status)
    except BotoCoreError as error:
        # Its class says it all; its text holds URLs.
        words = f"no answer ({type(error).__name__})"
    # Outside the handler, so that no traceback carries the original along, with its request in it.
    raise StoreUnavailable(f"could not {what} at {where}: {words}")


def _code(error: Any) -> tuple[str, int]:
    response = error.response
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(response.get("Error", {}).get("Code", "")), int(status)


def _may_repeat(error: BaseException) -> bool:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        code, status = _code(error)
        # 501 is R2's word for "will never be there".
        return (status >= 500 and status != 501) or status == 429 or code in _PASSING
    if isinstance(error, exceptions.SSLError):
        return False
    passing = exceptions.ConnectionError | exceptions.HTTPClientError | exceptions.IncompleteReadError
    return isinstance(error, passing)


def _words(code: str, status: int) -> str:
    known = {
        "InvalidAccessKeyId": "the access key is not known there",
        "SignatureDoesNotMatch": "the secret key is wrong",
        "AccessDenied": "these keys have no right to do that",
        "Unauthorized": "these keys have no right to do that",
        "NoSuchBucket": "there is no such bucket",
        "RequestTimeTooSkewed": "the clock of this machine is wrong",
        "EntityTooLarge": "it is too large for the store",
        "403": "the keys are wrong or have no right to do that",
        "404": "there is no such bucket",
    }
    plain = re.sub(r"[^A-Za-z0-9]", "", code)[:60]
    return f"{known.get(code, 'the store refused')} (HTTP {status}{', ' + plain if plain else ''})"


def origin(url: str) -> str:
    """Scheme, host and port of a URL; a user, password or query in it stay out."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"
