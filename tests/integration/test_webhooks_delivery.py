"""Webhooks, from the row that a change of a post writes to a receiver that checks what it is sent."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fakes import FakePlatform, sent
from sqlalchemy.exc import IntegrityError

from db.crypto import Cipher, new_key
from db.session import transaction
from platforms.base import Rejected
from scheduler import accounts, webhooks
from scheduler.errors import NotFound, Refused
from workers import notify

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhook_receiver.py"


@dataclass
class Receiver:
    """A receiver that keeps what it got and answers as it is told."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On this machine; answers 204 unless ``answers`` says otherwise."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.got.append(json.loads(body))
            kept.headers.append({**dict(self.headers.items()), "raw": body.decode()})
            self.send_response(kept.answers.pop(0) if kept.answers else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}/hooks/secret-path-1234?token=tok-987654321"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(environment: Any) -> Any:
    """Receivers on this machine are allowed."""
    return environment.change(webhook_allow_private="true", webhook_timeout_seconds=2)


@pytest.fixture
def add(settings: Any) -> Callable[..., tuple[int, str]]:
    """Adds a webhook; its id and key."""

    def make(url: str, *events: str) -> tuple[int, str]:
        origin = webhooks.check_url(settings, url)
        with transaction(settings.database()) as conn:
            return webhooks.add(conn, settings, url, origin=origin, events=events, by="person:test")

    return make


def waiting(database: Any) -> list[Any]:
    return database.rows("SELECT * FROM webhook_deliveries ORDER BY created_at, id")


def due_now(database: Any) -> None:
    database.run("UPDATE webhook_deliveries SET available_at = clock_timestamp() - interval '1 second'")


# --- What is told -------------------------------------------------------------------------------------------


def test_without_a_webhook_nothing_is_written(scheduled: Any, pipeline: Any, database: Any) -> None:
    scheduled()
    pipeline.until_quiet()
    assert waiting(database) == []


def test_success_and_failure_are_told_in_the_transaction_of_the_change(
    scheduled: Any, pipeline: Any, fake: FakePlatform, database: Any, add: Any, receiver: Receiver
) -> None:
    add(receiver.url)
    good, bad = scheduled("good"), scheduled("bad")
    fake.will("publish", sent(Rejected("duplicate", "said before", 403)))
    pipeline.until_quiet()
    rows = {row.scheduled_post_id: row for row in waiting(database)}
    states = {number: rows[number].event for number in (good, bad)}
    assert sorted(states.values()) == ["post.failed", "post.published"]
    failed = next(row for row in rows.values() if row.event == "post.failed")
    assert failed.data["error_code"] == "duplicate"
    assert failed.data["account"] == "fake:acme"
    published = next(row for row in rows.values() if row.event == "post.published")
    assert published.data["remote_url"].startswith("https://fake.example/")
    assert published.data["status"] == "published"
    assert "text" not in published.data


def test_a_change_that_is_rolled_back_is_not_told(
    scheduled: Any, settings: Any, database: Any, add: Any, receiver: Any
) -> None:
    from scheduler import cancel

    add(receiver.url)
    number = scheduled(at="2031-01-01T00:00Z")
    with transaction(settings.database()) as conn, conn.begin_nested() as savepoint:
        cancel(number, session=conn)
        savepoint.rollback()
    assert waiting(database) == []


def test_only_the_events_that_were_asked_for(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Any
) -> None:
    wants_failures, _ = add(receiver.url, "post.failed")
    everything, _ = add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    assert {row.webhook_id for row in waiting(database)} == {everything} != {wants_failures}


def test_a_receiver_that_is_down_leaves_publishing_alone(
    scheduled: Any, pipeline: Any, database: Any, add: Any, settings: Any
) -> None:
    add("http://127.0.0.1:1/hook")
    number = scheduled()
    pipeline.until_quiet()
    assert notify.pump(settings) == 0
    assert database.post(number).status == "published"
    [row] = waiting(database)
    assert (row.state, row.attempts) == ("waiting", 1)


# --- Delivery -----------------------------------------------------------------------------------------------


