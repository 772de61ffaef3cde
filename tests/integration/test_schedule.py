"""``schedule()``: all or nothing, once for each key, in the caller's transaction if wished."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakePlatform
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from db import migrate
from db.session import normalized
from scheduler import (
    InvalidPost,
    KeyReused,
    Media,
    NotConfigured,
    NotFound,
    Refused,
    Unavailable,
    edit,
    get,
    schedule,
)

SOON = "2031-05-04T18:00:00+02:00"


@pytest.fixture
def acme(fake, account):
    """The account fake:acme."""
    return account("fake:acme")


def test_too_small_a_picture_is_refused_with_file_rule_and_platform(acme, database, pictures):
    before = database.counts()
    with pytest.raises(InvalidPost) as refused:
        schedule("Hello", to="fake:acme", at=SOON, media=[pictures["small"]])
    [violation] = refused.value.violations
    assert (violation.platform, violation.file) == ("fake", "small.png")
    assert database.counts() == before


def test_one_bad_target_refuses_the_whole_post_and_all_violations_are_told(acme, account, database, register):
    account("x:acme")
    before = database.counts()
    with pytest.raises(InvalidPost) as refused:
        schedule("a" * 600, to=["fake:acme", "x:acme"], at=SOON, options={"fake": {"shape": 1}, "pinterest": {}})
    assert {(one.code, one.platform) for one in refused.value.violations} >= {
        ("unknown_option", "fake"),
        ("text_too_long", "x"),
        ("unknown_option", None),
    }
    assert database.counts() == before


def test_a_target_that_must_pull_is_refused_while_the_store_is_not_public(fake, acme, database, pictures):
    fake.pulls = True
    before = database.counts()
    with pytest.raises(InvalidPost, match="store_not_public"):
        schedule("Hello", to="fake:acme", at=SOON, media=[pictures["jpeg"]])
    assert database.counts() == before


def test_a_target_without_media_may_pull_what_it_likes(fake, acme):
    fake.pulls = True
    assert schedule("Hello", to="fake:acme", at=SOON).status == "scheduled"


def test_without_a_database_the_error_says_what_to_set(bare_environment):
    with pytest.raises(NotConfigured, match="DATABASE_URL"):
        schedule("Hello", to="x:acme", at=SOON)


def test_a_database_that_does_not_answer_is_told_within_seconds(environment):
    environment.change(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="schedulerx up"):
        schedule("Hello", to="x:acme", at=SOON)
    assert time.monotonic() - began < 5


def test_a_database_without_our_schema_is_told_with_the_command_that_mends_it(environment, database):
    database.run("ALTER TABLE alembic_version RENAME TO alembic_version_away")
    try:
        with pytest.raises(Unavailable, match="schedulerx migrate"):
            schedule("Hello", to="x:acme", at=SOON)
    finally:
        database.run("ALTER TABLE alembic_version_away RENAME TO alembic_version")


def test_an_object_store_that_is_away_refuses_and_schedules_nothing(environment, acme, database, pictures):
    environment.change(R2_ENDPOINT_URL="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="nothing was scheduled"):
        schedule("Hello", to="fake:acme", at=SOON, media=[pictures["jpeg"]])
    counts = database.counts()
    assert (counts["posts"], counts["scheduled_posts"], counts["idempotency_keys"]) == (0, 0, 0)


def test_without_a_key_no_credentials_are_stored(environment, fake, account, database):
    environment.change(secret_key=None)
    from scheduler import accounts
    from scheduler.api import database as transaction
    from scheduler.settings import current

    with pytest.raises(NotConfigured, match="SCHEDULERX_SECRET_KEY"), transaction() as conn:
        accounts.add(conn, current(), "fake", "acme", {"token": "s3cret"})
    assert database.counts()["accounts"] == 0


def test_credentials_of_the_wrong_shape_are_refused_without_repeating_them(fake, account):
    with pytest.raises(Refused) as refused:
        account("fake:acme", tokn="s3cret-value-1234")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(Refused, match="cannot be an account's name"):
        account("fake:no spaces", token="t")


# --- What is accepted ---------------------------------------------------------------------------------------


def test_an_accepted_post_says_all_there_is_to_say(fake, account, register, database):
    register(FakePlatform("other", prepares=True, lead_s=600.0))
    account("fake:acme")
    account("other:b")
    post = schedule(
        "Hello",
        to=["other:b", "fake:acme"],
        at="2031-05-04T18:00",
        tz="Europe/Berlin",
        options={"post": {"window_minutes": 30}, "fake": {"colour": "blue"}},
    )
    assert post.status == "scheduled"
    assert [one.account for one in post.scheduled] == ["other:b", "fake:acme"]
    due = datetime(2031, 5, 4, 16, tzinfo=UTC)
    for one in post.scheduled:
        assert (one.due_at, one.window_ends_at) == (due, due + timedelta(minutes=30))
    assert [database.post(one.id).available_at for one in post.scheduled] == [due - timedelta(minutes=10), due]
    assert get(post.id) == get(post.scheduled[1].id) == get(post) == post
    assert len({post.id, *(one.id for one in post.scheduled)}) == 3


def test_now_means_the_databases_clock(acme, database):
    post = schedule("Hello", to="fake:acme", at=" NOW ")
    assert abs(database.one("SELECT extract(epoch FROM clock_timestamp() - due_at) FROM scheduled_posts")) < 5
    assert post.scheduled[0].media_ready


def test_nothing_is_found_where_nothing_is(settings, fake):
    with pytest.raises(NotFound):
        get(77)


def test_no_broker_is_needed(environment, acme):
    environment.change(REDIS_URL=None)
    assert schedule("Hello", to="fake:acme", at=SOON).status == "scheduled"


def test_the_authors_file_may_go_away_afterwards(acme, pipeline, fake, pictures, tmp_path, database):
    mine = tmp_path / "mine.jpg"
    mine.write_bytes(pictures["jpeg"].read_bytes())
    number = schedule("Hello", to="fake:acme", at="now", media=[Media(mine, alt="noise")]).scheduled[0].id
    mine.unlink()
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    [item] = fake.visits[-1].media
    assert (item.alt, item.name, item.width, item.height) == ("noise", "mine.jpg", 640, 480)


# --- Idempotency --------------------------------------------------------------------------------------------


def test_the_same_key_and_arguments_are_the_same_post(acme, account, database, pictures):
    account("fake:b")
    arguments = {
        "to": ["fake:acme", "fake:b"],
        "at": "2031-05-04T18:00:00+02:00",
        "idempotency_key": "k",
        "media": [Media(pictures["jpeg"], alt="a")],
        "options": {"fake": {"colour": "blue"}},
    }
    first = schedule("Hello", **arguments)
    counts = database.counts()
    # Said in other words, the same: another order of accounts, another offset of the same instant.
    again = schedule("Hello", **{**arguments, "to": ["fake:b", "fake:acme"], "at": "2031-05-04T16:00Z"})
    assert again == first
    assert database.counts() == counts


@pytest.mark.parametrize(
    "change",
    [
        {"text": "Hello!"},
        {"to": ["fake:acme", "fake:b"]},
        {"at": "2031-05-04T18:00:01+02:00"},
        {"at": "now"},
        {"options": {"fake": {"colour": "blue"}}},
        {"media": ["jpeg"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_key_with_other_arguments_is_refused_and_changes_nothing(acme, account, database, pictures, change):
    account("fake:b")
    post = schedule("Hello", to="fake:acme", at=SOON, idempotency_key="k")
    counts = database.counts()
    arguments = {"text": "Hello", "to": "fake:acme", "at": SOON, **change}
    arguments["media"] = [pictures[one] for one in arguments.get("media", [])]
    with pytest.raises(KeyReused, match=str(post.id)):
        schedule(arguments.pop("text"), idempotency_key="k", **arguments)
    assert database.counts() == counts


def test_a_key_still_knows_its_post_when_the_time_is_past(acme, pipeline, database):
    at = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    first = schedule("Hello", to="fake:acme", at=at, idempotency_key="k")
    database.pass_time(120)
    pipeline.until_quiet()
    again = schedule("Hello", to="fake:acme", at=at, idempotency_key="k")
    assert (again.id, again.status) == (first.id, "published")


def test_eight_callers_with_one_key_make_one_post(acme, database, pictures):
    made: list[object] = []
    together = threading.Barrier(8)

    def caller() -> None:
        together.wait()
        try:
            made.append(schedule("Hello", to="fake:acme", at=SOON, idempotency_key="k", media=[pictures["png"]]).id)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            made.append(error)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1, made
    counts = database.counts()
    assert (counts["posts"], counts["scheduled_posts"], counts["media_assets"], counts["renditions"]) == (1, 1, 1, 1)


def test_a_refused_call_leaves_its_key_free(acme, database):
    with pytest.raises(InvalidPost):
        schedule("", to="fake:acme", at=SOON, idempotency_key="k")
    assert schedule("Hello", to="fake:acme", at=SOON, idempotency_key="k").status == "scheduled"


# --- session= -----------------------------------------------------------------------------------------------


@pytest.fixture
def notes(database):
    """A table of the caller's own."""
    database.run("CREATE TABLE notes (words text)")
    yield
    database.run("DROP TABLE notes")


