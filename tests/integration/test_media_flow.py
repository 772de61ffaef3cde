"""Media on its way: original, rendition, store, and the posts that wait for it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

import media.fetch
from media.errors import MediaRefused, RemoteUnavailable, StoreUnavailable
from media.fetch import RemoteProbe
from media.storage import Store
from platforms.base import Ready
from scheduler import edit, intake, prune, retry, schedule
from workers import context, upload
from workers import media as work
from workers import work as posts_work


def tomorrow():
    return datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def far_file(monkeypatch, pictures):
    """A file on somebody's server: https://far.example/a.jpg; what it does can be changed."""
    server = {"file": pictures["jpeg"], "error": None, "downloads": 0}

    def probed(url, **_):
        return RemoteProbe(server["file"].stat().st_size, "image/jpeg", "image/jpeg")

    def downloaded(url, dest, **_):
        server["downloads"] += 1
        if server["error"] is not None:
            raise server["error"]
        shutil.copy(server["file"], dest)

    monkeypatch.setattr(media.fetch, "probe_remote", probed)
    monkeypatch.setattr(media.fetch, "download", downloaded)
    return server


def test_a_picture_is_made_once_for_all_posts_that_need_it(scheduled, pipeline, fake, database, pictures):
    numbers = [scheduled(f"post {n}", media=[pictures["png"]]) for n in range(3)]
    pipeline.until_quiet()
    assert {database.post(n).status for n in numbers} == {"published"}
    assert (database.counts()["media_assets"], database.counts()["renditions"]) == (1, 1)
    assert pipeline.hints.names().count("media.normalize") == 1
    row = database.rows("SELECT * FROM renditions")[0]
    assert (row.state, row.progress, row.spool) == ("ready", 1.0, None)
    with Store(pipeline.settings.store()).open(row.storage_key) as made:
        assert made.read()


def test_a_post_waits_until_all_its_pictures_are_there(scheduled, pipeline, fake, database, pictures):
    number = scheduled(media=[pictures["png"], pictures["jpeg"]])
    pipeline.sweep()
    first = [hint for hint in pipeline.hints.waiting if hint[0] == "media.normalize"]
    assert len(first) == 2
    pipeline.hints.waiting = first[:1]
    pipeline.run_hints()
    assert not database.post(number).media_ready
    pipeline.hints.waiting = first[1:]
    pipeline.run_hints()
    assert database.post(number).media_ready
    pipeline.until_quiet()
    assert [(item.width, item.height) for item in fake.visits[-1].media] == [(400, 600), (640, 480)]


def test_media_are_ready_long_before_the_post_is_due(scheduled, pipeline, fake, database, pictures):
    number = scheduled(at=tomorrow(), media=[pictures["png"]])
    pipeline.until_quiet()
    assert (database.post(number).media_ready, database.post(number).status) == (True, "scheduled")


def test_a_picture_that_cannot_be_made_fails_its_posts_at_once(
    scheduled, pipeline, fake, database, pictures, monkeypatch
):
    def refused(*_args, **_more):
        raise MediaRefused("truncated", "it ends in the middle")

    monkeypatch.setattr(work, "normalize", refused)
    numbers = [scheduled(f"post {n}", at=tomorrow(), media=[pictures["jpeg"]]) for n in range(2)]
    other = scheduled("without", at=tomorrow())
    pipeline.until_quiet()
    for number in numbers:
        row = database.post(number)
        assert (row.status, row.error_code) == ("failed", "truncated")
        assert "noise.jpg" in row.error_message
        assert [one.code for one in database.letters(number)] == ["truncated"]
    assert database.post(other).status == "scheduled"
    monkeypatch.undo()