def test_a_delivery_is_signed_over_timestamp_id_and_body(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Receiver, settings: Any
) -> None:
    _, key = add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    assert notify.pump(settings) == 1
    [row] = waiting(database)
    assert (row.state, row.http_status, row.leased_by) == ("delivered", 204, None)
    [headers], [body] = receiver.headers, receiver.got
    assert body["id"] == headers["SchedulerX-Id"] == str(row.id)
    assert body["type"] == headers["SchedulerX-Event"] == "post.published"
    signed = webhooks.sign(key, headers["SchedulerX-Id"], int(headers["SchedulerX-Timestamp"]), headers["raw"].encode())
    assert headers["SchedulerX-Signature"] == signed
    assert "Authorization" not in headers


def test_it_is_retried_with_the_same_id_until_it_is_taken(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Receiver, settings: Any
) -> None:
    number, _ = add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    receiver.answers = [500, 302, 204]
    for tries in (1, 2):
        assert notify.pump(settings) == 0
        [row] = waiting(database)
        assert (row.state, row.attempts) == ("waiting", tries)
        assert database.one("SELECT available_at > clock_timestamp() FROM webhook_deliveries")
        due_now(database)
    assert database.one("SELECT last_error FROM webhooks") == "HTTP 302"
    assert notify.pump(settings) == 1
    assert len({one["id"] for one in receiver.got}) == 1
    assert len({one["raw"] for one in receiver.headers}) == 1
    assert database.one("SELECT failing_since FROM webhooks WHERE id = :id", id=number) is None


def test_after_a_day_it_fails_and_can_be_replayed(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Receiver, settings: Any
) -> None:
    number, _ = add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    receiver.answers = [503]
    database.run("UPDATE webhook_deliveries SET tried_from = tried_from - interval '25 hours'")
    notify.pump(settings)
    [row] = waiting(database)
    assert (row.state, row.http_status) == ("failed", 503)
    with transaction(settings.database()) as conn:
        assert webhooks.replay(conn, number, since_s=3600, everything=False, by="person:test") == 1
    assert notify.pump(settings) == 1
    assert [one["id"] for one in receiver.got] == [str(row.id)] * 2
    with transaction(settings.database()) as conn:
        assert webhooks.replay(conn, number, since_s=3600, everything=False, by="person:test") == 0
        assert webhooks.replay(conn, number, since_s=3600, everything=True, by="person:test") == 1


def test_gone_is_final(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Receiver, settings: Any
) -> None:
    add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    receiver.answers = [410]
    notify.pump(settings)
    assert [row.state for row in waiting(database)] == ["failed"]


def test_a_receiver_without_an_answer_costs_one_call_of_a_batch(
    scheduled: Any, pipeline: Any, database: Any, add: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scheduler import webhook_calls

    add("http://127.0.0.1:1/hook")
    for words in ("one", "two", "three"):
        scheduled(words)
    pipeline.until_quiet()
    calls = []
    real = webhook_calls.call
    monkeypatch.setattr(webhook_calls, "call", lambda *given: calls.append(1) or real(*given))
    notify.pump(settings)
    assert len(calls) == 1
    assert sorted(row.attempts for row in waiting(database)) == [0, 0, 1]
    assert all(row.lease_expires_at is None for row in waiting(database))


def test_a_lease_that_ended_is_taken_again_and_two_webhooks_are_served_at_once(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Receiver, settings: Any
) -> None:
    for _ in range(3):
        add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    with transaction(settings.database()) as conn:
        assert len(webhooks.claim(conn, settings, by="a")) == 1
        assert len(webhooks.claim(conn, settings, by="b")) == 1
        assert webhooks.claim(conn, settings, by="c") == []
    database.run(
        "UPDATE webhook_deliveries SET lease_expires_at = clock_timestamp() - interval '1 second'"
        " WHERE leased_by IS NOT NULL"
    )
    assert notify.pump(settings) == 3


def test_removal_never_makes_a_change_of_a_post_fail(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Receiver, settings: Any
) -> None:
    number, _ = add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    with transaction(settings.database()) as conn:
        webhooks.remove(conn, number, by="person:test")
    assert [row.state for row in waiting(database)] == ["failed"]
    assert database.one("SELECT length(sealed) FROM webhooks") == 0
    later = scheduled("later")
    pipeline.until_quiet()
    assert database.post(later).status == "published"
    assert len(waiting(database)) == 1
    with transaction(settings.database()) as conn, pytest.raises(NotFound):
        webhooks.target(conn, settings, number)


# --- Who may be told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://10.0.0.7/hook",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/hook",
        "https://localhost/hook",
        "https://user:pass@example.com/hook",
        "ftp://example.com/hook",
        "http://203.0.113.9/hook",
        "not a url",
    ],
)
def test_private_and_plain_addresses_are_refused(environment: Any, url: str) -> None:
    settings = environment.change(webhook_allow_private="false")
    with pytest.raises(Refused):
        webhooks.check_url(settings, url)


