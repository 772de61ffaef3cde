"""The files of one post together, where some of them are fetched later: what is asked of all is asked then."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

import media.fetch
from media.fetch import RemoteProbe
from scheduler import intake


@pytest.fixture
def far(monkeypatch, tmp_path):
    """https://far.example/NAME: pictures as tests draw them. Their server calls each a JPEG."""
    files = {}

    def drawn(name, size, frames=1):
        path = tmp_path / name
        form = "GIF" if name.endswith("gif") else "JPEG"
        pages = [Image.new("RGB", size, (90, 40 * number, 7)) for number in range(frames)]
        pages[0].save(path, form, **({"save_all": True, "append_images": pages[1:]} if frames > 1 else {}))
        files[f"https://far.example/{name}"] = path
        return f"https://far.example/{name}"

    monkeypatch.setattr(
        media.fetch,
        "probe_remote",
        lambda url, **_: RemoteProbe(files[url].stat().st_size, "image/jpeg", "image/jpeg"),
    )
    monkeypatch.setattr(media.fetch, "download", lambda url, dest, **_: shutil.copy(files[url], dest))
    return drawn


@pytest.fixture
def asks(monkeypatch, fake):
    """Changes the rule of the platform."""

    def of(**changes):
        before = fake.capabilities
        after = replace(before, media={name: replace(rule, **changes) for name, rule in before.media.items()})
        monkeypatch.setattr(type(fake), "capabilities", property(lambda _: after))

    return of


def tomorrow():
    return datetime.now(UTC) + timedelta(days=1)


def test_a_local_file_beside_a_remote_one_is_made_too(scheduled, pipeline, fake, database, far, pictures):
    number = scheduled(media=[pictures["png"], far("a.jpg", (640, 480))])
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert [item.name for item in fake.visits[-1].media] == ["green.png", "a.jpg"]


def test_what_breaks_the_rules_only_together_fails_at_once(scheduled, pipeline, fake, database, far, asks):
    asks(exclusive_gif=True, max_gif_bytes=1_000_000)
    number = scheduled(at=tomorrow(), media=[far("a.gif", (90, 90), 3), far("b.jpg", (90, 90))])
    pipeline.until_quiet()
    post = database.post(number)
    assert (post.status, post.error_code) == ("failed", "mixed")
    assert "cannot stand beside" in post.error_message


def test_pictures_of_a_remote_carousel_get_one_size(scheduled, pipeline, fake, database, far, asks, pictures):
    asks(same_size=True)
    number = scheduled(media=[far("a.jpg", (1086, 1629)), pictures["png"], far("b.jpg", (1000, 1500))])
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert {(item.width, item.height) for item in fake.visits[-1].media} == {(400, 600)}
    assert pipeline.hints.names().count("media.fetch") == 2


def test_unequal_remote_pictures_fail_at_once_unless_an_option_mends_them(
    scheduled, pipeline, fake, database, far, asks
):
    asks(same_size=True)
    files = [far("a.jpg", (1000, 1500)), far("b.jpg", (900, 900))]
    number = scheduled(at=tomorrow(), media=files)
    pipeline.until_quiet()
    assert (database.post(number).status, database.post(number).error_code) == ("failed", "unequal_size")
    number = scheduled("two", media=files, options={"post": {"fit": "crop"}})
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert {(item.width, item.height) for item in fake.visits[-1].media} == {(600, 900)}


def test_fetched_before_its_post_was_there_a_carousel_still_goes_out(
    scheduled, pipeline, fake, database, far, asks, monkeypatch
):
    asks(same_size=True)
    real = intake.store

    def stored(*args):
        ids = real(*args)
        pipeline.until_quiet()
        return ids

    monkeypatch.setattr(intake, "store", stored)
    number = scheduled(media=[far("a.jpg", (1000, 1500)), far("b.jpg", (500, 750))])
    for _ in range(3):
        pipeline.until_quiet()
        database.pass_time(61)
    assert database.post(number).status == "published"
    assert pipeline.hints.names().count("media.fetch") <= 4
