"""Threads and first comments through the whole core, against the sandbox: each part once, in order, answering the
one before, whatever happens to the second of them."""

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
FAULTS = (None, "reset_after", "reset_before")
PLACES = {"x": "reply_to", "bluesky": "reply_to", "mastodon": "reply_to"}


@pytest.fixture
def box(environment: Any, pipeline: Any) -> Any:
    with Sandbox() as box:
        urls = {f"SCHEDULERX_{name.upper()}_API_URL": box.url for name in ("x", "bluesky", "instagram")}
        pipeline.settings = environment.change(**urls, quarantine_seconds=1)
        yield box


def connect(box: Any, settings: Any, platform: str) -> None:
    """Adds an account as the command does."""
    token = {"access_token": f"sandbox-{platform}-acme"}
    given: dict[str, dict[str, str]] = {
        "bluesky": {"identifier": "acme", "password": "sandbox-bluesky-acme"},
        "mastodon": {"server": box.url, **token},
    }
    with transaction(settings) as conn:
        accounts.add(conn, settings, platform, "acme", given.get(platform, token))
    with transaction(settings) as conn:
        row = accounts.find(conn, f"{platform}:acme")
    identity = accounts.identify(settings, row)
    assert isinstance(identity, Identity), identity
    with transaction(settings) as conn:
        accounts.keep_identity(conn, row.id, identity)


def picture(folder: Path, colour: str) -> Media:
    file = folder / f"{colour}.png"
    Image.new("RGB", (640, 640), colour).save(file)
    return Media(str(file), alt=f"all {colour}")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("platform", sorted(PLACES))
def test_a_thread_is_there_once_and_in_order(
    box: Any, pipeline: Any, database: Any, tmp_path: Path, platform: str, fault: str | None
) -> None:
    if platform == "mastodon":
        # The worst of servers: it makes a second status of the same key.
        box.account("mastodon", "acme", ignores_idempotency_key=True)
    connect(box, pipeline.settings, platform)
    made = schedule(
        "The first of three",
        to=f"{platform}:acme",
        at="now",
        media=[picture(tmp_path, "teal"), picture(tmp_path, "navy")],
        # The first and the last say the same: what they answer tells them apart.
        options={"post": {"thread": [{"text": "The second, with a picture", "files": [1]}, "The first of three"]}},
    )
    number = made.scheduled[0].id
    if fault is not None:
        box.set_faults([{"step": f"{platform}.publish", "kind": fault, "count": 2, "skip": 1}])
    row = pipeline.until(number, *ENDS)
    assert (row.status, row.error_message) == ("published", None)
    posts = box.accepted()
    assert [one["content"]["text"] for one in posts] == [
        "The first of three",
        "The second, with a picture",
        "The first of three",
    ]
    assert [[shown["alt"] for shown in one["content"]["pictures"]] for one in posts] == [["all teal"], ["all navy"], []]
    ids = [one["remote_id"] for one in posts]
    assert [one["content"].get(PLACES[platform]) for one in posts] == [None, *ids[:-1]]
    assert [one["remote_id"] for one in row.parts_out] == ids
    assert (row.remote_id, box.summary()["doubled"]) == (ids[0], [])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_first_comment_is_there_once(
    box: Any, pipeline: Any, database: Any, tmp_path: Path, fault: str | None
) -> None:
    connect(box, pipeline.settings, "instagram")
    made = schedule(
        "A picture",
        to="instagram:acme",
        at="now",
        media=[picture(tmp_path, "teal")],
        options={"instagram": {"first_comment": "#soup #bread"}},
    )
    if fault is not None:
        box.set_faults([{"step": "instagram.publish", "kind": fault, "count": 1, "skip": 1}])
    row = pipeline.until(made.scheduled[0].id, *ENDS)
    assert (row.status, row.error_message, row.parts) == ("published", None, 2)
    post, comment = box.accepted()
    assert comment["content"]["comment_on"] == post["remote_id"] == row.remote_id
    assert comment["content"]["text"] == "#soup #bread"
    assert [one.call for one in database.attempts(row.id)][-1] == "POST /{ig-media}/comments"
    assert box.summary()["doubled"] == []


def test_a_comment_that_is_refused_leaves_the_post_and_says_so(
    box: Any, pipeline: Any, database: Any, tmp_path: Path
) -> None:
    box.account("instagram", "acme", scopes=["instagram_business_basic", "instagram_business_content_publish"])
    connect(box, pipeline.settings, "instagram")
    made = schedule(
        "A picture",
        to="instagram:acme",
        at="now",
        media=[picture(tmp_path, "teal")],
        options={"instagram": {"first_comment": "#soup"}},
    )
    row = pipeline.until(made.scheduled[0].id, *ENDS)
    assert len(box.accepted()) == 1
    assert (row.status, len(row.parts_out)) in {("failed", 1), ("held", 1)}
    assert row.parts_out[0]["remote_id"] == box.accepted()[0]["remote_id"]
