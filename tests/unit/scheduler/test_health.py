"""Health and the monitor, without services: words, levels, the signature, and who may see what."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from db import migrate
from media.storage import StoreConfig
from platforms.hosts import is_loopback
from scheduler import health, monitor, store_check
from scheduler.health import Check, State, overall
from scheduler.settings import from_environment
from scheduler.tallies import dsn
from stack.home import ObjectStore, StackInfo, save_stack

CONFIG = StoreConfig("http://127.0.0.1:9/some", "key-id", "s3cret/+=", "a-bucket")


def test_as_bad_as_the_worst() -> None:
    found = [Check("a", State.OK, ""), Check("b", State.DEGRADED, ""), Check("c", State.OK, "")]
    assert overall(found) is State.DEGRADED
    assert overall([*found, Check("d", State.DOWN, "")]) is State.DOWN
    assert overall([]) is State.OK


def test_it_knows_the_newest_schema_without_alembic() -> None:
    assert health.newest_schema() == migrate.head()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_a_url_of_sqlalchemys_suits_libpq(scheme: str) -> None:
    assert dsn(f"{scheme}://me:a@host:5/db?x=y") == f"{scheme.partition('+')[0]}://me:a@host:5/db?x=y"


def test_nothing_set_is_down_and_says_what_to_set(bare_environment: Any) -> None:
    found = {one.name: one for one in health.examine(from_environment())}
    for name, word in (
        ("secret key", "SCHEDULERX_SECRET_KEY"),
        ("database", "DATABASE_URL"),
        ("broker", "REDIS_URL"),
        ("object store", "R2_BUCKET"),
    ):
        assert found[name].state is State.DOWN
        assert word in found[name].message


def test_what_does_not_answer_is_down_without_its_password(bare_environment: Any) -> None:
    settings = bare_environment.change(
        DATABASE_URL="postgresql://me:s3cret@127.0.0.1:9/db", REDIS_URL="redis://:s3cret@127.0.0.1:9/0",
        R2_ENDPOINT_URL="http://127.0.0.1:9", R2_ACCESS_KEY_ID="a", R2_SECRET_ACCESS_KEY="s3cret", R2_BUCKET="b",
    )  # fmt: skip
    found = {one.name: one for one in health.examine(settings)}
    assert {found[name].state for name in ("database", "broker", "object store")} == {State.DOWN}
    assert "s3cret" not in str(found)
    assert [one.state for one in health.examine_worker(settings, "publish")] == [State.DOWN]


@pytest.mark.parametrize("own", [True, False])
def test_the_advice_is_about_what_the_user_set(bare_environment: Any, tmp_path: Path, own: bool) -> None:
    addresses = {"REDIS_URL": "redis://127.0.0.1:9/0", "R2_ENDPOINT_URL": "http://127.0.0.1:9"}
    keys = {"R2_ACCESS_KEY_ID": "a", "R2_SECRET_ACCESS_KEY": "b", "R2_BUCKET": "c"}
    if not own:  # a stack that was stopped
        (tmp_path / "home").mkdir()
        store = ObjectStore(addresses["R2_ENDPOINT_URL"], "a", "b", "c")
        save_stack(tmp_path / "home", StackInfo(redis_url=addresses["REDIS_URL"], r2=store))
    settings = from_environment() if not own else bare_environment.change(**addresses, **keys)
    found = {one.name: one.message for one in health.examine(settings)}
    for name, variable in (("broker", "REDIS_URL"), ("object store", "R2_ENDPOINT_URL")):
        assert found[name].endswith(f"; check {variable}" if own else "; start it with: schedulerx up")


def test_a_full_disk_is_down_and_a_nearly_full_one_degraded(bare_environment: Any) -> None:
    free = health.shutil.disk_usage("/").free / 1e6
    for need, state in ((0, State.OK), (int(free * 0.75), State.DEGRADED), (int(free * 2), State.DOWN)):
        found = health.examine(bare_environment.change(disk_free_mb=need))
        assert next(one.state for one in found if one.name == "disk") is state


# --- The store ----------------------------------------------------------------------------------------------


def test_our_signature_is_botocores() -> None:
    now = datetime(2026, 12, 24, 18, 0, 1, tzinfo=UTC)
    path = "/some/a-bucket"
    ours = store_check.headers(CONFIG, "127.0.0.1:9", path, now)
    request = AWSRequest("GET", f"http://127.0.0.1:9{path}?{store_check.QUERY}")
    request.headers["X-Amz-Content-SHA256"] = store_check.EMPTY
    request.context["timestamp"] = ours["X-Amz-Date"]
    request.headers["X-Amz-Date"] = ours["X-Amz-Date"]
    auth = S3SigV4Auth(Credentials(CONFIG.access_key_id, CONFIG.secret_access_key), "s3", CONFIG.region)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert ours["Authorization"].endswith(f"Signature={signature}")
    assert CONFIG.secret_access_key not in str(ours)


@contextmanager
def answering(status: int, body: str) -> Iterator[StoreConfig]:
    """A store that answers everything like this."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield StoreConfig(f"http://127.0.0.1:{server.server_address[1]}", "id", "s3cret", "a-bucket")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", "R2_SECRET_ACCESS_KEY"),
        (404, "<Error><Code>NoSuchBucket</Code></Error>", "R2_BUCKET"),
        (503, "<html>busy</html>", "HTTP 503"),
    ],
)
def test_a_store_that_refuses_says_why(status: int, body: str, told: str) -> None:
    with answering(status, body) as config, pytest.raises(store_check.StoreRefuses, match=told) as caught:
        store_check.check(config)
    assert "s3cret" not in str(caught.value)


