"""Media and those who clean up after it: nothing goes that a waiting post needs, whoever comes first; leases, too."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

import media.fetch
from db.object_lock import take_turn
from db.session import transaction
from media import room
from media.errors import NoRoom
from media.fetch import RemoteProbe
from media.storage import Store
from scheduler import prune, retry, schedule
from workers import media as work
from workers import upload

DAY = 86_400


def later(hours: float = 24) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


@pytest.fixture
def far_file(monkeypatch, pictures):
    """https://far.example/a.jpg, as its server gives it."""
    file = pictures["jpeg"]

    def probed(url, **_):
        return RemoteProbe(file.stat().st_size, "image/jpeg", "image/jpeg")

    def downloaded(url, dest, **_):
        shutil.copy(file, dest)

    monkeypatch.setattr(media.fetch, "probe_remote", probed)
    monkeypatch.setattr(media.fetch, "download", downloaded)
    return "https://far.example/a.jpg"


@pytest.fixture
def forgotten(scheduled, pipeline, settings, database, fake, pictures):
    """A post that ended long ago, its media marked and a day over; its number."""
    number = scheduled("old", media=[pictures["png"]])
    pipeline.until_quiet()
    database.pass_time(40 * DAY)
    prune.run(settings)
    database.pass_time(DAY + 1)
    return number


# --- Prune and those who want a file now --------------------------------------------------------------------------


def in_the_middle(monkeypatch, action, prefix=""):
    """Runs ``action`` in another thread while prune deletes its first object; the thread, to be joined."""
    real, threads = Store.delete, []

    def deleting(self, key):
        if not threads and key.startswith(prefix):
            thread = threading.Thread(target=action)
            threads.append(thread)
            thread.start()
            # It shall wait for us: long enough to get there, and it must not be done before we are.
            waited = time.monotonic() + 10
            while not waits_for_a_lock() and thread.is_alive() and time.monotonic() < waited:
                time.sleep(0.01)
            assert thread.is_alive(), "it did not wait for prune"
        real(self, key)

    monkeypatch.setattr(Store, "delete", deleting)
    return threads


def waits_for_a_lock() -> bool:
    from scheduler.settings import current

    with transaction(current().database()) as conn:
        return bool(
            conn.execute(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).scalar_one()
        )


def test_a_file_that_is_scheduled_while_prune_deletes_it_is_stored_anew(
    forgotten, pipeline, settings, database, fake, pictures, monkeypatch
):
    made = []
    threads = in_the_middle(
        monkeypatch,
        lambda: made.append(schedule("new", to="fake:acme", at=later(), media=[pictures["png"]]).scheduled[0].id),
    )
    prune.run(settings)
    threads[0].join()
    pipeline.until_quiet()
    assert database.post(made[0]).media_ready
    store = Store(settings.store())
    for row in database.rows("SELECT storage_key FROM media_assets UNION SELECT storage_key FROM renditions"):
        assert store.exists(row.storage_key)
    database.pass_time(DAY)
    pipeline.until_quiet()
    assert (database.post(made[0]).status, len(fake.accepted[-1].media)) == ("published", 1)


def test_a_remote_file_that_is_fetched_while_prune_deletes_the_same_bytes_is_stored_anew(
    scheduled, pipeline, settings, database, fake, pictures, far_file, monkeypatch
):
    """Another row, the same name in the store: only the lock on the name can tell."""
    scheduled("old", media=[pictures["jpeg"]])
    pipeline.until_quiet()
    database.pass_time(40 * DAY)
    prune.run(settings)
    database.pass_time(DAY + 1)
    number = scheduled("new", at=later(), media=[far_file])
    pipeline.sweep()
    [(_, args)] = [hint for hint in pipeline.hints.waiting if hint[0] == "media.fetch"]
    pipeline.hints.forget()
    threads = in_the_middle(monkeypatch, lambda: work.fetch(settings, *args), prefix="originals/")
    prune.run(settings)
    threads[0].join()
    pipeline.until_quiet()
    assert Store(settings.store()).exists(database.one("SELECT storage_key FROM media_assets WHERE state = 'stored'"))
    assert database.post(number).media_ready


