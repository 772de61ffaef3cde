"""Two of everything, on two hosts, each program restarted one after the other while posts go out.

Two beats, two dispatchers, two followup workers, and publish workers of two host names that share one Postgres
and one broker, each host with a data folder of its own. Asked to end, a worker finishes what it has in hand.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.crash.rig import Rig, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(400)]
HOSTS = ("host-a", "host-b")
KINDS = ("keyed", "clientid", "twostep", "lookup", "none")
POSTS = 150
SPREAD_S = 60.0
END_S = 60.0


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Both hosts run. Calls take a while, so that each restart meets some under way; leases are as in real life
    where being asked to end must not need them.
    """
    patient = {
        "SCHEDULERX_QUEUED_LEASE_SECONDS": "20",
        "SCHEDULERX_PREPARE_LEASE_SECONDS": "20",
        "SCHEDULERX_CALL_BUDGET_SECONDS": "15",
        "SCHEDULERX_LEASE_MARGIN_SECONDS": "15",
        "SCHEDULERX_SEND_MARGIN_SECONDS": "2",
    }
    with Rig(hosts=HOSTS, publishers=1, publish_slots=4, settings=patient) as made:
        for kind in KINDS:
            made.account(f"{kind}:a")
        made.control("latency", {"ms": 600})
        made.start()
        wait_for("all workers", 90, lambda: all(
            '"worker.ready"' in child.log.read_text() for name, child in made.children.items()
            if not name.startswith(("beat", "emulator"))
        ))  # fmt: skip
        yield made


def scheduled() -> dict[int, tuple[str, list[str]]]:
    """Plain posts and threads, due over the whole time of the restarts: id -> (account, texts)."""
    from scheduler import schedule

    began = datetime.now(UTC) + timedelta(seconds=2)
    made = {}
    for number in range(POSTS):
        account = f"{KINDS[number % len(KINDS)]}:a"
        words = [f"rolling {number}"] + [f"and so on, {number}"] * (2 if number % 10 == 7 else 0)
        due = began + timedelta(seconds=SPREAD_S * number / POSTS)
        post = schedule(words[0], to=account, at=due, options={"post": {"window_minutes": 60, "thread": words[1:]}})
        made[post.scheduled[0].id] = (account, words)
    return made


def test_a_rolling_restart_under_load_loses_and_doubles_nothing(rig: Rig) -> None:
    planned = scheduled()
    names = [name for name in rig.children if name != "emulator"]
    codes: dict[str, int] = {}
    deaths = {name: rig.children[name].deaths for name in names}

    def restart_all() -> None:
        for name in names:
            codes[name] = rig.restart_softly(name, END_S)

    restarts = threading.Thread(target=restart_all, name="restarts")
    restarts.start()
    restarts.join(END_S * len(names))
    assert codes == dict.fromkeys(names, 0), "each ended by itself, in time, as asked"
    assert rig.wait_final(150) == 0

    judge = rig.judge()
    states = {row.id: row.status for row in rig.rows("SELECT id, status FROM scheduled_posts")}
    assert Counter(states.values()) == {"published": POSTS}  # the kind that nobody can ask, too: nothing was in doubt
    assert [number for number, (account, words) in planned.items() if not judge.look(account, words).whole] == []
    assert judge.rest() == {}
    # Nothing was cut off: each call got its answer, and wrote it.
    assert rig.rows("SELECT id FROM publish_attempts WHERE outcome IS DISTINCT FROM 'accepted'") == []
    assert {name: rig.children[name].deaths for name in names} == deaths
    done_by = Counter(row.worker.split("@")[1].split(":")[0] for row in rig.rows("SELECT worker FROM publish_attempts"))
    assert set(done_by) == set(HOSTS)
    assert min(done_by.values()) > POSTS / 10, done_by
    claims = rig.rows("SELECT by FROM transitions WHERE to_status = 'queued'")
    assert {row.by.split("@")[1].split(":")[0] for row in claims} == set(HOSTS)
