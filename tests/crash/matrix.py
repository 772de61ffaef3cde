"""The kill matrix: runs the cases (``tests.crash.cases``), judges them, and shows them as a table.

``python -m tests.crash.matrix --json kill-matrix.json --markdown table.md`` runs all of it; the tests run the
same cases.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.crash.cases import ALL, CASES, PARTS, Case
from tests.crash.judge import Seen
from tests.crash.rig import SHORT, Rig

ANSWERED = frozenset({"http.publishes.head_read", "publish.answered", "outcome.before_commit", "outcome.after_commit"})
"""Places where the platform has taken the post."""
ACCOUNTS = 4
"""Of each kind; their posts are dealt out among them."""


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    point: str
    action: str
    kind: str
    first: str
    needs: str
    ends: str
    struck: bool
    status: str
    code: str
    public: tuple[int, ...]
    """How often the judge has each part; a plain post has one."""
    strangers: int
    known: int
    """How many parts of a thread the database knows to be public."""
    attempts: int
    seconds: float

    @property
    def seen(self) -> Seen:
        """What the judge has."""
        return Seen(self.public, self.strangers)

    @property
    def verdict(self) -> str:
        """``ok``, or what is wrong."""
        if self.seen.doubled:
            return "DOUBLED"
        if self.status == "published" and self.ends == "published":
            return "ok" if self.seen.whole else "LOST"
        if self.status == "held" and (self.kind == "none" or self.ends == "held"):
            return "ok" if self._held_rightly() else "MISREPORTED"
        return f"ended {self.status}"

    def _held_rightly(self) -> bool:
        """What is known to be public is, the part in doubt may be, and nothing that comes after it."""
        most = self.known + (1 if self.code == "outcome_unknown" else 0)
        return self.known <= self.seen.begun <= most and sum(self.public) == self.seen.begun


def rig_for(cases: Sequence[Case], **more: Any) -> Rig:
    """A rig with all that these cases need."""
    media = any("picture" in case.needs for case in cases)
    services = {"postgres", "valkey"} | ({"objects"} if media else set())
    return Rig(publishers=6, together=True, media=media, services=frozenset(services), **more)


def run(rig: Rig, cases: Sequence[Case], *, seconds: float) -> list[Result]:
    """Schedules one post for each case, arms everything, starts all programs, and waits for the end."""
    for kind, number in itertools.product(sorted({case.kind for case in cases}), range(ACCOUNTS)):
        rig.account(f"{kind}:a{number}")
    planned: dict[int, tuple[int, Case, str]] = {}
    rules: list[dict[str, Any]] = []
    with _far_pictures(rig) as pictures:
        for order, case in enumerate(cases):
            account = _account(rig, order, case)
            number = _schedule(rig, order, case, account, pictures)
            planned[number] = (order, case, account)
            rules += case.rules(order, _subjects(rig, number, case))
        rig.arm(rules)
        rig.start()
        rig.wait_final(seconds)
    judge = rig.judge()
    struck = {strike["rule"]: strike["at"] for strike in reversed(rig.strikes())}
    results = []
    for row in rig.rows("""
        SELECT s.id, s.status, coalesce(s.error_code, '') AS code, jsonb_array_length(s.parts_out) AS known,
               extract(epoch FROM coalesce(s.finalized_at, s.updated_at) - s.created_at) AS took,
               (SELECT count(*) FROM publish_attempts a WHERE a.scheduled_post_id = s.id) AS attempts
          FROM scheduled_posts s ORDER BY s.id"""):
        order, case, account = planned[row.id]
        seen = judge.look(account, case.words(order))
        results.append(
            Result(
                point=case.step, action=case.action, kind=case.kind, first=case.first, needs=case.needs, ends=case.ends,
                struck=_struck(case, order, struck, seen), status=row.status, code=row.code, public=seen.counts,
                strangers=seen.strangers, known=row.known, attempts=row.attempts, seconds=round(float(row.took), 1),
            )
        )  # fmt: skip
    return results


def _struck(case: Case, order: int, at: Mapping[str, float], seen: Seen) -> bool:
    """Whether everything struck where it was meant to. What is about an answer of the platform must have come after
    the platform took the post: on a busy machine a worker may also get there because its time was up."""
    part = case.part or 0
    places = [("case", case.point), *([("first", case.first)] if case.first else [])]
    return all(
        f"{rule}-{order}" in at and (point not in ANSWERED or seen.stored_at[part] <= at[f"{rule}-{order}"])
        for rule, point in places
    )


def _account(rig: Rig, order: int, case: Case) -> str:
    """The account of a case; one of its own where its token is to end."""
    if case.needs != "new token":
        return f"{case.kind}:a{order % ACCOUNTS}"
    name = f"t{order}"
    rig.account(f"{case.kind}:{name}", refresh_token=f"sandbox-refresh-{case.kind}-{name}", client_id="crash")
    rig.control("accounts", {"platform": case.kind, "name": name, "expired": True})
    return f"{case.kind}:{name}"


def _schedule(rig: Rig, order: int, case: Case, account: str, pictures: str) -> int:
    """Schedules its post; the id of the scheduled post."""
    from scheduler import schedule

    head, *further = case.words(order)
    media = []
    if "picture" in case.needs:
        file = _picture(rig.folder / "far", order)
        media = [f"{pictures}/{file.name}" if case.needs == "far picture" else str(file)]
    options = {"post": {"window_minutes": 1440, "thread": further}}
    return schedule(head, to=account, at="now", media=media, options=options).scheduled[0].id


def _subjects(rig: Rig, number: int, case: Case) -> dict[str, Any]:
    """What a failpoint may be about."""
    [row] = rig.rows(
        """
        SELECT s.account_id, m.asset_id, m.rendition_id FROM scheduled_posts s
          LEFT JOIN scheduled_post_media m ON m.scheduled_post_id = s.id WHERE s.id = :id""",
        id=number,
    )
    return {"post": number, "platform": case.kind, "account": row.account_id, "asset": row.asset_id,
            "rendition": row.rendition_id, "task": "publish.deliver"}  # fmt: skip


def _picture(folder: Path, order: int) -> Path:
    """A picture that no other case has: the same content would be one rendition."""
    from PIL import Image

    file = folder / f"{order}.png"
    Image.effect_noise((300, 300), 10 + order % 90).convert("RGB").save(file)
    return file


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing is said."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Whoever probes a picture reads its beginning alone and leaves."""
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


