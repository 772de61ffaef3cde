"""Checks values, requests and answers against the AT Protocol's lexicons.

They are not part of this project: they are looked for in ``$SCHEDULERX_SHARED``, then in ``../shared`` beside the
checkout. As the protocol wants it, objects and unions are open: what a lexicon does not name is no error in a
value. For what *we* send that would be too lenient, so ``closed`` refuses fields that no lexicon has.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import regex

SHARED = Path(os.environ.get("SCHEDULERX_SHARED") or Path(__file__).parents[2].parent / "shared") / "specs"
FOLDER = SHARED / "atproto-lexicons" / "lexicons"

_DID = r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]"
_HANDLE = r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_NSID = r"[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9-]+)+(\.[a-zA-Z][a-zA-Z0-9]*)"
_RKEY = r"[a-zA-Z0-9_~.:-]{1,512}"
FORMATS = {
    "did": _DID,
    "handle": _HANDLE,
    "at-identifier": f"({_DID})|({_HANDLE})",
    "nsid": _NSID,
    "record-key": _RKEY,
    "tid": r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}",
    "at-uri": rf"at://(({_DID})|({_HANDLE}))(/{_NSID}(/{_RKEY})?)?",
    "cid": r"[a-zA-Z0-9+=]{8,}",
    "uri": r"[a-z][a-z0-9.-]{0,80}:[!-~]{1,8000}",
    "datetime": r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,20})?(Z|[+-][0-2]\d:[0-5]\d)",
    "language": r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*",
}


def available() -> bool:
    """Whether the lexicons are beside the checkout."""
    return FOLDER.is_dir()


@functools.cache
def document(name: str) -> dict[str, Any]:
    """The lexicon of a name such as ``app.bsky.feed.post``. :raises FileNotFoundError: there is none."""
    return dict(json.loads((FOLDER / f"{name.replace('.', '/')}.json").read_text()))


def definition(ref: str, base: str) -> tuple[dict[str, Any], str]:
    """What a reference points to, and the lexicon that it stands in."""
    name, _, part = ref.partition("#")
    name = name or base
    return dict(document(name)["defs"][part or "main"]), name


class Checker:
    """Collects what is wrong with a value."""

    def __init__(self, *, closed: bool = False) -> None:
        self.closed = closed
        self.errors: list[str] = []

    def value(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        """Checks ``value``; what is wrong is in ``errors``."""
        kind = schema["type"]
        check = getattr(self, f"_{kind.replace('-', '_')}", None)
        if check is None:
            self._wrong(path, f"a lexicon type that is not known here: {kind}")
        else:
            check(schema, value, base, path)

    def _wrong(self, path: str, message: str) -> None:
        self.errors.append(f"{path}: {message}")

    def _ref(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        found, name = definition(schema["ref"], base)
        self.value(found, value, name, path)

    def _union(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        kind = value.get("$type") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            self._wrong(path, "has no $type")
            return
        refs = [f"{base}{ref}" if ref.startswith("#") else ref for ref in schema["refs"]]
        if kind in refs:
            found, name = definition(kind, base)
            self.value(found, value, name, path)
        elif self.closed:
            self._wrong(path, f"{kind} is not one of {refs}")

    def _record(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        self._object(schema["record"], value, base, path)

    def _object(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        if not isinstance(value, dict):
            self._wrong(path, "is no object")
            return
        known = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                self._wrong(path, f"{name} is missing")
        for name, inner in value.items():
            if name == "$type":
                continue
            if name not in known:
                if self.closed:
                    self._wrong(path, f"{name} is not in the lexicon")
            elif not (inner is None and name in schema.get("nullable", [])):
                self.value(known[name], inner, base, f"{path}/{name}")

    def _params(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        self._object(schema, value, base, path)

    def _array(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        if not isinstance(value, list):
            self._wrong(path, "is no array")
            return
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            self._wrong(path, f"has {len(value)} items")
        for index, inner in enumerate(value):
            self.value(schema["items"], inner, base, f"{path}/{index}")

    def _string(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        if not isinstance(value, str):
            self._wrong(path, "is no string")
            return
        if len(value.encode()) > schema.get("maxLength", 10**9):
            self._wrong(path, "has too many bytes")
        if len(regex.findall(r"\X", value)) > schema.get("maxGraphemes", 10**9):
            self._wrong(path, "has too many graphemes")
        if "format" in schema and not regex.fullmatch(FORMATS[schema["format"]], value):
            self._wrong(path, f"{value!r} is no {schema['format']}")
        if "enum" in schema and value not in schema["enum"]:
            self._wrong(path, f"{value!r} is not one of {schema['enum']}")

    def _integer(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            self._wrong(path, f"{value!r} is no fitting integer")

    def _boolean(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        if not isinstance(value, bool):
            self._wrong(path, "is no boolean")

    def _blob(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        good = (
            isinstance(value, dict)
            and value.get("$type") == "blob"
            and isinstance(value.get("ref"), dict)
            and set(value["ref"]) == {"$link"}
            and isinstance(value.get("mimeType"), str)
            and isinstance(value.get("size"), int)
        )
        if not good:
            self._wrong(path, f"is no blob: {value!r}")
            return
        if value["size"] > schema.get("maxSize", value["size"]):
            self._wrong(path, "is too large")
        accepted = schema.get("accept", ["*/*"])
        if not any(value["mimeType"].startswith(kind.removesuffix("*").removesuffix("*/")) for kind in accepted):
            self._wrong(path, f"{value['mimeType']} is not accepted")

    def _unknown(self, schema: dict[str, Any], value: Any, base: str, path: str) -> None:
        """Any object; where it says what it is, and that is a record, it is checked as such."""
        if not isinstance(value, dict):
            self._wrong(path, "is no object")
        elif isinstance(value.get("$type"), str):
            found, name = definition(value["$type"], base)
            self.value(found, value, name, path)


def problems(name: str, part: str, value: Any, *, closed: bool) -> list[str]:
    """What is wrong with ``input``, ``output`` or ``parameters`` of a method, or with a ``record``."""
    main = document(name)["defs"]["main"]
    checker = Checker(closed=closed)
    if part == "record":
        checker.value(main, value, name, name)
    elif part == "parameters":
        checker.value(main.get("parameters", {"type": "params", "properties": {}}), value, name, name)
    else:
        checker.value(main[part]["schema"], value, name, name)
    return checker.errors


def typed_parameters(name: str, query: dict[str, str]) -> dict[str, Any]:
    """The text of a query as the values that it stands for."""
    known = document(name)["defs"]["main"].get("parameters", {}).get("properties", {})
    result: dict[str, Any] = {}
    for key, text in query.items():
        kind = known.get(key, {}).get("type")
        result[key] = int(text) if kind == "integer" else text == "true" if kind == "boolean" else text
    return result
