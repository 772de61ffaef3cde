"""``schedulerx media list`` and ``prune``: what they say and do, as people and machines meet them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from media import ffmpeg, recipe
from media.rules import rule
from media.storage import Store
from scheduler import intake
from scheduler.api import database as transaction
from scheduler.cli.main import app

ROW = {
    "asset_id", "name", "original_mime", "original_size", "original_sha256", "original", "asset_state",
    "rendition_id", "state", "progress", "mime", "size", "sha256",
    "width", "height", "duration_s", "actions", "error_code", "error_message", "delete_after",
}  # fmt: skip


@pytest.fixture
def run(settings: Any) -> Callable[..., Result]:
    """Runs the command in this process."""
    return lambda *words: CliRunner().invoke(app, list(words), catch_exceptions=False)


def listed(run: Callable[..., Result], *words: str) -> list[dict[str, Any]]:
    result = run("media", "list", *words, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert all(set(row) == ROW for row in rows)
    return list(rows)


def test_list(run: Any, scheduled: Any, pipeline: Any, database: Any, pictures: dict[str, Path]) -> None:
    assert listed(run) == []
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    scheduled(at=tomorrow, media=[pictures["png"]])
    [row] = listed(run)
    assert (row["name"], row["asset_state"], row["state"], row["progress"]) == ("green.png", "stored", "pending", 0.0)
    scheduled(at=tomorrow, media=[pictures["jpeg"]])
    pipeline.until_quiet()
    newest, oldest = listed(run)
    assert (newest["name"], oldest["name"]) == ("noise.jpg", "green.png")
    assert (oldest["state"], oldest["progress"], oldest["mime"]) == ("ready", 1.0, "image/png")
    assert (newest["width"], newest["height"], newest["error_code"], newest["delete_after"]) == (640, 480, None, None)
    assert len(listed(run, "--limit", "1")) == 1
    assert listed(run, "--state", "failed") == []
    database.run(
        "UPDATE renditions SET state = 'failed', error_code = 'corrupt', error_message = 'it ends early'"
        " WHERE id = :id",
        id=newest["rendition_id"],
    )
    [failed] = listed(run, "--state", "failed")
    assert (failed["error_code"], failed["error_message"]) == ("corrupt", "it ends early")
    words = run("media", "list").stdout
    assert "it ends early [corrupt]" in words
    assert "ready 100%" in words
    assert run("media", "list", "--state", "lost").exit_code == 2


def test_what_is_known_of_a_file_is_shown(
    run: Any, scheduled: Any, pipeline: Any, database: Any, pictures: dict[str, Path]
) -> None:
    scheduled(at=datetime.now(UTC) + timedelta(days=1), media=[pictures["png"]])
    pipeline.until_quiet()
    [row] = listed(run)
    original = row["original"]
    assert (original["width"], original["height"], original["orientation"]) == (400, 600, 1)
    assert original["has_alpha"] is True
    assert (original["mode"], original["animated"], original["duration_s"]) == ("RGBA", False, None)
    assert row["original_sha256"] == hashlib.sha256(pictures["png"].read_bytes()).hexdigest()
    assert "400x600" in run("media", "list").stdout
    words = run("media", "show", str(row["asset_id"])).stdout
    for said in ("green.png", row["original_sha256"], "has_alpha: True", "mode: RGBA", "ready 100%"):
        assert said in words
    assert json.loads(run("media", "show", str(row["asset_id"]), "--json").stdout) == [row]
    assert run("media", "show", "999999").exit_code != 0


def test_a_file_that_could_not_be_fetched_is_listed_as_failed(run: Any, database: Any) -> None:
    database.run(
        "INSERT INTO media_assets (source_url, name, mime, state, error_code, error_message)"
        " VALUES ('https://far.example/a.jpg', 'a.jpg', 'image/jpeg', 'failed', 'not_found', 'no such file there')"
    )
    [row] = listed(run, "--state", "failed")
    assert (row["name"], row["original"], row["error_code"]) == ("a.jpg", None, "not_found")
    assert "no such file there" in run("media", "show", str(row["asset_id"])).stdout


def test_prune_says_first_and_deletes_only_what_nobody_needs(
    run: Any, scheduled: Any, pipeline: Any, database: Any, pictures: dict[str, Path]
) -> None:
    def pruned(*words: str) -> dict[str, Any]:
        result = run("media", "prune", *words, "--json")
        assert result.exit_code == 0, result.output
        counts = json.loads(result.stdout)
        assert set(counts) == {"marked", "deleted", "orphans", "uploads", "spool", "dry_run"}
        return dict(counts)

    scheduled("later", at=datetime.now(UTC) + timedelta(days=90), media=[pictures["png"]])
    scheduled("now", media=[pictures["jpeg"]])
    pipeline.until_quiet()
    store = Store(pipeline.settings.store())
    keys = {row.storage_key for row in database.rows("SELECT storage_key FROM renditions WHERE state = 'ready'")}
    database.pass_time(40 * 86_400)
    said = pruned()
    assert said["dry_run"] is True
    assert said["marked"] > 0
    assert database.one("SELECT count(*) FROM media_assets WHERE delete_after IS NOT NULL") == 0
    assert pruned("--yes") == {**said, "deleted": 0, "dry_run": False}
    marked = {row["name"] for row in listed(run) if row["delete_after"]}
    assert marked == {"noise.jpg"}
    database.pass_time(25 * 3600)
    done = pruned("--yes")
    assert done["deleted"] > 0
    assert {row["name"] for row in listed(run) if row["asset_state"] == "stored"} == {"green.png"}
    left = {row.storage_key for row in database.rows("SELECT storage_key FROM renditions WHERE state = 'ready'")}
    assert left < keys
    for key in left:
        with store.open(key) as kept:
            assert kept.read(1)
    assert "Would be done" in run("media", "prune").stdout


def test_a_cover_is_made_and_kept_as_any_rendition_is(
    scheduled: Any, pipeline: Any, database: Any, tmp_path: Path, run: Any
) -> None:
    """What a platform module needs that wants a cover of its own: a second rendition of the video's asset."""
    film = tmp_path / "film.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=2", "-pix_fmt", "yuv420p")
    subprocess.run([ffmpeg.program(), "-nostdin", "-loglevel", "error", *source, str(film)], check=True)
    scheduled(to="x:acme", at=datetime.now(UTC) + timedelta(days=1), media=[film])
    asset = database.one("SELECT id FROM media_assets")
    with transaction(pipeline.settings) as conn:
        number, state = intake.rendition(conn, asset, recipe.poster(rule("pinterest", "video"), at_s=1.0))
    assert state == "pending"
    pipeline.until_quiet()
    [row] = [one for one in listed(run) if one["rendition_id"] == number]
    assert (row["state"], row["mime"], row["width"], row["height"]) == ("ready", "image/jpeg", 320, 240)
    assert row["actions"][0]["name"] == "poster"
    with transaction(pipeline.settings) as conn:
        key = conn.execute(text("SELECT storage_key FROM renditions WHERE id = :id"), {"id": number}).scalar_one()
    with Store(pipeline.settings.store()).open(key) as made:
        assert made.read(3) == b"\xff\xd8\xff"
