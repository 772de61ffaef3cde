"""The cases of the kill matrix: every step, what strikes there, and every kind of platform.

Plain posts, threads that are struck in their first, middle and last part, posts with pictures, and accounts
whose token has ended. ``fast`` ones run in CI, the others with ``-m crash`` and in the table of docs/kill-matrix.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.crash.commits import IN_THE_MATRIX

ALL = ("keyed", "clientid", "twostep", "polled", "lookup", "none", "x")
KINDS = ("keyed", "clientid", "twostep", "lookup", "none")
"""One for each way in which a doubtful call can be settled."""
WITH_BODY = ("keyed", "clientid", "lookup", "none", "x")
TWO = ("twostep", "polled")
LOOKED_UP = ("keyed", "clientid", "twostep", "lookup", "x")
ZOMBIE_S = {"x": 34.0}
"""How long a stopped process sleeps: past its lease, past the quarantine, past the second try."""
ZOMBIE_OTHERS_S = 15.0
PARTS = 3
FIRST, MIDDLE, LAST = range(PARTS)
BY_TURN = frozenset({"deliver.start", "checkpoint.before_commit", "checkpoint.after_commit"})
"""Each part of a thread passes here once, in order, before the place knows which part it is."""


@dataclass(frozen=True)
class Case:
    """One post, and what strikes it."""

    point: str
    action: str
    kind: str
    skip: int = 0
    part: int | None = None
    """A thread, struck in this part."""
    first: str = ""
    """A point where its worker is struck beforehand, so that there is something to reconcile."""
    first_action: str = "kill"
    about: str = "post"
    """What the rule is bound to: this post, its platform, its account, its rendition, its asset, a hint's task,
    or (any) whatever comes first."""
    where: str = ""
    """Whose commit it is that is struck, whatever for: by whoever gets there first."""
    needs: str = ""
    """What the post needs: a picture (from the disk), a far picture (from a server), a token that has ended."""
    ends: str = "published"
    """How it has to end. What nobody can look for may be held as well."""
    fast: bool = False
    asleep_s: float | None = None
    """How long a stopped process sleeps, where the usual time proves nothing."""

    @property
    def name(self) -> str:
        """For people and for pytest."""
        after = f"+{self.skip}" if self.skip else ""
        part = "" if self.part is None else f"-part{self.part + 1}"
        where = f"-of-{self.where}" if self.where else ""
        return f"{self.point}{where}{after}-{self.action}-{self.kind}{part}"

    @property
    def full_name(self) -> str:
        """With what came before."""
        return self.name + (f"-after-{self.first}" if self.first else "")

    @property
    def step(self) -> str:
        """The point as the table names it."""
        piece = f" (piece {self.skip + 1})" if self.skip else ""
        part = "" if self.part is None else f", part {self.part + 1} of {PARTS}"
        return f"{self.point}{f' of {self.where}' if self.where else ''}{piece}{part}"

    def words(self, order: int) -> list[str]:
        """The texts of its parts; those of a thread after the first are the same, which is the hardest."""
        said = [f"case {order}: {self.full_name}"]
        return said if self.part is None else [*said, *[f"and so on, {order}"] * (PARTS - 1)]

    def rules(self, order: int, subjects: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Its failpoints. ``subjects``: what ``about`` may stand for."""
        seconds = self.asleep_s or ZOMBIE_S.get(self.kind, ZOMBIE_OTHERS_S)
        if self.first:
            yield {"id": f"first-{order}", "name": self.first, "action": self.first_action,
                   "subject": subjects["post"], **self._turn(self.first)}  # fmt: skip
        bound = {} if self.about == "any" else {"subject": self.where or subjects[self.about]}
        turn = {} if self.first else self._turn(self.point)
        yield {"id": f"case-{order}", "name": self.point, "action": self.action, "seconds": seconds,
               "skip": self.skip, **bound, **turn}  # fmt: skip

    def _turn(self, point: str) -> dict[str, int]:
        if self.part is None:
            return {}
        return {"skip": self.part} if point in BY_TURN else {"part": self.part}


