"""What is wrong with credentials that somebody typed, said in whole and without any of their values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from platforms import registry
from platforms.wording import words_for
from scheduler.errors import Refused

SHORT = 4
"""A value of fewer characters is no secret, and would be found in any sentence."""


def check_shape(platform: str, credentials: Mapping[str, Any]) -> None:
    """Whether the platform's module can do anything with them.

    :raises Refused: it cannot; says which fields are unknown, wrong or missing, and what belongs together.
    """
    model = registry.get(platform).credentials_model
    if _problems(model, credentials) is None:
        return
    unknown = [name for name in credentials if name not in model.model_fields]
    told = [f"there is no field {', '.join(unknown)}"] if unknown else []
    # Fields that are unknown hide what is wrong with the others.
    left = {name: value for name, value in credentials.items() if name not in unknown}
    problems = _problems(model, left)
    missing = [str(one["loc"][0]) for one in problems or () if one["type"] == "missing"]
    told += [f"missing: {', '.join(missing)}"] if missing else []
    for one in problems or ():
        if one["type"] != "missing":
            told.append(_said(model, one, left))
    about = " ".join((model.__doc__ or "").replace("``", "").split())
    fields = ", ".join(model.model_fields)
    raise Refused(f"These are not credentials for {platform}: {'; '.join(told)}. Fields: {fields}. {about}".rstrip())


def _problems(model: type[BaseModel], credentials: Mapping[str, Any]) -> list[Any] | None:
    try:
        model.model_validate(dict(credentials))
    except ValidationError as error:
        return list(error.errors(include_url=False, include_input=False))
    return None


def _said(model: type[BaseModel], problem: Mapping[str, Any], credentials: Mapping[str, Any]) -> str:
    """One problem; of a rule over several fields also which of them are there and which are not."""
    place = ".".join(map(str, problem["loc"]))
    words = str(problem["msg"]).removeprefix("Value error, ")
    # Only a module's own sentence is repeated, and only where it does not quote what was typed.
    if problem["type"] != "value_error" or any(value in words for value in _texts(credentials)):
        words = words_for(problem) or str(problem["type"])
    if place:
        return f"{place}: {words}"
    named = [name for name in model.model_fields if re.search(rf"\b{re.escape(name)}\b", words)]
    there = [name for name in named if credentials.get(name) is not None]
    absent = [name for name in named if name not in there]
    facts = [f"given: {', '.join(there)}"] if there else []
    facts += [f"not given: {', '.join(absent)}"] if absent else []
    return f"{words} ({'; '.join(facts)})" if facts else words


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) >= SHORT:
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
