"""Health against real parts that are really stopped: red, and green again when they are back.

Real Postgres, Valkey and S3, real beat and workers, each a process of its own. Times are shortened by settings
(a heartbeat each half second, red after four); with the defaults the same takes at most 75 s.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from db import migrate, session
from db.crypto import new_key
from scheduler import health
from scheduler.cli.main import app
from scheduler.health import State
from scheduler.settings import Settings, from_environment
from stack.embedded import EmbeddedStack
from workers import alive

PATIENCE_S = 90.0
"""The promise: red within so long."""
WORKERS = {"dispatch": ("dispatch", "4"), "publish": ("publish", "4"), "rest": ("media,upload,followup", "4")}

pytestmark = pytest.mark.timeout(400)


def wait(what: str, look: Callable[[], bool], seconds: float = PATIENCE_S) -> float:
    """Seconds until ``look`` is true."""
    began = time.monotonic()
    while not look():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began


class Installation:
    """Services, beat and three workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = EmbeddedStack(folder / "h")
        info = self.stack.start()
        assert info.r2 is not None
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("SCHEDULERX_", "R2_"))}
        self.env = plain | {
            "DATABASE_URL": str(info.database_url), "REDIS_URL": str(info.redis_url), "R2_BUCKET": info.r2.bucket,
            "R2_ENDPOINT_URL": info.r2.endpoint_url, "R2_ACCESS_KEY_ID": info.r2.access_key_id,
            "R2_SECRET_ACCESS_KEY": info.r2.secret_access_key, "SCHEDULERX_SECRET_KEY": new_key(),
            "SCHEDULERX_HOME": str(folder / "w"), "SCHEDULERX_SPOOL_ID": "here", "SCHEDULERX_DISK_FREE_MB": "1",
            "SCHEDULERX_HEARTBEAT_SECONDS": "0.5", "SCHEDULERX_ALIVE_SECONDS": "4",
        }  # fmt: skip
        migrate.upgrade(str(info.database_url))
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Starts beat or a worker."""
        if name == "beat":
            words = ["beat", "--schedule", str(self.folder / "schedule")]
        else:
            queues, slots = WORKERS[name]
            words = ["worker", "-n", f"{name}@%h", "-Q", queues, "-P", "threads", "-c", slots]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", "workers", *words],
                env=self.env,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends one that was started."""
        child = self.children.pop(name)
        child.send_signal(how)
        child.wait(30)

    def service(self, name: str) -> Any:
        """Postgres, Valkey or the store."""
        return next(one for one in self.stack.services if one.name == name)

    def close(self) -> None:
        """Ends all of it."""
        for name in list(self.children):
            self.stop(name)
        self.stack.stop(hurry=True)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="sx-"))
    folder.chmod(0o755)
    made = Installation(folder)
    try:
        for name in ("beat", *WORKERS):
            made.start(name)
        yield made
    finally:
        made.close()
        session.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def here(installation: Installation, bare_environment: Any) -> Settings:
    """The installation's settings, in this process."""
    for name, value in installation.env.items():
        if name.startswith(("SCHEDULERX_", "R2_")) or name in {"DATABASE_URL", "REDIS_URL"}:
            bare_environment.change(**{name: value})
    settings = from_environment()
    wait("all green", lambda: overall(settings) is State.OK)
    return settings


def overall(settings: Settings) -> State:
    return health.overall(health.examine(settings))


def states(settings: Settings) -> dict[str, State]:
    return {one.name: one.state for one in health.examine(settings)}


def test_it_is_green_and_the_command_says_so(here: Settings) -> None:
    done = CliRunner().invoke(app, ["health", "--json", "--strict"])
    assert done.exit_code == 0, done.output
    assert '"state": "ok"' in done.output
    assert CliRunner().invoke(app, ["health", "--worker", "publish"]).exit_code == 0
    assert CliRunner().invoke(app, ["health", "--worker", "beat"]).exit_code == 0
    assert CliRunner().invoke(app, ["health", "--worker", "nobody"]).exit_code == 2


def test_the_heartbeat_leaves_the_time_of_each_hop(here: Settings) -> None:
    conn = health.connect(here)
    try:
        with conn.cursor() as cursor:
            cursor.execute(
                "SELECT queue, beat_at <= dispatched_at AND dispatched_at <= pulse_at,"
                " EXTRACT(EPOCH FROM pulse_at - beat_at) FROM worker_beats WHERE pulse_at IS NOT NULL"
            )
            rows = cursor.fetchall()
    finally:
        conn.close()
    assert {row[0] for row in rows} == {"beat", *health.QUEUES}
    assert all(row[1] for row in rows)
    assert all(row[2] < 10 for row in rows)


@pytest.mark.parametrize(
    ("part", "red"),
    [("publish", "queue publish"), ("beat", "beat"), ("dispatch", "queue dispatch"), ("rest", "queue media")],
)
def test_a_process_that_is_killed_is_red_and_green_once_it_is_back(
    installation: Installation, here: Settings, part: str, red: str
) -> None:
    installation.stop(part)
    wait(f"{red} is red", lambda: states(here)[red] is State.DOWN)
    assert CliRunner().invoke(app, ["health"]).exit_code == 1
    installation.start(part)
    wait("green again", lambda: overall(here) is State.OK)


def test_a_worker_that_runs_and_does_nothing_is_red(installation: Installation, here: Settings) -> None:
    """What a check of processes does not see: it is there, connected, and takes nothing."""
    child = installation.children["publish"]
    child.send_signal(signal.SIGSTOP)
    try:
        wait("red", lambda: states(here)["queue publish"] is State.DOWN)
        assert child.poll() is None
        assert CliRunner().invoke(app, ["health", "--worker", "beat"]).exit_code == 0
    finally:
        child.send_signal(signal.SIGCONT)
    wait("green again", lambda: overall(here) is State.OK)


