"""X and Pinterest through the whole core, against the sandbox: real clips, rendered and stored, with doubt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from typer.testing import CliRunner

from platforms.base import Identity
from platforms.sandbox import Sandbox
from platforms.sandbox.clip import read_clip
from scheduler import Media, accounts, schedule
from scheduler.api import database as transaction
from scheduler.cli.main import app
from scheduler.errors import InvalidPost

sys.path.append(str(Path(__file__).parents[1] / "unit" / "media"))

import clips

ENDS = ("published", "failed", "held", "missed", "canceled")
PINTEREST = {"board": "Recipes", "title": "Soup", "link": "https://example.com/soup"}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four and a half seconds, with sound."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return clips.video(path, size=(160, 120), fps=10, seconds=4.5, sound="aac")


@pytest.fixture
def world(environment: Any, pipeline: Any, database: Any) -> Any:
    """The sandbox in the platforms' place, one account on each; faults are set by the tests."""
    with Sandbox() as box:
        box.configure(processing_s=0.2)
        settings = environment.change(
            SCHEDULERX_X_API_URL=box.url, SCHEDULERX_PINTEREST_API_URL=box.url, quarantine_seconds=1
        )
        pipeline.settings = settings
        for platform in ("x", "pinterest"):
            with transaction(settings) as conn:
                accounts.add(conn, settings, platform, "acme", {"access_token": f"sandbox-{platform}-acme"})
            with transaction(settings) as conn:
                row = accounts.find(conn, f"{platform}:acme")
            identity = accounts.identify(settings, row)
            assert isinstance(identity, Identity), identity
            with transaction(settings) as conn:
                accounts.keep_identity(conn, row.id, identity)
        yield box


@pytest.mark.parametrize("fault", [None, "reset_after", "reset_before"])
def test_films_and_slides_are_there_once(
    world: Sandbox, pipeline: Any, database: Any, tmp_path: Path, film: Path, fault: str | None
) -> None:
    slides = [tmp_path / f"{colour}.png" for colour in ("teal", "navy", "tan")]
    for slide in slides:
        Image.new("RGB", (300, 200), slide.stem).save(slide)
    schedule(
        "It plays", to=["x:acme", "pinterest:acme"], at="now", media=[Media(str(film), alt="a square wanders")],
        options={"pinterest": {**PINTEREST, "cover_time_s": 2}},
    )  # fmt: skip
    schedule(
        "Three colours", to="pinterest:acme", at="now", media=[Media(str(one), alt=one.stem) for one in slides],
        options={"pinterest": {**PINTEREST, "slides": [{"title": "Teal"}], "first_slide": 1}},
    )  # fmt: skip
    if fault is not None:
        # The first look-up on each platform sees nothing yet: what was just made appears late.
        late = {"kind": "read_lag", "lag_s": 3600.0, "count": 1}
        world.set_faults(
            [
                {"step": "*.publish", "kind": fault, "count": 3},
                {"step": "x.timeline", **late},
                {"step": "pinterest.board_pins", **late},
            ]
        )
    for number in database.one("SELECT array_agg(id) FROM scheduled_posts"):
        row = pipeline.until(number, *ENDS)
        assert (row.status, row.evidence) == ("published", "reconciled" if fault == "reset_after" else "api"), row
    assert world.summary()["doubled"] == []
    posts = {(post["platform"], len(post["content"]["pictures"])): post for post in world.accepted()}
    assert set(posts) == {("x", 1), ("pinterest", 1), ("pinterest", 3)}
    for platform in ("x", "pinterest"):
        [shown] = posts[platform, 1]["content"]["pictures"]
        found = read_clip(world.world.media.blob(shown["sha256"]) or b"")
        assert found is not None
        assert (found.width, found.height, round(found.duration_s, 1)) == (160, 120, 4.5)
        assert shown["alt"] == "a square wanders"
    carousel = posts["pinterest", 3]["content"]
    assert carousel["slides"][0] == {"title": "Teal"}
    assert {shown["alt"] for shown in carousel["pictures"]} == {"teal | navy | tan"}
    steps = world.summary()["requests"]
    assert (steps["x.initialize"], steps["pinterest.register_media"]) == (1, 1)
    # A claim for each look: nothing waited inside a worker while the platform was at work.
    assert steps["x.media_status"] >= 1
    assert steps["pinterest.media_status"] >= 1


