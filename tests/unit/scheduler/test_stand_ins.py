"""Whether an account is a test: where its posts would go, whatever the environment says of its platform."""

from __future__ import annotations

from typing import Any

import pytest

from platforms import registry
from scheduler.accounts import stand_in
from scheduler.settings import Settings

BOX = "http://127.0.0.1:9000"
MASTODON = {"access_token": "t"}
BLUESKY = {"identifier": "acme", "password": "p"}
OAUTH = {"dpop_key": {}, "access_token": "t", "did": "did:plc:a", "issuer": "https://bsky.social"}


@pytest.mark.parametrize(
    ("platform", "credentials", "test"),
    [
        ("x", {"access_token": "t"}, True),
        ("mastodon", MASTODON, True),
        ("mastodon", {**MASTODON, "server": "mastodon.social"}, False),
        ("mastodon", {**MASTODON, "server": BOX}, True),
        ("mastodon", {**MASTODON, "server": "http://localhost:8000"}, True),
        ("bluesky", BLUESKY, True),
        ("bluesky", {**BLUESKY, "server": "bsky.social"}, True),
        ("bluesky", {**BLUESKY, "server": "pds.example.org"}, False),
        ("bluesky", {**BLUESKY, "pds": "https://morel.us-east.host.bsky.network"}, True),
        ("bluesky", {**OAUTH, "pds": "https://pds.example.org"}, False),
        ("bluesky", {**OAUTH, "pds": "https://morel.us-east.host.bsky.network"}, True),
    ],
)
def test_an_account_is_a_test_where_the_stand_in_replaces_its_server(
    platform: str, credentials: dict[str, Any], test: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, settings = registry.get(platform), Settings()
    monkeypatch.delenv(f"SCHEDULERX_{platform.upper()}_API_URL", raising=False)
    assert stand_in(settings, module, credentials) is None
    monkeypatch.setenv(f"SCHEDULERX_{platform.upper()}_API_URL", BOX)
    assert stand_in(settings, module, credentials) == (BOX if test else None)
