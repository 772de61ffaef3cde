"""OpenStack Swift with its S3 API, installed once and started on this machine: a store that is strict.

It enforces digests, part sizes and signatures, which rclone does not. Nothing of it is part of the project.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("swift==2.38.0", "setuptools<81")
KEY, SECRET = "test:tester", "testing"
_FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "healthcheck": "",
    "listing_formats": "",
    "s3api": "location = auto\ns3_acl = false\nallow_multipart_uploads = true\nmin_segment_size = 5242880\n"
    "dns_compliant_bucket_names = true\ncheck_bucket_owner = false",
    "tempauth": "user_test_tester = testing .admin",
    "copy": "",
    "bulk": "",
    "slo": "",
    "dlo": "",
}


class NotInstallable(Exception):
    """Swift cannot be had here; the text says why."""


def programs() -> Path:
    """The folder of Swift's programs, installed beside the cache of the user. :raises NotInstallable: with why."""
    if sys.platform != "linux":
        raise NotInstallable("Swift runs on Linux only")
    default = Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "schedulerx-tests" / "swift"
    folder = Path(os.environ.get("SCHEDULERX_TEST_SWIFT", str(default)))
    if not (folder / "bin" / "swift-proxy-server").exists():
        try:
            venv.create(folder, with_pip=True)
            command = [str(folder / "bin" / "pip"), "install", "-q", *PACKAGES]
            subprocess.run(command, check=True, capture_output=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotInstallable(f"Swift could not be installed: {type(error).__name__}") from None
    return folder / "bin"


def _ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


@contextmanager
def running(root: Path) -> Iterator[str]:
    """The endpoint of a server that keeps its files in ``root``. :raises NotInstallable: it does not start."""
    binaries = programs()
    etc = root / "etc"
    for folder in (etc, root / "node" / "d1"):
        folder.mkdir(parents=True)
    ports = dict(zip(("proxy", "account", "container", "object"), _ports(4), strict=True))
    common = f"[DEFAULT]\nbind_ip = 127.0.0.1\nworkers = 0\nuser = {getpass.getuser()}\nswift_dir = {etc}\n"
    common += "log_address = /nonexistent\nlog_level = ERROR\n"
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"
        "[storage-policy:0]\nname = gold\ndefault = yes\n[swift-constraints]\nmax_meta_value_length = 2048\n"
    )
    for name in ("account", "container", "object"):
        builder = [str(binaries / "swift-ring-builder"), f"{name}.builder"]
        for step in (
            ["create", "6", "1", "1"],
            ["add", f"r1z1-127.0.0.1:{ports[name]}/d1", "1"],
            ["rebalance"],
        ):
            subprocess.run([*builder, *step], cwd=etc, check=True, capture_output=True)
        (etc / f"{name}.conf").write_text(
            f"{common}bind_port = {ports[name]}\ndevices = {root / 'node'}\nmount_check = false\n"
            f"fallocate_reserve = 0\nrecon_cache_path = {root}\n[pipeline:main]\npipeline = {name}-server\n"
            f"[app:{name}-server]\n"
            f"use = egg:swift#{name}\nauto_create_account_prefix = .\n"
        )
    filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n{more}\n" for name, more in _FILTERS.items())
    (etc / "proxy.conf").write_text(
        f"{common}bind_port = {ports['proxy']}\n[pipeline:main]\npipeline = {' '.join(_FILTERS)} proxy-server\n"
        f"[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true\n"
        + filters
    )
    started = []
    try:
        for name in ("account", "container", "object", "proxy"):
            command = [str(binaries / f"swift-{name}-server"), str(etc / f"{name}.conf")]
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for port in ports.values():
            _wait_for(port)
        yield f"http://127.0.0.1:{ports['proxy']}"
    finally:
        for one in reversed(started):
            one.terminate()
        for one in started:
            one.wait(20)


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise NotInstallable("Swift was installed but does not start")
