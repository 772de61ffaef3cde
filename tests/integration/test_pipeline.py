"""The whole pipeline in separate processes: real Celery workers, beat and Valkey; the sandbox as platforms."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from platforms.sandbox import Sandbox
from scheduler import Media, accounts, schedule
from scheduler.api import database as transaction

LIMIT_S = 60.0
POOLS = {
    "dispatch": ["--pool", "threads", "--concurrency", "2", "-Q", "dispatch"],
    "media": ["--pool", "prefork", "--concurrency", "1", "-Q", "media"],
    "upload": ["--pool", "threads", "--concurrency", "2", "-Q", "upload,upload.here"],
    "publish": ["--pool", "threads", "--concurrency", "4", "-Q", "publish"],
    "followup": ["--pool", "threads", "--concurrency", "2", "-Q", "followup"],
    # The same queues in fewer processes, where a test is not about them.
    "others": ["--pool", "threads", "--concurrency", "6", "-Q", "dispatch,media,upload,upload.here,followup"],
}


@pytest.fixture
def sandbox():
    """The platforms."""
    with Sandbox() as box:
        yield box


@pytest.fixture
def ready(environment, stack, sandbox, tmp_path, database):
    """Settings with the sandbox in place of X and Pinterest, and an empty broker; the accounts are added."""
    import redis

    broker = redis.Redis.from_url(stack.redis_url)
    broker.flushall()
    broker.close()
    settings = environment.change(
        SCHEDULERX_X_API_URL=sandbox.url,
        SCHEDULERX_PINTEREST_API_URL=sandbox.url,
        log_format="json",
        queued_lease_seconds=5,
        lease_margin_seconds=1,
        quarantine_seconds=1,
        call_budget_seconds=8,
    )
    boards = {}
    for platform in ("x", "pinterest"):
        with transaction(settings) as conn:
            accounts.add(conn, settings, platform, "acme", {"access_token": f"sandbox-{platform}-acme"})
        with transaction(settings) as conn:
            row = accounts.find(conn, f"{platform}:acme")
        identity = accounts.identify(settings, row)
        boards[platform] = identity.facts
        with transaction(settings) as conn:
            accounts.keep_identity(conn, row.id, identity)
    return settings, boards["pinterest"]["boards"][0]["name"]


@pytest.fixture
def start(ready, tmp_path):
    """Starts a worker (or beat) in a session of its own; all of them are ended by their pid."""
    running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def begin(name: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"{name}-{len(running)}.log").open("wb")
        words = (
            ["beat", "-s", str(tmp_path / "beat")]
            if name == "beat"
            else ["worker", "-n", f"{name}@%h", "--without-gossip", "--without-mingle", *POOLS[name]]
        )
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers.app", *words],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                env=dict(os.environ),
                start_new_session=True,
            )
        running.append((name, process))
        return process

    yield begin
    for _, process in running:
        end(process, signal.SIGTERM)
    for _, process in running:
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            end(process, signal.SIGKILL)
            process.wait(10)
        end(process, signal.SIGKILL)  # children that outlived it


def end(process, number):
    """Signals a process and what it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def until(condition, tmp_path):
    """Waits for a condition; what the processes said, where it does not come true."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in sorted(tmp_path.glob("*.log")))
            raise AssertionError(logs)
        time.sleep(0.1)


def test_pictures_go_from_a_script_to_two_platforms(ready, start, sandbox, database, pictures, tmp_path):
    _, board = ready
    for name in ("dispatch", "media", "upload", "publish", "followup", "beat"):
        start(name)
    made = [
        schedule(
            f"Picture {n} https://example.com/{n}",
            to=["x:acme", "pinterest:acme"],
            at="now",
            media=[Media(pictures["jpeg" if n % 2 else "png"], alt=f"alt {n}")],
            options={"pinterest": {"board": board}},
        )
        for n in range(3)
    ]
    words = schedule("Only words", to="x:acme", at="now")
    until(lambda: database.one("SELECT count(*) FROM scheduled_posts WHERE finalized_at IS NULL") == 0, tmp_path)
    rows = database.rows("SELECT * FROM scheduled_posts ORDER BY id")
    assert [row.status for row in rows] == ["published"] * 7
    assert all(row.remote_id and row.remote_url and row.first_sent_at for row in rows)
    accepted = sandbox.accepted()
    assert len(accepted) == 7
    assert sandbox.summary()["doubled"] == []
    assert {one["remote_id"] for one in accepted} == {row.remote_id for row in rows}
    assert {len(one["content"]["pictures"]) for one in accepted if one["content"]["text"] != "Only words"} == {1}
    assert len(made) + (words.status == "scheduled") == 4
    # On a busy machine the fence may have ended an attempt before its first byte; nothing else may have.
    outcomes = [row.outcome for row in database.rows("SELECT outcome FROM publish_attempts")]
    assert (outcomes.count("accepted"), set(outcomes) - {"accepted", "not_sent"}) == (7, set())
    logs = "".join(file.read_text() for file in tmp_path.glob("*.log"))
    assert "sandbox-x-acme" not in logs
    assert "sandbox-pinterest-acme" not in logs


@pytest.mark.crash
@pytest.mark.parametrize("fault", ["slow", "slow_answer"])
def test_a_worker_that_is_killed_in_a_slow_call_leaves_exactly_one_post(
    ready, start, sandbox, database, tmp_path, fault
):
    sandbox.set_faults([{"kind": fault, "step": "x.create", "delay_ms": 4000, "count": 1}])
    start("others")
    start("beat")
    worker = start("publish")
    number = schedule("Only once, please", to="x:acme", at="now").scheduled[0].id
    until(lambda: sandbox.summary()["faults"][0]["struck"] == 1, tmp_path)
    assert database.post(number).status == "publishing"
    end(worker, signal.SIGKILL)
    worker.wait(10)
    start("publish")
    # The test shortens the lease, not the order of things: rescue, quarantine, two looks at the feed.
    database.run("UPDATE publish_attempts SET started_at = started_at - interval '20 seconds'")
    database.run(
        "UPDATE scheduled_posts SET lease_expires_at = clock_timestamp() + interval '1 second'"
        " WHERE status = 'publishing'"
    )

    def settled() -> bool:
        # What waits for a pause is woken, so that the test need not wait as long.
        database.run(
            "UPDATE scheduled_posts SET available_at = clock_timestamp()"
            " WHERE status = 'unknown' AND available_at > clock_timestamp() + interval '2 seconds'"
        )
        return database.post(number).finalized_at is not None

    until(settled, tmp_path)
    row = database.post(number)
    assert row.status == "published"
    assert len(sandbox.accepted()) == 1
    assert sandbox.accepted()[0]["remote_id"] == row.remote_id
