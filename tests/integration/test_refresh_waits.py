"""A refused post waits for the refresh that is under way; tokens that the platform gave survive their worker.

Found by killing the followup worker in the middle of a refresh: each of the account's posts asked again every few
seconds, was refused each time, and had spent its tries long before the dead worker's lease was over.
"""

from __future__ import annotations

import pytest
from fakes import sent

from platforms.base import AuthExpired, NotSent, Ready, Refreshed
from workers import publish, tokens

REFUSED = AuthExpired("unauthorized", "401", 401)


class Kill(BaseException):
    """Stands for kill -9."""


def dies(*_args, **_kwargs):
    raise Kill


@pytest.fixture
def acme(fake, account):
    """An account whose token has ended: every call with it is refused until it is renewed."""

    def call(step):
        def answer(call, draft):
            if call.credentials["token"] == "t0":
                return sent(REFUSED)(call, draft) if step == "publish" else REFUSED
            return sent(fake.accept(call, draft))(call, draft) if step == "publish" else Ready()

        return answer

    fake.always("publish", call("publish"))
    fake.always("prepare", call("prepare"))
    return account("fake:acme", token="t0", refresh_token="r0")


def new_tokens(*_args):
    return Refreshed({"token": "t1", "refresh_token": "r1"}, None)


@pytest.mark.parametrize("prepares", [False, True])
def test_a_refresh_whose_worker_died_costs_time_and_no_tries(
    scheduled, pipeline, fake, acme, database, monkeypatch, prepares
):
    fake.prepares = prepares
    number = scheduled(options={"post": {"window_minutes": 600}})
    with monkeypatch.context() as dying:
        dying.setattr(fake, "refresh", dies)
        pipeline.claim()
        with pytest.raises(Kill):
            pipeline.run_hints()
    spent = database.post(number).attempts
    monkeypatch.setattr(fake, "refresh", new_tokens)
    # As long as the lease of the dead one holds.
    for _ in range(10):
        database.run("UPDATE scheduled_posts SET available_at = clock_timestamp() WHERE id = :id", id=number)
        pipeline.until_quiet()
    row = database.post(number)
    assert (row.status, row.error_code) == ("scheduled" if prepares else "retrying", "token_expired")
    assert row.attempts == spent
    [wait] = database.rows("""
        SELECT s.available_at >= a.refresh_lease_expires_at AS longer
          FROM scheduled_posts s JOIN accounts a ON a.id = s.account_id""")
    assert wait.longer
    assert pipeline.until(number, "published").attempts == spent + 1
    assert len(fake.accepted) == 1


@pytest.mark.parametrize("prepares", [False, True])
def test_a_followup_worker_that_is_away_costs_time_and_no_tries(
    scheduled, pipeline, fake, acme, database, monkeypatch, prepares
):
    """The hint to refresh is lost each time, so that nobody holds a lease either."""
    fake.prepares = prepares
    number = scheduled(options={"post": {"window_minutes": 600}})
    refused = 0
    for _ in range(3 * pipeline.settings.max_attempts):
        refused += pipeline.claim()
        [(_, args)] = pipeline.hints.waiting
        (publish.prepare if prepares else publish.deliver)(pipeline.settings, *args)
        assert pipeline.hints.names()[-1] == "followup.refresh"
        pipeline.hints.forget()
        row = database.post(number)
        assert (row.status, row.attempts) == ("scheduled" if prepares else "retrying", 1)
        database.pass_time(61)
    assert refused == 3 * pipeline.settings.max_attempts
    monkeypatch.setattr(fake, "refresh", new_tokens)
    pipeline.until(number, "published")
    assert len(fake.accepted) == 1


def test_a_post_that_waits_for_long_asks_less_and_less_often(scheduled, pipeline, fake, acme, database):
    number = scheduled(options={"post": {"window_minutes": 600}})
    waits = []
    for _ in range(8):
        pipeline.claim()
        [(_, args)] = pipeline.hints.waiting
        publish.deliver(pipeline.settings, *args)
        pipeline.hints.forget()
        wait = database.one("SELECT CAST(extract(epoch FROM available_at - clock_timestamp()) AS float)"
                            " FROM scheduled_posts WHERE id = :id", id=number)  # fmt: skip
        waits.append(round(wait))
        database.pass_time(wait + 0.1)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (3, 60)


def test_a_token_that_is_refused_although_it_was_renewed_ends_the_post(scheduled, pipeline, fake, account, database):
    """Otherwise it would go round for as long as its window lasts."""
    account("fake:acme", token="t0", refresh_token="r0")
    fake.always("publish", sent(REFUSED))
    row = pipeline.until(scheduled(options={"post": {"window_minutes": 600}}), "failed", "missed")
    assert (row.status, row.error_code) == ("failed", "attempts_spent")
    assert fake.count("refresh") <= pipeline.settings.max_attempts


