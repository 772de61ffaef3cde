"""What the crash tests run on: every service and every worker a process of its own, started again when it dies.

Only processes that were started here are ever signalled, each by its own pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from stack.embedded import EmbeddedStack
from stack.home import StackError, read_secret_key
from stack.programs import default_programs
from stack.service import Service
from tests.crash.judge import Judge
from tests.crash.kinds import KINDS, install

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = ("x", "pinterest", *KINDS)
OPEN = ("scheduled", "preparing", "ready", "queued", "publishing", "processing", "retrying", "unknown")
OURS = ("DATABASE_URL", "REDIS_URL", "R2_", "SCHEDULERX_", "FLOWER_")
START_S = 60.0
FAILURES = 8

SHORT = {
    "SCHEDULERX_QUEUED_LEASE_SECONDS": "3",
    "SCHEDULERX_PREPARE_LEASE_SECONDS": "4",
    "SCHEDULERX_MEDIA_LEASE_SECONDS": "6",
    "SCHEDULERX_FOLLOW_LEASE_SECONDS": "3",
    "SCHEDULERX_CALL_BUDGET_SECONDS": "2",
    "SCHEDULERX_LEASE_MARGIN_SECONDS": "1",
    "SCHEDULERX_SEND_MARGIN_SECONDS": "2",
    "SCHEDULERX_QUARANTINE_SECONDS": "2",
    "SCHEDULERX_BACKOFF_SECONDS": "0.5",
    "SCHEDULERX_BACKOFF_MAX_SECONDS": "4",
    "SCHEDULERX_MAX_CLAIMS": "20",
    "SCHEDULERX_BURST_COUNT": "100000",
}
"""Times that make a case take seconds; printed with every result."""


class RigBroken(Exception):
    """Something did not come up, or did not become true in time."""


def wait_for(what: str, seconds: float, look: Callable[[], T], *, pause_s: float = 0.05) -> T:
    """What ``look`` returns, once it is true. :raises RigBroken: it does not become so in time."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise RigBroken(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause_s)


@dataclass
class Child:
    """One program that is kept running."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    failures: int = 0
    """Ends by itself, one after the other."""
    wanted: bool = False
    asked_to_end: bool = False
    orphans: list[psutil.Process] = field(default_factory=list)
    """What a killed parent left behind; it ends by itself, but perhaps later than we want."""

    def launch(self) -> None:
        """Starts it, once more."""
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.argv, env=dict(self.env), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.wanted = True
        self.asked_to_end = False

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal, if it runs. What a process cannot refuse reaches its own children (a pool, a family) too;
        what it can, it hands on itself.
        """
        if self.process is None or self.process.poll() is not None:
            return False
        if number in {signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT}:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)  # the session is its own: nobody else is in it
        else:
            self.process.send_signal(number)
        return True

    def kill_parent(self) -> bool:
        """Kills the process that we started and none of those that it started: they are orphans from then on."""
        if self.process is None or self.process.poll() is not None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            self.orphans += psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        return True

    def end(self) -> None:
        """Ends it for good."""
        self.wanted = False
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        for one in self.orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()  # psutil makes sure that it is still the same process
        self.orphans.clear()


