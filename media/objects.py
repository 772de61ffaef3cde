"""Where the object store is, and what it tells of what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class StoreConfig:
    """Where the store is and how to enter. Its ``repr`` shows no secret."""

    endpoint_url: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    bucket: str
    public_url: str | None = None
    """The bucket's own domain (its root); without it, presigned URLs on the endpoint are handed out."""
    region: str = "auto"
    originals_prefix: str = "originals/"
    public_prefix: str = "media/"


@dataclass(frozen=True)
class StoredObject:
    """One line of a listing."""

    key: str
    size: int
    """Bytes."""
    modified: datetime
    """UTC, the store's clock."""


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that was begun and neither finished nor given up; its parts cost space."""

    key: str
    upload_id: str
    started: datetime
    """UTC, the store's clock."""