def test_an_upload_that_breaks_halfway_goes_on_where_it_was(
    world: Sandbox, pipeline: Any, database: Any, tmp_path: Path, film: Path
) -> None:
    # What stands behind the header is not read by players: a larger file of the same film.
    large = tmp_path / "large.mp4"
    size = 2 * 1024 * 1024
    large.write_bytes(film.read_bytes() + (size + 8).to_bytes(4, "big") + b"free" + bytes(size))
    world.set_faults([{"step": "x.append", "kind": "reset_before", "count": 1, "skip": 1}])
    number = schedule("Large", to="x:acme", at="now", media=[Media(str(large))]).scheduled[0].id
    row = pipeline.until(number, *ENDS)
    assert (row.status, row.evidence) == ("published", "api"), row
    steps = world.summary()["requests"]
    assert steps["x.initialize"] == 1
    # Three segments, and one that broke off and was sent again.
    assert steps["x.append"] == 4


def test_what_x_calls_a_duplicate_of_an_older_post_fails_once(world: Sandbox, pipeline: Any, database: Any) -> None:
    world.configure(refuse_duplicates=True)
    first = schedule("The same words", to="x:acme", at="now").scheduled[0].id
    assert pipeline.until(first, *ENDS).status == "published"
    calls = world.summary()["requests"]["x.create"]
    second = schedule("The same words", to="x:acme", at="now").scheduled[0].id
    row = pipeline.until(second, *ENDS)
    assert (row.status, row.error_code) == ("failed", "duplicate"), row
    # Found to be an older one's, it is not tried again.
    assert world.summary()["requests"]["x.create"] == calls + 1
    assert len(world.accepted()) == 1


@pytest.mark.parametrize(
    "text", ["Listen: https://acme.music/Song?a=1", "Listen: Acme.Music", "聴いて https://acme.kids/日本"]
)
def test_a_lost_answer_to_a_post_with_any_link_makes_no_double(
    world: Sandbox, pipeline: Any, database: Any, text: str
) -> None:
    # X finds links by a list that is newer than ours: the feed shows a short one in their place.
    world.set_faults([{"step": "x.create", "kind": "reset_after", "count": 1}])
    row = pipeline.until(schedule(text, to="x:acme", at="now").scheduled[0].id, *ENDS)
    assert row.status in {"published", "held"}, row
    assert len(world.accepted()) == 1
    assert world.summary()["requests"]["x.create"] == 1


def test_a_board_that_is_not_there_is_refused_when_the_post_is_scheduled(world: Sandbox, film: Path) -> None:
    for options, code in (
        ({"board": "Recipies"}, "unknown_board"),
        ({"board": "Recipes", "board_section": "Salads"}, "unknown_board_section"),
    ):
        with pytest.raises(InvalidPost) as refused:
            schedule("no", to="pinterest:acme", at="now", media=[Media(str(film))], options={"pinterest": options})
        assert code in {one.code for one in refused.value.violations}


def test_a_section_is_found_by_its_name_and_trial_access_is_said(world: Sandbox, pipeline: Any, film: Path) -> None:
    account = world.account("pinterest", "tried", tier="trial")
    headers = {"Authorization": f"Bearer {account['token']}"}
    board = next(one["id"] for one in account["boards"] if one["name"] == "Recipes")
    made = requests.post(
        f"{world.url}/v5/boards/{board}/sections", json={"name": "Salads"}, headers=headers, timeout=10
    )
    assert made.status_code == 201
    with transaction(pipeline.settings) as conn:
        accounts.add(conn, pipeline.settings, "pinterest", "tried", {"access_token": account["token"]})
    checked = CliRunner().invoke(app, ["accounts", "check", "pinterest:tried"], catch_exceptions=False)
    assert checked.exit_code == 0, checked.output
    assert "visible to this account alone" in checked.output
    options = {"pinterest": {"board": "recipes", "board_section": "salads"}}
    post = schedule("In its section", to="pinterest:tried", at="now", media=[Media(str(film))], options=options)
    row = pipeline.until(post.scheduled[0].id, *ENDS)
    assert (row.status, row.evidence) == ("published", "api"), row
    [pin] = world.accepted()
    assert (pin["content"]["board_id"], pin["content"]["board_section_id"]) == (board, made.json()["id"])
