"""Alerts: opened once, told together, told when over, through a real channel of apprise on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fakes import FakePlatform, sent
from typer.testing import CliRunner

from db.session import transaction
from platforms.base import AuthExpired, Quota, Rejected, Unknown
from scheduler import alert_channel, alerts, dead_letters
from workers import notify


@dataclass
class Channel:
    """A receiver of apprise's json:// service."""

    url: str = ""
    status: int = 200
    got: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def channel() -> Iterator[Channel]:
    """On this machine."""
    kept = Channel()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    kept.url = f"json://127.0.0.1:{server.server_port}/alerts-secret-path-77"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(environment: Any) -> Any:
    """One channel, and no waiting between messages."""
    return environment.change(alert_urls="json://127.0.0.1:9/secret", alert_every_seconds=0, alert_recovery_seconds=0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Takes the channel's place: (title, body) of what was sent."""
    kept: list[tuple[str, str]] = []

    def take(_url: str, title: str, body: str) -> str:
        kept.append((title, body))
        return ""

    monkeypatch.setattr(alert_channel, "send", take)
    return kept


def look(settings: Any) -> dict[str, int]:
    """One minute of the watch, and what it sends."""
    with transaction(settings.database()) as conn:
        done = alerts.watch(conn, settings)
    alerts.send_all(settings, by="test")
    return done


def rules(database: Any) -> list[str]:
    return [row.rule for row in database.rows("SELECT rule FROM alerts WHERE closed_at IS NULL ORDER BY rule")]


def fail(fake: FakePlatform, scheduled: Any, pipeline: Any, words: str, code: str = "duplicate") -> int:
    fake.will("publish", sent(Rejected(code, "said before", 403)))
    number = int(scheduled(words))
    pipeline.until_quiet()
    return number


# --- The whole way ------------------------------------------------------------------------------------------


def test_an_alert_reaches_a_real_channel_and_so_does_its_end(
    environment: Any, channel: Channel, scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    settings = environment.change(alert_urls=channel.url, alert_every_seconds=0, alert_recovery_seconds=0)
    number = fail(fake, scheduled, pipeline, "one")
    notify.watch_task()
    [message] = channel.got
    assert message["title"] == "SchedulerX: 1 needs you"
    assert "fake:acme: 1 post is failed (duplicate" in message["message"]
    with transaction(settings.database()) as conn:
        dead_letters.discard(conn, number, by="person:test")
    look(settings)
    assert channel.got[-1]["title"] == "SchedulerX: 1 is well again"
    states = database.rows("SELECT channel, state, error FROM alert_messages ORDER BY id")
    assert [(row.channel, row.state, row.error) for row in states] == [("1 json", "sent", None)] * 2


def test_a_channel_that_is_down_is_tried_again_and_touches_nothing_else(
    environment: Any, channel: Channel, scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    channel.status = 500
    settings = environment.change(alert_urls=f"nonsense {channel.url}", alert_every_seconds=0)
    fail(fake, scheduled, pipeline, "one")
    look(settings)
    rows = database.rows(
        "SELECT channel, state, attempts, error, available_at > clock_timestamp() AS later"
        " FROM alert_messages ORDER BY id"
    )
    assert [(row.channel, row.state, row.attempts, row.later) for row in rows] == [
        ("1 ?", "waiting", 1, True),
        ("2 json", "waiting", 1, True),
    ]
    assert "secret" not in "".join(row.error for row in rows)
    good = scheduled("two")
    pipeline.until_quiet()
    assert database.post(good).status == "published"
    channel.status = 200
    database.run("UPDATE alert_messages SET available_at = clock_timestamp() - interval '1 second'")
    assert alerts.send_all(settings, by="test") == 1


def test_the_command_tests_and_lists_without_saying_the_url(environment: Any, channel: Channel) -> None:
    from scheduler.cli.main import app

    environment.change(alert_urls=channel.url)
    done = CliRunner().invoke(app, ["alerts", "test"], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, "1 json: taken\n")
    assert channel.got[0]["message"] == "Alerts arrive here."
    channel.status = 500
    assert CliRunner().invoke(app, ["alerts", "test", "--json"], catch_exceptions=False).exit_code == 1
    found = json.loads(CliRunner().invoke(app, ["alerts", "list", "--json"], catch_exceptions=False).stdout)
    assert found == {"channels": ["1 json"], "alerts": []}
    environment.change(alert_urls=None)
    assert CliRunner().invoke(app, ["alerts", "test"], catch_exceptions=False).exit_code == 2


# --- Told once, together, again, and over -------------------------------------------------------------------


def test_the_same_matter_is_told_once_and_again_only_when_it_gets_worse(
    settings: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform
) -> None:
    fail(fake, scheduled, pipeline, "one")
    look(settings)
    look(settings)
    assert len(told) == 1
    fail(fake, scheduled, pipeline, "two")
    look(settings)
    look(settings)
    assert len(told) == 2
    assert "2 posts are failed" in told[1][1]


def test_what_happens_within_the_pause_is_told_in_one_message(
    environment: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    settings = environment.change(alert_urls="json://127.0.0.1:9", alert_every_seconds=300)
    fail(fake, scheduled, pipeline, "one")
    look(settings)
    fail(fake, scheduled, pipeline, "two", "too_long")
    fail(fake, scheduled, pipeline, "three", "forbidden")
    look(settings)
    assert len(told) == 1
    database.run("UPDATE alert_messages SET created_at = created_at - interval '301 seconds'")
    look(settings)
    assert len(told) == 2
    assert told[1][0] == "SchedulerX: 2 need you"


def test_flapping_is_not_told_and_reminders_come_each_day(
    environment: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    settings = environment.change(alert_urls="json://127.0.0.1:9", alert_every_seconds=0, alert_recovery_seconds=120)
    number = fail(fake, scheduled, pipeline, "one")
    look(settings)
    database.run("UPDATE dead_letters SET resolved_at = clock_timestamp(), resolution = 'x'")
    look(settings)
    database.run("UPDATE dead_letters SET resolved_at = NULL, resolution = NULL")
    look(settings)
    assert len(told) == 1, "gone for less than two minutes is not gone"
    database.run("UPDATE alerts SET told_at = told_at - interval '25 hours'")
    look(settings)
    assert told[1][1].startswith("[still, warning]")
    with transaction(settings.database()) as conn:
        dead_letters.discard(conn, number, by="person:test")
    look(settings)
    database.run("UPDATE alerts SET gone_at = gone_at - interval '121 seconds'")
    assert look(settings)["closed"] == 1
    assert told[2][1].startswith("[over] post_failed")


def test_without_a_channel_alerts_are_listed_and_told_once_there_is_one(
    environment: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    settings = environment.change(alert_urls=None)
    fail(fake, scheduled, pipeline, "one")
    look(settings)
    assert (rules(database), told) == (["post_failed"], [])
    look(environment.change(alert_urls="json://127.0.0.1:9"))
    assert len(told) == 1


def test_a_channel_that_was_taken_out_gets_nothing_and_its_messages_end(
    environment: Any, settings: Any, scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    fail(fake, scheduled, pipeline, "one")
    with transaction(settings.database()) as conn:
        alerts.watch(conn, settings)
    database.run("UPDATE alert_messages SET created_at = created_at - interval '25 hours'")
    alerts.send_all(environment.change(alert_urls=None), by="test")
    [row] = database.rows("SELECT state, error FROM alert_messages")
    assert row.state == "failed"
    assert "no longer" in row.error


def test_opening_and_closing_are_webhook_events(
    environment: Any, settings: Any, scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    from scheduler import webhooks

    with transaction(settings.database()) as conn:
        webhooks.add(
            conn,
            settings,
            "https://example.com/",
            origin="https://example.com",
            events=["alert.opened", "alert.closed"],
            by="person:test",
        )
    number = fail(fake, scheduled, pipeline, "one")
    look(settings)
    with transaction(settings.database()) as conn:
        dead_letters.discard(conn, number, by="person:test")
    look(settings)
    rows = database.rows("SELECT event, data FROM webhook_deliveries ORDER BY created_at")
    assert [(row.event, row.data["rule"]) for row in rows] == [
        ("alert.opened", "post_failed"),
        ("alert.closed", "post_failed"),
    ]


# --- The rules ----------------------------------------------------------------------------------------------


def test_missed_unknown_and_reconnect(
    settings: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    late = scheduled("late", at="2031-01-01T00:00Z")
    database.run(
        "UPDATE scheduled_posts SET due_at = clock_timestamp() - interval '3 hours',"
        " available_at = clock_timestamp() - interval '3 hours',"
        " window_ends_at = clock_timestamp() - interval '1 hour' WHERE id = :id",
        id=late,
    )
    pipeline.until_quiet()
    look(settings)
    assert rules(database) == ["post_missed"]
    fake.will("publish", sent(AuthExpired("revoked", "gone", 401, permanent=True)))
    scheduled("refused")
    pipeline.until_quiet()
    look(settings)
    assert rules(database) == ["account_reconnect", "post_missed"], "a held post is told of by its account"
    assert "1 posts wait" in told[-1][1]


def test_an_unknown_outcome_is_critical(
    settings: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    from platforms.base import ReconcileKind

    fake.kind = ReconcileKind.NONE
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    number = scheduled("who knows")
    pipeline.until(number, "held")
    look(settings)
    assert rules(database) == ["post_unknown"]
    assert told[0][0] == "SchedulerX: 1 needs you, 1 critical"
    assert "mark-published" in told[0][1]


@pytest.mark.parametrize("prepares", [False, True], ids=["publishing", "preparing"])
def test_what_no_author_can_mend_is_critical(
    settings: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform, prepares: bool
) -> None:
    from platforms.base import Rejected

    refused = Rejected("out_of_credits", "Payment required.", 402, operator_alert=True)
    fake.prepares = prepares
    fake.will("prepare" if prepares else "publish", refused if prepares else sent(refused))
    scheduled("unpaid")
    pipeline.until_quiet()
    look(settings)
    assert told[0][0] == "SchedulerX: 1 needs you, 1 critical"
    assert "buy credits" in told[0][1]
    assert "no post of this account" in told[0][1]


def test_due_posts_that_do_not_go_out_unless_a_person_stopped_them(
    settings: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, database: Any
) -> None:
    scheduled("one")
    look(settings)
    assert rules(database) == []
    database.pass_time(121)
    look(settings)
    assert rules(database) == ["due_not_going_out"]
    database.run("INSERT INTO switches (name, by) VALUES ('all', 'test')")
    look(settings)
    assert rules(database) == []
    database.run("DELETE FROM switches")
    pipeline.until_quiet()
    look(settings)
    assert rules(database) == []


def test_a_post_whose_media_is_late_is_due_as_well(settings: Any, scheduled: Any, database: Any, told: Any) -> None:
    scheduled("one")
    database.run("UPDATE scheduled_posts SET media_ready = false, due_at = due_at - interval '1 hour'")
    look(settings)
    assert "wait for their media" in told[0][1]


def test_quota_growth_and_success_rate(
    environment: Any, told: list[tuple[str, str]], scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any
) -> None:
    settings = environment.change(
        alert_urls="json://127.0.0.1:9",
        alert_every_seconds=0,
        alert_recovery_seconds=0,
        alert_dead_letters_per_hour=3,
        alert_success_minimum=4,
        alert_success_percent=60,
    )
    fake.quotas = (Quota("posts", 10, 3600), Quota("of-another-call", 5, 3600, call="another call"))
    for words in ("a", "b", "c"):
        fail(fake, scheduled, pipeline, words)
    look(settings)
    assert rules(database) == ["dead_letters_growing", "post_failed"]
    scheduled("d")
    pipeline.until_quiet()
    look(settings)
    assert rules(database) == ["dead_letters_growing", "post_failed", "success_rate"]
    for count in range(8):
        scheduled(f"good {count}")
    pipeline.until_quiet()
    look(settings)
    assert rules(database) == ["dead_letters_growing", "post_failed", "quota"], "9 of 10 used; 9 of 12 published"


def test_a_webhook_that_takes_nothing_for_an_hour(settings: Any, database: Any, told: Any) -> None:
    database.run(
        "INSERT INTO webhooks (origin, sealed, failing_since, last_error)"
        " VALUES ('https://example.com', '', clock_timestamp() - interval '2 hours', 'HTTP 500')"
    )
    look(settings)
    assert rules(database) == ["webhook_failing"]


def test_one_watch_at_a_time(settings: Any, scheduled: Any, pipeline: Any, fake: FakePlatform) -> None:
    fail(fake, scheduled, pipeline, "one")
    with transaction(settings.database()) as first, transaction(settings.database()) as second:
        assert alerts.watch(first, settings)["opened"] == 1
        assert alerts.watch(second, settings) == {"opened": 0, "closed": 0, "messages": 0}


def test_what_ended_long_ago_is_pruned(settings: Any, scheduled: Any, pipeline: Any, database: Any, told: Any) -> None:
    database.run(
        "INSERT INTO alerts (rule, subject, severity, message, mark, closed_at)"
        " VALUES ('x', 'y', 'warning', 'z', 0, clock_timestamp() - interval '31 days')"
    )
    database.run(
        "INSERT INTO webhook_deliveries (webhook_id, event, data, state, finished_at)"
        " VALUES (1, 'x', '{}', 'delivered', clock_timestamp() - interval '31 days')"
    )
    assert notify.prune(settings) == {"deliveries": 1, "alerts": 1, "audit": 0}
