"""What an author may ask of Mastodon, and what proves who posts: the options and the credentials."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from platforms.hosts import is_loopback

NO_SERVER = "https://no-server-in-credentials.invalid"
"""Stands for the server of an account that names none: it never resolves, and an override replaces it."""


class Poll(BaseModel):
    """A poll below the text. How many options and how long: the instance decides (``limits.Limits``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = Field(min_length=2)
    """What can be chosen; how many and how long is up to the instance."""
    expires_in: int = Field(ge=1)
    """Seconds from publishing to the end."""
    multiple: bool = False
    """True: more than one choice."""
    hide_totals: bool = False
    """True: the counts are hidden until the end."""


class Options(BaseModel):
    """The options of a status. Source: Mastodon API documentation and OpenAPI 4.7.0, 2026-08."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    visibility: Literal["public", "unlisted", "private", "direct"] | None = None
    """Who sees it; the account's own default otherwise."""
    spoiler_text: str = Field(default="", max_length=5_000)
    """A content warning, shown in front of the text; counts towards its limit."""
    sensitive: bool = False
    """Hides the media behind a warning."""
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$")] | None = None
    """ISO 639-1; the account's default otherwise."""
    poll: Poll | None = None
    """A poll below the text, without media."""
    quote_approval_policy: Literal["public", "followers", "nobody"] | None = None
    """Who may quote it. Servers before 4.5 ignore it."""


def server_origin(value: str) -> str:
    """``example.social`` or ``https://example.social/`` as an origin.

    :raises ValueError: it is none, or would send the token unprotected to another machine.
    """
    written = value.strip()
    parts = urlsplit(written if "://" in written else f"https://{written}")
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc or parts.path.strip("/"):
        raise ValueError("must be the address of a server, such as https://mastodon.example")
    if parts.query or parts.fragment:
        raise ValueError("must be the address of a server, without anything after it")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https://")
    return f"{parts.scheme}://{parts.netloc.lower()}"


class Credentials(BaseModel):
    """The account's server and an access token (on the server: Preferences, Development, New application).

    Tokens of Mastodon do not run out and are not renewed.
    """

    model_config = ConfigDict(extra="forbid")

    access_token: str = Field(min_length=1)
    server: str | None = Field(
        default=None, json_schema_extra={"hint": "needed, but for a sandbox; such as https://mastodon.social"}
    )
    """Such as ``https://mastodon.social``. Needed, but where the platform's address is overridden as a whole."""
    scope: str | None = None
    """What was granted, separated by blanks."""

    @model_validator(mode="after")
    def _names_a_server(self) -> Self:
        if self.server is not None:
            server_origin(self.server)
        return self