def test_a_token_service_that_is_away_for_long_spends_no_tries(scheduled, pipeline, fake, acme, database, monkeypatch):
    number = scheduled(options={"post": {"window_minutes": 600}})
    away = [NotSent("server_error", "503", 503)] * 20
    monkeypatch.setattr(fake, "refresh", lambda _call: away.pop() if away else new_tokens())
    row = pipeline.until(number, "published", "failed", rounds=100)
    assert (row.status, len(away), len(fake.accepted)) == ("published", 0, 1)


def test_new_tokens_bring_the_waiting_posts_forward(scheduled, pipeline, settings, fake, acme, database, monkeypatch):
    number = scheduled(options={"post": {"window_minutes": 600}})
    monkeypatch.setattr(fake, "refresh", lambda _call: NotSent("server_error", "503", 503))
    pipeline.until_quiet()
    database.run("UPDATE scheduled_posts SET available_at = clock_timestamp() WHERE id = :id", id=number)
    pipeline.until_quiet()
    assert database.post(number).error_code == "token_expired"
    database.run("UPDATE accounts SET refresh_after = NULL")
    monkeypatch.setattr(fake, "refresh", new_tokens)
    assert tokens.refresh(settings, acme, database.one("SELECT token_version FROM accounts"))
    pipeline.until_quiet()
    assert (database.post(number).status, len(fake.accepted)) == ("published", 1)


# --- Tokens that only their worker had ----------------------------------------------------------------------


def killed_before_they_were_stored(settings, fake, acme, monkeypatch):
    with monkeypatch.context() as dying:
        dying.setattr(fake, "refresh", new_tokens)
        dying.setattr(tokens, "repeat_safe", dies)
        with pytest.raises(Kill):
            tokens.refresh(settings, acme, 1)


def spooled(settings):
    return sorted(settings.spool().glob("tokens-*"))


def test_tokens_whose_worker_was_killed_are_stored_by_the_next(settings, fake, acme, database, monkeypatch):
    killed_before_they_were_stored(settings, fake, acme, monkeypatch)
    [file] = spooled(settings)
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"r1" not in file.read_bytes()
    assert b"t1" not in file.read_bytes()
    assert tokens.replay(settings) == 1
    assert (spooled(settings), database.one("SELECT token_version FROM accounts")) == ([], 2)
    assert database.one("SELECT refresh_lease_expires_at FROM accounts") is None
    assert tokens.replay(settings) == 0


def test_a_used_token_is_not_used_again_where_the_new_one_is_known(settings, fake, acme, database, monkeypatch):
    killed_before_they_were_stored(settings, fake, acme, monkeypatch)
    database.pass_time(tokens.REFRESH_LEASE_S + 1)
    monkeypatch.setattr(fake, "refresh", dies)  # the platform is not asked
    assert tokens.refresh(settings, acme, 1)
    assert (spooled(settings), database.one("SELECT token_version FROM accounts")) == ([], 2)


def test_tokens_that_come_late_mend_an_account_that_was_given_up(settings, fake, acme, database, monkeypatch):
    """Another machine used the old refresh token meanwhile, and was refused."""
    killed_before_they_were_stored(settings, fake, acme, monkeypatch)
    database.run("UPDATE accounts SET state = 'needs_reconnect', state_reason = 'refused'")
    assert tokens.replay(settings) == 1
    assert database.one("SELECT state FROM accounts") == "active"


def test_tokens_of_an_account_that_was_connected_anew_are_dropped(settings, fake, acme, database, monkeypatch):
    killed_before_they_were_stored(settings, fake, acme, monkeypatch)
    database.run("UPDATE accounts SET token_version = 7")
    assert tokens.replay(settings) == 0
    assert (spooled(settings), database.one("SELECT token_version FROM accounts")) == ([], 7)


def test_a_file_that_makes_no_sense_is_put_aside(settings, acme):
    bad = settings.spool() / "tokens-1-5.json"
    bad.write_text("{")
    assert tokens.replay(settings) == 0
    assert (bad.exists(), bad.with_suffix(".bad").exists()) == (False, True)


def test_a_disk_that_takes_nothing_keeps_no_account_from_being_renewed(settings, fake, acme, database, monkeypatch):
    settings.spool().rmdir()
    (settings.home / "spool").write_text("no folder can be made here")
    monkeypatch.setattr(fake, "refresh", new_tokens)
    assert tokens.replay(settings) == 0
    assert tokens.refresh(settings, acme, 1)
    assert database.one("SELECT token_version FROM accounts") == 2
