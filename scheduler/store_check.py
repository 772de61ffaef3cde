"""Whether the object store answers, knows us and has the bucket: one signed request, without boto3.

The monitor asks all the time and has to stay small; boto3 alone takes 30 MB. The signature is AWS's version 4
for one fixed request; a test holds it against botocore's own.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from media.storage import StoreConfig

ANSWER_S = 5.0
EMPTY = hashlib.sha256(b"").hexdigest()
QUERY = "list-type=2&max-keys=1"
"""A listing, not a HEAD: only an answer with a body says why it was refused."""


class StoreRefuses(Exception):
    """The store does not do what is asked; the message says why, without anything secret."""


def check(config: StoreConfig, *, now: datetime | None = None, advice: str = "check R2_ENDPOINT_URL") -> None:
    """Lists at most one object of the bucket. :raises StoreRefuses: it does not answer, or says no.

    :param advice: what to do where it does not answer.
    """
    parts = urlsplit(config.endpoint_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = f"{parts.path.rstrip('/')}/{quote(config.bucket)}"
    try:
        conn = kind(parts.hostname or "", parts.port, timeout=ANSWER_S)
        try:
            conn.request(
                "GET",
                f"{path}?{QUERY}",
                headers=headers(config, parts.netloc, path, now or datetime.now(UTC)),
            )
            with conn.getresponse() as reply:
                status, body = reply.status, reply.read(4096).decode("utf-8", "replace")
        finally:
            conn.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise StoreRefuses(f"{parts.hostname} does not answer ({reason}); {advice}") from None
    if status == 200:
        return
    code = re.search(r"<Code>([A-Za-z0-9]{1,60})</Code>", body)
    said = code[1] if code else f"HTTP {status}"
    if status == 404:
        raise StoreRefuses(f"{parts.hostname} has no bucket {config.bucket} ({said}); check R2_BUCKET")
    if status in {400, 401, 403}:
        raise StoreRefuses(
            f"{parts.hostname} refuses our keys ({said}); check R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY"
        )
    raise StoreRefuses(f"{parts.hostname} answers {said}")


def headers(config: StoreConfig, host: str, path: str, now: datetime) -> dict[str, str]:
    """The headers of the request, signed."""
    stamp, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    scope = f"{day}/{config.region}/s3/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = "\n".join(
        [
            "GET",
            path,
            QUERY,
            f"host:{host}",
            f"x-amz-content-sha256:{EMPTY}",
            f"x-amz-date:{stamp}",
            "",
            names,
            EMPTY,
        ]
    )
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{config.secret_access_key}".encode()
    for part in (day, config.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return {
        "Host": host,
        "X-Amz-Date": stamp,
        "X-Amz-Content-Sha256": EMPTY,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={config.access_key_id}/{scope}, SignedHeaders={names},"
        f" Signature={signature}",
    }
