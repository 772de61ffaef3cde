"""Red team: a whole run with secrets that look real, on every path; then every line, table and traceback is
searched for them. Where a secret must be (encrypted, or because the author wrote it into a post) is named below.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fakes import FakePlatform, sent
from sqlalchemy import text
from typer.testing import CliRunner

from db.models import Base
from db.session import transaction
from platforms.base import AuthExpired, Effect, NotSent, Processing, Published, Rejected, Unknown
from platforms.errors import TransportError
from platforms.http import Client
from scheduler import accounts, alerts, audit, dead_letters, webhooks
from scheduler import logging as logs
from scheduler.errors import Refused, SchedulerXError
from workers import notify, tokens

ACCESS = "AAAAAAAAAAAAAAAAAAAAAMLheAAAAAAA0-BULSeNUI4lZHC8mO0vSE5r"
REFRESH = "bWRWa3gzdnk3WHRGU1o0bmRRcTJ5VWxBdnBFYm1-6Tjo"
RENEWED = "pina_AEATZWAWAA2BKAIAGAACADHWRDXYCIBQBMFU7R4QWYNZW"
IN_TEXT = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
IN_URL = "f1c9645dbc14efddc7d8a322685f26eb4d5f8f3e2a9b0c7d6e5f4a3b2c1d0e9f"
HOOK_PATH = "T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX"
CHANNEL_PASSWORD = "hunter2-hunter2-hunter2"
PASSPHRASE = "correct horse battery staple 99"
SECRETS = (ACCESS, REFRESH, RENEWED, IN_URL, HOOK_PATH, CHANNEL_PASSWORD, PASSPHRASE)

ENCRYPTED = {("accounts", "credentials"), ("webhooks", "sealed")}
AUTHORS_WORDS = {("post_versions", "text")}
"""What the author wrote is what is published, token or not; it goes nowhere else."""


@pytest.fixture(params=["json", "console"])
def lines(request: Any) -> Iterator[io.StringIO]:
    """Every log line of this test, at DEBUG, with HTTP debugging switched on everywhere."""
    kept = io.StringIO()
    before = sys.stderr
    sys.stderr = kept
    logs.configure(form=request.param, level="DEBUG")
    sys.stderr = before
    for name in ("urllib3", "urllib3.connectionpool", "requests", "http.client"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    http.client.HTTPConnection.debuglevel = 1
    yield kept
    http.client.HTTPConnection.debuglevel = 0
    for name in ("urllib3", "urllib3.connectionpool", "requests", "http.client"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logs.configure(form="console", level="ERROR")


@pytest.fixture
def settings(environment: Any) -> Any:
    """Channels and receivers with secrets in their URLs, neither of which answers."""
    return environment.change(
        alert_urls=f"json://user:{CHANNEL_PASSWORD}@127.0.0.1:1/", alert_every_seconds=0, webhook_allow_private="true"
    )


@pytest.fixture
def platform_server() -> Iterator[str]:
    """A platform that repeats the token it was given in its answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.dumps({"error": f"bad token {self.headers['Authorization']}"}).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(said)))
            self.send_header("Set-Cookie", f"session={ACCESS}")
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def talks_of_it(url: str) -> Callable[..., Any]:
    """A step that sends the token by our client, and then fails with the platform's words."""

    def step(call: Any, _draft: Any) -> Any:
        with Client(api_hosts=frozenset()) as client:
            reply = client.request(
                "POST",
                f"{url}/posts?access_token={ACCESS}",
                effect=Effect.READ,
                headers={"Authorization": f"Bearer {call.credentials['token']}"},
            )
        return Rejected("refused", reply.body.decode(), 403)

    return step


def raises(error: Exception) -> Callable[..., Any]:
    def step(*_: Any) -> Any:
        raise error

    return step


def run_everything(
    settings: Any, scheduled: Any, account: Any, pipeline: Any, fake: FakePlatform, url: str, hints: Any
) -> None:
    """Each outcome that carries words, with a secret in them."""
    account("fake:acme", token=ACCESS, refresh_token=REFRESH)
    with transaction(settings.database()) as conn:
        hook = f"http://127.0.0.1:1/services/{HOOK_PATH}?sig={IN_URL}"
        webhooks.add(conn, settings, hook, origin=webhooks.check_url(settings, hook), events=[], by="person:test")
    said = (
        f"the token {ACCESS} (refresh {REFRESH}) is not good: https://api.example/?access_token={ACCESS}&sig={IN_URL}"
    )
    broken = RuntimeError(f"call failed with headers {{'Authorization': 'Bearer {ACCESS}'}}")
    for number, outcome in enumerate(
        [
            talks_of_it(url),
            sent(Rejected("refused", said, 403)),
            raises(broken),
            raises(TransportError(said, sent=False)),
            sent(NotSent("server", said, 503)),
            sent(Unknown("timeout", said)),
            sent(Processing(5.0)),
            sent(Published("1", None)),
        ]
    ):
        fake.will("publish", outcome)
        scheduled(f"post {number} {IN_TEXT}", to="fake:acme")
        pipeline.until_quiet()
    fake.always("reconcile", raises(broken))
    fake.always("poll", raises(broken))
    fake.will("refresh", raises(TransportError(said, sent=True)), AuthExpired("gone", said, 401, permanent=True))
    account_id, version = pipeline.database.rows("SELECT id, token_version FROM accounts")[0]
    tokens.refresh(settings, account_id, version)
    pipeline.database.pass_time(3600)
    tokens.refresh(settings, account_id, version)
    for _ in range(3):
        pipeline.database.pass_time(120)
        pipeline.until_quiet()
    account("fake:acme", token=RENEWED, refresh_token=REFRESH)
    with transaction(settings.database()) as conn:
        for letter in dead_letters.listing(conn):
            dead_letters.show(conn, letter.id)
        alerts.watch(conn, settings)
    alerts.send_all(settings, by="test")
    notify.pump(settings)