def test_a_store_that_lists_is_fine() -> None:
    with answering(200, "<ListBucketResult/>") as config:
        store_check.check(config)


def test_a_store_that_is_not_there() -> None:
    with pytest.raises(store_check.StoreRefuses, match="does not answer"):
        store_check.check(CONFIG)


# --- The monitor --------------------------------------------------------------------------------------------


def test_many_who_ask_at_once_cost_one_look() -> None:
    looks: list[int] = []
    gate = threading.Event()

    def look() -> int:
        gate.wait(10)
        looks.append(1)
        return len(looks)

    kept = monitor.Kept(60.0, look)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(kept())) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert (answers, looks) == ([1] * 8, [1])
    fresh = monitor.Kept(0.0, look)
    assert fresh() != fresh()


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],  # noqa: S104 - nothing listens there
)
def test_what_is_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def test_reasons_and_figures_are_for_who_may_see_them(bare_environment: Any) -> None:
    plain = monitor.Monitor(bare_environment.change(), kept_s=0)
    assert plain.trusts("", loopback=True)
    assert not plain.trusts("", loopback=False)
    guarded = monitor.Monitor(bare_environment.change(monitor_token="t0ken"), kept_s=0)
    assert guarded.trusts("Bearer t0ken", loopback=False)
    assert not guarded.trusts("", loopback=True)
    assert not guarded.trusts("Bearer t0keN", loopback=True)
    assert guarded.answer("/metrics", trusted=False)[0] == 401
    status, _, body = guarded.answer("/ready", trusted=False)
    assert status == 503
    assert all(set(one) == {"name", "state"} for one in json.loads(body)["checks"])
    assert "message" in json.loads(guarded.answer("/ready", trusted=True)[2])["checks"][0]
    assert guarded.answer("/live", trusted=False)[0] == 200
    assert guarded.answer("/", trusted=True)[0] == 404


def test_it_serves_over_http_and_survives_a_bug(bare_environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monitor.listen(bare_environment.change(), "127.0.0.1", 0, kept_s=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert ask(server.server_address[1], "GET", "/live") == (200, b"live\n")
            assert ask(server.server_address[1], "HEAD", "/live") == (200, b"")
            assert ask(server.server_address[1], "GET", "/ready?x=1")[0] == 503

            def broken(*_: Any, **__: Any) -> Any:
                raise RuntimeError("a bug")

            monkeypatch.setattr(monitor.Monitor, "answer", broken)
            assert ask(server.server_address[1], "GET", "/live")[0] == 500
        finally:
            server.shutdown()
            thread.join()


def test_a_port_that_is_taken_is_said(bare_environment: Any) -> None:
    settings = bare_environment.change()
    with (
        monitor.listen(settings, "127.0.0.1", 0) as server,
        pytest.raises(monitor.NotConfigured, match="MONITOR_PORT"),
    ):
        monitor.listen(settings, "127.0.0.1", server.server_address[1])


def ask(port: int, method: str, path: str) -> tuple[int, bytes]:
    """(status, body)."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        conn.request(method, path)
        reply = conn.getresponse()
        return reply.status, reply.read()
    finally:
        conn.close()
