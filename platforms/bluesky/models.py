"""What an author may ask of Bluesky, and what proves who posts: the options and the credentials."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from platforms.bluesky.dpop import private_of
from platforms.bluesky.text import graphemes
from platforms.hosts import is_loopback

MAX_TAG_GRAPHEMES, MAX_TAG_BYTES = 64, 640

_LIST = re.compile(r"at://did:[a-z]+:[A-Za-z0-9._:%-]+/app\.bsky\.graph\.list/[A-Za-z0-9._:~-]{1,512}")


def _as_list(value: object) -> object:
    """One word where a list is meant, as a command line gives it."""
    return [value] if isinstance(value, str) else value


def _is_tag(value: str) -> str:
    if len(value.encode("utf-8", "surrogatepass")) > MAX_TAG_BYTES or graphemes(value) > MAX_TAG_GRAPHEMES:
        raise ValueError(f"must have at most {MAX_TAG_GRAPHEMES} characters and {MAX_TAG_BYTES} bytes")
    return value


def _is_gate(value: str) -> str:
    if value not in {"mentioned", "followers", "following"} and not _LIST.fullmatch(value):
        raise ValueError("must be mentioned, followers, following or the at:// address of a list")
    return value


Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", max_length=40)]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Label = Literal["!no-unauthenticated", "porn", "sexual", "nudity", "graphic-media"]
"""The self-labels that Bluesky's own app knows. Source: bsky-docs, labels, 2026-04."""


class Options(BaseModel):
    """The options of a post on Bluesky. Source: lexicons app.bsky.feed.post, .threadgate, .postgate, 2026-08."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    langs: Annotated[list[Language], BeforeValidator(_as_list)] = Field(default_factory=list, max_length=3)
    """Languages of the text (BCP 47)."""
    labels: Annotated[list[Label], BeforeValidator(_as_list)] = Field(default_factory=list, max_length=10)
    """Content warnings."""
    tags: Annotated[list[Tag], BeforeValidator(_as_list)] = Field(default_factory=list, max_length=8)
    """Hashtags beside those in the text, without the sign."""
    replies: Literal["everyone", "nobody"] | Annotated[list[str], Field(min_length=1, max_length=5)] = "everyone"
    """Who may reply: everyone, nobody, or a list of mentioned, followers, following and at:// lists."""
    quotes: bool = True
    """False: nobody may quote the post."""
    card: bool = False
    """True: the only link of a text without media becomes a card. No page is read for it."""
    card_url: str | None = Field(default=None, max_length=2048)
    """The card's link, where the text has none or several."""
    card_title: str | None = Field(default=None, min_length=1, max_length=300)
    """The card's title; the link's host otherwise. Given, it asks for a card."""
    card_description: str = Field(default="", max_length=1000)
    presentation: Literal["default", "gif"] = "default"
    """``gif``: a video that plays silently in a loop."""

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, value: list[str]) -> list[str]:
        return [_is_tag(tag.removeprefix("#")) for tag in value]

    @field_validator("replies", mode="before")
    @classmethod
    def _one_rule_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) and value not in {"everyone", "nobody"} else value

    @field_validator("replies")
    @classmethod
    def _are_gates(cls, value: str | list[str]) -> str | list[str]:
        return value if isinstance(value, str) else [_is_gate(rule) for rule in value]

    @field_validator("card_url")
    @classmethod
    def _is_a_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
            raise ValueError("must begin with https:// or http:// and name a host")
        return value

    @property
    def wants_card(self) -> bool:
        """Whether a card was asked for, by any of its options."""
        return self.card or self.card_title is not None or self.card_url is not None


def server_origin(value: str) -> str:
    """``example.org`` or ``https://example.org/`` as an origin.

    :raises ValueError: it is none, or would send a password unprotected to another machine.
    """
    written = value.strip()
    parts = urlsplit(written if "://" in written else f"https://{written}")
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc or parts.path.strip("/"):
        raise ValueError("must be the address of a server, such as https://pds.example.org")
    if parts.query or parts.fragment:
        raise ValueError("must be the address of a server, without anything after it")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https://")
    return f"{parts.scheme}://{parts.netloc.lower()}"


MADE: Any = Field(default=None, json_schema_extra={"asked": False})
"""What ``accounts connect`` makes; nobody is asked for it."""


class Credentials(BaseModel):
    """An account and an app password (bsky.app: Settings, Privacy and security, App passwords); or what
    ``accounts connect`` got by OAuth, which nobody types.

    The other fields are the session, which the module makes and renews by itself.
    """

    model_config = ConfigDict(extra="forbid")

    identifier: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512)] | None = Field(
        default=None, json_schema_extra={"hint": "needed: handle, DID or e-mail address"}
    )
    """Handle, DID or e-mail address."""
    password: str | None = Field(
        default=None, min_length=1, max_length=512, json_schema_extra={"hint": "needed: an app password"}
    )
    """An app password; the account's own works too, but should not be given away."""
    server: str | None = None
    """The account's own server (PDS); Bluesky's otherwise."""
    access_token: str | None = MADE
    refresh_token: str | None = MADE
    expires_at: str | float | None = MADE
    """When the access token runs out: ISO 8601, or seconds since 1970."""
    did: str | None = MADE
    handle: str | None = MADE
    pds: str | None = MADE
    """The server that keeps the account's records: behind bsky.social, as its session named it; with OAuth, as the
    account's document did."""
    scope: str | None = MADE
    """OAuth: what was granted, separated by blanks."""
    dpop_key: dict[str, str] | None = MADE
    """OAuth: the session's private key (JWK); its tokens are worth nothing without it."""
    issuer: str | None = MADE
    token_endpoint: str | None = MADE
    client_id: str | None = MADE
    client_key: dict[str, Any] | None = MADE
    """OAuth: the app's private key (JWK), of a confidential client."""
    session_began_at: str | None = MADE
    """OAuth: when a person signed in (ISO 8601); the session ends some time after it."""

    @model_validator(mode="after")
    def _names_a_server(self) -> Self:
        if self.server is not None:
            server_origin(self.server)
        return self

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        if self.dpop_key is None:
            if self.identifier is None or self.password is None:
                raise ValueError("identifier and password (an app password) are needed")
            return self
        needed = ("access_token", "did", "pds", "issuer", "token_endpoint", "client_id")
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"an OAuth session also has {', '.join(missing)}")
        for key in (self.dpop_key, self.client_key):
            if key is not None:
                private_of(key)
        return self
