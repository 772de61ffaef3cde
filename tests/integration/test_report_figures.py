"""The report against rows whose figures are known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlatform, sent
from typer.testing import CliRunner

from db.session import transaction
from platforms.base import NotSent, Rejected, Unknown
from scheduler import report
from scheduler.report_html import page

WEEK = 7 * 86_400.0


def made(settings: Any, seconds: float = WEEK) -> report.Report:
    with transaction(settings.database()) as conn:
        return report.make(conn, since_s=seconds)


@pytest.fixture
def busy(scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any) -> None:
    """Eight published (of which one at the second try), two failed, one missed, one canceled, one to come."""
    from scheduler import cancel

    for number in range(7):
        scheduled(f"good {number}", to="fake:acme" if number % 2 else "fake:other")
    pipeline.until_quiet()
    fake.will("publish", sent(NotSent("server", "503", 503)))
    pipeline.until(scheduled("again"), "published")
    fake.will(
        "publish", sent(Rejected("duplicate", "said <before>", 403)), sent(Rejected("duplicate", "said <before>", 403))
    )
    for words in ("bad", "worse"):
        scheduled(words)
        pipeline.until_quiet()
    late = scheduled("late", at="2031-01-01T00:00Z")
    database.run(
        "UPDATE scheduled_posts SET due_at = clock_timestamp() - interval '3 hours',"
        " available_at = clock_timestamp() - interval '3 hours',"
        " window_ends_at = clock_timestamp() - interval '1 hour' WHERE id = :id",
        id=late,
    )
    pipeline.until_quiet()
    cancel(scheduled("not any more", at="2031-01-01T00:00Z"))
    scheduled("to come", at="2031-01-01T00:00Z")


def test_counts_rates_and_reasons(busy: None, settings: Any) -> None:
    found = made(settings)
    total = found.total
    assert (total.published, total.failed, total.missed, total.canceled, total.held) == (8, 2, 1, 1, 0)
    assert total.success == pytest.approx(8 / 11)
    assert (total.attempts, total.errors, total.retries) == (11, 3, 1)
    assert total.error_rate == pytest.approx(3 / 11)
    assert [(one.name, one.published) for one in found.accounts] == [("fake:acme", 4), ("fake:other", 4)]
    assert [(one.name, one.ended) for one in found.platforms] == [("fake", 11)]
    assert [(one["code"], one["posts"]) for one in found.reasons] == [("duplicate", 2), ("missed", 1)]
    assert sum(one["published"] for one in found.series) == 8
    assert found.lateness[0]["name"] == "all"
    assert found.lateness[0]["posts"] == sum(count for _, count in found.late_buckets) == 8


def test_an_empty_database_has_a_report(settings: Any) -> None:
    found = made(settings)
    assert (found.total.success, found.total.error_rate, found.lateness, found.costs) == (None, None, [], [])
    assert "SchedulerX report" in page(found)
    json.dumps(found.as_json())


def test_what_happened_before_is_not_in_it(busy: None, settings: Any, database: Any) -> None:
    database.pass_time(8 * 86_400)
    assert made(settings).total.ended == 0
    assert made(settings, 30 * 86_400.0).total.ended == 11


def test_lateness_percentiles_are_those_of_postgres(
    scheduled: Any, pipeline: Any, settings: Any, database: Any
) -> None:
    numbers = [scheduled(f"post {number}") for number in range(10)]
    pipeline.until_quiet()
    for place, number in enumerate(numbers):
        database.run(
            "UPDATE scheduled_posts SET first_sent_at = due_at + make_interval(secs => :late) WHERE id = :id",
            late=place + 1.0,
            id=number,
        )
    [every, of_fake] = made(settings).lateness
    assert (every["p50"], every["p90"], every["max"]) == (5.5, 9.1, 10.0)
    assert of_fake == {**every, "name": "fake"}
    assert dict(made(settings).late_buckets) == {
        "up to 1 s": 1,
        "1 to 2 s": 1,
        "2 to 5 s": 3,
        "5 to 10 s": 5,
        "10 to 60 s": 0,
        "1 to 5 min": 0,
        "5 to 60 min": 0,
        "over 1 h": 0,
    }


def test_costs_are_those_of_the_price_list_and_only_for_real_accounts(
    settings: Any, environment: Any, account: Any, database: Any
) -> None:
    from scheduler import schedule

    account("x:acme")
    texts = ["plain", "with a link https://example.com/a", "a bare one: example.com", "plain, but a test"]
    for number, words in enumerate(texts):
        post = schedule(words, to="x:acme", at="now").scheduled[0].id
        database.run(
            """
            INSERT INTO publish_attempts (id, scheduled_post_id, account_id, version_id, generation, call, platform_key,
                   payload_sha256, worker, outcome, finished_at)
            SELECT gen_random_uuid(), id, account_id, version_id, 1, 'POST /2/tweets', 'k', 'h', 'w', :outcome,
                   clock_timestamp() FROM scheduled_posts WHERE id = :id
        """,
            id=post,
            outcome="accepted",
        )
        if number == 3:
            database.run("UPDATE scheduled_posts SET api_url = 'http://127.0.0.1:1' WHERE id = :id", id=post)
    [cost] = made(settings).costs
    assert cost["dollars"] == pytest.approx(0.015 + 2 * 0.200)
    assert [(part["what"], part["count"]) for part in cost["parts"]] == [
        ("posts", 1),
        ("posts with a link", 2),
        ("alt texts", 0),
    ]


def test_media_savings(scheduled: Any, pipeline: Any, settings: Any, pictures: dict[str, Path]) -> None:
    scheduled("with a picture", media=[pictures["jpeg"]])
    pipeline.until_quiet()
    media = made(settings).media
    assert media["files"] == 1
    assert media["saved_bytes"] == media["original_bytes"] - media["sent_bytes"]


def test_held_posts_are_counted(scheduled: Any, pipeline: Any, fake: FakePlatform, settings: Any) -> None:
    from platforms.base import ReconcileKind

    fake.kind = ReconcileKind.NONE
    fake.will("publish", sent(Unknown("timeout", "no answer")))
    pipeline.until(scheduled(), "held")
    found = made(settings)
    assert found.total.held == 1
    assert found.reasons[0]["code"] == "outcome_unknown"


def test_the_page_needs_nothing_from_elsewhere_and_escapes(busy: None, settings: Any, tmp_path: Path) -> None:
    from scheduler.cli.main import app

    file = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", "--since", "7d", "--html", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    html = file.read_text()
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", html)
    assert "prefers-color-scheme: dark" in html
    assert "said &lt;before&gt;" in html
    assert html.count("<svg") >= 4


def test_the_command_draws_bars_and_prints_json(busy: None, settings: Any) -> None:
    from scheduler.cli.main import app

    run = CliRunner()
    shown = run.invoke(app, ["report"], catch_exceptions=False).stdout
    assert "72.7 %" in shown
    assert "█" in shown
    found = json.loads(run.invoke(app, ["report", "--since", "24h", "--json"], catch_exceptions=False).stdout)
    assert found["total"]["success_rate"] == pytest.approx(8 / 11)
    assert found["series"]["step"] == "hour"
    assert run.invoke(app, ["report", "--since", "soon"], catch_exceptions=False).exit_code == 2
