"""Every request that X and Pinterest send, against the platforms' own OpenAPI documents.

The documents are not part of this project: they are looked for in ``$SCHEDULERX_SHARED``, then in
``../shared`` beside the checkout.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conformance import Subject, World, prepared
from fake_http import NOW, Answer, FakeHttp, Sent
from jsonschema import Draft202012Validator
from worlds import PINTEREST_SUBJECT, X_SUBJECT

from platforms.base import Doubt

SHARED = Path(os.environ.get("SCHEDULERX_SHARED") or Path(__file__).parents[2].parent / "shared") / "specs"
FILES = {"x": "x-openapi.json", "pinterest": "pinterest-organic-subset.json"}
SUBJECTS = {"x": X_SUBJECT, "pinterest": PINTEREST_SUBJECT}


@dataclass(frozen=True)
class Deviation:
    """Where we do other than the document says, and why."""

    platform: str
    path: str
    what: str
    source: str


DEVIATIONS = (
    Deviation(
        "x",
        "/2/users/{id}/tweets",
        "tweet.fields",
        "All guides, the 2026-06 changelog and all clients; only OpenAPI 2.167 has post.fields, which "
        "is sent where X refuses the other name.",
    ),
    Deviation(
        "x",
        "/2/oauth2/token",
        "undescribed",
        "The OAuth 2.0 guide; OpenAPI 2.167 leaves token requests out.",
    ),
    Deviation(
        "pinterest",
        "/",
        "undescribed",
        "Amazon S3 takes the video, at the upload_url that POST /media gives; AWS describes its form.",
    ),
    Deviation(
        "pinterest",
        "/pins",
        "ai_disclosures",
        "Two clients made from OpenAPI 5.28 (2026-10); the document at hand is 5.23.",
    ),
)

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not all((SHARED / name).is_file() for name in FILES.values()),
        reason=f"the platforms' OpenAPI documents are not in {SHARED} (set SCHEDULERX_SHARED)",
    ),
]


# --- The document -----------------------------------------------------------------------------------------


@functools.cache
def document(platform: str) -> Mapping[str, Any]:
    return json.loads((SHARED / FILES[platform]).read_text())


def resolved(platform: str, node: Any) -> Any:
    """What ``$ref`` points to."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = document(platform)
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's dialect in JSON Schema's words: ``nullable``, and a base path for references."""
    if isinstance(node, list):
        return [as_json_schema(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    result = {key: as_json_schema(entry) for key, entry in node.items() if key not in {"nullable", "discriminator"}}
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        result["type"] = [node["type"], "null"]
    return result


@functools.cache
def components(platform: str) -> Any:
    return as_json_schema(copy.deepcopy(document(platform)["components"]))


def check(platform: str, schema: Any, value: Any) -> None:
    whole = {**as_json_schema(schema), "components": components(platform)}
    errors = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in Draft202012Validator(whole).iter_errors(value)
    ]
    assert not errors, errors


# --- The requests -----------------------------------------------------------------------------------------


class Listening:
    """A world that also keeps what it was asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[Sent] = []

    def __call__(self, sent: Sent) -> Answer | Exception:
        self.sent.append(sent)
        return self.world(sent)

    def published(self) -> list[str]:
        return self.world.published()


def requests_of(subject: Subject) -> Iterator[Sent]:
    """All that the module sends in its life: identify, refresh, prepare, publish, reconcile."""
    for draft in subject.drafts.values():
        world = Listening(subject.world())
        http = FakeHttp(world)
        subject.platform.identify(subject.call(http))
        subject.platform.refresh(subject.call(http))
        checkpoint = prepared(subject, draft, world)
        subject.platform.publish(subject.call(http, checkpoint), draft)
        subject.platform.reconcile(subject.call(http, checkpoint), draft, Doubt(NOW, None, frozenset()))
        yield from world.sent


def refused_fields(sent: Sent) -> Answer:
    """An X that takes the document at its word."""
    if "tweet.fields" in sent.params:
        return Answer(400, {"detail": "The query parameter [tweet.fields] is unknown"})
    return Answer(200, {"meta": {"result_count": 0}})


@functools.cache
def all_requests(platform: str) -> tuple[Sent, ...]:
    found = list(requests_of(SUBJECTS[platform]))
    if platform == "x":
        draft = X_SUBJECT.drafts["text"]
        http = FakeHttp(refused_fields)
        X_SUBJECT.platform.reconcile(X_SUBJECT.call(http), draft, Doubt(NOW, None, frozenset()))
        found += http.sent
    return tuple(found)


def operation(platform: str, sent: Sent) -> tuple[str, Mapping[str, Any], Mapping[str, str]] | None:
    """The document's path and operation for a request, with the values of the path's parameters."""
    base = document(platform)["servers"][0]["url"]
    if not sent.url.startswith(base):
        return None
    path = sent.url.removeprefix(base)
    candidates = []
    for template, methods in document(platform)["paths"].items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        match = re.fullmatch(pattern, path)
        if match and sent.method.lower() in methods:
            candidates.append((template.count("{"), template, methods[sent.method.lower()], match.groupdict()))
    if not candidates:
        return None
    # "/boards/pins" before "/boards/{id}".
    return min(candidates, key=lambda found: found[0])[1:]