def test_retry_makes_a_failed_picture_again(scheduled, pipeline, fake, database, pictures, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(work, "normalize", lambda *_, **_more: (_ for _ in ()).throw(MediaRefused("truncated", "x")))
        number = scheduled(media=[pictures["jpeg"]])
        pipeline.until_quiet()
    assert database.post(number).status == "failed"
    assert retry(number).done
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_picture_that_kills_its_worker_each_time_fails_its_posts(
    scheduled, pipeline, environment, fake, database, pictures, monkeypatch
):
    pipeline.settings = settings = environment.change(max_claims=3)

    class Kill(BaseException):
        pass

    def killed(*_args, **_more):
        raise Kill

    monkeypatch.setattr(work, "normalize", killed)
    number = scheduled(at=tomorrow(), media=[pictures["jpeg"]])
    for _ in range(6):
        pipeline.sweep()
        try:
            pipeline.run_hints()
        except Kill:
            pipeline.hints.forget()
        database.pass_time(settings.media_lease_seconds + 1)
    row = database.post(number)
    assert (row.status, row.error_code) == ("failed", "worker_crash")


def test_a_store_that_is_away_for_hours_costs_time_and_no_post(
    scheduled, pipeline, fake, database, pictures, monkeypatch
):
    number = scheduled(at=tomorrow(), media=[pictures["jpeg"]])
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put_file", lambda *_: (_ for _ in ()).throw(StoreUnavailable("down")))
        for _ in range(40):
            pipeline.until_quiet()
            database.pass_time(301)
    assert database.post(number).status == "scheduled"
    assert database.one("SELECT error_code FROM renditions") == "store_unavailable"
    database.pass_time(61)
    pipeline.until_quiet()
    assert database.post(number).media_ready


def test_a_rendered_file_that_is_gone_is_made_again(scheduled, pipeline, settings, fake, database, pictures):
    number = scheduled(media=[pictures["png"]])
    pipeline.sweep()
    pipeline.hints.waiting = [hint for hint in pipeline.hints.waiting if hint[0] == "media.normalize"]
    _, args = pipeline.hints.waiting.pop()
    work.render(settings, *args)
    shutil.rmtree(settings.spool())
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert pipeline.hints.names().count("media.normalize") == 2


def test_a_file_on_another_machine_is_uploaded_from_there(scheduled, pipeline, settings, fake, database, pictures):
    scheduled(media=[pictures["png"]])
    pipeline.sweep()
    [(_, args)] = [hint for hint in pipeline.hints.waiting if hint[0] == "media.normalize"]
    pipeline.hints.forget()
    work.render(settings, *args)
    assert pipeline.hints.sent[-1][0::2] == ("upload.rendition", "upload.here")
    pipeline.hints.forget()
    database.pass_time(settings.media_lease_seconds + 1)
    pipeline.sweep()
    assert pipeline.hints.sent[-1][0::2] == ("upload.rendition", "upload.here")


def on_a_machine(pipeline, settings, database, name: str) -> None:
    """Makes the rendition that waits, as if the machine ``name`` had made it."""
    pipeline.sweep()
    [(_, args)] = [hint for hint in pipeline.hints.waiting if hint[0] == "media.normalize"]
    pipeline.hints.forget()
    work.render(settings, *args)
    database.run("UPDATE renditions SET spool = :name WHERE id = :id", name=name, id=args[0])
    pipeline.hints.forget()


def test_what_a_lost_machine_has_made_is_made_again_elsewhere(scheduled, pipeline, settings, fake, database, pictures):
    number = scheduled(media=[pictures["png"]])
    on_a_machine(pipeline, settings, database, "gone")
    database.pass_time(settings.media_lease_seconds + 1)
    pipeline.sweep()
    # It may only have been slow: its own queue is asked once more.
    assert pipeline.hints.sent[-1][0::2] == ("upload.rendition", "upload.gone")
    pipeline.hints.forget()
    database.pass_time(settings.media_lease_seconds + 1)
    pipeline.sweep()
    assert pipeline.hints.sent[-1][0] == "media.normalize"
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_machine_that_is_only_busy_keeps_what_it_has_made(
    scheduled, pipeline, settings, fake, database, pictures, monkeypatch
):
    scheduled("one", media=[pictures["png"]])
    on_a_machine(pipeline, settings, database, "busy")
    scheduled("two", media=[pictures["jpeg"]])
    on_a_machine(pipeline, settings, database, "busy")
    first, second = (row.id for row in database.rows("SELECT id FROM renditions ORDER BY id"))
    database.pass_time(2 * settings.media_lease_seconds + 1)
    # Its upload worker has begun with the first: it lives, and the second stands in its line.
    database.run(
        "UPDATE renditions SET claims = 1, lease_expires_at = clock_timestamp() + interval '1 minute' WHERE id = :id",
        id=first,
    )
    pipeline.sweep()
    assert {name for name, args, _ in pipeline.hints.sent[-2:]} == {"upload.rendition"}
    assert database.one("SELECT state FROM renditions WHERE id = :id", id=second) == "rendered"


def test_a_store_that_is_away_is_no_lost_machine(scheduled, pipeline, settings, fake, database, pictures, monkeypatch):
    scheduled(media=[pictures["png"]])
    monkeypatch.setattr(Store, "put_file", lambda *_, **__: (_ for _ in ()).throw(StoreUnavailable("away")))
    for _ in range(20):
        pipeline.until_quiet()
        database.pass_time(61)
    assert pipeline.hints.names().count("media.normalize") == 1


def test_stale_hints_for_media_do_nothing(scheduled, pipeline, settings, fake, database, pictures):
    scheduled(media=[pictures["png"]])
    pipeline.until_quiet()
    before = database.rows("SELECT * FROM renditions")
    number = before[0].id
    for generation in range(1, before[0].generation + 2):
        work.render(settings, number, generation)
        upload.upload(settings, number, generation)
        work.fetch(settings, 999, generation)
    assert database.rows("SELECT * FROM renditions") == before


def test_a_worker_that_died_before_it_told_the_posts_is_made_good_by_the_sweep(
    scheduled, pipeline, settings, fake, database, pictures
):
    number = scheduled(at=tomorrow(), media=[pictures["png"]])
    pipeline.until_quiet()
    database.run("UPDATE scheduled_posts SET media_ready = false")
    assert pipeline.sweep()["readied"] == 1
    assert database.post(number).media_ready


# --- Remote files -------------------------------------------------------------------------------------------


def test_a_remote_file_is_fetched_made_and_published(scheduled, pipeline, fake, database, far_file):
    number = scheduled(media=["https://far.example/a.jpg?token=secret"])
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    [item] = fake.visits[-1].media
    assert (item.width, item.height, item.name) == (640, 480, "a.jpg")


def quick_workers(monkeypatch, pipeline):
    """Workers that are done with a file before the post that needs it is inserted."""
    real = intake.store

    def stored(*args):
        ids = real(*args)
        pipeline.until_quiet()
        return ids

    monkeypatch.setattr(intake, "store", stored)


def test_a_remote_file_that_was_fetched_before_its_post_was_there_still_goes_out(
    scheduled, pipeline, fake, database, far_file, monkeypatch
):
    quick_workers(monkeypatch, pipeline)
    number = scheduled(media=["https://far.example/a.jpg"])
    assert far_file["downloads"] == 1
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_remote_file_that_breaks_a_rule_fails_its_post_at_once(
    scheduled, pipeline, fake, database, far_file, pictures
):
    far_file["file"] = pictures["small"]
    number = scheduled(at=tomorrow(), media=["https://far.example/a.jpg"])
    pipeline.until_quiet()
    assert database.post(number).status == "failed"
    assert database.post(number).error_message


def test_a_remote_file_that_is_gone_fails_also_the_post_that_came_later(
    scheduled, pipeline, fake, database, far_file, monkeypatch
):
    quick_workers(monkeypatch, pipeline)
    far_file["error"] = MediaRefused("not_found", "404")
    number = scheduled(at=tomorrow(), media=["https://far.example/a.jpg"])
    pipeline.until_quiet()
    assert (database.post(number).status, database.post(number).error_code) == ("failed", "not_found")


def test_a_caller_that_commits_late_gets_its_remote_file(fake, account, pipeline, database, far_file):
    account("fake:acme")
    with Session(database.engine) as session:
        number = (
            schedule("Hello", to="fake:acme", at="now", media=["https://far.example/a.jpg"], session=session)
            .scheduled[0]
            .id
        )
        pipeline.until_quiet()
        session.commit()
    pipeline.until_quiet()
    assert database.post(number).status == "published"


def test_a_server_that_stumbles_is_asked_again_and_not_for_ever(scheduled, pipeline, fake, database, far_file):
    far_file["error"] = RemoteUnavailable("503")
    number = scheduled(at=tomorrow(), media=["https://far.example/a.jpg"])
    for _ in range(3):
        pipeline.until_quiet()
        database.pass_time(601)
    far_file["error"] = None
    pipeline.until_quiet()
    assert database.post(number).media_ready
    far_file["error"] = RemoteUnavailable("503")
    other = scheduled("two", at=tomorrow(), media=["https://far.example/b.jpg"])
    for _ in range(15):
        pipeline.until_quiet()
        database.pass_time(601)
    assert (database.post(other).status, database.post(other).error_code) == ("failed", "not_reachable")


def test_an_edit_while_the_file_is_on_its_way_keeps_it(scheduled, pipeline, fake, database, far_file):
    number = scheduled("Old", at=tomorrow(), media=["https://far.example/a.jpg"])
    assert edit(number, text="New").done
    pipeline.until_quiet()
    assert database.post(number).media_ready
    database.pass_time(86_401)
    pipeline.until_quiet()
    assert [(one.text, len(one.media)) for one in fake.accepted] == [("New", 1)]


# --- Prepare ------------------------------------------------------------------------------------------------


def test_prepare_begins_ahead_and_never_publishes(scheduled, pipeline, fake, database):
    fake.prepares = True
    number = scheduled(at=datetime.now(UTC) + timedelta(minutes=10))
    pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.checkpoint, fake.count("prepare"), fake.accepted) == (
        "ready",
        {"container": "c-1", "_prepared": True},
        1,
        [],
    )
    assert row.available_at == row.due_at