def test_the_post_is_part_of_the_callers_transaction(acme, database, notes):
    with Session(database.engine) as session:
        session.execute(text("INSERT INTO notes VALUES ('mine')"))
        post = schedule("Hello", to="fake:acme", at=SOON, session=session, idempotency_key="k")
        assert get(post, session=session).id == post.id
        with pytest.raises(NotFound):
            get(post.id)
        session.commit()
    assert get(post.id).status == "scheduled"
    assert database.one("SELECT count(*) FROM notes") == 1


def test_a_rollback_of_the_caller_takes_the_post_with_it(acme, database, notes):
    before = database.counts()
    with Session(database.engine) as session:
        schedule("Hello", to="fake:acme", at=SOON, session=session, idempotency_key="k")
        session.rollback()
    assert database.counts() == before
    assert schedule("Other", to="fake:acme", at=SOON, idempotency_key="k").status == "scheduled"


@pytest.mark.parametrize(
    "given",
    [{"text": ""}, {"to": "fake:nobody"}, {"at": "2020-01-01T00:00Z"}, {"idempotency_key": "used"}],
    ids=lambda given: next(iter(given)),
)
def test_a_refusal_does_not_poison_the_callers_transaction(acme, database, notes, given):
    schedule("First", to="fake:acme", at=SOON, idempotency_key="used")
    arguments = {"text": "Hello", "to": "fake:acme", "at": SOON, **given}
    with Session(database.engine) as session:
        session.execute(text("INSERT INTO notes VALUES ('before')"))
        with pytest.raises(Refused):
            schedule(arguments.pop("text"), session=session, **arguments)
        session.execute(text("INSERT INTO notes VALUES ('after')"))
        session.commit()
    assert database.one("SELECT count(*) FROM notes") == 2
    assert database.counts()["posts"] == 1


