"""What pydantic finds wrong, in words for whoever typed it; never with what was typed, which may be secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_TYPE = {
    "missing": "is needed",
    "extra_forbidden": "is not known here",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must be of the form {pattern}",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "int_from_float": "must be a whole number",
    "dict_type": "must be an object of names and values",
    "mapping_type": "must be an object of names and values",
    "model_type": "must be an object of names and values",
    "model_attributes_type": "must be an object of names and values",
}
_BY_KIND = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "list": "must be a list",
    "tuple": "must be a list",
}


def words_for(problem: Mapping[str, Any]) -> str | None:
    """One of pydantic's problems, to stand behind the name of a field; None: there are no words of ours for it."""
    kind, context = str(problem["type"]), problem.get("ctx") or {}
    if kind in {"string_too_short", "too_short"} and context.get("min_length") == 1:
        return "must not be empty"
    form = _BY_TYPE.get(kind) or (
        _BY_KIND.get(kind.partition("_")[0]) if kind.endswith(("_type", "_parsing")) else None
    )
    try:
        return form.format(**context) if form else None
    except KeyError:
        return None


def told(problem: Mapping[str, Any]) -> str:
    """The same; where we have no words, a module's own or pydantic's."""
    return words_for(problem) or str(problem["msg"]).removeprefix("Value error, ").replace("Input should", "must")