def test_a_hint_to_prepare_that_comes_twice_prepares_once(scheduled, pipeline, settings, fake, database):
    from workers import publish

    fake.prepares = True
    number = scheduled()
    pipeline.claim()
    [(_, args)] = pipeline.hints.waiting
    pipeline.hints.forget()

    def meanwhile(call, draft):
        from platforms.base import Ready

        assert publish.prepare(settings, *args) is None
        return Ready()

    fake.will("prepare", meanwhile)
    assert publish.prepare(settings, *args) == "ready"
    assert publish.prepare(settings, *args) is None
    assert fake.count("prepare") == 1
    assert database.post(number).status == "ready"


def test_prepare_resumes_where_it_stopped(scheduled, pipeline, fake, database):
    from fakes import lost

    fake.prepares = True

    def half(call, draft):
        call.save(part_one="a")
        raise lost(was_sent=True)

    fake.will("prepare", half)
    number = scheduled()
    pipeline.until(number, "published")
    assert [dict(one.checkpoint) for one in fake.visits if one.step == "prepare"] == [{}, {"part_one": "a"}]


def test_prepare_through_everything_that_may_come_of_it(scheduled, pipeline, environment, fake, database):
    from platforms.base import AuthExpired, NotSent, Processing, RateLimited, Rejected

    pipeline.settings = environment.change(max_attempts=3)
    fake.prepares = True
    cases = {
        "processing": ([Processing(30.0)], "published", None),
        "limited": ([RateLimited(datetime.now(UTC) + timedelta(seconds=60), "slow")], "published", None),
        "stumbles": ([NotSent("server", "503"), ZeroDivisionError()], "published", None),
        "never": ([NotSent("server", "503")] * 3, "failed", "attempts_spent"),
        "rejected": ([Rejected("bad_media", "no")], "failed", "bad_media"),
        "revoked": ([AuthExpired("revoked", "gone", permanent=True)], "held", "reconnect"),
    }
    for words, (outcomes, status, code) in cases.items():
        fake.will("prepare", *outcomes)
        number = scheduled(words)
        row = pipeline.until(number, "published", "failed", "held")
        assert (words, row.status, row.error_code) == (words, status, code)
        assert len(database.letters(number)) == (status != "published")
    assert [one.text for one in fake.accepted] == ["processing", "limited", "stumbles"]