def deviates(platform: str, path: str, what: str) -> bool:
    return any((d.platform, d.path, d.what) == (platform, path, what) for d in DEVIATIONS)


def of_type(schema: Mapping[str, Any], text: str) -> Any:
    """A parameter's text as the value that it stands for."""
    match schema.get("type"):
        case "integer":
            return int(text)
        case "boolean":
            return text == "true"
        case "array":
            return text.split(",")
    return text


def check_parameters(
    platform: str, template: str, found: Mapping[str, Any], sent: Sent, path: Mapping[str, str]
) -> None:
    declared = {
        (parameter["in"], parameter["name"]): parameter
        for parameter in (resolved(platform, entry) for entry in found.get("parameters", []))
    }
    given = {("query", name): text for name, text in sent.params.items()}
    given |= {("path", name): text for name, text in path.items()}
    for key, text in given.items():
        if key not in declared:
            assert deviates(platform, template, key[1]), f"{template} has no parameter {key}"
            continue
        schema = resolved(platform, declared[key]["schema"])
        check(platform, schema, of_type(schema, text))
    missing = [key for key, entry in declared.items() if entry.get("required") and key not in given]
    assert not missing


def properties_of(platform: str, schema: Any) -> Mapping[str, Any]:
    """The fields of an object, also of one that is put together of several."""
    schema = resolved(platform, schema)
    found = dict(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= properties_of(platform, part)
    return found


def check_body(platform: str, template: str, found: Mapping[str, Any], sent: Sent) -> None:
    body = resolved(platform, found.get("requestBody"))
    if body is None:
        assert sent.json is None
        assert not sent.form
        assert not sent.files
        return
    if sent.files:
        # The bytes stand as text here: the document calls them a string of format binary.
        form: dict[str, Any] = dict(sent.form) | dict.fromkeys(sent.files, "bytes")
        content = body["content"]["multipart/form-data"]
    elif sent.form:
        form = dict(sent.form)
        content = body["content"]["application/x-www-form-urlencoded"]
    else:
        assert sent.json is not None or not body.get("required")
        schema = body["content"]["application/json"]["schema"]
        check(platform, schema, sent.json)
        # Pinterest's document forbids no further fields; we do.
        unknown = set(sent.json or {}) - set(properties_of(platform, schema))
        assert not {name for name in unknown if not deviates(platform, template, name)}, unknown
        return
    properties = resolved(platform, content["schema"]).get("properties", {})
    typed = {name: of_type(resolved(platform, properties.get(name, {})), str(text)) for name, text in form.items()}
    check(platform, content["schema"], typed)


@pytest.mark.parametrize("platform", list(FILES))
def test_requests_are_as_the_document_says(platform: str) -> None:
    checked = set()
    for sent in all_requests(platform):
        found = operation(platform, sent)
        if found is None:
            assert deviates(platform, sent.path, "undescribed"), f"{sent.method} {sent.path} is not described"
            continue
        template, described, path = found
        check_parameters(platform, template, described, sent, path)
        check_body(platform, template, described, sent)
        checked.add(f"{sent.method} {template}")
    expected = {
        "x": {
            "GET /2/users/me",
            "POST /2/media/upload/initialize",
            "POST /2/media/upload/{id}/append",
            "POST /2/media/upload/{id}/finalize",
            "GET /2/media/upload",
            "POST /2/media/metadata",
            "POST /2/tweets",
            "GET /2/users/{id}/tweets",
        },
        "pinterest": {
            "GET /user_account",
            "GET /boards",
            "GET /boards/{board_id}/sections",
            "POST /media",
            "GET /media/{media_id}",
            "POST /oauth/token",
            "POST /pins",
            "GET /boards/{board_id}/pins",
            "GET /boards/{board_id}/sections/{section_id}/pins",
        },
    }
    assert checked == expected[platform]


def test_each_deviation_is_still_one() -> None:
    for deviation in DEVIATIONS:
        requests = all_requests(deviation.platform)
        seen = [sent for sent in requests if deviation.what in {**sent.params, **(sent.json or {})}]
        described = document(deviation.platform)["paths"].get(deviation.path)
        assert deviation.source
        if deviation.what == "undescribed":
            assert described is None
        else:
            assert seen
            named = [resolved(deviation.platform, entry) for entry in described["get"]["parameters"]]
            assert deviation.what not in {parameter["name"] for parameter in named}
            body = described.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
            assert deviation.what not in properties_of(deviation.platform, body.get("schema", {}))


def test_the_check_would_notice() -> None:
    schema = {"$ref": "#/components/schemas/CreatePostsRequest"}
    check("x", schema, {"text": "hi"})
    with pytest.raises(AssertionError):
        check("x", schema, {"text": "hi", "surprise": 1})
    with pytest.raises(AssertionError):
        check("x", schema, {"text": "hi", "media": {"media_ids": []}})
    with pytest.raises(AssertionError):
        check("pinterest", {"$ref": "#/components/schemas/PinCreate"}, {"board_id": "Recipes"})


@pytest.mark.parametrize("field", ["reply_settings", "made_with_ai", "paid_partnership", "community_id", "poll"])
def test_each_option_of_x_is_a_field_of_the_document(field: str) -> None:
    assert field in document("x")["components"]["schemas"]["CreatePostsRequest"]["properties"]