def test_a_name_that_turns_private_after_it_was_added_is_not_called(
    scheduled: Any, pipeline: Any, database: Any, add: Any, receiver: Receiver, environment: Any
) -> None:
    add(receiver.url)
    scheduled()
    pipeline.until_quiet()
    assert notify.pump(environment.change(webhook_allow_private="false")) == 0
    assert receiver.got == []
    assert "refused by us" in waiting(database)[0].error


def test_url_and_key_are_encrypted_and_rotated_with_the_credentials(
    settings: Any, database: Any, add: Any, receiver: Receiver, environment: Any, secret_key: str
) -> None:
    number, key = add(receiver.url)
    row = database.rows("SELECT origin, sealed::text AS sealed FROM webhooks")[0]
    assert row.origin == receiver.url.split("/hooks")[0]
    fresh = new_key()
    both = environment.change(secret_key=f"{fresh},{secret_key}")
    with transaction(both.database()) as conn:
        accounts.rotate_keys(conn, both)
    alone = environment.change(secret_key=fresh)
    with transaction(alone.database()) as conn:
        assert webhooks.target(conn, alone, number) == (receiver.url, key)
    assert Cipher(fresh).open(bytes(database.one("SELECT sealed FROM webhooks")))["key"] == key


def test_an_event_that_does_not_exist_is_refused(add: Any, receiver: Receiver) -> None:
    with pytest.raises(Refused, match=r"post\.liked"):
        add(receiver.url, "post.liked")


def test_the_tables_hold_each_delivery_in_one_of_its_states(database: Any) -> None:
    with pytest.raises(IntegrityError):
        database.run(
            "INSERT INTO webhook_deliveries (webhook_id, event, data, state) VALUES (1, 'x', '{}', 'delivered')"
        )


# --- The example receiver -----------------------------------------------------------------------------------


@pytest.fixture
def example() -> Any:
    """examples/webhook_receiver.py as a module."""
    spec = importlib.util.spec_from_file_location("webhook_receiver", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_verifies_signature_time_and_repetition(
    example: Any,
    scheduled: Any,
    pipeline: Any,
    add: Any,
    settings: Any,
    database: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handled: list[dict[str, Any]] = []
    monkeypatch.setattr(example, "handle", handled.append)
    server = example.serve(0, "not yet known", str(tmp_path / "seen.db"))
    number, key = add(f"http://127.0.0.1:{server.server_port}/")
    server.server_close()
    server = example.serve(server.server_port, key, str(tmp_path / "seen.db"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        scheduled()
        pipeline.until_quiet()
        assert notify.pump(settings) == 1
        with transaction(settings.database()) as conn:
            webhooks.replay(conn, number, since_s=3600, everything=True, by="person:test")
        assert notify.pump(settings) == 1, "a repetition is taken, so that it ends"
        assert [one["type"] for one in handled] == ["post.published"], "and handled once"
        monkeypatch.setattr(webhooks, "sign", lambda *_: "v1=" + "0" * 64)
        scheduled("forged")
        pipeline.until_quiet()
        assert notify.pump(settings) == 0
        assert database.one("SELECT http_status FROM webhook_deliveries WHERE state = 'waiting'") == 401
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("age", "believed"), [(0, True), (299, True), (301, False), (-301, False)])
def test_the_example_refuses_old_and_future_requests(example: Any, age: int, believed: bool) -> None:
    now = 1_800_000_000
    headers = {
        "SchedulerX-Id": "an-id",
        "SchedulerX-Timestamp": str(now - age),
        "SchedulerX-Signature": webhooks.sign("key", "an-id", now - age, b"{}"),
    }
    assert (example.believable("key", headers, b"{}", now) == "") is believed
    assert example.believable("key", headers, b'{"changed": 1}', now)
    assert example.believable("key", {**headers, "SchedulerX-Id": "other"}, b"{}", now)