STEPS = (
    "deliver.start", "intent.before_commit", "intent.after_commit", "http.publishes.before_connect",
    "http.publishes.connected", "http.publishes.piece_sent", "http.publishes.head_read", "publish.answered",
    "outcome.before_commit", "outcome.after_commit",
)  # fmt: skip
ZOMBIES = ("intent.after_commit", "http.publishes.connected", "http.publishes.piece_sent", "publish.answered")
PREPARING = (
    "prepare.start", "prepare.begun", "http.prepares.connected", "http.prepares.piece_sent", "http.prepares.head_read",
    "prepare.answered", "prepare.before_commit", "prepare.after_commit",
)  # fmt: skip
POLLING = ("poll.start", "poll.answered", "poll.before_commit", "poll.after_commit")
RECONCILING = ("reconcile.start", "reconcile.answered", "reconcile.before_commit", "reconcile.after_commit")
READING = ("http.read.before_connect", "http.read.connected", "http.read.piece_sent", "http.read.head_read")
RENDERING = ("render.begun", "render.before_commit", "render.after_commit")
UPLOADING = ("upload.begun", "upload.stored", "upload.before_commit", "upload.after_commit")
FETCHING = ("fetch.begun", "fetch.before_commit", "fetch.after_commit")


def _delivering() -> Iterator[Case]:
    """From the start of the task to the stored outcome: every kind."""
    for point, kind in itertools.product(STEPS, ALL):
        hard = kind in {"lookup", "none"}
        yield Case(point, "kill", kind, fast=hard or point == "http.publishes.head_read")
        yield Case(point, "stop", kind, fast=hard and point in ZOMBIES)
        if point != "outcome.after_commit":
            yield Case(point, "raise", kind, fast=kind == "lookup")
    for action, kind in itertools.product(("kill", "stop", "raise", "cut"), WITH_BODY):
        yield Case("http.publishes.piece_sent", action, kind, skip=1, fast=kind == "lookup")
    for point, kind in itertools.product(("connected", "piece_sent", "head_read"), ALL):
        yield Case(f"http.publishes.{point}", "cut", kind, fast=kind in {"lookup", "none"})
    for point, action, kind in itertools.product(("intent", "outcome"), ("cut", "lose_commit"), ALL):
        yield Case(f"{point}.before_commit", action, kind, fast=kind in {"lookup", "none"})
    # The answer is held, Postgres does not take it, and the worker dies around the file that shall keep it.
    for point, kind in itertools.product(("spool.before_rename", "spool.written"), KINDS):
        yield Case(point, "kill", kind, first="outcome.before_commit", first_action="cut", fast=kind == "none")


def _threads() -> Iterator[Case]:
    """One post in three parts, struck in each of them. In CI: what differs from a plain post."""
    fast = {
        ("publish.answered", "kill", "lookup", MIDDLE),  # two parts say the same, one of them is in doubt
        ("publish.answered", "stop", "lookup", MIDDLE),  # and its worker wakes up again
        ("outcome.after_commit", "kill", "lookup", FIRST),  # nobody is there who would go on
        ("intent.after_commit", "kill", "lookup", LAST),
        ("publish.answered", "kill", "none", MIDDLE),  # held, with a part public and a part not yet
        ("http.publishes.head_read", "kill", "twostep", MIDDLE),
        ("http.publishes.head_read", "kill", "keyed", LAST),
        ("outcome.before_commit", "kill", "clientid", MIDDLE),
    }

    def case(point: str, action: str, kind: str, part: int, **more: Any) -> Case:
        return Case(point, action, kind, part=part, fast=(point, action, kind, part) in fast, **more)

    parts = (FIRST, MIDDLE, LAST)
    for point, kind, part in itertools.product(STEPS, KINDS, parts):
        yield case(point, "kill", kind, part)
    for point, kind, part in itertools.product(STEPS[-4:], ("polled", "x"), parts):
        yield case(point, "kill", kind, part)
    for point, kind, part in itertools.product(ZOMBIES, ("lookup", "none"), parts):
        yield case(point, "stop", kind, part)
    for kind, part in itertools.product(("keyed", "clientid", "twostep"), parts):
        yield case("publish.answered", "stop", kind, part)
    for kind, part in itertools.product(("lookup", "none"), parts):
        yield case("publish.answered", "raise", kind, part)
        for point, action in itertools.product(("intent", "outcome"), ("cut", "lose_commit")):
            yield case(f"{point}.before_commit", action, kind, part)
    for point, kind in itertools.product(("connected", "piece_sent", "head_read"), KINDS):
        yield case(f"http.publishes.{point}", "cut", kind, MIDDLE)
    for point, part in itertools.product(("checkpoint.before_commit", "checkpoint.after_commit"), parts):
        yield case(point, "kill", "twostep", part)
    for point, kind in itertools.product(RECONCILING, LOOKED_UP):
        yield case(point, "kill", kind, MIDDLE, first="publish.answered")


