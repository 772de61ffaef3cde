"""Ports and passwords: chosen at the first start, kept for ever after.

They are kept so that a script, a shell or a note with the address still works after a restart.
A port that somebody else took in the meantime is replaced; nothing else ever changes.
"""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path
from typing import Any

from .home import StackError, StackRefusedError, write_private

# Below the range from which the kernel takes ports for outgoing connections (32768 on Linux, 49152 on
# macOS): a port from there could be in use by anybody's browser at the next start.
LOWEST_PORT, HIGHEST_PORT = 20_000, 32_000


def port_is_free(port: int) -> bool:
    """Whether somebody could listen on this port of 127.0.0.1 now."""
    return why_not_listen("127.0.0.1", port) is None


def why_not_listen(host: str, port: int) -> str | None:
    """What keeps a server from listening there, in the system's words; None: nothing does."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections of the last run may linger in TIME_WAIT; servers ignore them by this option too.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)  # on Linux a bind may succeed beside a listener, the listen does not
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A random free port. Random, so that stacks that start at the same moment rarely meet."""
    for _ in range(1_000):
        port = LOWEST_PORT + secrets.randbelow(HIGHEST_PORT - LOWEST_PORT)
        if port not in avoid and port_is_free(port):
            return port
    raise StackError(f"no free port between {LOWEST_PORT} and {HIGHEST_PORT} on 127.0.0.1")


class Credentials:
    """The kept file. Every change is on disk before the caller goes on."""

    def __init__(self, home: Path) -> None:
        self.path = home / "credentials.json"
        self._values: dict[str, str] = {}
        try:
            self._values = _kept(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except ValueError as error:
            raise StackRefusedError(f"{self.path} is damaged; remove it and the next start makes new ones") from error

    def _keep(self, name: str, value: str) -> str:
        self._values[name] = value
        write_private(self.path, json.dumps(self._values, indent=2) + "\n")
        return value

    def secret(self, name: str, *, length: int = 32) -> str:
        """A random word of letters and digits only: it goes into URLs, config files and CSV alike."""
        return self._values.get(name) or self._keep(name, secrets.token_hex(length // 2))

    def has(self, name: str) -> bool:
        """Whether it was chosen before."""
        return name in self._values

    def port(self, name: str) -> int:
        """The service's port: the kept one if it is still free, else another one."""
        kept = self._values.get(f"{name}.port")
        if kept and port_is_free(int(kept)):
            return int(kept)
        return self.another_port(name)

    def another_port(self, name: str) -> int:
        """Choose again, away from the ports that our other services keep."""
        ours = frozenset(int(value) for key, value in self._values.items() if key.endswith(".port"))
        return int(self._keep(f"{name}.port", str(free_port(ours))))


def _kept(values: Any) -> dict[str, str]:
    """The file's content. Raises ValueError where it is not what we write."""
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("not an object of texts")
    for name, value in values.items():
        if name.endswith(".port"):
            int(value)
    return values