def test_a_post_that_is_retried_while_prune_deletes_its_file_goes_out_with_it(
    scheduled, pipeline, settings, database, fake, pictures, monkeypatch
):
    from platforms.base import Rejected

    fake.will("publish", Rejected("no", "Not now."))
    number = scheduled("old", media=[pictures["png"]])
    pipeline.until_quiet()
    database.pass_time(40 * DAY)
    database.run("UPDATE media_assets SET touched_at = clock_timestamp()")  # another post keeps the original
    prune.run(settings)
    database.pass_time(DAY + 1)
    threads = in_the_middle(monkeypatch, lambda: retry(number))
    assert prune.run(settings).deleted == 1
    threads[0].join()
    pipeline.until_quiet()
    assert (database.post(number).status, len(fake.accepted[-1].media)) == ("published", 1)


def test_a_retry_after_its_media_were_pruned_says_so_or_makes_them_again(
    scheduled, account, pipeline, settings, database, fake, pictures, far_file
):
    from platforms.base import Rejected

    fake.will("publish", Rejected("no", "Not now."), Rejected("no", "Not now."))
    local, remote = scheduled("local", media=[pictures["png"]]), scheduled("remote", media=[far_file])
    pipeline.until_quiet()
    assert (database.post(local).status, database.post(remote).status) == ("failed", "failed")
    database.pass_time(40 * DAY)
    prune.run(settings)
    database.pass_time(DAY + 1)
    assert prune.run(settings).deleted == 4
    assert retry(local).done
    assert retry(remote).done
    for _ in range(4):
        pipeline.until_quiet()
        database.pass_time(30)
    row = database.post(local)
    assert (row.status, row.error_code) == ("failed", "original_missing")
    assert "noise" not in row.error_message
    assert "no longer in our store" in row.error_message
    assert database.post(remote).status == "published"
    assert [one.text for one in fake.accepted] == ["remote"]


def test_an_orphan_that_somebody_stores_just_now_is_left(settings, database, tmp_path, monkeypatch):
    store = Store(settings.store())
    body = os.urandom(100)
    path = tmp_path / "lost"
    path.write_bytes(body)
    sha256 = hashlib.sha256(body).hexdigest()
    key = store.original_key(sha256)
    store.put_file(key, path, "image/png", sha256)
    real = prune.orphans

    def meanwhile(settings):
        for one in list(real(settings)):
            if one.key == key:
                # It was listed as an orphan; before it is deleted, somebody schedules the same file.
                with transaction(settings.database()) as conn:
                    take_turn(conn, key)
                    conn.execute(
                        text("INSERT INTO media_assets (sha256, storage_key, state) VALUES (:s, :k, 'pending')"),
                        {"s": sha256, "k": key},
                    )
                yield one

    monkeypatch.setattr(prune, "OLD", timedelta(seconds=-60))
    monkeypatch.setattr(prune, "orphans", meanwhile)
    assert prune.delete_orphans(settings) == 0
    assert store.exists(key)
    store.delete(key)


def test_a_file_that_is_being_fetched_is_known_before_it_is_stored(
    scheduled, pipeline, settings, database, fake, far_file, monkeypatch
):
    scheduled(at=later(), media=[far_file])
    seen = []
    real = Store.put_file

    def stored(self, key, *args, **more):
        seen.append((key, database.rows("SELECT storage_key, state FROM media_assets")[0]))
        return real(self, key, *args, **more)

    monkeypatch.setattr(Store, "put_file", stored)
    pipeline.until_quiet()
    key, row = seen[0]
    assert (row.storage_key, row.state) == (key, "pending")


# --- Leases -----------------------------------------------------------------------------------------------------


class Kill(BaseException):
    """What ends a worker without any of its own words."""


def killed(*_args, **_more):
    raise Kill


