"""Failpoints are off unless two variables agree, cost next to nothing then, and strike as often as told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from db import failpoints


@pytest.fixture
def arm(monkeypatch, tmp_path):
    def armed(*rules):
        monkeypatch.setattr(failpoints, "ARMED", failpoints.Plan(json.dumps(rules), tmp_path))
        return tmp_path

    return armed


def environment(monkeypatch, **values):
    for name in (failpoints.RULES, failpoints.STATE, failpoints.GUARD, failpoints.NAIVE):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_nothing_is_armed_in_normal_use(monkeypatch):
    environment(monkeypatch)
    assert failpoints._from_environment() is None
    assert not failpoints.naive_resend()


def test_rules_without_the_guard_are_refused_loudly(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(failpoints._log, "warning", lambda words, *_: said.append(words))
    environment(monkeypatch, SCHEDULERX_FAILPOINTS="[]", SCHEDULERX_FAILPOINTS_STATE=str(tmp_path))
    assert failpoints._from_environment() is None
    assert "FAILPOINTS REFUSED" in said[0]


def test_the_guard_alone_arms_nothing(monkeypatch):
    environment(monkeypatch, SCHEDULERX_CHAOS="1")
    assert failpoints._from_environment() is None


def test_naive_resend_needs_the_guard(monkeypatch):
    environment(monkeypatch, SCHEDULERX_CHAOS_NAIVE_RESEND="1")
    assert not failpoints.naive_resend()
    monkeypatch.setenv("SCHEDULERX_CHAOS", "1")
    assert failpoints.naive_resend()


def test_an_unarmed_point_costs_next_to_nothing(monkeypatch):
    monkeypatch.setattr(failpoints, "ARMED", None)
    best = min(timeit.repeat(lambda: failpoints.hit("intent.after_commit"), number=20_000, repeat=5)) / 20_000
    assert best < 2e-6  # measured: 0.05 microseconds; the margin is for a busy machine


def test_a_rule_strikes_as_often_as_it_says_also_after_a_restart(arm):
    rule = {"name": "a.*", "action": "raise", "count": 2}
    folder = arm(rule)
    for _ in range(2):
        with pytest.raises(failpoints.Struck, match=r"a\.\*"):
            failpoints.hit("a.b")
    failpoints.hit("a.b")
    failpoints.hit("b.a")
    arm(rule)  # a new process with the same folder
    failpoints.hit("a.b")
    strikes = [json.loads(line) for line in (folder / "strikes.jsonl").read_text().splitlines()]
    assert [(one["name"], one["pid"]) for one in strikes] == [("a.b", os.getpid())] * 2


def test_a_rule_may_be_about_one_subject_and_pass_some_hits(arm):
    arm({"name": "a", "action": "raise", "subject": 7, "skip": 1})
    failpoints.hit("a", 6)
    failpoints.hit("a", 7)
    failpoints.about(7)
    with pytest.raises(failpoints.Struck):
        failpoints.hit("a")
    failpoints.about(None)


def test_a_rule_may_be_about_one_part_of_a_thread(arm):
    folder = arm({"name": "a", "action": "raise", "subject": 7, "part": 1, "count": None})
    for part in (None, 0, 2):
        failpoints.about(7, part)
        failpoints.hit("a")
    failpoints.about(7, 1)
    failpoints.hit("a", 7)  # a place that says itself what it is about knows of no part
    with pytest.raises(failpoints.Struck):
        failpoints.hit("a")
    failpoints.about(None)
    assert [json.loads(line)["part"] for line in (folder / "strikes.jsonl").read_text().splitlines()] == [1]


def test_a_file_of_rules_is_read_again_when_it_changes(monkeypatch, tmp_path):
    rules = tmp_path / "rules.json"
    plan = failpoints.Plan(str(rules), tmp_path)
    plan.hit("a", None, None)
    rules.write_text('[{"name": "a", "action": "raise"}]')
    with pytest.raises(failpoints.Struck):
        plan.hit("a", None, None)


def test_an_unknown_action_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such action"):
        failpoints.Plan('[{"name": "a", "action": "explode"}]', tmp_path)


def test_cut_shuts_the_socket_that_it_is_given(arm):
    arm({"name": "a", "action": "cut"})
    here, there = socket.socketpair()
    with here, there:
        failpoints.hit("a", handle=here)
        assert there.recv(1) == b""


RUN = "import sys; from db import failpoints; failpoints.hit('a'); sys.stdout.write('lived')"


def child(tmp_path: Path, rule: dict[str, object]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SCHEDULERX_CHAOS": "1", "SCHEDULERX_FAILPOINTS": json.dumps([rule]),
           "SCHEDULERX_FAILPOINTS_STATE": str(tmp_path / "state")}  # fmt: skip
    return subprocess.run([sys.executable, "-c", RUN], env=env, capture_output=True, text=True, check=False, timeout=60)


def test_kill_ends_the_process_once(tmp_path):
    first = child(tmp_path, {"name": "a", "action": "kill"})
    assert (first.returncode, first.stdout) == (-signal.SIGKILL, "")
    assert "FAILPOINTS ARMED" in first.stderr
    assert child(tmp_path, {"name": "a", "action": "kill"}).stdout == "lived"


def test_stop_stops_the_whole_process_and_wakes_it(tmp_path):
    assert child(tmp_path, {"name": "a", "action": "stop", "seconds": 0.2}).stdout == "lived"


@contextlib.contextmanager
def committing():
    """As ``db.session.transaction``."""
    yield
    failpoints.hit("commit.after", failpoints.asker())


@contextlib.contextmanager
def wrapped():
    with committing():
        yield


def test_a_commit_is_told_apart_by_who_wrote_the_with(arm):
    folder = arm({"name": "commit.after", "action": "pause", "seconds": 0, "count": None})

    def inner():
        with wrapped(), contextlib.nullcontext():
            pass

    with committing():
        inner()
    said = [json.loads(line)["subject"] for line in (folder / "strikes.jsonl").read_text().splitlines()]
    here = f"{__name__}.test_a_commit_is_told_apart_by_who_wrote_the_with"
    assert said == [f"{here}.inner", here]
