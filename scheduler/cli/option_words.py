"""``--option PLATFORM.KEY=VALUE``: what the words on a line mean, by what the option takes.

A value may be JSON, since some options are lists and objects; but ``title=2024``, ``board=true`` and ``board=1e5`` are
meant as text, and only the option's own schema knows that. So: the JSON value where the option takes it, else the text
as it stands where the option takes that.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from platforms import registry
from scheduler.errors import Refused
from scheduler.options import CONTENT, POST, Content, PostOptions


def options_of(given: list[str] | None) -> dict[str, Any]:
    """``PLATFORM.KEY=VALUE`` words as a mapping. :raises Refused: a word is not of that form."""
    found: dict[str, dict[str, Any]] = {}
    for word in given or []:
        name, equals, value = word.partition("=")
        group, dot, key = name.rpartition(".")
        if not equals or not dot or not group or not key:
            raise Refused(f"--option {word!r} is not PLATFORM.KEY=VALUE (such as pinterest.board=Recipes)")
        found.setdefault(group, {})[key] = _meant(group, key, value)
    return dict(found)


def _meant(group: str, key: str, value: str) -> Any:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    # A long number is an id, whatever the option would make of it: JSON's numbers lose their last digits elsewhere.
    if isinstance(parsed, int) and len(value) > 9:
        return value
    model = _model(group, key)
    if model is None or _takes(model, key, parsed) or not _takes(model, key, value):
        return parsed  # also where neither is taken: what is wrong is said when the post is checked
    return value


def _model(group: str, key: str) -> type[BaseModel] | None:
    """What decides about an option; None: nobody knows that group, which is said when the post is checked."""
    if group == POST:
        return PostOptions
    if key in CONTENT:
        return Content
    platform = group.partition(":")[0]
    return registry.get(platform).options_model if platform in registry.names() else None


def _takes(model: type[BaseModel], key: str, value: Any) -> bool:
    """Whether the option takes the value, whatever else the post may lack."""
    try:
        model.model_validate({key: value})
    except ValidationError as error:
        return not any(one["loc"][:1] == (key,) for one in error.errors())
    return True
