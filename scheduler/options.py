"""What a caller may set beside text and media: for the whole post, for a platform, for one account.

::

    options={"post": {"window_minutes": 30}, "pinterest": {"board": "Recipes"},
             "x:acme": {"reply_settings": "following"}}

An account's own options win over its platform's. Beside what each platform module declares, every target
takes ``text`` (its own words), ``files`` (which of the post's media its first part carries, by place) and
``thread`` (its own further parts; an empty list: none).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from platforms import registry, wording
from platforms.base import Violation

POST = "post"
CONTENT = frozenset({"text", "files", "thread"})
"""What a target may have of its own that is ours to understand, not its platform module's."""
LONGEST_THREAD = 100
"""Parts; nobody reads more, and a slip (a list of letters) ends here."""


class Part(BaseModel):
    """A further part of a thread. A plain text stands for a part without media."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    files: tuple[int, ...] = ()
    """Which of the post's media this part carries, by place, from 0."""

    @model_validator(mode="before")
    @classmethod
    def plain(cls, given: Any) -> Any:
        """A text alone is a part."""
        return {"text": given} if isinstance(given, str) else given


class Content(BaseModel):
    """What a target has of its own, in place of the post's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    files: tuple[int, ...] | None = None
    thread: tuple[Part, ...] | None = Field(None, max_length=LONGEST_THREAD)


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
    thread: tuple[Part, ...] = Field((), max_length=LONGEST_THREAD)
    """The parts after the first: one post, sent as a thread."""


def post_options(options: Mapping[str, Any]) -> tuple[PostOptions, list[Violation]]:
    """The post's own options, and what is wrong with them."""
    try:
        return PostOptions.model_validate(options.get(POST, {})), []
    except ValidationError as error:
        return PostOptions(), _violations(error, POST, None, PostOptions.model_fields)


def for_target(options: Mapping[str, Any], platform: str, name: str) -> tuple[dict[str, Any], list[Violation]]:
    """The options of one account, merged and checked by the platform's model, and what is wrong with them."""
    merged, wrong = _merged(options, platform, name)
    if wrong:
        return {}, wrong
    model = registry.get(platform).options_model
    try:
        mine = {key: value for key, value in merged.items() if key not in CONTENT}
        return model.model_validate(mine).model_dump(mode="json"), []
    except ValidationError as error:
        return {}, _violations(error, platform, platform, {*model.model_fields, *CONTENT})


def content_for(options: Mapping[str, Any], platform: str, name: str) -> tuple[Content, list[Violation]]:
    """What one account has of its own in place of the post's text, media and thread, and what is wrong with it."""
    merged, wrong = _merged(options, platform, name)
    if wrong:
        return Content(), []  # said by ``for_target``
    try:
        return Content.model_validate({key: value for key, value in merged.items() if key in CONTENT}), []
    except ValidationError as error:
        return Content(), _violations(error, platform, platform, CONTENT)


def _merged(options: Mapping[str, Any], platform: str, name: str) -> tuple[dict[str, Any], list[Violation]]:
    merged: dict[str, Any] = {}
    for key in (platform, f"{platform}:{name}"):
        given = options.get(key, {})
        if not isinstance(given, Mapping):
            message = f"options[{key!r}] must be a mapping"
            return {}, [Violation("bad_option", message, f"options.{key}", None, platform)]
        merged.update(given)
    return merged, []


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


def _violations(error: ValidationError, group: str, platform: str | None, known: Iterable[str]) -> list[Violation]:
    found = []
    for one in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in one["loc"])
        code = {"extra_forbidden": "unknown_option", "missing": "option_required"}.get(one["type"], "bad_option")
        words = wording.told(one)
        if len(one["loc"]) == 1 and code == "unknown_option":
            words = f"there is no such option; there are: {', '.join(sorted(known))}"
        elif len(one["loc"]) == 1 and code == "option_required":
            example = json.dumps({group: {field: "..."}})
            words = f"is needed; give it by --option {group}.{field}=..., in Python by options={example}"
        message = f"{group}.{field}: {words}" if field else f"{group}: {words}"
        found.append(Violation(code, message, f"options.{group}.{field}".rstrip("."), None, platform))
    return found
