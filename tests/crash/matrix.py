"""The kill matrix as a table: every step, what strikes there, and every kind of platform.

``python -m tests.crash.matrix --json kill-matrix.json --markdown docs/kill-matrix.md`` runs all of it; the tests
run the same cases.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.crash.rig import SHORT, Rig

ALL = ("keyed", "clientid", "twostep", "polled", "lookup", "none", "x")
WITH_BODY = ("keyed", "clientid", "lookup", "none", "x")
TWO = ("twostep", "polled")
LOOKED_UP = ("keyed", "clientid", "twostep", "lookup", "x")
ZOMBIE_S = {"x": 32.0}
"""How long a stopped process sleeps: past its lease, past the quarantine, past the second try."""
ZOMBIE_OTHERS_S = 13.0


@dataclass(frozen=True)
class Case:
    """One post, and what strikes it."""

    point: str
    action: str
    kind: str
    skip: int = 0
    first: str = ""
    """A point where its worker is killed beforehand, so that there is something to reconcile."""
    about: str = "post"
    """What the rule is bound to: this post, its platform, or (any) whatever comes first."""
    fast: bool = False

    @property
    def name(self) -> str:
        """For people and for pytest."""
        after = f"+{self.skip}" if self.skip else ""
        return f"{self.point}{after}-{self.action}-{self.kind}"

    def rules(self, number: int) -> Iterator[dict[str, Any]]:
        """Its failpoints, for the scheduled post of that id."""
        if self.first:
            yield {"id": f"first-{self.name}", "name": self.first, "action": "kill", "subject": number}
        subject: dict[str, Any] = {"post": {"subject": number}, "platform": {"subject": self.kind}}.get(self.about, {})
        seconds = ZOMBIE_S.get(self.kind, ZOMBIE_OTHERS_S)
        yield {
            "id": self.name,
            "name": self.point,
            "action": self.action,
            "skip": self.skip,
            "seconds": seconds,
            **subject,
        }


STEPS = (
    "deliver.start", "intent.before_commit", "intent.after_commit", "http.publishes.before_connect",
    "http.publishes.connected", "http.publishes.piece_sent", "http.publishes.head_read", "publish.answered",
    "outcome.before_commit", "outcome.after_commit",
)  # fmt: skip
ZOMBIES = {"intent.after_commit", "http.publishes.connected", "http.publishes.piece_sent", "publish.answered"}
PREPARING = (
    "prepare.start", "prepare.begun", "http.prepares.connected", "http.prepares.piece_sent", "http.prepares.head_read",
    "prepare.answered", "prepare.before_commit", "prepare.after_commit",
)  # fmt: skip
POLLING = ("poll.start", "poll.answered", "poll.before_commit", "poll.after_commit")
RECONCILING = ("reconcile.start", "reconcile.answered", "reconcile.before_commit", "reconcile.after_commit")


def _delivering() -> Iterator[Case]:
    """From the start of the task to the stored outcome: every kind."""
    for point, kind in itertools.product(STEPS, ALL):
        hard = kind in {"lookup", "none"}
        yield Case(point, "kill", kind, fast=hard or point == "http.publishes.head_read")
        yield Case(point, "stop", kind, fast=kind in {"lookup", "none"} and point in ZOMBIES)
        if point != "outcome.after_commit":
            yield Case(point, "raise", kind, fast=kind == "lookup")
    for action, kind in itertools.product(("kill", "stop", "raise", "cut"), WITH_BODY):
        yield Case("http.publishes.piece_sent", action, kind, skip=1, fast=kind == "lookup")
    for point, kind in itertools.product(("connected", "piece_sent", "head_read"), ALL):
        yield Case(f"http.publishes.{point}", "cut", kind, fast=kind in {"lookup", "none"})
    for point, action, kind in itertools.product(("intent", "outcome"), ("cut", "lose_commit"), ALL):
        yield Case(f"{point}.before_commit", action, kind, fast=kind in {"lookup", "none"})


def _preparing() -> Iterator[Case]:
    """What comes before the publishing call, and what a platform that works on needs."""
    for point, action, kind in itertools.product(("before", "after"), ("kill", "cut", "lose_commit", "stop"), TWO):
        if point == "before" or action in {"kill", "stop"}:
            yield Case(f"checkpoint.{point}_commit", action, kind, fast=action == "kill")
    for points, kind in ((PREPARING, "twostep"), (POLLING, "polled")):
        for point in points:
            yield Case(point, "kill", kind, fast=True)
            yield Case(point, "stop", kind)
        for action in ("cut", "lose_commit"):
            yield Case(f"{points[0].partition('.')[0]}.before_commit", action, kind)


def _reconciling() -> Iterator[Case]:
    """What settles a doubt may be struck, too."""
    before = ("publish.answered", "intent.after_commit")
    for first, point, kind in itertools.product(before, RECONCILING, LOOKED_UP):
        yield Case(point, "kill", kind, first=first, fast=kind == "lookup")
    for action, kind in itertools.product(("stop", "cut", "lose_commit"), LOOKED_UP):
        fast = kind == "lookup" and action != "stop"
        yield Case("reconcile.before_commit", action, kind, first="publish.answered", fast=fast)
    yield Case("reconcile.start", "kill", "none", first="publish.answered", fast=True)


def _dispatching() -> Iterator[Case]:
    """Claims, hints and rescue."""
    for point, kind in itertools.product(("claim.before_commit", "claim.after_commit"), ALL):
        yield Case(point, "kill", kind, about="platform", fast=kind == "lookup")
    for action in ("cut", "lose_commit"):
        yield Case("claim.before_commit", action, "lookup", about="platform", fast=True)
    for kind in ALL:
        yield Case("claim.before_hint", "kill", kind, fast=kind == "lookup")
        yield Case("claim.before_hint", "raise", kind)
    for point in ("rescue.before_commit", "rescue.after_commit", "follow.after_commit"):
        yield Case(point, "kill", "lookup", about="any", first="publish.answered", fast=True)
    for action in ("cut", "lose_commit"):
        yield Case("rescue.before_commit", action, "lookup", about="any", first="publish.answered")


def _unique(cases: Iterable[Case]) -> list[Case]:
    """Reconcile cases differ in what came before; the name must say so."""
    seen: dict[str, Case] = {}
    for case in cases:
        seen.setdefault(case.name + case.first, case)
    return list(seen.values())


CASES = _unique([*_delivering(), *_preparing(), *_reconciling(), *_dispatching()])


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    point: str
    action: str
    kind: str
    first: str
    struck: bool
    status: str
    code: str
    public: int
    """How often the judge has it."""
    attempts: int
    seconds: float

    @property
    def verdict(self) -> str:
        """``ok``, or what is wrong."""
        if self.public > 1:
            return "DOUBLED"
        if self.status == "published":
            return "ok" if self.public == 1 else "LOST"
        if self.status == "held" and self.kind == "none":
            return "ok"
        return f"ended {self.status}"


def run(rig: Rig, cases: Sequence[Case], *, seconds: float) -> list[Result]:
    """Schedules one post for each case, arms everything, starts all programs, and waits for the end."""
    from scheduler import schedule

    for kind, number in itertools.product(sorted({case.kind for case in cases}), range(4)):
        rig.account(f"{kind}:a{number}")
    numbers = {}
    rules: list[dict[str, Any]] = []
    for order, case in enumerate(cases):
        account = f"{case.kind}:a{order % 4}"
        made = schedule(f"case {order}: {case.name}", to=account, at="now", options={"post": {"window_minutes": 1440}})
        numbers[made.scheduled[0].id] = (case, account, f"case {order}: {case.name}")
        mine = list(case.rules(made.scheduled[0].id))
        for rule in mine:
            rule["id"] = f"{order}-{rule['id']}"
        rules += mine
    rig.arm(rules)
    rig.start()
    rig.wait_final(seconds)
    judged = rig.judged()
    struck = {strike["rule"] for strike in rig.strikes()}
    results = []
    for row in rig.rows("""
        SELECT s.id, s.status, s.error_code,
               extract(epoch FROM coalesce(s.finalized_at, s.updated_at) - s.created_at) AS took,
               (SELECT count(*) FROM publish_attempts a WHERE a.scheduled_post_id = s.id) AS attempts
          FROM scheduled_posts s ORDER BY s.id"""):
        case, account, words = numbers[row.id]
        results.append(
            Result(case.point + (f" (piece {case.skip + 1})" if case.skip else ""), case.action, case.kind, case.first,
                   any(rule.endswith("-" + case.name) and rule.split("-", 1)[0] == words.split()[1].rstrip(":")
                       for rule in struck if "first-" not in rule),
                   row.status, row.error_code or "", judged.get((account, words), 0), row.attempts,
                   round(float(row.took), 1))
        )  # fmt: skip
    return results


def table(results: Sequence[Result]) -> str:
    """Markdown: one row for each step and what strikes there, one column for each kind."""
    kinds = [kind for kind in ALL if any(one.kind == kind for one in results)]
    lines = ["| step | what strikes | " + " | ".join(kinds) + " |", "|---|---|" + "---|" * len(kinds)]
    keyed: dict[tuple[str, str, str], dict[str, Result]] = {}
    for one in results:
        keyed.setdefault((one.point, one.action, one.first), {})[one.kind] = one
    for (point, action, first), found in keyed.items():
        cells = []
        for kind in kinds:
            one = found.get(kind)
            said = "" if one is None else (one.status if one.verdict == "ok" else f"**{one.verdict}**")
            if one is not None and not one.struck:
                said += " (not struck)"
            cells.append(said)
        after = f" (after a kill at `{first}`)" if first else ""
        lines.append(f"| `{point}`{after} | {action} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Runs the whole matrix."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.matrix", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="the set that runs in CI")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--seconds", type=float, default=1500.0)
    wanted = parser.parse_args()
    from scheduler import logging as logs

    logs.configure(form="console", level="ERROR")
    cases = [case for case in CASES if (case.fast or not wanted.fast) and wanted.only in case.name]
    began = time.monotonic()
    sys.stdout.write(f"{len(cases)} cases; " + " ".join(f"{name}={value}" for name, value in SHORT.items()) + "\n")
    with Rig(publishers=6) as rig:
        results = run(rig, cases, seconds=wanted.seconds)
        deaths = {name: child.deaths for name, child in rig.children.items() if child.deaths}
    took = time.monotonic() - began
    bad = [one for one in results if one.verdict != "ok" or not one.struck]
    if wanted.json:
        wanted.json.write_text(
            json.dumps([{**asdict(one), "verdict": one.verdict} for one in results], indent=1) + "\n"
        )
    if wanted.markdown:
        wanted.markdown.write_text(table(results) + "\n")
    for one in bad:
        sys.stdout.write(f"{one.verdict if one.struck else 'not struck, ' + one.verdict}: {one}\n")
    held = sum(one.status == "held" for one in results)
    doubled = sum(max(one.public - 1, 0) for one in results)
    lost = sum(one.verdict not in {"ok", "DOUBLED"} for one in results)
    sys.stdout.write(f"deaths {deaths}\n{len(results)} cases in {took:.0f} s: held {held}, lost {lost},"
        f" doubled {doubled},"
                     f" not struck {sum(not one.struck for one in results)}\n")  # fmt: skip
    return 1 if lost or doubled else 0


if __name__ == "__main__":
    sys.exit(main())
