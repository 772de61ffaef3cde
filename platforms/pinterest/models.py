"""What an author may ask of Pinterest, what proves who pins, and which board is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from platforms.base import Json, Violation
from platforms.outcomes import objects
from platforms.pinterest import api

MAX_NAMED_BOARDS = 20
"""How many boards a message lists."""


def _as_text(value: object) -> object:
    """An id given as a number (a command line, YAML) is meant as text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, min_length=1, max_length=180)]


def _web_address(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and name a host")
    return value


Link = Annotated[str | None, Field(max_length=2048), AfterValidator(_web_address)]


class Slide(BaseModel):
    """What belongs to one picture of a carousel. The API names no limits here; those of the pin are taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = Field(default=None, max_length=100)
    description: str | None = Field(default=None, max_length=800)
    link: Link = None
    """Where a click on this picture leads."""


class Options(BaseModel):
    """The options of a pin. Source of the limits: Pinterest API v5, OpenAPI 5.23.0 (2025-12)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    board: Name
    """The board's id or its name."""
    board_section: Name | None = None
    """The section's id, or its name where the account's sections were read."""
    title: str | None = Field(default=None, max_length=100)
    link: Link = None
    """Where a click leads."""
    dominant_color: Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")] | None = None
    media: Literal["auto", "url", "bytes"] = "auto"
    """How Pinterest gets a picture: from our store, in the request, or whichever is possible. A video is always
    uploaded."""
    slides: list[Slide] = Field(default_factory=list, max_length=5)
    """Words and links of a carousel's pictures, in their order; fewer than pictures is fine."""
    first_slide: int = Field(default=0, ge=0, le=4)
    """Which picture of a carousel is shown first, from 0."""
    cover_time_s: int | None = Field(default=None, ge=0)
    """The moment of a video whose picture is its cover, seconds; the last one where the video is shorter. A picture
    among the media is the cover instead."""
    ai_modified: bool = False
    """Says that the media were made or changed with AI. Source: clients of OpenAPI 5.28 (2026-10)."""


class Credentials(BaseModel):
    """OAuth 2.0. With ``refresh_token``, ``client_id`` and ``client_secret`` the access renews itself."""

    model_config = ConfigDict(extra="forbid")

    access_token: str = Field(min_length=1)
    refresh_token: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    expires_at: str | float | None = None
    """When the access token runs out: ISO 8601, or seconds since 1970."""
    scope: str | None = None
    """What was granted, separated by blanks or commas."""
    access_tier: Literal["trial", "standard"] | None = None
    """Of the app, as Pinterest's developer pages show it; Pinterest's API does not say."""


def _named(entries: list[dict[str, Json]]) -> str:
    names = [f"{entry.get('name')} ({entry.get('id')})" for entry in entries[:MAX_NAMED_BOARDS]]
    more = len(entries) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "") if names else "none"


def _choose(wanted: str, known: list[dict[str, Json]] | None, what: str, field: str) -> str | Violation:
    """The id of what is meant by ``wanted``, an id or a name."""
    if known is None:
        if wanted.isascii() and wanted.isdecimal():
            return wanted
        message = f"The account's {what}s were not read, so {wanted!r} cannot be found by its name: give its id."
        return Violation(f"{what}s_unknown", message, field, platform="pinterest")
    for same in (
        lambda entry: str(entry.get("id")) == wanted,
        lambda entry: entry.get("name") == wanted,
        lambda entry: str(entry.get("name")).casefold() == wanted.casefold(),
        # Renamed since: whoever scheduled by the old name means the same board.
        lambda entry: wanted.casefold() in {str(name).casefold() for name in entry.get("former_names") or []},
    ):
        found = [entry for entry in known if same(entry)]
        if len(found) == 1:
            return str(found[0]["id"])
        if found:
            message = f"More than one {what} is called {wanted!r}; give an id: {_named(found)}."
            return Violation(f"ambiguous_{what}", message, field, platform="pinterest")
    message = f"The account has no {what} {wanted!r}; it has: {_named(known)} (as of the last accounts check)."
    return Violation(f"unknown_{what}", message, field, platform="pinterest")


def board_id(wanted: str, facts: Mapping[str, Json]) -> str | Violation:
    """The id of the board that is meant. ``facts["boards"]``, where ``identify`` has filled it, decides."""
    known = objects(facts["boards"]) if "boards" in facts else None
    return _choose(wanted, known, "board", "options.board")


def secret_violations(board: str, facts: Mapping[str, Json]) -> Iterator[Violation]:
    """A secret board that the account's access is known not to reach, to pin there or to look whether it did."""
    secret = any(str(one.get("id")) == board and one.get("privacy") == "SECRET" for one in objects(facts.get("boards")))
    granted = facts.get("scopes")
    lacking = [scope for scope in api.SECRET_SCOPES if isinstance(granted, list) and scope not in granted]
    if secret and lacking:
        message = f"The board is secret, and the account's access lacks {', '.join(lacking)}; connect it again."
        yield Violation("scope_missing", message, "options.board", platform="pinterest")


def section_id(wanted: str, board: str, facts: Mapping[str, Json]) -> str | Violation:
    """The id of the section that is meant on the board with the id ``board``."""
    for entry in objects(facts.get("boards")):
        if str(entry.get("id")) == board and "sections" in entry:
            return _choose(wanted, objects(entry["sections"]), "board_section", "options.board_section")
    return _choose(wanted, None, "board_section", "options.board_section")
