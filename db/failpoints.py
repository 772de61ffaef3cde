"""Failpoints: named places where a test may kill, stop, slow, break or cut off this very process.

``hit("intent.after_commit")`` does nothing, and costs one comparison, unless two environment variables agree:
``SCHEDULERX_FAILPOINTS`` (rules as JSON, or the path of a file that holds them) and ``SCHEDULERX_CHAOS=1``.
Without the second the first is refused, so that nobody arms them in production by accident.

A rule::

    {"name": "intent.*", "action": "kill", "subject": 17, "count": 1}

``name`` is a pattern. ``subject`` is what the place is about: mostly the id of a scheduled post. ``part`` is
the part of a thread of posts, from 0, where the place knows it. ``count`` is how often it strikes (None:
always), ``skip`` how many hits pass before, ``probability`` is for dice. The counters are files in
``SCHEDULERX_FAILPOINTS_STATE``, so that a process that is started again is not struck again; each strike is
also written to ``strikes.jsonl`` there.

This module imports nothing of ours: every layer may use it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import inspect
import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RULES = "SCHEDULERX_FAILPOINTS"
STATE = "SCHEDULERX_FAILPOINTS_STATE"
GUARD = "SCHEDULERX_CHAOS"
NAIVE = "SCHEDULERX_CHAOS_NAIVE_RESEND"

_log = logging.getLogger(__name__)


class Struck(RuntimeError):
    """What the action ``raise`` raises."""


def _kill(_rule: dict[str, Any], _handle: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _pause(rule: dict[str, Any], _handle: Any) -> None:
    """This thread sleeps; the rest of the process goes on."""
    time.sleep(float(rule["seconds"]))


def _stop(rule: dict[str, Any], _handle: Any) -> None:
    """The whole process is stopped and wakes later with everything it held: a suspended machine, a zombie."""
    shell = shutil.which("sh") or "/bin/sh"
    command = f"sleep {float(rule['seconds'])}; kill -CONT {os.getpid()}"
    # Never waited for: it ends by itself, long after it was needed.
    waker = subprocess.Popen([shell, "-c", command], start_new_session=True)
    _wakers.append(waker)
    # To this very thread, which the kernel then stops before it runs another line. Sent to the process, another
    # thread may be the one to take it, and this one gets as far as the next check, or past it.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _raise(rule: dict[str, Any], _handle: Any) -> None:
    raise Struck(str(rule["name"]))


def _cut(_rule: dict[str, Any], handle: Any) -> None:
    """Shuts the socket of a database connection or of a request; whoever uses it next finds it broken."""
    if handle is None:
        return
    shut = socket.socket(fileno=os.dup(_driver(handle).fileno()))
    try:
        shut.shutdown(socket.SHUT_RDWR)
    except OSError:
        _log.info("failpoint: there was nothing to cut")
    finally:
        shut.close()


def _lose_commit(rule: dict[str, Any], handle: Any) -> None:
    """Commits, then cuts the connection: the caller's own COMMIT gets no answer, although it took effect."""
    with _driver(handle).cursor() as cursor:
        cursor.execute("COMMIT")
    _cut(rule, handle)


def _driver(handle: Any) -> Any:
    """The driver's connection behind one of SQLAlchemy's; a socket is its own."""
    return getattr(getattr(handle, "connection", None), "driver_connection", None) or handle


ACTIONS: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "kill": _kill, "pause": _pause, "stop": _stop, "raise": _raise, "cut": _cut, "lose_commit": _lose_commit,
}  # fmt: skip
_wakers: list[subprocess.Popen[bytes]] = []
_here = threading.local()