@dataclass
class Rig:
    """The whole installation, with short leases, pointed at the emulator."""

    settings: Mapping[str, str] = field(default_factory=dict)
    publishers: int = 4
    publish_slots: int = 1
    family: int = 1
    """How many processes share the slots of a publish worker, as in the stack; 1: no parent, one process."""
    services: frozenset[str] = frozenset({"postgres", "valkey"})
    seed: int = 0
    media: bool = False
    together: bool = False
    """Dispatch, followup and publish workers, each a process of its own, are forked from one parent that has loaded
    everything (as in the stack's compact shape): who was killed is back at once, where a new Python costs 1.5 s."""
    pairs: bool = False
    """Two beats and two dispatchers, as on two machines."""
    hosts: tuple[str, ...] = ()
    """Each of these gets its share of the publish workers, and its own dispatch, followup and beat."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="sx-crash-"))
        self.folder.chmod(0o755)  # as root, Postgres runs as another user and has to pass through
        self.state = self.folder / "failpoints"
        self.rules = self.folder / "rules.json"
        self.children: dict[str, Child] = {}
        self._keeping = threading.Event()
        self._lock = threading.Lock()
        self._before = dict(os.environ)
        self.stack = EmbeddedStack(self.folder / "home")
        try:
            self.info = self.stack.start(self.services)
            self._prepare()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- life -----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        from db import migrate

        site = install(self.folder / "site")
        shutil.copy(Path(__file__).with_name("startup.py"), site / "sitecustomize.py")
        port = self.stack.open().port("emulator")
        self.page = f"http://127.0.0.1:{port}"
        told = {
            "SCHEDULERX_HOME": str(self.stack.home),
            "SCHEDULERX_SPOOL_ID": "crash",
            "SCHEDULERX_LOG_FORMAT": "json",
            "SCHEDULERX_CHAOS": "1",
            "SCHEDULERX_FAILPOINTS": str(self.rules),
            "SCHEDULERX_FAILPOINTS_STATE": str(self.state),
            "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
            **{f"SCHEDULERX_{name.upper()}_API_URL": self.page for name in PLATFORMS},
            **SHORT,
            **self.settings,
        }
        # Compiled modules are kept, whatever the caller's environment says: each start would compile all of ours anew.
        clean = {name: value for name, value in os.environ.items() if not name.startswith((*OURS, "PYTHONDONTWRITE"))}
        self.env = {**clean, **told}
        for name in [name for name in os.environ if name.startswith(OURS)]:
            del os.environ[name]
        # This process is a user's script: it must not be struck.
        os.environ.update({name: value for name, value in told.items() if "FAILPOINTS" not in name})
        sys.path.insert(0, str(site))
        self._site = str(site)
        forget_settings()
        migrate.upgrade(str(self.info.database_url))
        self.engine = create_engine(str(self.info.database_url), poolclass=NullPool)
        emulator = [sys.executable, "-m", "tests.crash.emulator", "--port", str(port), "--data",
                    str(self.folder / "emulator"), "--seed", str(self.seed)]  # fmt: skip
        self._add("emulator", emulator)
        self.start("emulator")
        self.emulator_answers()
        if self.hosts:
            for host in self.hosts:
                self._machine(host)
        elif self.together:
            self._beat("beat")
            self._family()
        else:
            self._beat("beat")
            self._worker("dispatch", slots=2)
            if self.pairs:
                self._beat("beat-1")
                self._worker("dispatch-1", slots=2)
            self._worker("followup", slots=4)
            for number in range(self.publishers):
                self._worker(f"publish-{number}", slots=self.publish_slots)
        if self.media:
            self._worker("media", slots=1, CRASH_FETCHES_HERE="1")
            self._worker("upload", slots=4)
        threading.Thread(target=self._keep, name="keeper", daemon=True).start()

    def _machine(self, host: str) -> None:
        """Everything that makes and publishes posts, on a machine of that name with a folder of its own."""
        info, own = self.info, self.folder / host
        own.mkdir()
        env = {
            "CRASH_HOST": host,
            "SCHEDULERX_HOME": str(own),
            "SCHEDULERX_SPOOL_ID": host,
            "DATABASE_URL": str(info.database_url),
            "REDIS_URL": str(info.redis_url),
            "SCHEDULERX_SECRET_KEY": read_secret_key(self.stack.home) or "",
        }
        self._beat(f"beat-{host}", **env)
        self._worker(f"dispatch-{host}", slots=2, **env)
        self._worker(f"followup-{host}", slots=4, **env)
        for number in range(self.publishers):
            self._worker(f"publish-{host}-{number}", slots=self.publish_slots, **env)

    def _beat(self, name: str, **env: str) -> None:
        self._add(name, self._as_in_the_stack("beat", **{"--schedule": str(self.folder / name)}), **env)

    def _worker(self, name: str, *, slots: int, **env: str) -> None:
        """A worker of the queue that its name begins with, as the stack starts it, with fewer slots."""
        queue, _, which = name.partition("-")
        node = f"{queue}@{which}-%h" if which else f"{queue}@%h"
        self._add(name, self._as_in_the_stack(queue, **{"-n": node, "-c": str(slots)}), **env)

    def _family(self) -> None:
        """All that publishes, from one parent. It forks anew whatever died, at once (tests/crash/startup.py)."""
        flags = {"-c": str(self.publishers * self.publish_slots), "--processes": str(self.publishers)}
        argv = self._as_in_the_stack("publish", **flags)
        self._add("family", [*argv, "--beside", "dispatch:2:dispatch", "--beside", "followup:4:followup"],
                  CRASH_FORKS_AT_ONCE="1")  # fmt: skip

    def _as_in_the_stack(self, program: str, **flags: str) -> list[str]:
        """The command that the stack runs for it, with other values for these flags."""
        programs = default_programs(
            beat_schedule="", spool_id=self.env["SCHEDULERX_SPOOL_ID"], cores="1", flower_port=None
        )
        argv = list(next(one.argv for one in programs if one.name == program))
        for flag, value in {**({"--processes": str(self.family)} if "--processes" in argv else {}), **flags}.items():
            argv[argv.index(flag) + 1] = value
        return argv

    def _add(self, name: str, argv: Sequence[str], **env: str) -> None:
        self.children[name] = Child(name, argv, {**self.env, **env}, self.folder / f"{name}.log")

    def start(self, *names: str) -> None:
        """Starts these programs; none named: all that do not run."""
        with self._lock:
            for name in names or list(self.children):
                if self.children[name].pid is None:
                    self.children[name].launch()

    def stop(self, *names: str) -> None:
        """Ends these programs, and leaves them so."""
        with self._lock:
            for name in names:
                self.children[name].end()

    def restart_softly(self, name: str, seconds: float) -> int:
        """Asks one program to end, as a person or a service manager would, and starts it again; its exit code.

        :raises RigBroken: it does not end in time.
        """
        child = self.children[name]
        with self._lock:
            child.asked_to_end = child.signal(signal.SIGTERM)
        wait_for(f"{name} to end", seconds, lambda: child.pid is None)
        code = child.process.returncode if child.process is not None else 0
        self.start(name)
        return code

    def _keep(self) -> None:
        """Starts again whatever has died; a stopped process is not dead."""
        while not self._keeping.wait(0.1):
            with self._lock:
                for child in self.children.values():
                    if child.wanted and child.pid is None and not child.asked_to_end:
                        child.deaths += 1
                        ended = child.process.returncode if child.process is not None else 0
                        child.failures = child.failures + 1 if ended > 0 else 0
                        child.launch()

    def check(self) -> None:
        """:raises RigBroken: a program ends by itself again and again (nobody killed it)."""
        for child in self.children.values():
            if child.failures >= FAILURES:
                tail = child.log.read_text(errors="replace")[-3000:]
                raise RigBroken(f"{child.name} ends by itself, again and again:\n{tail}")

    def close(self) -> None:
        """Ends everything, in an order that leaves nobody waiting. A second Ctrl-C does not leave half of it behind."""
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                self._close()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        else:
            self._close()

    def _close(self) -> None:
        self._keeping.set()
        with self._lock:
            for child in self.children.values():
                child.end()
        forget_settings()
        if hasattr(self, "engine"):
            self.engine.dispose()
        self.stack.stop(hurry=True)
        os.environ.clear()
        os.environ.update(self._before)
        if getattr(self, "_site", None) in sys.path:
            sys.path.remove(self._site)
        forget_settings()
        if os.environ.get("KEEP_CRASH_FOLDER") != "1":
            shutil.rmtree(self.folder, ignore_errors=True)

    def service(self, name: str) -> Service:
        """An embedded service."""
        return next(one for one in self.stack.services if one.name == name)

    def start_service(self, name: str, *, tries: int = 20) -> None:
        """Starts a service that was killed; its leftovers may need a moment to go."""
        for left in reversed(range(tries)):
            try:
                self.service(name).start()
            except StackError:
                if not left:
                    raise
                time.sleep(0.3)
            else:
                return

    # --- what happened --------------------------------------------------------------------------------------

    def arm(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Puts these failpoints in force, in every process."""
        part = self.rules.with_suffix(".part")
        part.write_text(json.dumps(list(rules)), encoding="utf-8")
        part.replace(self.rules)

    def strikes(self) -> list[dict[str, Any]]:
        """What has struck so far."""
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.state / "strikes.jsonl").read_text().splitlines()]
        return []

    def control(self, path: str, body: Any = None) -> Any:
        """One of the emulator's own calls."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.page}/_sandbox/{path}", data, {"Content-Type": "application/json"})  # noqa: S310 - our own emulator on loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own emulator on loopback
            return json.load(answer)

    def emulator_answers(self) -> None:
        """Waits until the judge answers."""

        def look() -> bool:
            try:
                return bool(self.control("settings"))
            except OSError:
                return False

        wait_for("the emulator", START_S, look)

    def judge(self) -> Judge:
        """What the platforms have taken so far."""
        return Judge(self.control("accepted"))

    def judged(self) -> dict[tuple[str, str], int]:
        """(platform:account, text) -> how often it was accepted."""
        return self.judge().rest()

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows of the database."""
        with self.engine.begin() as conn:
            return list(conn.execute(text(query), values).all())

    def run(self, query: str, **values: Any) -> int:
        """Changes rows; how many."""
        with self.engine.begin() as conn:
            return conn.execute(text(query), values).rowcount

    def wait_final(self, seconds: float, *, progress: Callable[[int], None] | None = None) -> int:
        """Waits until no post is under way; how many still are when time is up."""
        end = time.monotonic() + seconds
        while True:
            self.check()
            left = -1
            with contextlib.suppress(DBAPIError):
                [row] = self.rows(
                    "SELECT count(*) AS n FROM scheduled_posts WHERE status = ANY(:open)", open=list(OPEN)
                )
                left = row.n
            if progress is not None:
                progress(left)
            if left == 0 or time.monotonic() > end:
                return int(left)
            time.sleep(0.25)

    def account(self, name: str, **credentials: str) -> None:
        """Adds ``platform:name``, whose token the emulator knows by its form."""
        from scheduler import accounts
        from scheduler.api import database
        from scheduler.settings import current

        platform, _, short = name.partition(":")
        token = {"access_token": f"sandbox-{platform}-{short}"}
        with database() as conn:
            accounts.add(conn, current(), platform, short, {**token, **credentials})
            row = accounts.find(conn, name)
        identity = accounts.identify(current(), row)
        with database() as conn:
            accounts.keep_identity(conn, row.id, identity)


def forget_settings() -> None:
    """Drops what this process remembers of settings and connections."""
    from db import session
    from platforms import registry
    from scheduler import api
    from scheduler.settings import current
    from workers import context

    current.cache_clear()
    context.store.cache_clear()
    session.close()
    api._ready.clear()
    registry.names.cache_clear()
    registry.get.cache_clear()
