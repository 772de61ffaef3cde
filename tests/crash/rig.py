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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from stack.embedded import EmbeddedStack
from stack.home import StackError
from stack.service import Service
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
    "SCHEDULERX_SEND_MARGIN_SECONDS": "1",
    "SCHEDULERX_QUARANTINE_SECONDS": "2",
    "SCHEDULERX_BACKOFF_SECONDS": "0.5",
    "SCHEDULERX_BACKOFF_MAX_SECONDS": "4",
    "SCHEDULERX_MAX_CLAIMS": "6",
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

    def launch(self) -> None:
        """Starts it, once more."""
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.argv, env=dict(self.env), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.wanted = True

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal, if it runs. Its own children (a pool of processes) get a kill as well."""
        if self.process is None or self.process.poll() is not None:
            return False
        if number is signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)  # the session is its own: nobody else is in it
        else:
            self.process.send_signal(number)
        return True

    def end(self) -> None:
        """Ends it for good."""
        self.wanted = False
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


@dataclass
class Rig:
    """The whole installation, with short leases, pointed at the emulator."""

    settings: Mapping[str, str] = field(default_factory=dict)
    publishers: int = 4
    publish_slots: int = 1
    services: frozenset[str] = frozenset({"postgres", "valkey"})
    seed: int = 0
    media: bool = False
    pairs: bool = False
    """Two beats and two dispatchers, as on two machines."""

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
            "PYTHONDONTWRITEBYTECODE": "1",
            **{f"SCHEDULERX_{name.upper()}_API_URL": self.page for name in PLATFORMS},
            **SHORT,
            **self.settings,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
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
        celery = (sys.executable, "-m", "celery", "--quiet", "-A", "workers.app")
        self._add("beat", [*celery, "beat", "--schedule", str(self.folder / "beat"), "--pidfile="])

        def worker(name: str, queues: str, pool: str, slots: int) -> None:
            self._add(name, [*celery, "worker", "-n", f"{name.replace('-', '@')}-%h" if "-" in name else f"{name}@%h",
                             "-Q", queues, "-P", pool, "-c", str(slots), "--without-gossip",
                             "--without-mingle"])  # fmt: skip

        worker("dispatch", "dispatch", "threads", 2)
        if self.pairs:
            self._add("beat-1", [*celery, "beat", "--schedule", str(self.folder / "beat-1"), "--pidfile="])
            worker("dispatch-1", "dispatch", "threads", 2)
        worker("followup", "followup", "threads", 4)
        for number in range(self.publishers):
            worker(f"publish-{number}", "publish", "threads", self.publish_slots)
        if self.media:
            worker("media", "media", "prefork", 1)
            worker("upload", "upload,upload.crash", "threads", 4)
        threading.Thread(target=self._keep, name="keeper", daemon=True).start()

    def _add(self, name: str, argv: Sequence[str]) -> None:
        self.children[name] = Child(name, argv, self.env, self.folder / f"{name}.log")

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

    def _keep(self) -> None:
        """Starts again whatever has died; a stopped process is not dead."""
        while not self._keeping.wait(0.1):
            with self._lock:
                for child in self.children.values():
                    if child.wanted and child.pid is None:
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

    def judged(self) -> dict[tuple[str, str], int]:
        """(platform:account, text) -> how often it was accepted."""
        counts: dict[tuple[str, str], int] = {}
        for post in self.control("accepted"):
            key = (f"{post['platform']}:{post['account']}", post["content"]["text"])
            counts[key] = counts.get(key, 0) + 1
        return counts

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

    def account(self, name: str) -> None:
        """Adds ``platform:name``, whose token the emulator knows by its form."""
        from scheduler import accounts
        from scheduler.api import database
        from scheduler.settings import current

        platform, _, short = name.partition(":")
        with database() as conn:
            accounts.add(conn, current(), platform, short, {"access_token": f"sandbox-{platform}-{short}"})
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


@contextlib.contextmanager
def armed_workers(rig: Rig, rules: Sequence[Mapping[str, Any]]) -> Iterator[Rig]:
    """All programs run with these failpoints."""
    rig.arm(rules)
    rig.start()
    yield rig