def test_a_connection_of_the_caller_does_as_well(acme, database):
    with database.connect() as conn:
        post = schedule("Hello", to="fake:acme", at=SOON, session=conn)
        conn.rollback()
    with pytest.raises(NotFound):
        get(post.id)


def test_a_caller_that_commits_late_publishes_late_but_publishes(acme, database, pipeline, fake, pictures):
    with Session(database.engine) as session:
        number = schedule("Hello", to="fake:acme", at="now", session=session, media=[pictures["png"]]).scheduled[0].id
        pipeline.until_quiet()
        session.commit()
    pipeline.until_quiet()
    assert database.post(number).status == "published"


@pytest.fixture
def elsewhere(database_url, environment):
    """A Connection to another database with our schema and the account fake:acme."""
    name = "elsewhere"
    server = create_engine(normalized(database_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as conn:
        conn.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        conn.execute(text(f"CREATE DATABASE {name}"))
    url = database_url.rsplit("/", 1)[0] + "/" + name
    migrate.upgrade(url)
    with create_engine(normalized(url), poolclass=NullPool).connect() as conn:
        conn.execute(text("INSERT INTO accounts (platform, name, credentials) VALUES ('fake', 'acme', '')"))
        conn.commit()
        yield conn
    with server.connect() as conn:
        conn.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.mark.parametrize("there", [(None, None), ("sha-of-another", None), (None, "https://example.com/a.jpg")])
def test_a_session_on_another_database_gets_no_files_of_ours(acme, elsewhere, pictures, there):
    """Neither an error of the database's, nor the file that has the same number over there."""
    if any(there):
        query = text("INSERT INTO media_assets (sha256, source_url) VALUES (:sha256, :url)")
        elsewhere.execute(query, dict(zip(("sha256", "url"), there, strict=True)))
        elsewhere.commit()
    with pytest.raises(Refused, match="another database than DATABASE_URL"):
        schedule("Hello", to="fake:acme", at=SOON, media=[pictures["png"]], session=elsewhere)
    assert elsewhere.execute(text("SELECT count(*) FROM posts")).scalar_one() == 0
    number = schedule("Hello", to="fake:acme", at=SOON, session=elsewhere).scheduled[0].id
    with pytest.raises(Refused, match="another database than DATABASE_URL"):
        edit(number, media=[pictures["png"]], session=elsewhere)


def test_a_transaction_that_looks_at_an_earlier_moment_is_told_why_it_cannot_have_files(acme, database, pictures):
    engine = database.engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as conn:
        conn.execute(text("SELECT count(*) FROM posts"))
        with pytest.raises(Refused, match="repeatable read"):
            schedule("Hello", to="fake:acme", at=SOON, media=[pictures["png"]], session=conn)
        assert schedule("Hello", to="fake:acme", at=SOON, session=conn).status == "scheduled"


def test_a_key_whose_file_has_gone_says_that_the_file_is_missing(account, fake, pictures, tmp_path) -> None:
    import shutil

    account("fake:acme")
    file = tmp_path / "soup.jpg"
    shutil.copy(pictures["jpeg"], file)
    schedule("Hello", to="fake:acme", at="2031-01-01T10:00Z", media=[file], idempotency_key="k")
    file.unlink()
    with pytest.raises(InvalidPost, match="missing"):
        schedule("Hello", to="fake:acme", at="2031-01-01T10:00Z", media=[file], idempotency_key="k")