class Plan:
    """The rules in force, and what is left of their counters."""

    def __init__(self, rules: str, state: Path) -> None:
        self._file = Path(rules) if rules.lstrip().startswith("/") else None
        self._seen_at = -1
        self._rules: list[dict[str, Any]] = [] if self._file else self._checked(rules)
        self._state = state
        self._dice = random.Random()  # noqa: S311 - chaos is seeded by whoever starts it, not here
        self._lock = threading.Lock()

    @staticmethod
    def _checked(words: str) -> list[dict[str, Any]]:
        rules: list[dict[str, Any]] = json.loads(words)
        for number, rule in enumerate(rules):
            if rule["action"] not in ACTIONS:
                raise ValueError(f"no such action: {rule['action']}; there are {', '.join(ACTIONS)}")
            rule.setdefault("id", f"{number}-{rule['name']}-{rule['action']}-{rule.get('subject', '')}")
        return rules

    def rules(self) -> list[dict[str, Any]]:
        """As they are now: a file is read again when it has changed."""
        if self._file is not None:
            try:
                changed_at = self._file.stat().st_mtime_ns
                if changed_at != self._seen_at:
                    self._rules = self._checked(self._file.read_text(encoding="utf-8"))
                    self._seen_at = changed_at
            except FileNotFoundError:
                self._rules = []
        return self._rules

    def hit(self, name: str, subject: Any, handle: Any, part: int | None = None) -> None:
        """Strikes, if a rule says so."""
        with self._lock:
            found = next((rule for rule in self.rules() if self._strikes(rule, name, subject, part)), None)
        if found is not None:
            self._note(found, name, subject, part)
            ACTIONS[found["action"]](found, handle)

    def _strikes(self, rule: dict[str, Any], name: str, subject: Any, part: int | None) -> bool:
        if not fnmatch.fnmatchcase(name, rule["name"]):
            return False
        if rule.get("subject") is not None and str(rule["subject"]) != str(subject):
            return False
        if rule.get("part") is not None and rule["part"] != part:
            return False
        if "probability" in rule and self._dice.random() >= rule["probability"]:
            return False
        if rule.get("skip") and self._take(f"skip-{rule['id']}", int(rule["skip"])):
            return False
        count = rule.get("count", 1)
        return count is None or self._take(str(rule["id"]), int(count))

    def _take(self, counter: str, count: int) -> bool:
        """Takes one of ``count`` places, shared by all processes and for ever; whether there was one."""
        safe = "".join(letter if letter.isalnum() else "_" for letter in counter)
        for place in range(count):
            try:
                os.close(os.open(self._state / f"{safe}.{place}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                continue
            return True
        return False

    def _note(self, rule: dict[str, Any], name: str, subject: Any, part: int | None) -> None:
        line = {"name": name, "action": rule["action"], "subject": subject, "part": part, "rule": rule["id"],
                "pid": os.getpid(), "at": time.time()}  # fmt: skip
        out = os.open(self._state / "strikes.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(out, (json.dumps(line) + "\n").encode())
        finally:
            os.close(out)


def _from_environment() -> Plan | None:
    """The plan that the environment asks for, if it is allowed to."""
    rules = os.environ.get(RULES)
    if not rules:
        return None
    state = os.environ.get(STATE)
    if os.environ.get(GUARD) != "1" or not state:
        _log.warning("FAILPOINTS REFUSED: %s is set, but not %s=1 and %s; nothing is armed", RULES, GUARD, STATE)
        return None
    Path(state).mkdir(parents=True, exist_ok=True, mode=0o700)
    _log.warning("FAILPOINTS ARMED: this process may kill itself. Never do this to real accounts (%s)", rules)
    return Plan(rules, Path(state))


ARMED: Plan | None = _from_environment()
"""None in all normal use."""


def hit(name: str, subject: Any = None, handle: Any = None) -> None:
    """A named place. ``handle`` is the connection (or socket) that ``cut`` would cut."""
    if ARMED is None:
        return
    own = subject is not None
    part = None if own else getattr(_here, "part", None)
    ARMED.hit(name, subject if own else getattr(_here, "subject", None), handle, part)


def about(subject: Any, part: int | None = None) -> None:
    """What this thread of the process works on, for places that do not know it.

    :param part: of a thread of posts, as soon as it is known.
    """
    if ARMED is not None:
        _here.subject = subject
        _here.part = part


def asker() -> str:
    """The function on whose behalf a context manager is being left, such as ``workers.publish.prepare``.

    Every transaction is a failpoint before and after its commit, told apart by who wrote the ``with``.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_flags & inspect.CO_GENERATOR or frame.f_globals.get("__name__") == contextlib.__name__
    ):
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname.replace('.<locals>', '')}"


def naive_resend() -> bool:
    """Whether the protection against doubles is switched off, to show that the judge sees doubles.

    Only ever with both variables; used by the crash tests alone.
    """
    return os.environ.get(NAIVE) == "1" and os.environ.get(GUARD) == "1"
