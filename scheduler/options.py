"""What a caller may set beside text and media: for the whole post, for a platform, for one account.

::

    options={"post": {"window_minutes": 30}, "pinterest": {"board": "Recipes"},
             "x:acme": {"reply_settings": "following"}}

An account's own options win over its platform's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platforms import registry
from platforms.base import Violation

POST = "post"


class PostOptions(BaseModel):
    """Options of the post itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_minutes: int | None = Field(None, ge=1, le=60 * 24 * 30)
    """How late is still welcome; the setting's default otherwise."""
    fit: Literal["refuse", "pad", "crop"] = "refuse"
    """What to do with a picture whose aspect ratio a platform does not take; never done silently."""
    background: str = Field("#ffffff", pattern=r"^#[0-9a-fA-F]{6}$")
    """What stands behind transparent or padded areas."""
    animation: Literal["keep", "first_frame"] = "keep"
    """An animation that a platform does not take: refused, or its first picture alone; never done silently."""


def post_options(options: Mapping[str, Any]) -> tuple[PostOptions, list[Violation]]:
    """The post's own options, and what is wrong with them."""
    try:
        return PostOptions.model_validate(options.get(POST, {})), []
    except ValidationError as error:
        return PostOptions(), _violations(error, POST, None)


def for_target(options: Mapping[str, Any], platform: str, name: str) -> tuple[dict[str, Any], list[Violation]]:
    """The options of one account, merged and checked by the platform's model, and what is wrong with them."""
    merged: dict[str, Any] = {}
    for key in (platform, f"{platform}:{name}"):
        given = options.get(key, {})
        if not isinstance(given, Mapping):
            return {}, [
                Violation("bad_option", f"options[{key!r}] must be a mapping", f"options.{key}", None, platform)
            ]
        merged.update(given)
    model = registry.get(platform).options_model
    try:
        return model.model_validate(merged).model_dump(mode="json"), []
    except ValidationError as error:
        return {}, _violations(error, platform, platform)


def strangers(options: Mapping[str, Any], targets: Sequence[tuple[str, str]]) -> list[Violation]:
    """Option groups that belong to none of the targets: a slip that would be silently ignored otherwise."""
    known = {
        POST,
        *(platform for platform, _ in targets),
        *(f"{platform}:{name}" for platform, name in targets),
    }
    return [
        Violation(
            "unknown_option",
            f"there are options for {key!r}, but the post does not go there (it goes to"
            f" {', '.join(f'{platform}:{name}' for platform, name in targets)})",
            f"options.{key}",
        )
        for key in options
        if key not in known
    ]


def _violations(error: ValidationError, group: str, platform: str | None) -> list[Violation]:
    found = []
    for one in error.errors():
        field = ".".join(str(part) for part in one["loc"])
        code = {"extra_forbidden": "unknown_option", "missing": "option_required"}.get(one["type"], "bad_option")
        message = f"{group}.{field}: {one['msg']}" if field else f"{group}: {one['msg']}"
        found.append(Violation(code, message, f"options.{group}.{field}".rstrip("."), None, platform))
    return found