def refuse_everything(settings: Any) -> list[str]:
    """Wrong input with secrets in it; what callers are told."""
    from scheduler import schedule

    told = []
    for work in (
        lambda: schedule("x", to="fake:acme", at="now", media=[f"http://10.0.0.1/a.jpg?sig={IN_URL}"]),
        lambda: schedule("x", to="fake:acme", at="now", media=[f"https://user:{CHANNEL_PASSWORD}@h.invalid/a.jpg"]),
        lambda: accounts.parse_credentials(f'{{"token": "{ACCESS}"'),
        lambda: webhooks.check_url(settings, f"https://user:{CHANNEL_PASSWORD}@example.com/{HOOK_PATH}"),
    ):
        with pytest.raises((Refused, SchedulerXError)) as caught:
            work()
        told.append(str(caught.value))
    with transaction(settings.database()) as conn, pytest.raises(Refused) as wrong:
        accounts.add(conn, settings, "fake", "other", {"token": 5, "extra": ACCESS})
    return [*told, str(wrong.value)]


def found_in(words: str, *secrets: str) -> list[str]:
    return [secret for secret in secrets if secret in words]


def test_no_secret_is_in_any_line_table_or_message(
    lines: io.StringIO,
    settings: Any,
    scheduled: Any,
    account: Any,
    pipeline: Any,
    fake: FakePlatform,
    database: Any,
    platform_server: str,
    hints: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run_everything(settings, scheduled, account, pipeline, fake, platform_server, hints)
    told = refuse_everything(settings)
    assert found_in("\n".join(told), *SECRETS, IN_TEXT) == []
    logged = lines.getvalue()
    assert "security.credentials_used" in logged
    assert "audit.post.scheduled" in logged
    assert "[hidden]" in logged
    assert found_in(logged, *SECRETS, IN_TEXT) == []
    printed = capfd.readouterr()
    assert found_in(printed.out + printed.err, *SECRETS, IN_TEXT) == []
    leaks = []
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if (table.name, column.name) in ENCRYPTED:
                continue
            query = f"SELECT coalesce(string_agg(t.\"{column.name}\"::text, chr(10)), '') FROM {table.name} t"  # noqa: S608 - our tables
            kept = database.one(query)
            allowed = () if (table.name, column.name) in AUTHORS_WORDS else (IN_TEXT,)
            leaks += [(table.name, column.name, secret) for secret in found_in(kept, *SECRETS, *allowed)]
    assert leaks == []
    assert database.one("SELECT count(*) FROM dead_letters") > 0
    assert database.one("SELECT count(*) FROM alert_messages") > 0


def test_no_secret_is_in_what_the_commands_say(
    settings: Any,
    scheduled: Any,
    account: Any,
    pipeline: Any,
    fake: FakePlatform,
    platform_server: str,
    hints: Any,
    tmp_path: Any,
) -> None:
    from scheduler.cli.main import app

    run_everything(settings, scheduled, account, pipeline, fake, platform_server, hints)
    file = tmp_path / "all.jsonl"
    page = tmp_path / "page.html"
    said = ""
    for words, stdin in (
        (["accounts", "list", "--json"], None),
        (["webhooks", "list", "--json"], None),
        (["alerts", "list", "--all", "--json"], None),
        (["dead-letters", "list", "--json"], None),
        (["report", "--json"], None),
        (["report", "--html", str(page)], None),
        (["audit", "--json"], None),
        (["posts", "list", "--json"], None),
        (["pause"], None),
        (["export", str(file), "--with-credentials"], PASSPHRASE + "\n"),
        (["alerts", "test"], None),
        (["webhooks", "test", "1"], None),
    ):
        said += CliRunner().invoke(app, words, input=stdin, catch_exceptions=False).output
    assert found_in(said + page.read_text(), *SECRETS, IN_TEXT) == []
    assert found_in(file.read_text(), *SECRETS) == []


def test_an_uncaught_exception_says_no_secret(lines: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError(f"Authorization: Bearer {ACCESS} and password={CHANNEL_PASSWORD}")
    sys.excepthook(ValueError, error, None)
    threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, None)))
    said = capsys.readouterr().err
    assert said.count("ValueError: Authorization: Bearer [hidden]") == 2
    assert found_in(said, ACCESS, CHANNEL_PASSWORD) == []


def test_streams_are_told_by_the_first_word(settings: Any, database: Any) -> None:
    assert logs.tell_stream(None, "info", {"event": "audit.post.canceled"})["stream"] == "audit"
    assert logs.tell_stream(None, "info", {"event": "security.refused"})["stream"] == "security"
    assert logs.tell_stream(None, "info", {"event": "performance.http"})["stream"] == "performance"
    assert logs.tell_stream(None, "info", {"event": "publish.done"})["stream"] == "app"


def test_the_audit_trail_takes_no_secret_even_if_it_is_given_one(
    settings: Any, account: Any, fake: Any, database: Any
) -> None:
    account("fake:acme", token=ACCESS)
    with transaction(settings.database()) as conn:
        audit.record(conn, "x.tried", f"account:{ACCESS}", after={"token": "short", "note": f"was {ACCESS}"})
        conn.execute(text("SELECT 1"))
    [row] = database.rows("SELECT subject, after FROM audit_log WHERE action = 'x.tried'")
    assert row.subject == "account:[hidden]"
    assert row.after == {"token": "[hidden]", "note": "was [hidden]"}
