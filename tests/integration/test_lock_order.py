"""Posts are locked before their files, whoever needs both: a person's change and a worker never wait for each other."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

import media.fetch
from db.session import transaction
from media.errors import MediaRefused
from media.fetch import RemoteProbe
from scheduler import replays
from scheduler.changed import rows_of
from stack.processes import wait_until
from workers import media as work
from workers import upload

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def tomorrow():
    return datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def step(request, scheduled, pipeline, settings, database, fake, pictures, monkeypatch):
    """A post that waits for its file, and the worker's step that ends the wait: (number, step)."""
    if request.param == "fetched":
        file = pictures["jpeg"]
        probed = RemoteProbe(file.stat().st_size, "image/jpeg", "image/jpeg")
        monkeypatch.setattr(media.fetch, "probe_remote", lambda *_, **__: probed)
        monkeypatch.setattr(media.fetch, "download", lambda _url, dest, **_: shutil.copy(file, dest))
        number = scheduled(at=tomorrow(), media=["https://far.example/a.jpg"])
    else:
        number = scheduled(at=tomorrow(), media=[pictures["png"]])
    pipeline.sweep()
    [(_, args)] = [hint for hint in pipeline.hints.waiting if hint[0].startswith("media.")]
    pipeline.hints.forget()
    if request.param == "fetched":
        return number, lambda: work.fetch(settings, *args)
    if request.param == "refused":
        monkeypatch.setattr(work, "normalize", lambda *_, **__: (_ for _ in ()).throw(MediaRefused("truncated", "x")))
        return number, lambda: work.render(settings, *args)
    work.render(settings, *args)
    [(_, args)] = pipeline.hints.waiting
    pipeline.hints.forget()
    return number, lambda: upload.upload(settings, *args)


@pytest.mark.parametrize("step", ["uploaded", "refused", "fetched"], indirect=True)
def test_a_worker_waits_for_a_person_s_change_and_holds_nothing_that_it_needs(step, settings, database):
    number, run = step
    errors: list[BaseException] = []

    def worker() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    thread = threading.Thread(target=worker)
    with transaction(settings.database()) as conn:
        conn.execute(text("SET LOCAL lock_timeout = '2s'"))
        rows_of(conn, number)
        thread.start()
        assert wait_until(lambda: database.one(WAITS) == 1, 20)
        conn.execute(replays.RENDITIONS, {"id": number})
        conn.execute(replays.ORIGINALS, {"id": number})
    thread.join(30)
    assert errors == []
    row = database.post(number)
    assert (row.status, row.media_ready) in {("scheduled", True), ("failed", False), ("scheduled", False)}
    if row.status == "scheduled" and not row.media_ready:
        assert database.one("SELECT rendition_id FROM scheduled_post_media WHERE scheduled_post_id = :n", n=number)
