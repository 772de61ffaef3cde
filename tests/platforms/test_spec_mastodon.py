"""Every request that the Mastodon module sends, against the OpenAPI document of Mastodon's API."""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from conformance import Subject, World, prepared
from fake_http import NOW, Answer, FakeHttp, Sent
from jsonschema import Draft202012Validator
from world_mastodon import MASTODON_ACCOUNT, MASTODON_SUBJECT, SERVER, form_of

from platforms.base import Doubt, Draft
from platforms.connect import Begun, Connected, Desk
from platforms.mastodon.connect import CONNECTOR

SHARED = Path(os.environ.get("SCHEDULERX_SHARED") or Path(__file__).parents[2].parent / "shared") / "specs"
FILE = SHARED / "mastodon-openapi.json"

BACK = "http://127.0.0.1:8765/callback"
BRANCHES = {"poll": "PollStatus", "media_ids": "MediaStatus", "": "TextStatus"}
"""The document offers three bodies of a status of which exactly one shall fit, but media with a text, and a poll
(which always has one), fit two. So each is checked against the one that is meant. Source: its own oneOf, 4.7.0."""

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not FILE.is_file(), reason=f"Mastodon's OpenAPI document is not in {SHARED} (set SCHEDULERX_SHARED)"
    ),
]


@functools.cache
def document() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text()))


def check(schema: Any, value: Any) -> None:
    """OpenAPI 3.1 speaks JSON Schema; only the references need their home."""
    whole = {**schema, "components": document()["components"]}
    errors = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in Draft202012Validator(whole).iter_errors(value)
    ]
    assert not errors, errors