# --- Prune --------------------------------------------------------------------------------------------------


@pytest.fixture
def published_picture(scheduled, pipeline, fake, database, pictures):
    """A post with a picture that went out long ago; the store."""
    scheduled("old", media=[pictures["png"]])
    pipeline.until_quiet()
    database.pass_time(40 * 86_400)
    context.store.cache_clear()
    return Store(pipeline.settings.store())


def keys(store):
    return sorted(one.key for one in store.list())


def test_prune_marks_waits_a_day_and_then_deletes(published_picture, settings, database):
    before = keys(published_picture)
    told = prune.run(settings, dry_run=True)
    assert (told.marked, told.deleted) == (2, 0)
    assert prune.run(settings).marked == 2
    assert prune.run(settings).deleted == 0
    assert keys(published_picture) == before
    database.pass_time(86_401)
    assert prune.run(settings, dry_run=True).deleted == 2
    assert prune.run(settings).deleted == 2
    gone = {row.sha256 for row in database.rows("SELECT sha256 FROM media_assets")}
    assert not [key for key in keys(published_picture) for one in gone if one in key]
    assert prune.run(settings).deleted == 0


def test_what_is_used_again_meanwhile_is_kept_or_made_again(
    published_picture, scheduled, pipeline, settings, database, fake, pictures
):
    prune.run(settings)
    one = scheduled("again", media=[pictures["png"]])
    database.run(
        "UPDATE media_assets SET delete_after = clock_timestamp() - interval '1 hour' WHERE delete_after IS NOT NULL"
    )
    assert prune.run(settings).deleted == 0
    pipeline.until_quiet()
    assert database.post(one).status == "published"
    database.pass_time(40 * 86_400)
    prune.run(settings)
    database.pass_time(86_401)
    assert prune.run(settings).deleted == 2
    two = scheduled("and again", media=[pictures["png"]])
    pipeline.until_quiet()
    assert (database.post(two).status, len(fake.accepted[-1].media)) == ("published", 1)


