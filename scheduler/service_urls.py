"""Whether the addresses of services can be used at all, said before anything is connected.

Each part reads them with another library (SQLAlchemy and libpq, redis-py and kombu, boto3), which would each say in
its own way, at its own time and with a traceback that it cannot. No message repeats an address: passwords are in it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
REDIS_SCHEMES = ("redis", "rediss")
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")

# As SQLAlchemy reads it: a password may hold anything but @.
DATABASE = re.compile(
    r"[\w+]+://(?:[^:/@]*(?::[^@]*)?@)?(?P<host>\[[^/?\]]+\]|[^/:?@\[\]]*)(?::(?P<port>[^/?]*))?(?:/[^?]*)?(?:\?.*)?"
)
DATABASE_FORM = (
    "write it as postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %XX for special characters in the password"
)
REDIS_FORM = "write it as redis://:PASSWORD@HOST:6379/0 (rediss:// with TLS), with %XX for special characters"


def database_url(value: str) -> str:
    """``value``. :raises ValueError: it is no address of a PostgreSQL."""
    scheme = _scheme(value)
    if scheme not in DATABASE_SCHEMES:
        raise ValueError(f"{_not(scheme, 'PostgreSQL (by psycopg2)')}; {DATABASE_FORM}")
    found = DATABASE.fullmatch(value)
    if found is None or not _is_port(found["port"]):
        raise ValueError(f"that cannot be read as an address; {DATABASE_FORM}")
    import psycopg2  # here: the supervisor and --help read no database's address
    from psycopg2.extensions import parse_dsn

    try:
        read = parse_dsn(f"postgresql://{value.partition('://')[2]}")
        same = "host=" in value.partition("?")[2] or read.get("host", "") == unquote(found["host"].strip("[]"))
    except psycopg2.Error:
        same = False
    if not same:  # a / in the password ends the host for libpq, which health and figures go by
        raise ValueError(f"PostgreSQL's own library does not understand it; {DATABASE_FORM}") from None
    return value


def redis_url(value: str) -> str:
    """``value``. :raises ValueError: it is no address of a Redis or Valkey."""
    scheme = _scheme(value)
    if scheme not in REDIS_SCHEMES:
        raise ValueError(f"{_not(scheme, 'Redis or Valkey')}; {REDIS_FORM}")
    try:
        parts = urlsplit(value)
        usable = parts.port != 0 and bool(parts.hostname) and re.fullmatch(r"/?\d{0,5}", parts.path) is not None
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"that cannot be read as an address; {REDIS_FORM}")
    return value


def web_url(value: str) -> str:
    """``value``. :raises ValueError: it is no http(s) address of a host."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", value):
        raise ValueError("must be an address such as https://HOST or http://HOST:PORT")
    return value


def bucket(value: str) -> str:
    """``value``. :raises ValueError: no bucket can have that name."""
    if not BUCKET.fullmatch(value):
        raise ValueError("must be a bucket's name: letters, digits, dots, dashes and _")
    return value


def _scheme(value: str) -> str:
    scheme, separator, _ = value.partition("://")
    return scheme if separator else ""


def _not(scheme: str, wanted: str) -> str:
    # Only what looks like a scheme is repeated: a password in its place is not.
    known = re.fullmatch(r"[a-z][a-z0-9]{1,15}(\+[a-z0-9]{1,15})?", scheme)
    return f"{scheme}:// does not lead to {wanted}" if known else "that is no address"


def _is_port(word: str | None) -> bool:
    return not word or (word.isascii() and word.isdigit() and 0 < int(word[:6]) <= 65_535)