def known_fields(schema: Any) -> set[str]:
    """The names that a body may have: the document does not forbid others, but none of ours shall be one."""
    if "$ref" in schema:
        return known_fields(document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    names = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        names |= known_fields(part)
    return names


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


def life_of(subject: Subject) -> list[Sent]:
    found: list[Sent] = []
    for draft in subject.drafts.values():
        world = Listening(subject.world())
        http = FakeHttp(world)
        subject.platform.identify(subject.call(http))
        checkpoint = prepared(subject, draft, world)
        subject.platform.publish(subject.call(http, checkpoint), draft)
        subject.platform.reconcile(subject.call(http, checkpoint), draft, Doubt(NOW, None, frozenset()))
        found += world.sent
    return found


def no_newer(sent: Sent) -> Answer:
    """A server from before version 2 of the instance's description."""
    if sent.path == "/api/v2/instance":
        return Answer(404, {"error": "Record not found"})
    if sent.path == "/api/v1/instance":
        return Answer(200, {"uri": "old.example", "version": "3.5"})
    return Answer(200, {"id": "42", "username": "acme"})


def renders(sent: Sent) -> Answer:
    """A server that has made markup of a text, and tells its source."""
    if sent.path.endswith("/source"):
        return Answer(200, {"id": "1", "text": "*hi*", "spoiler_text": ""})
    row = {"id": "1", "created_at": NOW.isoformat(), "content": "<p><em>hi</em></p>", "spoiler_text": ""}
    return Answer(200, [] if "max_id" in sent.params else [row])


@functools.cache
def sent() -> tuple[Sent, ...]:
    old = FakeHttp(no_newer)
    MASTODON_SUBJECT.platform.identify(MASTODON_SUBJECT.call(old))
    rendering = FakeHttp(renders)
    draft = Draft("*hi*", MASTODON_ACCOUNT)
    MASTODON_SUBJECT.platform.reconcile(MASTODON_SUBJECT.call(rendering), draft, Doubt(NOW, None, frozenset()))
    return (*life_of(MASTODON_SUBJECT), *old.sent, *rendering.sent)


def signing_in(request: Sent) -> Answer:
    if request.path == "/api/v1/apps":
        return Answer(200, {"id": "1", "client_id": "ci", "client_secret": "cs", "redirect_uris": [BACK]})
    return Answer(200, {"access_token": "at", "token_type": "Bearer", "scope": "read", "created_at": 1})


def sign_in() -> list[Sent]:
    http = FakeHttp(signing_in)
    desk = Desk(http, lambda: NOW, {"server": SERVER}, BACK)
    begun = CONNECTOR.begin(desk)
    assert isinstance(begun, Begun)
    assert isinstance(CONNECTOR.finish(desk, begun, {"code": "c", "state": begun.state}), Connected)
    return http.sent


def operation(request: Sent) -> tuple[str, dict[str, Any]]:
    assert request.url.startswith(SERVER)
    candidates = []
    for template, methods in document()["paths"].items():
        pattern = re.sub(r"\\{(\w+)\\}", r"[^/]+", re.escape(template))
        if re.fullmatch(pattern, request.path) and request.method.lower() in methods:
            candidates.append((template.count("{"), template, methods[request.method.lower()]))
    assert candidates, f"{request.method} {request.path} is not described"
    _, template, found = min(candidates, key=lambda candidate: candidate[0])
    return template, found


def typed(schema: dict[str, Any], text: str) -> Any:
    match schema.get("type"):
        case "integer":
            return int(text)
        case "boolean":
            return {"true": True, "false": False}[text]
    return text


def check_parameters(found: dict[str, Any], request: Sent) -> None:
    declared = {parameter["name"]: parameter for parameter in found.get("parameters", []) if parameter["in"] == "query"}
    for name, text in request.params.items():
        assert name in declared, name
        check(declared[name]["schema"], typed(declared[name]["schema"], text))
    missing = [name for name, entry in declared.items() if entry.get("required") and name not in request.params]
    assert not missing
    headers = {entry["name"].lower() for entry in found.get("parameters", []) if entry["in"] == "header"}
    ours = {name.lower() for name in request.headers} - {"authorization", "content-type"}
    assert ours <= headers


def check_body(template: str, found: dict[str, Any], request: Sent) -> None:
    body = found.get("requestBody")
    if body is None:
        assert request.json is None
        assert not request.content
    elif request.content:
        schema = body["content"]["multipart/form-data"]["schema"]
        # The bytes stand as text here: the document calls them a string of format binary.
        form = {name: value if isinstance(value, str) else "bytes" for name, value in form_of(request).items()}
        assert set(form) <= known_fields(schema)
        check(schema, form)
    else:
        assert template == "/api/v1/statuses"
        branch = next(name for field, name in BRANCHES.items() if not field or field in request.json)
        schema = {"$ref": f"#/components/schemas/{branch}"}
        assert set(request.json) <= known_fields(schema)
        check(schema, request.json)


def test_each_request_is_as_the_document_says() -> None:
    seen = set()
    for request in sent():
        template, found = operation(request)
        check_parameters(found, request)
        check_body(template, found, request)
        seen.add(f"{request.effect.value} {request.method} {template}")
    assert seen == {
        "read GET /api/v1/accounts/verify_credentials",
        "read GET /api/v2/instance",
        "read GET /api/v1/instance",
        "prepares POST /api/v2/media",
        "read GET /api/v1/media/{id}",
        "publishes POST /api/v1/statuses",
        "read GET /api/v1/accounts/{id}/statuses",
        "read GET /api/v1/statuses/{id}/source",
    }


def test_signing_in_is_as_the_document_says_but_for_what_is_named() -> None:
    """Where we do other than the document, and why:

    - ``redirect_uris`` is one text: servers before 4.3 know no list (Mastodon documentation, apps, 2026-07), and later
      ones take both.
    - Tokens are asked for by a form, as RFC 6749 has it and every server takes it; the document shows JSON.
    - An app's own token needs no ``code``, although the document calls it required in every case.
    """
    register, own, exchange = sign_in()
    for request in (register, own, exchange):
        template, found = operation(request)
        content = found["requestBody"]["content"]["application/json"]["schema"]
        if template == "/api/v1/apps":
            assert isinstance(request.json["redirect_uris"], str)
            body = {**request.json, "redirect_uris": [request.json["redirect_uris"]]}
        else:
            assert (template, request.json) == ("/oauth/token", None)
            body = dict(request.form) | ({} if "code" in request.form else {"code": "none"})
        assert set(body) <= known_fields(content)
        check(content, body)
    assert own.form["grant_type"] == "client_credentials"
    assert set(own.form["scope"].split()) <= set(register.json["scopes"].split())
    assert exchange.form["grant_type"] == "authorization_code"
    assert exchange.form["redirect_uri"] == register.json["redirect_uris"] == BACK


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_server_that_gives_apps_no_token_lets_people_sign_in_all_the_same(status: int) -> None:
    http = FakeHttp(lambda sent: signing_in(sent) if sent.path == "/api/v1/apps" else Answer(status, {}))
    assert isinstance(CONNECTOR.begin(Desk(http, lambda: NOW, {"server": SERVER}, BACK)), Begun)


def test_the_branches_are_still_needed() -> None:
    content = document()["paths"]["/api/v1/statuses"]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    bodies = [request.json for request in sent() if request.path == "/api/v1/statuses"]
    assert len(schema["oneOf"]) == len(BRANCHES)
    with pytest.raises(AssertionError):
        check(schema, next(body for body in bodies if "media_ids" in body and "status" in body))
    with pytest.raises(AssertionError):
        check(schema, next(body for body in bodies if "poll" in body))


def test_the_check_would_notice() -> None:
    schema = {"$ref": "#/components/schemas/TextStatus"}
    check(schema, {"status": "hi", "visibility": "unlisted"})
    for wrong in ({}, {"status": 1}, {"status": "hi", "visibility": "secret"}):
        with pytest.raises(AssertionError):
            check(schema, wrong)
    assert "surprise" not in known_fields(schema)
    assert {"spoiler_text", "language", "sensitive", "quote_approval_policy"} <= known_fields(schema)