def test_what_a_waiting_post_needs_is_never_pruned(scheduled, pipeline, settings, database, fake, pictures):
    scheduled("later", at=datetime.now(UTC) + timedelta(days=300), media=[pictures["png"]])
    pipeline.until_quiet()
    database.pass_time(200 * 86_400)
    assert prune.run(settings).marked == 0


def test_history_is_pruned_after_its_retention(scheduled, pipeline, settings, database, fake):
    scheduled()
    pipeline.until_quiet()
    assert prune.run(settings).transitions == 0
    database.pass_time(91 * 86_400)
    assert prune.run(settings).transitions == 3
    assert database.counts()["publish_attempts"] == 1


def test_a_store_that_is_away_keeps_the_rows(published_picture, settings, database, monkeypatch):
    prune.run(settings)
    database.pass_time(86_401)
    monkeypatch.setattr(Store, "delete", lambda *_: (_ for _ in ()).throw(StoreUnavailable("down")))
    assert prune.run(settings).deleted == 0
    assert database.one("SELECT count(*) FROM media_assets WHERE storage_key IS NOT NULL") == 1


def _reads_slowly(database, number, *, changes_hands=False):
    """A module that reads its file, which takes all of the lease but a second; what was left of it afterwards."""
    left = []

    def step(_call, draft):
        database.run(
            "UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() + interval '1 s',"
            " generation = generation + :more WHERE id = :id",
            id=number,
            more=int(changes_hands),
        )
        with draft.media[0].read() as stream:
            assert stream.read()
        left.append(database.post(number).lease_expires_at - datetime.now(UTC))
        return Ready()

    return step, left


@pytest.mark.parametrize(("every", "renewed"), [(0.0, True), (30.0, False)])
def test_a_file_that_comes_slowly_from_the_store_keeps_the_lease(
    scheduled, pipeline, fake, database, pictures, monkeypatch, every, renewed
):
    monkeypatch.setattr(posts_work, "READ_BEAT_S", every)
    fake.prepares = True
    number = scheduled(media=[pictures["png"]])
    step, left = _reads_slowly(database, number)
    fake.will("prepare", step)
    pipeline.until_quiet()
    assert (left[0] > timedelta(seconds=250)) is renewed
    assert database.post(number).status == "published"


def test_a_post_that_changed_hands_is_not_read_to_the_end(
    scheduled, pipeline, settings, fake, database, pictures, monkeypatch
):
    monkeypatch.setattr(posts_work, "READ_BEAT_S", 0.0)
    fake.prepares = True
    number = scheduled(media=[pictures["png"]])
    step, left = _reads_slowly(database, number, changes_hands=True)
    fake.will("prepare", step)
    pipeline.until_quiet()
    row = database.post(number)
    assert (left, fake.count("prepare"), row.status, row.error_code) == ([], 1, "preparing", None)
    database.pass_time(settings.prepare_lease_seconds + 1)
    pipeline.until_quiet()
    assert database.post(number).status == "published"
