"""A module's options and credentials, field by field: type, default, limits, help.

The help of a field is its ``description``, or the string that stands below it in the class (as everywhere in this
project), which Python does not keep; it is read from the source, where there is one.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

SHOWN = frozenset(
    {
        "api_version", "client_id", "client_key", "consumer_key", "did", "expires_at", "handle", "identifier",
        "ig_user_id", "issued_at", "login", "open_id", "page_id", "pds", "refresh_expires_at", "scope", "server",
        "token_type", "user_id",
    }
)  # fmt: skip
"""Names of credentials that prove nothing by themselves. Any other is taken for a secret."""


_SOURCE = re.compile(r"Source[^:.]*: (.+?)\.?$", re.DOTALL)


def source_of(model: type[BaseModel]) -> str:
    """Document and date that a model's limits were read from, as its description ends with; empty: it does not say."""
    found = _SOURCE.search(inspect.cleandoc(model.__doc__ or ""))
    return " ".join(found[1].split()).replace("`", "") if found else ""


def options_of(model: type[BaseModel], source: str = "") -> list[dict[str, Any]]:
    """The options an author may set: name, type, whether required, default, help, source, and fields of nested ones.

    :param source: of the model that ``model`` is a part of, where it names none of its own.
    """
    schema = model.model_json_schema()
    source = source_of(model) or source
    return [
        {
            "name": name,
            "type": _type(schema["properties"][field.alias or name], schema),
            "required": field.is_required(),
            "default": _default(field),
            "help": _help(model, name, field),
            "source": source,
            "fields": _nested(field.annotation, source),
        }
        for name, field in model.model_fields.items()
    ]


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The options as a JSON schema, with the help of each as its description."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        told = _help(model, name, field)
        if told:
            schema["properties"][field.alias or name].setdefault("description", told)
    return schema


def credentials_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """What ``accounts add`` reads: name, whether required by itself, whether it is a secret, help."""
    return [
        {
            "name": name,
            "required": field.is_required(),
            "secret": name not in SHOWN,
            "help": _help(model, name, field),
        }
        for name, field in model.model_fields.items()
    ]


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return None
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follows a reference into the schema's definitions."""
    reference = part.get("$ref")
    if not reference:
        return part
    found: dict[str, Any] = schema["$defs"][str(reference).rpartition("/")[2]]
    return found


def _nested(annotation: object, source: str) -> list[dict[str, Any]]:
    """The fields of an option that is an object, or a list of objects."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return options_of(annotation, source)
    return next((found for part in get_args(annotation) if (found := _nested(part, source))), [])


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no", "object": "object"}
_LIMITS = (
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
    ("minimum", "from {}"),
    ("maximum", "to {}"),
    ("exclusiveMaximum", "below {}"),
    ("pattern", "of the form {}"),
)


def _type(part: dict[str, Any], schema: dict[str, Any]) -> str:
    """A JSON schema in a few words, limits included."""
    if "anyOf" in part:
        words = [_type(choice, schema) for choice in part["anyOf"] if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    part = _resolved(part, schema)
    if "enum" in part:
        return " | ".join(str(one) for one in part["enum"])
    if "const" in part:
        return str(part["const"])
    if part.get("type") == "array":
        word = f"list of {_type(part.get('items', {}), schema)}"
    else:
        word = _WORDS.get(str(part.get("type")), "any value")
    limits = [text.format(part[key]) for key, text in _LIMITS if part.get(key) not in {None, 0}]
    return f"{word} ({', '.join(limits)})" if limits else word


def _help(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    return field.description or _strings_below(model).get(name, "")


@cache
def _strings_below(model: type[BaseModel]) -> dict[str, str]:
    """Field name -> the string below it, of the class and of those it inherits from."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if not issubclass(one, BaseModel) or one is BaseModel:
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError, SyntaxError):
            continue  # no source: a frozen program, a class made while running
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, below in itertools.pairwise(body):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = " ".join(str(below.value.value).split())
    return found
