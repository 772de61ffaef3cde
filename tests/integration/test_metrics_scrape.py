"""Figures against a real database: exact, the same after a roll, and never falling."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import sent
from prometheus_client.parser import text_string_to_metric_families

from platforms.base import Quota, Rejected, Unknown
from scheduler import health, metrics, tallies


def scrape(settings: Any, collector: metrics.Collector | None = None) -> dict[str, dict[tuple[str, ...], float]]:
    """{series name: {label values, sorted by label name: value}}, read by the official parser."""
    made = collector or metrics.Collector(settings, lambda: health.examine(settings))
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.exposition(made).decode()):
        for one in family.samples:
            labels = tuple(value for _, value in sorted(one.labels.items()))
            found.setdefault(one.name, {})[labels] = one.value
    return found


def counters(found: dict[str, dict[tuple[str, ...], float]]) -> dict[tuple[str, tuple[str, ...]], float]:
    """What may only grow."""
    ends = ("_total", "_bucket", "_sum", "_count")
    return {
        (name, labels): value for name, all_ in found.items() if name.endswith(ends) for labels, value in all_.items()
    }


@pytest.fixture
def history(scheduled: Any, pipeline: Any, fake: Any) -> None:
    """Three published, one rejected, one whose answer was lost and that was found."""
    for number in range(3):
        scheduled(f"Hello {number}")
    pipeline.until_quiet()
    fake.will("publish", sent(Rejected("too_rude", "no")))
    scheduled("Rude")
    pipeline.until_quiet()
    fake.will("publish", fake.stores_then(Unknown("timeout", "no answer")))
    pipeline.until(scheduled("Lost"), "published")


def test_what_happened_is_counted_by_platform_outcome_and_reason(history: None, settings: Any) -> None:
    found = scrape(settings)
    assert found["schedulerx_posts_total"] == {
        ("published", "fake", ""): 4.0,
        ("failed", "fake", "too_rude"): 1.0,
    }
    assert found["schedulerx_attempts_total"] == {
        ("accepted", "fake", ""): 3.0, ("rejected", "fake", "too_rude"): 1.0, ("unknown", "fake", "timeout"): 1.0,
    }  # fmt: skip
    assert found["schedulerx_reconcile_total"] == {("fake", "found"): 1.0}
    assert found["schedulerx_dead_letters_open"] == {("failed",): 1.0, ("missed",): 0.0, ("held",): 0.0}
    assert found["schedulerx_lateness_seconds_count"] == {("fake",): 4.0}
    buckets = [
        value for _, value in sorted(found["schedulerx_lateness_seconds_bucket"].items(), key=lambda one: one[1])
    ]
    assert buckets[-1] == 4.0
    assert found["schedulerx_database_up"] == {(): 1.0}
    assert found["schedulerx_queue_depth"][("publish",)] == 0.0


def test_every_name_that_is_promised_can_appear_and_no_other(
    history: None, scheduled: Any, settings: Any, database: Any
) -> None:
    scheduled("Later", at="2031-01-01T10:00Z")
    tallies.roll(settings)
    database.run(
        "INSERT INTO tallies VALUES ('task_runs', '{\"task\": \"a\"}', 1), ('task_seconds', '{\"task\": \"a\"}', 1)"
    )
    found = set(scrape(settings))
    assert found <= metrics.names()
    some = {
        "schedulerx_posts_open",
        "schedulerx_media_bytes",
        "schedulerx_table_dead_rows",
        "schedulerx_task_seconds_total",
    }
    assert some <= found


def test_a_roll_changes_no_figure_and_pruned_history_takes_none_away(
    history: None, settings: Any, database: Any
) -> None:
    before = counters(scrape(settings))
    assert tallies.roll(settings) == 0, "nothing is settled yet"
    assert counters(scrape(settings)) == before
    database.pass_time(tallies.SETTLED_S + 60)
    database.run("DELETE FROM tally_marks")  # time has passed for the mark, too
    assert tallies.roll(settings) > 0
    after = counters(scrape(settings))
    assert after == pytest.approx(before)
    assert tallies.roll(settings) == 0, "nothing is counted twice"
    database.run("DELETE FROM transitions")
    database.run("DELETE FROM dead_letters")
    assert counters(scrape(settings)) == pytest.approx(before)


def test_counters_never_fall_while_posts_come_and_the_tallies_are_rolled(
    scheduled: Any, pipeline: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "SETTLED_S", 0)
    last: dict[Any, float] = {}
    for number in range(6):
        scheduled(f"Hello {number}")
        pipeline.until_quiet()
        if number % 2:
            tallies.roll(settings)
        now = counters(scrape(settings))
        assert all(now[key] >= value for key, value in last.items())
        last = now
    assert last["schedulerx_posts_total", ("published", "fake", "")] == 6.0


def test_a_second_roll_at_once_leaves_it_to_the_first(history: None, settings: Any, database: Any) -> None:
    database.pass_time(tallies.SETTLED_S + 60)
    with database.connect() as conn, conn.begin():
        from sqlalchemy import text

        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": tallies.LOCK})
        assert tallies.roll(settings) == 0
    assert tallies.roll(settings) > 0


def test_a_roll_without_a_database_is_no_error(bare_environment: Any) -> None:
    assert tallies.roll(bare_environment.change(DATABASE_URL="postgresql://x:y@127.0.0.1:9/z")) == 0


def test_quotas_tokens_and_limits_of_accounts(
    fake: Any, scheduled: Any, pipeline: Any, settings: Any, database: Any
) -> None:
    fake.quotas = (Quota("fake-day", 10, 86_400),)
    scheduled("Hello")
    pipeline.until_quiet()
    tallies.roll(settings)
    database.run("UPDATE accounts SET token_expires_at = clock_timestamp() + interval '2 days',"
                 " limited_until = clock_timestamp() + interval '1 minute'")  # fmt: skip
    found = scrape(settings)
    assert found["schedulerx_quota_left"]["acme", "fake", "fake-day", "account"] == 9.0
    assert found["schedulerx_quota_limit"]["fake", "fake-day", "account"] == 10.0
    assert found["schedulerx_quota_limit"]["fake", "burst_guard", "account"] == settings.burst_count
    assert found["schedulerx_account_token_left_seconds"]["acme", "fake"] == pytest.approx(2 * 86_400, abs=60)
    assert 0 < found["schedulerx_account_limited_seconds"]["acme", "fake"] <= 60
    assert found["schedulerx_accounts"]["fake", "active"] == 1.0


def test_what_an_app_has_left_is_told_of_each_of_its_accounts(
    fake: Any, scheduled: Any, pipeline: Any, settings: Any, database: Any
) -> None:
    fake.quotas = (
        Quota("fake-app-day", 10, 86_400, scope="app"),
        Quota("fake-other-call", 5, 86_400, scope="app", call="another call"),
    )
    for target in ("fake:acme", "fake:other", "fake:other", "fake:alone"):
        scheduled("Hello", to=target)
    database.run("UPDATE accounts SET app = CASE name WHEN 'alone' THEN 'fake:two' ELSE 'fake:one' END")
    pipeline.until_quiet()
    tallies.roll(settings)
    found = scrape(settings)
    left = {labels: value for labels, value in found["schedulerx_quota_left"].items() if "burst_guard" not in labels}
    assert left == {
        ("acme", "fake", "fake-app-day", "app"): 7.0,
        ("other", "fake", "fake-app-day", "app"): 7.0,
        ("alone", "fake", "fake-app-day", "app"): 9.0,
        **{(name, "fake", "fake-other-call", "app"): 5.0 for name in ("acme", "other", "alone")},
    }
    assert found["schedulerx_quota_limit"]["fake", "fake-app-day", "app"] == 10.0
    # Nothing of which app it is: not even the hash that its calls are counted by.
    assert not [labels for labels in found["schedulerx_quota_left"] if set(labels) & {"fake:one", "fake:two"}]


def test_a_quota_of_one_call_counts_that_call_alone(fake: Any, scheduled: Any, pipeline: Any, settings: Any) -> None:
    fake.quotas = (
        Quota("of-one", 10, 86_400, call="POST /posts"),
        Quota("of-another", 10, 86_400, call="another call"),
    )
    scheduled("Hello")
    pipeline.until_quiet()
    tallies.roll(settings)
    left = scrape(settings)["schedulerx_quota_left"]
    assert left["acme", "fake", "of-one", "account"] == 9.0
    assert left["acme", "fake", "of-another", "account"] == 10.0


def test_a_due_post_that_nobody_takes_ages(scheduled: Any, settings: Any, database: Any) -> None:
    scheduled("Hello")
    database.pass_time(300)
    found = scrape(settings)
    assert found["schedulerx_posts_due"]["fake",] == 1.0
    assert 300 <= found["schedulerx_oldest_due_age_seconds"]["fake",] < 330


def test_waits_for_a_limit_are_counted(environment: Any, scheduled: Any, pipeline: Any) -> None:
    settings = environment.change(burst_count=1)
    for number in range(3):
        scheduled(f"Hello {number}")
    pipeline.settings = settings
    pipeline.until_quiet()
    # Both were in a worker's hands when the first one took the only place.
    assert scrape(settings)["schedulerx_snoozes_total"] == {("burst_guard", "fake"): 2.0}


def test_what_reads_whole_tables_is_remembered(scheduled: Any, settings: Any) -> None:
    collector = metrics.Collector(settings, list)
    scheduled("Later", at="2031-01-01T10:00Z")
    assert scrape(settings, collector)["schedulerx_posts_open"] == {("fake", "scheduled"): 1.0}
    scheduled("Later still", at="2031-01-01T11:00Z")
    assert scrape(settings, collector)["schedulerx_posts_open"] == {("fake", "scheduled"): 1.0}
    assert scrape(settings)["schedulerx_posts_open"] == {("fake", "scheduled"): 2.0}
