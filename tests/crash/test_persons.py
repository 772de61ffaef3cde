"""What a person does, killed before and after its commit: it is done or not begun, and it may be said again.

Slow, all of it: each act is a command of its own, twice. ``schedule()`` has its own tests (test_adversity.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.crash.commits import BY_PERSONS
from tests.crash.rig import Rig, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(300)]

ACTS = {where: command for where, command in BY_PERSONS.items() if where != "scheduler.api.schedule"}
AFTER = {
    "scheduler.changes.cancel": "canceled",
    "scheduler.changes.reschedule": "scheduled",
    "scheduler.changes.retry": "scheduled",
    "scheduler.edits.edit": "scheduled",
    "scheduler.cli.dead_letters.replay": "scheduled",
    "scheduler.cli.dead_letters.mark_published": "published",
    "scheduler.cli.dead_letters.discard": "missed",
}
"""What the post is then; the other acts are about its account, and leave it scheduled."""
YEAR = time.gmtime().tm_year + 2
"""When the posts are due, so that nobody publishes them; who reschedules says a year more."""
MISSED = {"scheduler.cli.dead_letters.replay", "scheduler.cli.dead_letters.discard"}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """A database that has posts, and nobody who would publish them meanwhile."""
    with Rig(publishers=1) as made:
        made.account("lookup:p")
        made.account("none:p")
        yield made


def post(where: str) -> Callable[[Rig, str], int]:
    """How a post comes to be where this act begins."""
    return {
        "scheduler.changes.retry": canceled,
        "scheduler.cli.dead_letters.mark_published": in_doubt,
        **dict.fromkeys(MISSED, missed),
    }.get(where, waiting)


def waiting(rig: Rig, words: str, to: str = "lookup:p") -> int:
    from scheduler import schedule

    return schedule(words, to=to, at=f"{YEAR}-01-01T00:00:00Z").scheduled[0].id


def canceled(rig: Rig, words: str) -> int:
    from scheduler import cancel

    number = waiting(rig, words)
    cancel(number)
    return number


def missed(rig: Rig, words: str) -> int:
    """Its window is over, and a dead letter says so."""
    number = waiting(rig, words)
    rig.run("UPDATE scheduled_posts SET due_at = now() - interval '2 h', available_at = now() - interval '2 h',"
            " window_ends_at = now() - interval '1 h' WHERE id = :id", id=number)  # fmt: skip
    rig.start("beat", "dispatch")
    wait_for("it to be missed", 60, lambda: status(rig, number) == "missed")
    rig.stop("beat", "dispatch")
    return number


def in_doubt(rig: Rig, words: str) -> int:
    """Held: whether it is public is not known."""
    from scheduler import schedule

    number = schedule(words, to="none:p", at="now").scheduled[0].id
    rig.arm([{"name": "publish.answered", "action": "kill", "subject": number}])
    rig.start()
    wait_for("it to be held", 90, lambda: status(rig, number) == "held")
    rig.stop(*(name for name in rig.children if name != "emulator"))
    return number


def status(rig: Rig, number: int) -> str:
    return str(rig.rows("SELECT status FROM scheduled_posts WHERE id = :id", id=number)[0].status)


def everything(rig: Rig) -> dict[str, list[str]]:
    """All that acts may write, as text; what differs from one call to the next (times, ids) is left as it is."""
    tables = ("posts", "post_versions", "scheduled_posts", "dead_letters", "transitions", "audit_log", "accounts")
    return {name: [str(row) for row in rig.rows(f"SELECT to_jsonb(t) AS row FROM {name} t ORDER BY id")]  # noqa: S608 - names of ours
            for name in tables}  # fmt: skip


def say(rig: Rig, command: list[str]) -> subprocess.CompletedProcess[str]:
    given = json.dumps({"access_token": "sandbox-lookup-p"}) if command[0] == "accounts" else None
    program = [sys.executable, "-c", "from scheduler.cli.main import main; main()"]
    return subprocess.run([*program, *command], env=rig.env, text=True, input=given, capture_output=True, check=False,
                          timeout=90)  # fmt: skip


@pytest.mark.parametrize("point", ["commit.before", "commit.after"])
@pytest.mark.parametrize("where", ACTS)
def test_an_act_that_dies_is_done_or_not_begun(rig: Rig, where: str, point: str) -> None:
    words = f"{where} {point}"
    number = post(where)(rig, words)
    letter = rig.rows("SELECT id FROM dead_letters WHERE scheduled_post_id = :id", id=number)
    said: dict[str, Any] = {
        "ID": number,
        "LETTER": letter[0].id if letter else None,
        "LATER": f"{YEAR + 1}-01-01T00:00Z",
    }
    command = [str(said.get(word, word)) for word in ACTS[where]]
    if where == "scheduler.cli.system.resume":
        assert say(rig, ["pause", "lookup:p"]).returncode == 0
    # The last of the transactions of a call is the one that writes.
    reads = {"scheduler.profiles.store": 1}.get(where, 0)
    rig.arm([{"id": words, "name": point, "action": "kill", "subject": where, "skip": reads}])
    before = everything(rig)
    died = say(rig, command)
    assert died.returncode == -9, died.stderr
    between = everything(rig)
    assert (between == before) is (point == "commit.before")
    again = say(rig, command)
    # It was done already: whoever says it again is told so, or it is done once more to the same end.
    assert again.returncode == 0 or (point == "commit.after" and again.returncode in {1, 2}), again.stderr
    assert status(rig, number) == AFTER.get(where, "scheduled")
    [row] = rig.rows("SELECT s.*, v.text, a.paused_at FROM scheduled_posts s JOIN accounts a ON a.id = s.account_id"
                     " JOIN post_versions v ON v.id = s.version_id WHERE s.id = :id", id=number)  # fmt: skip
    assert row.text == ("edited" if where == "scheduler.edits.edit" else words)
    assert (row.due_at.year == YEAR + 1) is (where == "scheduler.changes.reschedule")
    assert (row.paused_at is not None) is (where == "scheduler.cli.system.pause")
    if where == "scheduler.cli.system.pause":
        assert say(rig, ["resume", "lookup:p"]).returncode == 0
    assert len(rig.rows("SELECT id FROM accounts WHERE name = 'p'")) == 2
