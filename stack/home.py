"""The data folder: where the embedded stack keeps everything, and how others find it.

Layout of a home:

    stack.json         where the services are (0600: it holds their passwords); read by every script
    credentials.json   ports and passwords chosen at the first start and kept (0600)
    secret.key         the Fernet key for account credentials (0600), made once
    supervisor.lock    held (flock) by whoever runs the stack; contains the holder's pid
    postgres/ valkey/ objects/ beat/ log/

Only the standard library is imported at the top: `load_stack` is on the path of every script that
schedules a post.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STACK_VERSION = 1
MARKS = frozenset({"supervisor.lock", "credentials.json", "stack.json", "secret.key"})
"""A folder with one of these is a home of ours."""
LAYOUT = frozenset({"log", "beat", "spool", "runtime", "postgres", "valkey", "objects"})
HOME_VARIABLE = "SCHEDULERX_HOME"
SECRET_VARIABLE = "SCHEDULERX_SECRET_KEY"  # noqa: S105 - the name of a variable, not a secret
ROOT_HOME = Path("/var/lib/schedulerx")


class StackError(RuntimeError):
    """The embedded stack cannot do what was asked; the message says what to do about it."""


class StackRefusedError(StackError):
    """It was not even begun: the data folder, a port or a setting is not fit for it."""


class HomeBusyError(StackRefusedError):
    """Another process runs the stack of this home."""


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """How to reach the S3 store, in the words of the R2_* settings."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    bucket: str

    def __repr__(self) -> str:
        return f"ObjectStore({self.endpoint_url!r}, bucket={self.bucket!r})"


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as it was when we started it. A pid alone proves nothing: pids are used again."""

    pid: int
    create_time: float


@dataclass(frozen=True, slots=True)
class StackInfo:
    """Where the services of one home are. It outlives a stop, since addresses and passwords are kept:
    a script that finds it while nothing runs gets "connection refused", not "no database set"."""

    database_url: str | None = None
    redis_url: str | None = None
    r2: ObjectStore | None = None
    flower_url: str | None = None
    pids: dict[str, ProcessRecord] = field(default_factory=dict)

    def __repr__(self) -> str:
        # Passwords are part of the URLs: never let this object print itself in full.
        parts = [name for name in ("database_url", "redis_url", "r2", "flower_url") if getattr(self, name)]
        return f"StackInfo({', '.join(parts)}; {len(self.pids)} processes)"


def given(environment: Mapping[str, str], name: str) -> str | None:
    """A variable's value, or None. An empty one is what a shell, compose or an env file makes of "not set"."""
    return environment.get(name, "").strip() or None


def home_of(words: str) -> Path:
    """The folder that somebody named, absolute; the usual one where nothing was named."""
    if not words.strip():
        return _usual_home()
    try:
        return Path(words.strip()).expanduser().absolute()
    except RuntimeError as error:
        raise StackRefusedError(f"{HOME_VARIABLE}: {words!r} names a user who has no home") from error


def default_home() -> Path:
    """SCHEDULERX_HOME, or the platform's usual place for a user's data (/var/lib/schedulerx for root)."""
    return home_of(os.environ.get(HOME_VARIABLE, ""))


def _usual_home() -> Path:
    if os.geteuid() == 0:
        return ROOT_HOME
    import platformdirs  # not at the top: scripts that set SCHEDULERX_HOME never need it

    return Path(platformdirs.user_data_dir("schedulerx"))


