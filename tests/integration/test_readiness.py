"""Posts are looked at ahead of their time: what is wrong is found, told once, and forgotten when it is mended."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakePlatform, lost

from db.session import transaction
from media.storage import Store
from platforms.base import AuthExpired, Identity, NotSent, Quota, RateLimited, Rejected, Violation
from scheduler import accounts, alerts, edit, get, health, prune, readiness, reschedule, webhooks
from workers import readiness as looking
from workers.readiness import look_ahead
from workers.readiness_media import YOUNG_S

HOUR = 3600.0


def ahead(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


class Asked(FakePlatform):
    """A platform that also says ahead of time what it thinks of posts."""

    identify_is_paid = False
    ends_at: datetime | None = None
    wrong: tuple[Violation, ...] = ()

    def ready_check(self, call, waiting):
        told, outcome = self._visit("ready_check", call, None)
        return outcome if told else [[*self.wrong] for _ in waiting]

    def access_ends_at(self, credentials):
        return self.ends_at


@pytest.fixture
def fake(register):
    """Takes the place of the plain fake, for ``scheduled`` as well."""
    return register(Asked())


@pytest.fixture
def hints(hints, monkeypatch):
    monkeypatch.setattr(looking, "send", hints)
    return hints


def problems(database, number):
    rows = database.rows("SELECT problems FROM readiness WHERE scheduled_post_id = :id", id=number)
    return [one["code"] for one in rows[0].problems] if rows else None


def let_pass(database, seconds):
    database.pass_time(seconds)


@pytest.fixture
def listener(settings):
    """A webhook for everything; what it would be told."""
    with transaction(settings.database()) as conn:
        webhooks.add(conn, settings, "https://hook.example/x", origin="https://hook.example", events=[], by="test")


def told(database, event="post.not_ready"):
    return [row.data for row in database.rows("SELECT data FROM webhook_deliveries WHERE event = :e", e=event)]


def test_a_post_is_looked_at_a_day_and_an_hour_before_and_not_between(scheduled, settings, database, fake, hints):
    number = scheduled(at=ahead(30))
    assert look_ahead(settings) == {"ready": 0, "not_ready": 0, "put_off": 0}
    assert problems(database, number) is None
    let_pass(database, 6.5 * HOUR)
    assert look_ahead(settings)["ready"] == 1
    assert [look_ahead(settings)["ready"] for _ in range(3)] == [0, 0, 0]
    let_pass(database, 12 * HOUR)
    assert look_ahead(settings)["ready"] == 0
    let_pass(database, 11 * HOUR)
    assert look_ahead(settings)["ready"] == 1
    assert look_ahead(settings)["ready"] == 0
    assert (fake.count("identify"), fake.count("ready_check")) == (2, 2)
    row = database.post(number)
    assert (row.status, row.generation, row.attempts) == ("scheduled", 1, 0)


def test_one_that_is_scheduled_late_is_looked_at_at_once_but_not_minutes_before(scheduled, settings, database, fake):
    late, too_late = scheduled("late", at=ahead(0.5)), scheduled("too late", at=ahead(0.05))
    assert look_ahead(settings)["ready"] == 1
    assert (problems(database, late), problems(database, too_late)) == ([], None)


def test_another_time_or_another_text_is_looked_at_anew(scheduled, settings, database, fake):
    number = scheduled(at=ahead(0.5))
    look_ahead(settings)
    assert reschedule(number, ahead(0.75)).done
    assert look_ahead(settings)["ready"] == 1
    assert edit(number, text="Another").done
    assert look_ahead(settings)["ready"] == 1
    assert look_ahead(settings)["ready"] == 0


def test_the_settings_say_when_and_nothing_turns_it_off(scheduled, environment, database, fake):
    scheduled(at=ahead(40))
    assert look_ahead(environment.change(readiness_hours=""))["ready"] == 0
    assert look_ahead(environment.change(readiness_hours="48"))["ready"] == 1


def test_the_posts_of_an_account_cost_one_question(scheduled, settings, database, fake, hints):
    for n in range(20):
        scheduled(f"post {n}", at=ahead(2 + n / 10))
    other = scheduled("other", to="fake:other", at=ahead(3))
    assert look_ahead(settings)["ready"] == 21
    assert (fake.count("identify"), fake.count("ready_check")) == (2, 2)
    assert problems(database, other) == []


def test_what_is_wrong_is_stored_shown_told_once_and_over_when_it_is_mended(
    scheduled, settings, database, fake, hints, listener, capsys
):
    number = scheduled(at=ahead(20))
    bad = Violation("board_gone", "The account has no board Recipes.", "options.board", platform="fake")
    fake.wrong = (bad,)
    assert look_ahead(settings)["not_ready"] == 1
    [shown] = get(number).as_json()["scheduled"]
    assert shown["not_ready"] == [
        {"code": "board_gone", "message": bad.message, "field": "options.board", "file": None}
    ]
    assert shown["status"] == "scheduled"
    [data] = told(database)
    assert (data["scheduled_post_id"], data["account"], data["problems"][0]["code"]) == (
        number,
        "fake:acme",
        "board_gone",
    )
    assert [one.state for one in health.examine(settings) if one.name == "readiness"] == [health.State.DEGRADED]

    # Each tick looks, and nothing is told again.
    for _ in range(4):
        with transaction(settings.database()) as conn:
            alerts.watch(conn, settings)
        let_pass(database, settings.readiness_again_minutes * 60 + 1)
        assert look_ahead(settings)["not_ready"] == 1
    assert len(told(database)) == 1
    assert [one["rule"] for one in told(database, "alert.opened")] == ["post_not_ready"]
    [alert] = database.rows("SELECT * FROM alerts")
    assert (alert.subject, alert.severity, alert.mark) == ("fake:acme board_gone", "warning", 1)
    assert "Recipes" in alert.message

    fake.wrong = ()
    let_pass(database, settings.readiness_again_minutes * 60 + 1)
    assert look_ahead(settings)["ready"] == 1
    assert get(number).as_json()["scheduled"][0]["not_ready"] == []
    with transaction(settings.database()) as conn:
        alerts.watch(conn, settings)
    let_pass(database, settings.alert_recovery_seconds + 1)
    with transaction(settings.database()) as conn:
        alerts.watch(conn, settings)
    assert len(told(database, "alert.closed")) == 1
    assert [one.state for one in health.examine(settings) if one.name == "readiness"] == [health.State.OK]


def test_what_is_wrong_keeps_no_post_from_going_out(scheduled, pipeline, settings, database, fake):
    number = scheduled(at=ahead(0.5))
    fake.always("identify", Rejected("suspended", "The app is suspended."))
    look_ahead(settings)
    assert problems(database, number) == ["suspended"]
    let_pass(database, 0.5 * HOUR + 1)
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert get(number).scheduled[0].not_ready == ()


def test_the_alert_gets_worse_once_as_the_time_comes(scheduled, settings, database, fake):
    number = scheduled(at=ahead(2))
    fake.always("identify", Rejected("suspended", "The app is suspended."))
    look_ahead(settings)
    seen = []
    for _ in range(2):
        with transaction(settings.database()) as conn:
            alerts.watch(conn, settings)
        seen += [(row.severity, row.mark) for row in database.rows("SELECT * FROM alerts WHERE closed_at IS NULL")]
        let_pass(database, 1.5 * HOUR)
        look_ahead(settings)
    assert seen == [("warning", 1), ("critical", 2)]
    assert problems(database, number) == ["suspended"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (AuthExpired("revoked", "It was revoked.", permanent=True), "access_refused"),
        (Identity("1", "acme", scopes=("read",), missing_scopes=("write",)), "missing_scopes"),
        (Rejected("suspended", "The app is suspended."), "suspended"),
    ],
)
def test_what_identify_says_is_reported_at_once(scheduled, settings, database, fake, hints, answer, code):
    number = scheduled(at=ahead(20))
    fake.will("identify", answer)
    look_ahead(settings)
    assert problems(database, number) == [code]
    assert database.one("SELECT state FROM accounts") == "active"
    assert "followup.refresh" not in hints.names()


def test_a_refused_token_is_renewed_before_anything_is_said(scheduled, pipeline, settings, database, fake, hints):
    number = scheduled(at=ahead(20))
    fake.will("identify", AuthExpired("expired", "It ran out."))
    assert look_ahead(settings)["put_off"] == 1
    assert [one for one in hints.sent if one[0] == "followup.refresh"] == [
        ("followup.refresh", (database.post(number).account_id, 1, False), None)
    ]
    pipeline.run_hints()
    let_pass(database, readiness.LATER_S + 1)
    assert look_ahead(settings)["ready"] == 1
    assert [visit.credentials["token"] for visit in fake.visits if visit.step == "identify"] == ["t0", "t0+"]


@pytest.mark.parametrize("trouble", [NotSent("server", "HTTP 503"), lost(was_sent=True), ZeroDivisionError()])
def test_a_platform_that_stumbles_is_asked_again_before_anything_is_said(
    scheduled, settings, database, fake, hints, trouble
):
    number = scheduled(at=ahead(20))
    fake.will("identify", trouble)
    assert look_ahead(settings)["put_off"] == 1
    assert look_ahead(settings)["put_off"] == 0
    let_pass(database, readiness.LATER_S + 1)
    assert look_ahead(settings)["ready"] == 1
    other = scheduled("other", at=ahead(19))
    fake.always("identify", trouble)
    for _ in range(readiness.TRIES):
        look_ahead(settings)
        let_pass(database, readiness.LATER_S + 1)
    assert (problems(database, other), problems(database, number)) == (["not_checked"], [])


def test_a_platform_that_is_down_does_not_hold_up_the_others(
    scheduled, settings, register, account, database, fake, hints
):
    fake.always("identify", lost(was_sent=False))
    for n in range(5):
        scheduled(f"post {n}", to=f"fake:account{n}", at=ahead(2))
    register(Asked(name="other"))
    number = scheduled("well", to="other:acme", at=ahead(3))
    assert look_ahead(settings) == {"ready": 1, "not_ready": 0, "put_off": 5}
    assert fake.count("identify") == 2
    assert problems(database, number) == []


def test_a_limit_counts_only_for_posts_that_are_due_before_it_ends(scheduled, settings, database, fake, hints):
    soon, later = scheduled("soon", at=ahead(2)), scheduled("later", at=ahead(20))
    fake.will("ready_check", RateLimited(ahead(5), "The day's cap is reached."))
    look_ahead(settings)
    assert (problems(database, soon), problems(database, later)) == (["rate_limited"], [])


def test_access_that_ends_before_the_post_is_due(scheduled, settings, database, fake, hints):
    before, after = scheduled("before", at=ahead(2)), scheduled("after", at=ahead(20))
    fake.ends_at = ahead(10)
    look_ahead(settings)
    assert (problems(database, before), problems(database, after)) == ([], ["access_ends"])


def test_a_module_without_extras_is_judged_by_its_tokens(register, scheduled, account, settings, database, hints):
    register(FakePlatform(name="plain"))
    ends = ahead(10).isoformat()
    account("plain:one", token="t0", expires_at=ends)
    account("plain:two", token="t0", expires_at=ends, refresh_token="r0")
    from scheduler import schedule

    numbers = [schedule("Hello", to=f"plain:{name}", at=ahead(20)).scheduled[0].id for name in ("one", "two")]
    look_ahead(settings)
    assert [problems(database, number) for number in numbers] == [["access_ends"], []]


def test_an_account_to_be_reconnected_is_not_asked_and_not_told_twice(scheduled, settings, database, fake, hints):
    number = scheduled(at=ahead(20))
    database.run("UPDATE accounts SET state = 'needs_reconnect', state_reason = 'revoked'")
    look_ahead(settings)
    assert (problems(database, number), fake.count("identify")) == (["reconnect"], 0)
    with transaction(settings.database()) as conn:
        alerts.watch(conn, settings)
    assert [row.rule for row in database.rows("SELECT rule FROM alerts")] == ["account_reconnect"]


def test_a_platform_that_charges_for_reads_is_asked_only_where_nothing_is_known(
    scheduled, pipeline, settings, database, fake, hints
):
    fake.identify_is_paid = True
    scheduled("first", at=ahead(20))
    assert look_ahead(settings)["ready"] == 1
    assert fake.count("identify") == 1
    scheduled("second", at=ahead(19))
    assert look_ahead(settings)["ready"] == 1
    assert fake.count("identify") == 1
    # A post that went out within the day shows as much as a question would.
    let_pass(database, 25 * HOUR)
    scheduled("now")
    pipeline.until_quiet()
    scheduled("third", at=ahead(10))
    look_ahead(settings)
    assert fake.count("identify") == 1
    let_pass(database, 9.5 * HOUR)
    database.run(
        "UPDATE publish_attempts SET started_at = started_at - interval '2 days',"
        " finished_at = finished_at - interval '2 days'"
    )
    look_ahead(settings)
    assert fake.count("identify") == 2


def test_what_the_account_says_of_itself_is_held_against_the_draft(
    scheduled, settings, database, fake, hints, monkeypatch
):
    number = scheduled(at=ahead(20))
    fake.will("identify", Identity("1", "acme", facts={"limit": 3}))
    real = fake.validate

    def validate(draft):
        if len(draft.text) > draft.account.facts.get("limit", 500):
            return [Violation("text_too_long", "The instance allows 3 characters.")]
        return real(draft)

    monkeypatch.setattr(fake, "validate", validate)
    look_ahead(settings)
    assert problems(database, number) == ["text_too_long"]
    # Readiness keeps nothing of it: publishing judges by what was known to it.
    assert database.one("SELECT facts FROM accounts") == {}


def test_a_quota_that_will_be_full_when_the_time_comes(scheduled, pipeline, settings, database, fake, hints):
    fake.quotas = (Quota("posts-24h", 3, 86_400, source="invented"), Quota("posts-1min", 1, 60, source="invented"))
    scheduled("sent", at="now")
    pipeline.until_quiet()
    numbers = [scheduled(f"post {n}", at=ahead(2 + n)) for n in range(4)]
    look_ahead(settings)
    assert [problems(database, number) for number in numbers] == [[], [], ["quota_full"], ["quota_full"]]
    # One that is due after the first has left the span finds a place.
    database.run("UPDATE publish_attempts SET started_at = started_at - interval '20 hours 30 minutes'")
    let_pass(database, settings.readiness_again_minutes * 60 + 1)
    look_ahead(settings)
    assert [problems(database, number) for number in numbers] == [[], [], [], ["quota_full"]]


class TwoCalls(Asked):
    """Posts in one colour go by a call of their own, and each may have a comment, by a third."""

    def publishing_call(self, draft):
        usual = super().publishing_call(draft)
        name = "comment" if draft.options.get("sequel") else draft.options["colour"]
        return replace(usual, name=name)

    def sequels(self, draft):
        if draft.options["colour"] != "green":
            return ()
        return (replace(draft, text="a comment", options={**draft.options, "sequel": True}),)


def test_a_quota_of_one_call_counts_that_call_alone(register, account, scheduled, settings, database, hints):
    """What posts by another call, and the comment that follows a post, take no place of it."""
    fake = register(TwoCalls())
    fake.quotas = (Quota("reds", 2, 86_400, source="invented", call="red"),)
    blue = [scheduled(f"blue {n}", at=ahead(2 + n / 10), options={"fake": {"colour": "blue"}}) for n in range(5)]
    red = [scheduled(f"red {n}", at=ahead(3 + n / 10), options={"fake": {"colour": "red"}}) for n in range(3)]
    look_ahead(settings)
    assert [problems(database, number) for number in blue] == [[]] * 5
    assert [problems(database, number) for number in red] == [[], [], ["quota_full"]]
    fake.quotas = (Quota("greens", 3, 86_400, source="invented", call="green"),)
    green = [scheduled(f"green {n}", at=ahead(4 + n / 10), options={"fake": {"colour": "green"}}) for n in range(4)]
    look_ahead(settings)
    assert [problems(database, number) for number in green] == [[], [], [], ["quota_full"]]


def test_what_an_app_has_sent_by_another_call_takes_no_place(register, account, scheduled, settings, database, hints):
    fake = register(TwoCalls())
    fake.quotas = (Quota("reds", 1, 86_400, "app", source="invented", call="red"),)
    first = scheduled("one", at=ahead(2), options={"fake": {"colour": "blue"}})
    other = scheduled("two", to="fake:other", at=ahead(2.5), options={"fake": {"colour": "red"}})
    third = scheduled("three", to="fake:other", at=ahead(2.6), options={"fake": {"colour": "red"}})
    database.run("UPDATE accounts SET app = 'fake:same'")
    look_ahead(settings)
    assert [problems(database, number) for number in (first, other, third)] == [[], [], ["quota_full"]]


def test_paused_deleted_and_ended_posts_are_left_alone(scheduled, settings, database, fake, hints):
    from scheduler import cancel

    paused, canceled = scheduled("paused", at=ahead(2)), scheduled("canceled", to="fake:other", at=ahead(2))
    with transaction(settings.database()) as conn:
        accounts.pause(conn, "fake:acme", by="test")
    assert cancel(canceled).done
    assert look_ahead(settings) == {"ready": 0, "not_ready": 0, "put_off": 0}
    with transaction(settings.database()) as conn:
        accounts.resume(conn, "fake:acme", by="test")
    assert look_ahead(settings)["ready"] == 1
    assert problems(database, paused) == []


def test_credentials_that_cannot_be_read_are_reported(scheduled, environment, settings, database, fake, hints):
    from db.crypto import new_key

    number = scheduled(at=ahead(20))
    look_ahead(environment.change(secret_key=new_key()))
    assert problems(database, number) == ["credentials_unreadable"]


# --- Two workers, and dead ones ---------------------------------------------------------------------------------


def test_two_workers_look_at_each_post_once(scheduled, settings, database, fake, hints):
    for n in range(30):
        scheduled(f"post {n}", to=f"fake:account{n % 10}", at=ahead(2))
    done: list[dict[str, int]] = []
    start = threading.Barrier(4)

    def worker() -> None:
        start.wait()
        done.append(look_ahead(settings))

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.append(look_ahead(settings))
    assert sum(one["ready"] for one in done) == 30
    assert fake.count("identify") == 10


def test_a_worker_that_dies_while_it_looks_costs_a_lease(scheduled, settings, database, fake, hints):
    number = scheduled(at=ahead(20))

    class Kill(BaseException):
        pass

    fake.will("identify", Kill())
    with pytest.raises(Kill):
        look_ahead(settings)
    assert look_ahead(settings)["ready"] == 0
    let_pass(database, readiness.LEASE_S + 1)
    assert look_ahead(settings)["ready"] == 1
    assert problems(database, number) == []


def test_a_look_that_comes_too_late_writes_nothing(scheduled, settings, database, fake, hints):
    number = scheduled(at=ahead(20))

    def slow(call, _draft):
        let_pass(database, readiness.LEASE_S + 1)
        fake.standing.clear()
        assert look_ahead(settings)["ready"] == 1
        return Rejected("old", "What was true before.")

    fake.always("identify", slow)
    assert look_ahead(settings)["not_ready"] == 0
    assert problems(database, number) == []


def test_a_post_that_changes_while_it_is_looked_at_is_looked_at_again(scheduled, settings, database, fake, hints):
    number = scheduled(at=ahead(20))

    def meanwhile(call, _draft):
        assert edit(number, text="Another").done
        return Rejected("suspended", "The app is suspended.")

    fake.will("identify", meanwhile)
    look_ahead(settings)
    assert get(number).scheduled[0].not_ready == ()
    let_pass(database, settings.readiness_again_minutes * 60 + 1)
    assert look_ahead(settings)["ready"] == 1


def test_old_rows_are_pruned(scheduled, settings, database, fake, hints):
    scheduled(at=ahead(2))
    look_ahead(settings)
    prune.run(settings)
    assert database.one("SELECT count(*) FROM readiness") == 1
    let_pass(database, (settings.transitions_retention_days + 1) * 86_400)
    prune.run(settings)
    assert database.one("SELECT count(*) FROM readiness") == 0


# --- Media ------------------------------------------------------------------------------------------------------


def test_media_that_are_gone_from_the_store(scheduled, pipeline, settings, database, fake, hints, pictures):
    number = scheduled(at=ahead(20), media=[pictures["png"]])
    pipeline.until_quiet()
    look_ahead(settings)
    assert problems(database, number) == []
    Store(settings.store()).delete(database.one("SELECT storage_key FROM renditions"))
    let_pass(database, 19.5 * HOUR)
    look_ahead(settings)
    assert problems(database, number) == ["media_lost"]


def test_media_on_their_way_are_no_trouble_until_the_last_look(
    scheduled, pipeline, settings, database, fake, hints, pictures
):
    number = scheduled(at=ahead(20), media=[pictures["png"]])
    look_ahead(settings)
    assert problems(database, number) == []
    let_pass(database, 19.5 * HOUR)
    database.run("UPDATE renditions SET touched_at = clock_timestamp()")
    assert look_ahead(settings)["put_off"] == 1
    let_pass(database, YOUNG_S + 1)
    look_ahead(settings)
    assert problems(database, number) == ["media_not_ready"]
    database.run("UPDATE renditions SET error_code = 'store_unavailable', error_message = 'no answer'")
    other = scheduled("other", at=ahead(20), media=[pictures["png"]])
    look_ahead(settings)
    assert problems(database, other) == ["media_not_ready"]
    assert "no answer" in json.dumps(get(other).as_json())


@pytest.fixture
def pulling(fake, environment, monkeypatch):
    """The platform fetches from our store; here both are on this machine."""
    fake.pulls = True
    return environment.change(SCHEDULERX_FAKE_API_URL="http://127.0.0.1:9")


def test_what_a_platform_fetches_is_fetched_as_a_stranger_before_each_time(
    fake, pulling, scheduled, pipeline, database, hints, pictures, environment
):
    pipeline.settings = pulling
    numbers = [scheduled(f"post {n}", at=ahead(20), media=[pictures["png"]]) for n in range(3)]
    pipeline.until_quiet()
    assert all(database.post(number).media_ready for number in numbers)
    look_ahead(pulling)
    assert [problems(database, number) for number in numbers] == [[], [], []]
    # Long after it was made public: somebody has put something else in its place.
    key = database.one("SELECT storage_key FROM renditions")
    store = Store(pulling.store())
    other = b"\x89PNG\r\n\x1a\n" + bytes(90)
    store._client.put_object(Bucket=store.config.bucket, Key=key, Body=other, ContentType="image/png")
    let_pass(database, 19.5 * HOUR)
    look_ahead(pulling)
    assert [problems(database, number) for number in numbers] == [["media_not_public"]] * 3
    assert "wrong_length" in get(numbers[0]).scheduled[0].not_ready[0]["message"]
    store.delete(key)


def test_each_file_is_fetched_once_in_a_pass(
    fake, pulling, scheduled, pipeline, database, hints, pictures, monkeypatch
):
    from workers import outside

    pipeline.settings = pulling
    for n in range(3):
        scheduled(f"post {n}", at=ahead(20), media=[pictures["png"]])
    pipeline.until_quiet()
    asked = []
    monkeypatch.setattr(outside, "check_public", lambda url, **_: asked.append(url))
    look_ahead(pulling)
    assert len(asked) == 1


def test_a_store_that_no_platform_reaches_any_more(
    fake, pulling, scheduled, pipeline, database, hints, pictures, environment
):
    pipeline.settings = pulling
    number = scheduled(at=ahead(20), media=[pictures["png"]])
    pipeline.until_quiet()
    look_ahead(environment.change(SCHEDULERX_FAKE_API_URL=None))
    assert problems(database, number) == ["store_not_public"]


# --- Real modules against the sandbox -----------------------------------------------------------------------


def test_real_modules_are_asked_over_http(account, environment, database, hints, pictures, monkeypatch):
    """Pinterest says that the board is not there; X is asked once, since that costs money."""
    from platforms import registry
    from platforms.sandbox import Sandbox
    from scheduler import schedule

    asked = []
    x = registry.get("x")
    real = x.identify

    def identify(call):
        asked.append("x")
        return real(call)

    monkeypatch.setattr(x, "identify", identify)
    with Sandbox(seed=7) as box:
        settings = environment.change(SCHEDULERX_X_API_URL=box.url, SCHEDULERX_PINTEREST_API_URL=box.url)
        account("x:acme")
        account("pinterest:acme")
        on_x = schedule("Soup", to="x:acme", at=ahead(20)).scheduled[0].id
        # Its boards were not read when it was scheduled, so any id was as good as another.
        on_pinterest = (
            schedule(
                "Soup",
                to="pinterest:acme",
                at=ahead(20),
                media=[pictures["jpeg"]],
                options={"pinterest": {"board": "123456789012"}},
            )
            .scheduled[0]
            .id
        )
        look_ahead(settings)
        assert (problems(database, on_x), problems(database, on_pinterest)) == ([], ["unknown_board"])
        schedule("More soup", to="x:acme", at=ahead(19))
        assert look_ahead(settings)["ready"] == 1
    assert asked.count("x") == 1
