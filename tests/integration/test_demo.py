"""The demo, as a newcomer sees it: everything started, published, stopped; nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scheduler.cli.demo_posts import PLATFORMS, VIDEO_TO

pytestmark = pytest.mark.timeout(240)

NAMES = {
    "id", "post_id", "account", "platform", "status", "due_at", "lateness_s", "attempts", "remote_id", "url",
    "error_code", "error_message",
}  # fmt: skip
"""What others rely on in ``demo.json``."""


def test_the_demo_publishes_all_writes_its_file_and_leaves_no_process(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SCHEDULERX_", "R2_"))}
    mark = f"demo-test-{os.getpid()}"
    env["DEMO_TEST_MARK"] = mark
    done = subprocess.run([sys.executable, "-m", "scheduler.cli.main", "demo", "--posts", "1"], cwd=tmp_path, env=env,
                          capture_output=True, text=True, timeout=200, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().splitlines()[-1] == "published 12 of 12"
    rows = json.loads((tmp_path / "demo.json").read_text())
    assert {row["status"] for row in rows} == {"published"}
    # A picture and a video to all six.
    assert sorted(row["platform"] for row in rows) == sorted([*PLATFORMS, *VIDEO_TO])
    for row in rows:
        assert set(row) >= NAMES
        assert row["lateness_s"] is not None
        assert row["url"]
        assert row["test_api_url"]
    assert "Flower was at http" in done.stdout
    assert "The profiles with the pictures were at http" in done.stdout
    left = [process for process in psutil.process_iter() if _has(process, mark)]
    assert left == []


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("DEMO_TEST_MARK") == mark
    except psutil.Error:
        return False