def prepare_home(home: Path) -> Path:
    """Create the folder with tight permissions and return its absolute path.

    A folder that is there keeps its mode, but for two things: nobody else may write into it any more, and root's may be
    passed through. What is put into it is private by itself.

    Root's home is 0711: Postgres refuses to run as root, and its own user must be able to pass through
    to its folder, but not to list what else is there.

    :raises StackRefusedError: the folder cannot be made, or is none that a stack may live in.
    """
    home = home.expanduser().absolute()
    try:
        _make(home)
    except OSError as error:
        raise StackRefusedError(
            f"the data folder {home} cannot be created ({error.strerror}); "
            f"set {HOME_VARIABLE} to a folder that you may write to"
        ) from error
    try:
        _require_fit(home)
        for name in ("log", "beat"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StackRefusedError(
            f"the data folder {home} cannot be used ({error.strerror}); "
            f"make it yours to read and write, or set {HOME_VARIABLE} to another folder"
        ) from error
    return home


def _make(home: Path) -> None:
    try:
        home.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        if not home.is_dir():
            raise StackRefusedError(f"the data folder {home} is a file; set {HOME_VARIABLE} to a folder") from error
    else:
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _require_fit(home: Path) -> None:
    """Ours, not full of somebody's files, and from then on writable by nobody else."""
    status = home.stat()
    if status.st_uid != os.geteuid():
        raise StackRefusedError(
            f"the data folder {home} belongs to another user (uid {status.st_uid}); "
            f"run as that user, or set {HOME_VARIABLE} to a folder of your own"
        )
    names = {entry.name for entry in home.iterdir()}
    if not names & MARKS and (foreign := sorted(names - LAYOUT - {"lost+found"})):
        raise StackRefusedError(
            f"the data folder {home} has other files in it ({', '.join(foreign[:3])}{', ...' if foreign[3:] else ''}); "
            f"set {HOME_VARIABLE} to a folder for SchedulerX alone, for example {home / 'schedulerx'}"
        )
    # Who could write into it could exchange the secret key; and as root, Postgres's own user has to pass through.
    wanted = stat.S_IMODE(status.st_mode) & ~0o022 | (0o011 if os.geteuid() == 0 else 0)
    if wanted != stat.S_IMODE(status.st_mode):
        home.chmod(wanted)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only, and on disk before this returns."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp: 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save_stack(home: Path, info: StackInfo) -> None:
    """Write stack.json."""
    write_private(home / "stack.json", json.dumps({"version": STACK_VERSION, **asdict(info)}, indent=2) + "\n")


def load_stack(home: Path) -> StackInfo | None:
    """What stack.json says, or None where there is none (or none that this user may read).

    :raises StackError: it is damaged, or of another version.
    """
    path = home / "stack.json"
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        version = data["version"]
        if version == STACK_VERSION:
            return _described(data)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StackError(f"{path} is damaged; `schedulerx up` writes it again") from error
    raise StackError(
        f"{path} was written by another version of SchedulerX "
        f"(format {version}, this one reads {STACK_VERSION}); `schedulerx up` writes it again"
    )


def _described(data: dict[str, Any]) -> StackInfo:
    """The description as it was saved. Raises TypeError, LookupError or AttributeError where it is another shape."""
    words = {name: data.get(name) for name in ("database_url", "redis_url", "flower_url")}
    r2 = data.get("r2")
    store = ObjectStore(**r2) if r2 else None
    texts = [*words.values(), *(asdict(store).values() if store else ())]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise TypeError("an address is a text")
    return StackInfo(**words, r2=store, pids=_records(data))


def _records(data: dict[str, Any]) -> dict[str, ProcessRecord]:
    found = {}
    for name, record in (data.get("pids") or {}).items():
        found[name] = ProcessRecord(pid=int(record["pid"]), create_time=float(record["create_time"]))
    return found


def recorded_pids(home: Path) -> dict[str, ProcessRecord]:
    """The processes that an earlier run wrote down, as far as that can be read: whatever version wrote it, and
    whatever became of the rest. A record proves itself by its birth time, so one that is wrong does no harm."""
    try:
        return _records(json.loads((home / "stack.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def read_secret_key(home: Path) -> str | None:
    """The home's Fernet key, or None where none was made (or this user may not read it)."""
    path = home / "secret.key"
    try:
        key = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    if len(key) != 44:
        raise StackError(
            f"{path} does not hold a key. Without the right one the stored account credentials cannot be "
            f"read: put the file back from a backup, or remove it and connect the accounts again"
        )
    return key


def ensure_secret_key(home: Path) -> str:
    """The home's Fernet key, made at the first call.

    32 random bytes in URL-safe base64 is the whole of a Fernet key. Making it here rather than with
    `Fernet.generate_key()` (the same line) keeps OpenSSL out of the supervisor's memory.
    """
    key = read_secret_key(home)
    if key is None:
        key = base64.urlsafe_b64encode(os.urandom(32)).decode("ascii")
        write_private(home / "secret.key", key + "\n")
    return key


def killed_holder(home: Path) -> int | None:
    """The pid of whoever ran the stack and died without letting go of the lock (kill -9). None: it runs, or has
    ended in order, or this user may not look."""
    try:
        descriptor = os.open(home / "supervisor.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for a moment, within the patience of `acquire`
        return int(os.pread(descriptor, 64, 0))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


class HomeLock:
    """An exclusive lock on a home. The kernel drops it when the holder dies, kill -9 included."""

    def __init__(self, home: Path) -> None:
        self.path = home / "supervisor.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or say who holds it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A holder that is just starting has not written its pid yet, and one that is being killed
        # needs a moment to let go: a short patience tells both from a real holder.
        deadline = time.monotonic() + 0.5
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise HomeBusyError(
                    f"the stack in {self.path.parent} is already run by process {holder}; "
                    f"stop it first, or set {HOME_VARIABLE} to another folder"
                ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two holders lock two files."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
