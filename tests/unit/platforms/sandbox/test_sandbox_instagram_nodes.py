"""The sandbox's Instagram answers against the nodes of Meta's own specification, as its SDK's generator writes them.

Named deviations, each with its source:

- ``user_id`` and ``permissions`` of the token's answer: the guide to business login (2026-06); no node describes it.
- Comments: the specification has the edge, and no fields of ``IGComment``; those of the comments reference, 2025-01.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_client import Client
from sandbox_instagram_desk import TOKEN, make, serving

from platforms.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[4]
META = Path(os.environ.get("SCHEDULERX_SHARED", ROOT.parent / "shared")) / "specs" / "meta"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not (META / "IGMedia.json").exists(),
        reason="Meta's specifications are not beside the checkout (set SCHEDULERX_SHARED)",
    ),
]
TYPES: Mapping[str, type] = {
    "string": str,
    "datetime": str,
    "int": int,
    "unsigned int": int,
    "bool": bool,
    "Object": dict,
}
COMMENT = {"id": "string", "text": "string", "timestamp": "datetime", "username": "string"}


@pytest.fixture
def store() -> Iterator[str]:
    with serving() as url:
        yield url


@cache
def node(*names: str) -> dict[str, str]:
    """Fields and their types, of the nodes of both logins together."""
    found: dict[str, str] = {}
    for name in names:
        found |= {one["name"]: one["type"] for one in json.loads((META / f"{name}.json").read_text())["fields"]}
    return found


def fits(row: Mapping[str, Any], described: Mapping[str, str]) -> None:
    """Each field is one of the node's, and of its type."""
    assert set(row) <= set(described), set(row) - set(described)
    for name, value in row.items():
        assert type(value) is TYPES[described[name]], (name, value, described[name])
        if described[name] == "datetime":
            assert datetime.fromisoformat(value).utcoffset() is not None


@pytest.mark.parametrize("login", ["instagram", "facebook"])
def test_the_answers_are_what_metas_nodes_describe(box: Sandbox, store: str, login: str) -> None:
    box.configure(processing_s=0.0)
    box.account("instagram", "acme", login=login)
    client = Client(box, TOKEN)
    client.headers = {}

    def asked(path: str, *fields: str) -> Any:
        answer = client("GET", f"/v26.0/{path}", params={"access_token": TOKEN, "fields": ",".join(fields)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    own = node("IGUserForIGOnlyAPI")
    me = asked("me", "user_id", "username", "name", "account_type", "profile_picture_url")
    fits(me, own)
    user = str(me["user_id"])
    fits(asked(user, "id", "username", "name", "profile_picture_url"), node("IGUser"))

    [limit] = asked(f"{user}/content_publishing_limit", "quota_usage", "config")["data"]
    fits(limit, node("ContentPublishingLimitResponse"))

    form = {"image_url": f"{store}/i.jpg", "caption": "Soup"}
    made = make(client, user, **form).json()["id"]
    container = asked(made, "id", "status", "status_code")
    fits(container, node("ShadowIGMediaBuilder"))
    sent = client("POST", f"/v26.0/{user}/media_publish", params={"access_token": TOKEN}, data={"creation_id": made})
    post = sent.json()["id"]
    assert isinstance(post, str)

    media = node("IGMedia", "IGMediaForIGOnlyAPI")
    wanted = sorted(
        {"id", "caption", "timestamp", "permalink", "shortcode", "media_type", "media_product_type", "username",
         "like_count", "comments_count"}
    )  # fmt: skip
    assert set(wanted) <= set(node("IGMedia")) & set(node("IGMediaForIGOnlyAPI"))
    whole = asked(post, *wanted)
    assert sorted(whole) == wanted
    fits(whole, media)
    assert (whole["media_type"], whole["media_product_type"]) == ("IMAGE", "FEED")
    [listed] = asked(f"{user}/media", *wanted)["data"]
    assert listed == whole

    said = client("POST", f"/v26.0/{post}/comments", params={"access_token": TOKEN}, data={"message": "#soup"})
    assert set(said.json()) == {"id"}
    [comment] = asked(f"{post}/comments", *COMMENT)["data"]
    fits(comment, COMMENT)


def test_tokens_are_answered_as_described(box: Sandbox) -> None:
    for path, query, name in (
        ("refresh_access_token", {"grant_type": "ig_refresh_token"}, "IGRefreshAccessTokenForIGOnlyAPI"),
        (
            "access_token",
            {"grant_type": "ig_exchange_token", "client_secret": "sandbox-secret-instagram"},
            "IGAccessTokenForIGOnlyAPI",
        ),
    ):
        answer = requests.get(f"{box.url}/{path}", params={**query, "access_token": TOKEN}, timeout=10)
        assert answer.status_code == 200, answer.text
        fits(answer.json(), node(name))
        assert set(answer.json()) == set(node(name))
