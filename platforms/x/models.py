"""What an author may ask of X, and what proves who posts: the options and the credentials."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

RemoteId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
"""An id of X, as text: it does not fit into what JavaScript calls a number."""

OAUTH1_FIELDS = ("consumer_key", "consumer_secret", "token", "token_secret")


class Poll(BaseModel):
    """A poll below the text. Source of the limits: X API v2, OpenAPI 2.167 (2026-08)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: list[Annotated[str, StringConstraints(min_length=1, max_length=25)]] = Field(min_length=2, max_length=4)
    """What can be chosen."""
    duration_minutes: int = Field(ge=5, le=10_080)
    """Minutes from publishing to the end; up to seven days."""


class Options(BaseModel):
    """The options of a post on X. Source: X API v2, OpenAPI 2.167 (2026-08), ``POST /2/tweets``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reply_settings: Literal["everyone", "following", "mentionedUsers", "subscribers", "verified"] = "everyone"
    """Who may reply."""
    made_with_ai: bool = False
    """Says that the media were made with AI."""
    paid_partnership: bool = False
    """Says that the post is paid for."""
    community_id: RemoteId | None = None
    """Posts into a community; the account must be a member."""
    share_with_followers: bool = False
    """With ``community_id``: shows it to the followers too."""
    for_super_followers_only: bool = False
    """Only those who pay for the account's posts see it."""
    tagged_user_ids: list[RemoteId] = Field(default_factory=list, max_length=10)
    """Who is tagged in the media."""
    poll: Poll | None = None
    """A poll below the text, without media."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.share_with_followers and self.community_id is None:
            raise ValueError("share_with_followers needs a community_id")
        return self


class Credentials(BaseModel):
    """Either OAuth 2.0 (``access_token``; with ``refresh_token`` and ``client_id`` it renews itself) or
    OAuth 1.0a (``consumer_key``, ``consumer_secret``, ``token``, ``token_secret``; these do not run out)."""

    model_config = ConfigDict(extra="forbid")

    access_token: str | None = Field(default=None, min_length=1)
    refresh_token: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    expires_at: str | float | None = None
    """When the access token runs out: ISO 8601, or seconds since 1970."""
    scope: str | None = None
    """What was granted, separated by blanks."""
    consumer_key: str | None = Field(default=None, min_length=1)
    consumer_secret: str | None = Field(default=None, min_length=1)
    token: str | None = Field(default=None, min_length=1)
    token_secret: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_whole_set(self) -> Self:
        given = [name for name in OAUTH1_FIELDS if getattr(self, name) is not None]
        if self.access_token is not None and not given:
            return self
        if self.access_token is None and len(given) == len(OAUTH1_FIELDS):
            return self
        raise ValueError(
            "give either access_token (OAuth 2.0) or all of consumer_key, consumer_secret, token and "
            "token_secret (OAuth 1.0a), not both"
        )