@pytest.mark.parametrize(("part", "red"), [("valkey", "broker"), ("objects", "object store"), ("postgres", "database")])
def test_a_service_that_stops_is_red_and_green_once_it_is_back(
    installation: Installation, here: Settings, part: str, red: str
) -> None:
    service = installation.service(part)
    service.stop(hurry=True)
    try:
        assert wait(f"{red} is red", lambda: states(here).get(red) is State.DOWN) < 15
        assert CliRunner().invoke(app, ["health"]).exit_code == 1
    finally:
        service.start()
    wait("green again", lambda: overall(here) is State.OK)


def test_a_full_broker_is_red_and_a_nearly_full_one_degraded(installation: Installation, here: Settings) -> None:
    client = redis.Redis.from_url(here.broker())
    try:
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", int(used * 1.1))
        assert states(here)["broker"] is State.DEGRADED
        strict = CliRunner().invoke(app, ["health", "--strict"])
        plain = CliRunner().invoke(app, ["health"])
        assert (strict.exit_code, plain.exit_code) == (1, 0), plain.output
        client.config_set("maxmemory", used // 2)
        assert states(here)["broker"] is State.DOWN
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert states(here)["broker"] is State.DEGRADED
    finally:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.close()


def test_a_missing_migration_is_red_and_a_newer_one_only_mentioned(here: Settings) -> None:
    conn = health.connect(here)
    newest = health.newest_schema()
    try:
        with conn.cursor() as cursor:
            for version, state in (("0001", State.DOWN), ("9999", State.DEGRADED), (newest, State.OK)):
                cursor.execute("UPDATE alembic_version SET version_num = %s", (version,))
                assert states(here)["schema"] is state
    finally:
        conn.close()


# --- Without processes: what only the tables can show ---------------------------------------------------------


def test_a_due_post_that_nobody_takes_is_red_unless_it_was_stopped(
    scheduled: Any, settings: Settings, database: Any
) -> None:
    scheduled("Hello")
    database.pass_time(settings.late_seconds + 10)
    assert states(settings)["due posts"] is State.DOWN
    database.run("INSERT INTO switches (name, by) VALUES ('all', 'me')")
    found = states(settings)
    assert (found["due posts"], found["stop button"]) == (State.OK, State.DEGRADED)


def test_a_clock_of_beat_that_stands_still_is_red_whatever_arrives(settings: Settings, database: Any) -> None:
    """Delivered again and again, an old pulse moves nothing; a backlog moves the clock, but it is late."""
    sent: list[Any] = []

    def send(*words: Any) -> None:
        sent.append(words)

    now = time.time()
    alive.hand_on(settings, send, now, ("publish",))
    assert states(settings)["beat"] is State.OK
    database.pass_time(settings.alive_seconds + 5)
    database.run("UPDATE worker_beats SET beat_at = to_timestamp(:at)", at=now)  # its own clock has not moved
    alive.hand_on(settings, send, now, ("publish",))
    assert states(settings)["beat"] is State.DOWN
    alive.hand_on(settings, send, now - 3600, ("publish",))
    assert states(settings)["beat"] is State.DEGRADED, "it moves, but an hour late"
    alive.hand_on(settings, send, time.time(), ("publish",))
    assert states(settings)["beat"] is State.OK
    alive.hand_on(settings, send, None, ("publish",))
    assert states(settings)["beat"] is State.OK, "an older beat, during an upgrade, sends no clock"
    assert sent[0][:1] == ("alive.pulse",)
    assert sent[0][1][:2] == ("publish", now)


def test_several_workers_of_a_queue_get_a_pulse_each_and_old_rows_go(settings: Settings, database: Any) -> None:
    for name in ("publish@one:1", "publish@two:1", "publish@three:1"):
        alive.mark(settings, queue="publish", worker=name, slots=4)
    alive.mark(settings, queue="media", worker="media@gone:1", slots=4)
    database.run("UPDATE worker_beats SET seen_at = seen_at - interval '2 days' WHERE queue = 'media'")
    sent: list[Any] = []
    alive.hand_on(settings, lambda *words: sent.append(words[2]), time.time(), ("publish", "media"))
    assert sorted(sent) == ["media", "publish", "publish", "publish"]
    assert database.one("SELECT count(*) FROM worker_beats WHERE queue = 'media'") == 0


def test_files_that_nobody_uploads_are_mentioned(
    scheduled: Any, settings: Settings, pictures: Any, database: Any
) -> None:
    from scheduler import Media

    scheduled("Hello", media=[Media(pictures["jpeg"], alt="noise")], at="2031-01-01T10:00Z")
    assert states(settings)["media"] is State.OK
    database.run(
        "UPDATE renditions SET state = 'rendered', spool = 'gone-box', available_at = now() - interval '1 hour'"
    )
    found = {one.name: one for one in health.examine(settings)}
    assert found["media"].state is State.DEGRADED
    assert "gone-box" in found["media"].message
    database.run("DELETE FROM scheduled_post_media")


def test_tasks_leave_their_times(settings: Settings, database: Any) -> None:
    class Task:
        name = "media.normalize"

    alive._spent.clear()
    alive.began(task_id="a")
    alive.ended(task_id="a", task=Task)
    alive.ended(task_id="unknown", task=Task)
    alive._state["reported"] = 0.0
    alive.report()
    assert database.one("SELECT value FROM tallies WHERE name = 'task_runs'") == 1.0
    assert database.one("SELECT value FROM tallies WHERE name = 'task_seconds'") < 10
