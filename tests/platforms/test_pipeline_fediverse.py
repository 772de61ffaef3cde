"""Bluesky and Mastodon through the whole core, against the sandbox: accounts, media, doubt, and no double."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from platforms.base import Identity
from platforms.sandbox import Sandbox
from scheduler import Media, accounts, schedule
from scheduler.api import database as transaction

ENDS = ("published", "failed", "held", "missed", "canceled")


def connect(settings: Any, platform: str, credentials: dict[str, str]) -> None:
    """Adds an account as the command does."""
    with transaction(settings) as conn:
        accounts.add(conn, settings, platform, "acme", credentials)
    with transaction(settings) as conn:
        row = accounts.find(conn, f"{platform}:acme")
    identity = accounts.identify(settings, row)
    assert isinstance(identity, Identity), identity
    with transaction(settings) as conn:
        accounts.keep_identity(conn, row.id, identity)


@pytest.mark.parametrize("fault", [None, "reset_after", "reset_before"])
def test_each_post_is_there_once(
    environment: Any, pipeline: Any, database: Any, tmp_path: Path, fault: str | None
) -> None:
    with Sandbox() as box:
        settings = environment.change(SCHEDULERX_BLUESKY_API_URL=box.url, quarantine_seconds=1)
        pipeline.settings = settings
        # The worst of servers: it makes a second status of the same key.
        box.account("mastodon", "acme", ignores_idempotency_key=True)
        connect(settings, "bluesky", {"identifier": "acme", "password": "sandbox-bluesky-acme"})
        connect(settings, "mastodon", {"server": box.url, "access_token": "sandbox-mastodon-acme"})
        picture = tmp_path / "teal.png"
        Image.new("RGB", (300, 200), "teal").save(picture)
        to = ["bluesky:acme", "mastodon:acme"]
        text = "Soup & bread https://example.com @acme.bsky.social"
        schedule(text, to=to, at="now", media=[Media(str(picture), alt="all teal")])
        schedule("Plain", to=to, at="now")
        if fault is not None:
            box.set_faults([{"step": "*.publish", "kind": fault, "count": 4}])
        for number in database.one("SELECT array_agg(id) FROM scheduled_posts"):
            row = pipeline.until(number, *ENDS)
            assert (row.status, row.evidence) == ("published", "reconciled" if fault == "reset_after" else "api"), row
        posts = box.accepted()
        assert len(posts) == 4
        assert box.summary()["doubled"] == []
        assert [p["alt"] for post in posts for p in post["content"]["pictures"]] == ["all teal"] * 2
        ids = database.one("SELECT array_agg(remote_id) FROM scheduled_posts")
        assert {post["remote_id"] for post in posts} == set(ids)
        # Two sign-ins in all: one to see whose account it is, one for the session that is kept.
        assert box.summary()["requests"]["bluesky.create_session"] == 2


@pytest.mark.parametrize("tells_sources", [True, False])
def test_where_the_server_makes_markup_a_lost_answer_makes_no_double(
    environment: Any, pipeline: Any, database: Any, tells_sources: bool
) -> None:
    with Sandbox() as box:
        pipeline.settings = environment.change(quarantine_seconds=1)
        box.account("mastodon", "acme", ignores_idempotency_key=True, renders_markdown=True)
        connect(pipeline.settings, "mastodon", {"server": box.url, "access_token": "sandbox-mastodon-acme"})
        faults = [{"step": "mastodon.create", "kind": "reset_after", "count": 1}]
        if not tells_sources:
            faults.append({"step": "mastodon.source", "kind": "server_error"})
        box.set_faults(faults)
        text = "Read [the docs](https://example.com/?utm_source=a), *now* :blobcat:"
        row = pipeline.until(schedule(text, to="mastodon:acme", at="now").scheduled[0].id, *ENDS)
        # Without the source nobody can tell whether it is the same text; a person can.
        assert row.status == ("published" if tells_sources else "held"), row
        assert len(box.accepted()) == 1
        assert box.summary()["requests"]["mastodon.create"] == 1


def test_files_that_are_gone_are_uploaded_again(environment: Any, pipeline: Any, database: Any, tmp_path: Path) -> None:
    with Sandbox() as box:
        pipeline.settings = environment.change(quarantine_seconds=1)
        connect(pipeline.settings, "mastodon", {"server": box.url, "access_token": "sandbox-mastodon-acme"})
        picture = tmp_path / "teal.png"
        Image.new("RGB", (300, 200), "teal").save(picture)
        box.set_faults([{"step": "mastodon.create", "kind": "rate_limited", "count": 1, "retry_after_s": 1.0}])
        number = schedule("Teal", to="mastodon:acme", at="now", media=[Media(str(picture))]).scheduled[0].id
        pipeline.until(number, "retrying", *ENDS)
        for media in box.world.media.of_account("mastodon", "acme"):
            media.expires_at = 0.0
            box.world.media.save(media)
        row = pipeline.until(number, *ENDS)
        assert (row.status, row.evidence) == ("published", "api"), row
        assert box.summary()["requests"]["mastodon.upload"] == 2
        assert len(box.accepted()) == 1