@contextlib.contextmanager
def _far_pictures(rig: Rig) -> Iterator[str]:
    """Somebody's server with pictures, on this machine; its URL."""
    from media import fetch

    (rig.folder / "far").mkdir()
    handler = functools.partial(_Quiet, directory=str(rig.folder / "far"))
    probe = fetch.probe_remote
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="far", daemon=True)
        thread.start()
        # As in the workers (tests/crash/startup.py): the guard's own parameter for tests, loopback and no more.
        fetch.probe_remote = functools.partial(probe, allow_loopback=True)  # type: ignore[assignment]  # a partial
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            fetch.probe_remote = probe
            server.shutdown()
            thread.join()


def table(results: Sequence[Result]) -> str:
    """Markdown: one row for each step and what strikes there, one column for each kind."""
    kinds = [kind for kind in ALL if any(one.kind == kind for one in results)]
    lines = ["| step | what strikes | " + " | ".join(kinds) + " |", "|---|---|" + "---|" * len(kinds)]
    keyed: dict[tuple[str, str, str, str], dict[str, Result]] = {}
    for one in results:
        keyed.setdefault((one.point, one.action, one.first, one.needs), {})[one.kind] = one
    for (point, action, first, needs), found in keyed.items():
        cells = []
        for kind in kinds:
            one = found.get(kind)
            said = "" if one is None else (one.status if one.verdict == "ok" else f"**{one.verdict}**")
            if one is not None and not one.struck:
                said += " (not struck)"
            cells.append(said)
        step, comma, part = point.partition(", part ")
        after = f", after a strike at `{first}`" if first else ""
        lines.append(
            f"| `{step}`{comma}{part}{after}{', ' + needs if needs else ''} | {action} | " + " | ".join(cells) + " |"
        )
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
    cases = [case for case in CASES if (case.fast or not wanted.fast) and wanted.only in case.full_name + case.needs]
    began = time.monotonic()
    sys.stdout.write(f"{len(cases)} cases, {sum(case.part is not None for case in cases)} of them threads of {PARTS}"
                     " parts; " + " ".join(f"{name}={value}" for name, value in SHORT.items()) + "\n")  # fmt: skip
    with rig_for(cases) as rig:
        results = run(rig, cases, seconds=wanted.seconds)
        strikes = Counter(strike["action"] for strike in rig.strikes())
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
    doubled = sum(one.seen.doubled for one in results)
    lost = sum(one.verdict not in {"ok", "DOUBLED"} for one in results)
    not_struck = sum(not one.struck for one in results)
    sys.stdout.write(f"strikes {dict(strikes)}\n{len(results)} cases in {took:.0f} s: held {held}, lost {lost},"
                     f" doubled {doubled}, not struck {not_struck}\n")  # fmt: skip
    return 1 if lost or doubled or not_struck else 0


if __name__ == "__main__":
    sys.exit(main())