def _preparing() -> Iterator[Case]:
    """What comes before the publishing call, and what a platform that works on needs."""
    for point, action, kind in itertools.product(("before", "after"), ("kill", "cut", "lose_commit", "stop"), TWO):
        if point == "before" or action in {"kill", "stop"}:
            yield Case(f"checkpoint.{point}_commit", action, kind, fast=action == "kill")
    yield Case("http.prepares.before_connect", "kill", "twostep")
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
    for point in READING:
        yield Case(point, "kill", "lookup", first="publish.answered")


def _dispatching() -> Iterator[Case]:
    """Claims, hints and rescue."""
    for point, kind in itertools.product(("claim.before_commit", "claim.after_commit"), ALL):
        yield Case(point, "kill", kind, about="platform", fast=kind == "lookup")
    for action in ("cut", "lose_commit"):
        yield Case("claim.before_commit", action, "lookup", about="platform", fast=True)
    for kind in ALL:
        yield Case("claim.before_hint", "kill", kind, fast=kind == "lookup")
        yield Case("claim.before_hint", "raise", kind)
    for point, kind in itertools.product(("hint.before", "hint.after"), KINDS):
        yield Case(point, "kill", kind, about="task", fast=(point, kind) == ("hint.before", "lookup"))
    for point, kind in itertools.product(("hint.taken", "ack.before", "ack.after"), KINDS):
        yield Case(point, "kill", kind, about="task", fast=(point, kind) == ("ack.before", "lookup"))
    for point, kind in itertools.product(("rescue.before_commit", "rescue.after_commit", "follow.after_commit"), KINDS):
        yield Case(point, "kill", kind, about="any", first="publish.answered", fast=kind == "lookup")
    for action, kind in itertools.product(("cut", "lose_commit"), KINDS):
        yield Case("rescue.before_commit", action, kind, about="any", first="publish.answered")


def _pictures() -> Iterator[Case]:
    """From the file to the platform's media id: nothing of it is public, all of it may be done again."""
    for points, about, needs in (
        (FETCHING, "asset", "far picture"), (RENDERING, "rendition", "picture"), (UPLOADING, "rendition", "picture"),
    ):  # fmt: skip
        for point in points:
            yield Case(point, "kill", "x", about=about, needs=needs)
        for action in ("cut", "lose_commit"):
            yield Case(f"{points[0].partition('.')[0]}.before_commit", action, "x", about=about, needs=needs)
    for point in ("checkpoint.before_commit", "checkpoint.after_commit", "http.prepares.head_read"):
        yield Case(point, "kill", "x", needs="picture")


def _tokens() -> Iterator[Case]:
    """A platform that gives a new refresh token each time, and takes a used one for theft."""
    for action in ("cut", "lose_commit"):
        yield Case("refresh.before_commit", action, "x", about="account", needs="new token")
    yield Case("refresh.leased", "kill", "x", about="account", needs="new token")
    yield Case("refresh.before_commit", "kill", "x", about="account", needs="new token")
    # It wakes when another worker has long used the refresh token, and must not use it again.
    yield Case("refresh.leased", "stop", "x", about="account", needs="new token", asleep_s=80.0)
    # Only the dead process had the new token: the platform refuses the used one, and a person connects again.
    yield Case("refresh.answered", "kill", "x", about="account", needs="new token", ends="held")


def _commits() -> Iterator[Case]:
    """Before and after every commit that is made while posts are on their way, whosever it is."""
    for where, (kind, needs, first) in IN_THE_MATRIX.items():
        for point in ("commit.before", "commit.after"):
            action = "lose_commit" if first.endswith(".before_commit") else "kill"
            yield Case(point, "kill", kind, where=where, needs=needs, first=first, first_action=action)


def _unique(cases: Iterable[Case]) -> list[Case]:
    """Each once; the names tell them apart."""
    return list({case.full_name + case.needs: case for case in cases}.values())


CASES = _unique(
    [
        *_delivering(),
        *_preparing(),
        *_reconciling(),
        *_dispatching(),
        *_threads(),
        *_pictures(),
        *_tokens(),
        *_commits(),
    ]
)
