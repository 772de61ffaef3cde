"""Checks JSON bodies against a platform's published schema, as far as the emulated calls need it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class MismatchError(ValueError):
    """The body breaks the schema at ``path``."""

    def __init__(self, path: str, message: str, value: Any) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.value = value


class Shape(Protocol):
    def check(self, value: Any, path: str = "$") -> None:
        """:raises MismatchError: ``value`` does not fit."""
        ...


@dataclass(frozen=True)
class Text:
    """A string."""

    pattern: str = ""
    low: int = 0
    high: int | None = None
    one_of: tuple[str, ...] = ()
    nullable: bool = False

    def check(self, value: Any, path: str = "$") -> None:
        if value is None and self.nullable:
            return
        if not isinstance(value, str):
            raise MismatchError(path, f"{_kind(value)} found, string expected", value)
        if self.one_of and value not in self.one_of:
            raise MismatchError(path, f"does not have a value in the enumeration {list(self.one_of)}", value)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise MismatchError(path, f"does not match the regex pattern ^{self.pattern}$", value)
        if len(value) < self.low:
            raise MismatchError(path, f"must be at least {self.low} characters long", value)
        if self.high is not None and len(value) > self.high:
            raise MismatchError(path, f"may only be {self.high} characters long", value)


@dataclass(frozen=True)
class Whole:
    """An integer."""

    low: int | None = None
    high: int | None = None

    def check(self, value: Any, path: str = "$") -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise MismatchError(path, f"{_kind(value)} found, integer expected", value)
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise MismatchError(path, f"must be between {self.low} and {self.high}", value)


@dataclass(frozen=True)
class Flag:
    """A boolean."""

    def check(self, value: Any, path: str = "$") -> None:
        if not isinstance(value, bool):
            raise MismatchError(path, f"{_kind(value)} found, boolean expected", value)


@dataclass(frozen=True)
class Many:
    """An array."""

    item: Shape
    low: int = 0
    high: int | None = None

    def check(self, value: Any, path: str = "$") -> None:
        if not isinstance(value, list):
            raise MismatchError(path, f"{_kind(value)} found, array expected", value)
        if len(value) < self.low or (self.high is not None and len(value) > self.high):
            raise MismatchError(path, f"must have {self.low} to {self.high} items", value)
        for index, item in enumerate(value):
            self.item.check(item, f"{path}[{index}]")


@dataclass(frozen=True)
class Fields:
    """An object."""

    fields: Mapping[str, Shape]
    required: Sequence[str] = ()
    closed: bool = True
    """True: a field that is not named is refused (additionalProperties is false)."""

    def check(self, value: Any, path: str = "$") -> None:
        if not isinstance(value, dict):
            raise MismatchError(path, f"{_kind(value)} found, object expected", value)
        for name in self.required:
            if name not in value:
                raise MismatchError(f"{path}.{name}", "is missing but it is required", None)
        for name, held in value.items():
            shape = self.fields.get(name)
            if shape is not None:
                shape.check(held, f"{path}.{name}")
            elif self.closed:
                message = "is not defined in the schema and the schema does not allow additional properties"
                raise MismatchError(f"{path}.{name}", message, held)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names: dict[type, str] = {
        str: "string", int: "integer", float: "number", list: "array", dict: "object", type(None): "null",
    }  # fmt: skip
    return names.get(type(value), "value")