@pytest.mark.parametrize("stage", ["fetch", "render", "upload"])
def test_the_work_of_a_killed_worker_is_taken_up(
    scheduled, pipeline, settings, database, fake, far_file, monkeypatch, stage
):
    number = scheduled(at=later(), media=[far_file])
    with monkeypatch.context() as patch:
        if stage == "fetch":
            patch.setattr(media.fetch, "download", killed)
        elif stage == "render":
            patch.setattr(work, "normalize", killed)
        else:
            patch.setattr(upload, "finish", killed)
        for _ in range(6):
            try:
                pipeline.until_quiet()
            except Kill:
                break
        else:
            raise AssertionError("nobody was killed")
    pipeline.hints.forget()
    pipeline.until_quiet()
    assert not database.post(number).media_ready, "its lease has not ended"
    database.pass_time(settings.media_lease_seconds + 1)
    pipeline.until_quiet()
    assert database.post(number).media_ready


@pytest.mark.parametrize("stage", ["fetch", "upload"])
def test_long_work_keeps_its_lease_and_ends_when_it_has_lost_it(
    scheduled, pipeline, settings, database, fake, far_file, monkeypatch, stage
):
    number = scheduled(at=later(), media=[far_file])
    queries = {
        "lease": "SELECT available_at FROM {}",
        "nearly over": "UPDATE {} SET available_at = clock_timestamp() + interval '1 second'",
        "row": "SELECT progress, available_at FROM {}",
        "taken": "UPDATE {} SET generation = generation + 1, available_at = clock_timestamp()",
    }
    queries = {
        name: query.format("media_assets" if stage == "fetch" else "renditions") for name, query in queries.items()
    }
    monkeypatch.setattr(work, "PROGRESS_EVERY_S", 0.0)
    seen = []

    def slow(tell):
        before = database.one(queries["lease"])
        database.run(queries["nearly over"])
        tell(0.5)
        seen.append(database.rows(queries["row"])[0])
        assert seen[-1].available_at > before - timedelta(seconds=5)
        if len(seen) == 1:
            database.run(queries["taken"])
            tell(0.6)
            raise AssertionError("it went on although the row has moved on")

    real_download, real_put = media.fetch.download, Store.put_file

    def downloaded(url, dest, *, progress, **more):
        if stage == "fetch":
            slow(progress)
        real_download(url, dest, **more)

    def stored(self, key, path, mime, sha256, progress=None):
        if stage == "upload" and key.startswith("media/"):
            slow(progress)
        real_put(self, key, path, mime, sha256)

    monkeypatch.setattr(media.fetch, "download", downloaded)
    monkeypatch.setattr(Store, "put_file", stored)
    pipeline.until_quiet()
    assert [round(one.progress, 2) for one in seen] == [0.3 if stage == "fetch" else 0.9] * 2
    assert database.post(number).media_ready


def test_a_full_disk_costs_time_and_no_post(scheduled, pipeline, settings, database, fake, pictures, monkeypatch):
    number = scheduled(at=later(), media=[pictures["png"]])
    with monkeypatch.context() as patch:
        patch.setattr(room, "make_sure", lambda *_args, **_more: (_ for _ in ()).throw(NoRoom("full")))
        for _ in range(20):
            pipeline.until_quiet()
            database.pass_time(settings.media_lease_seconds + 1)
    assert database.post(number).status == "scheduled"
    assert database.one("SELECT error_code FROM renditions") == "disk_full"
    pipeline.until_quiet()
    assert database.post(number).media_ready


def test_each_machine_that_makes_files_removes_what_its_dead_runs_left(
    scheduled, pipeline, settings, fake, pictures, monkeypatch
):
    dead = settings.spool() / "render-dead"
    dead.mkdir()
    (dead / "original").write_bytes(b"half a video")
    os.utime(dead, (time.time() - 2 * DAY,) * 2)
    work._swept_at.clear()
    scheduled(at=later(), media=[pictures["png"]])
    pipeline.until_quiet()
    assert not dead.exists()


def test_how_long_fetching_may_take(settings, environment):
    assert work.fetch_deadline_s(settings, 1_000, "image/jpeg") == pytest.approx(120, abs=1)
    assert work.fetch_deadline_s(settings, None, "image/jpeg") == pytest.approx(320, abs=1)
    assert work.fetch_deadline_s(settings, 100_000_000, "video/mp4") == pytest.approx(320, abs=1)
    assert work.fetch_deadline_s(settings, None, "video/mp4") == settings.fetch_longest_seconds
    assert work.fetch_task.time_limit > environment.change(fetch_longest_seconds=3 * 3600).fetch_longest_seconds
