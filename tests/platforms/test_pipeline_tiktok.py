"""TikTok through the whole core, against the sandbox: a doubtful last chunk, and posts that fail after all."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from platforms.base import Identity
from platforms.sandbox import Sandbox
from platforms.tiktok import doubt
from scheduler import Media, accounts, schedule
from scheduler.api import database as transaction

sys.path.append(str(Path(__file__).parents[1] / "unit" / "media"))

import clips

ENDS = ("published", "failed", "held", "missed", "canceled")
SCOPE = "user.info.basic,user.info.profile,video.publish,video.upload,video.list"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, upright."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return clips.video(path, size=(360, 640), fps=24, seconds=4, sound="aac")


@pytest.fixture
def box(environment: Any, pipeline: Any) -> Any:
    """The sandbox in TikTok's place, with one account."""
    with Sandbox() as running:
        running.configure(processing_s=0.0)
        settings = environment.change(SCHEDULERX_TIKTOK_API_URL=running.url, quarantine_seconds=1)
        pipeline.settings = settings
        with transaction(settings) as conn:
            accounts.add(conn, settings, "tiktok", "acme", {"access_token": "sandbox-tiktok-acme", "scope": SCOPE})
        with transaction(settings) as conn:
            row = accounts.find(conn, "tiktok:acme")
        identity = accounts.identify(settings, row)
        assert isinstance(identity, Identity), identity
        with transaction(settings) as conn:
            accounts.keep_identity(conn, row.id, identity)
        yield running


def post(film: Path) -> int:
    """A public video, due now."""
    options = {"tiktok": {"privacy": "PUBLIC_TO_EVERYONE"}}
    return schedule("Soup", to="tiktok:acme", at="now", media=[Media(str(film))], options=options).scheduled[0].id


@pytest.mark.parametrize("answered", [403, 404, 416])
def test_a_lost_last_chunk_makes_one_post_however_late_the_status_is(
    box: Sandbox, pipeline: Any, film: Path, monkeypatch: pytest.MonkeyPatch, answered: int
) -> None:
    # The tests' time passes for the rows, not for what TikTok was told when.
    monkeypatch.setattr(doubt, "STATUS_LAG", timedelta())
    box.account("tiktok", "acme", finished_upload=answered)
    box.set_faults(
        [
            {"step": "tiktok.upload", "kind": "reset_after", "count": 1},
            # The look-up, the look before the chunk is sent again, and the look after that.
            {"step": "tiktok.status", "kind": "read_lag", "lag_s": 3600.0, "count": 3},
        ]
    )
    row = pipeline.until(post(film), *ENDS)
    assert row.status == "published", row
    [made] = box.accepted()
    assert row.remote_id == made["remote_id"]
    assert box.summary()["requests"]["tiktok.video_init"] == 1
    assert box.summary()["requests"]["tiktok.upload"] == 2


def test_a_post_that_tiktok_drops_for_the_days_cap_waits(box: Sandbox, pipeline: Any, film: Path) -> None:
    box.account("tiktok", "acme", fail_reason="spam_risk_too_many_posts")
    row = pipeline.until(post(film), "retrying", *ENDS)
    assert (row.status, row.error_code) == ("retrying", "rate_limited"), row
    assert box.accepted() == []


def test_a_post_that_tiktok_drops_for_want_of_access_waits_for_a_reconnect(
    box: Sandbox, pipeline: Any, database: Any, film: Path
) -> None:
    box.account("tiktok", "acme", fail_reason="auth_removed")
    row = pipeline.until(post(film), *ENDS)
    assert (row.status, row.held_for) == ("held", "reconnect"), row
    assert database.one("SELECT state FROM accounts") == "needs_reconnect"
    assert box.accepted() == []
