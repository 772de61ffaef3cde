"""What is refused or survived: Postgres away or read-only, a full disk, a full broker, hints that make no sense,
a post that kills its worker each time, clocks that lie. Real processes, one stack for all."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.crash.rig import Rig, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Everything runs; three claims are enough to call a post a poison."""
    with Rig(publishers=3, together=True, settings={"SCHEDULERX_MAX_CLAIMS": "3"}) as made:
        for kind in ("none", "lookup", "clientid"):
            made.account(f"{kind}:a")
        made.arm([])
        made.start()
        yield made


@pytest.fixture(autouse=True)
def nothing_armed(rig: Rig) -> Iterator[None]:
    """No test strikes another's posts."""
    yield
    rig.arm([])


def post(kind: str, words: str, *, in_s: float = 0.0) -> int:
    from scheduler import schedule

    at: Any = datetime.now(UTC) + timedelta(seconds=in_s) if in_s else "now"
    return schedule(words, to=f"{kind}:a", at=at, options={"post": {"window_minutes": 600}}).scheduled[0].id


def row(rig: Rig, number: int) -> Any:
    return rig.rows("SELECT * FROM scheduled_posts WHERE id = :id", id=number)[0]


def ended(rig: Rig, number: int, *statuses: str, seconds: float = 60.0) -> Any:
    wait_for(f"{number} to be {statuses}", seconds, lambda: row(rig, number).status in statuses)
    return row(rig, number)


def public(rig: Rig, kind: str, words: str) -> int:
    return rig.judged().get((f"{kind}:a", words), 0)


def struck(rig: Rig, number: int) -> bool:
    return any(one["subject"] == number for one in rig.strikes())


def answered_slowly(rig: Rig, words: str) -> int:
    """A post of a platform that cannot be asked, whose worker has its answer and waits two seconds."""
    number = post("none", words, in_s=3.0)
    rig.arm([{"id": words, "name": "publish.answered", "action": "pause", "seconds": 2, "subject": number}])
    wait_for("the answer", 30, lambda: struck(rig, number))
    return number


def lease_over(rig: Rig, number: int) -> Callable[[], bool]:
    """A question that does not need the database: whether the lease that a post has now is over."""
    ends = row(rig, number).lease_expires_at
    return lambda: datetime.now(UTC) > ends


def said(rig: Rig, words: str, names: str = "family") -> int:
    """How often the programs whose name begins like this have said something. The family is all that publish,
    dispatch and follow up, whoever of it is meant."""
    return sum(child.log.read_text(errors="replace").count(words)
               for name, child in rig.children.items() if name.startswith(names))  # fmt: skip


def deaths(rig: Rig) -> int:
    """How many processes have ended although nobody had asked, members of the family too."""
    return said(rig, "worker.process_ended") + sum(child.deaths for child in rig.children.values())


def postgres_away(rig: Rig) -> None:
    process = rig.service("postgres")._process
    assert process is not None
    process.send_signal(signal.SIGQUIT)
    process.wait()


def spooled(rig: Rig) -> list[Path]:
    return list((rig.stack.home / "spool").glob("outcome-*.json"))


def test_an_answer_that_comes_while_postgres_is_away_is_kept(rig: Rig) -> None:
    number = answered_slowly(rig, "away")
    over = lease_over(rig, number)
    postgres_away(rig)
    wait_for("the answer in a file", 20, lambda: spooled(rig))
    wait_for("the lease to end", 20, over)
    rig.start_service("postgres")
    found = ended(rig, number, "published")
    assert (found.evidence, public(rig, "none", "away")) == ("api", 1)
    wait_for("the file to go", 20, lambda: not spooled(rig))


def test_an_answer_survives_the_death_of_its_worker_while_postgres_is_away(rig: Rig) -> None:
    number = answered_slowly(rig, "away and killed")
    over, started = lease_over(rig, number), said(rig, "worker.all_ready")
    postgres_away(rig)
    wait_for("the answer in a file", 20, lambda: spooled(rig))
    assert rig.children["family"].signal(signal.SIGKILL)
    wait_for("the lease to end", 20, over)
    wait_for("successors, without a database", 60, lambda: said(rig, "worker.all_ready") > started)
    rig.start_service("postgres")
    found = ended(rig, number, "published", seconds=90)
    assert (found.evidence, public(rig, "none", "away and killed")) == ("api", 1)


def test_a_full_disk_leaves_the_answer_in_memory(rig: Rig) -> None:
    spool = rig.stack.home / "spool"
    aside = spool.with_name("spool-aside")
    number = answered_slowly(rig, "away and full")
    over = lease_over(rig, number)
    spool.rename(aside)
    spool.write_text("no folder can be made here")
    try:
        postgres_away(rig)
        wait_for("the answer that no file takes", 20, lambda: said(rig, "outcome.not_spooled"))
        wait_for("the lease to end", 20, over)
        rig.start_service("postgres")
        assert ended(rig, number, "published").evidence == "api"
    finally:
        spool.unlink()
        aside.rename(spool)
    assert public(rig, "none", "away and full") == 1


def test_a_read_only_database_loses_nothing(rig: Rig) -> None:
    from sqlalchemy import text

    number = answered_slowly(rig, "read-only")
    autocommit = rig.engine.execution_options(isolation_level="AUTOCOMMIT")

    def turn(word: str) -> None:
        with autocommit.connect() as conn:
            conn.execute(text("SET default_transaction_read_only = off"))
            conn.execute(text(f"ALTER SYSTEM SET default_transaction_read_only = {word}"))
            conn.execute(text("SELECT pg_reload_conf()"))

    turn("on")
    try:
        wait_for("the answer in a file", 20, lambda: spooled(rig))
    finally:
        turn("off")
    assert ended(rig, number, "published").evidence == "api"
    assert public(rig, "none", "read-only") == 1


@pytest.mark.slow
def test_a_broker_at_its_memory_limit_costs_time_only(rig: Rig) -> None:
    with redis.Redis.from_url(str(rig.info.redis_url)) as broker:
        full = "command not allowed when used memory"
        refused = said(rig, full, "beat")
        broker.config_set("maxmemory", "100kb")
        try:
            number = post("lookup", "full broker")
            wait_for("ticks to be refused", 30, lambda: said(rig, full, "beat") >= refused + 3)
            assert row(rig, number).status != "published"
        finally:
            broker.config_set("maxmemory", "0")
    ended(rig, number, "published")
    assert public(rig, "lookup", "full broker") == 1


@pytest.mark.slow
def test_an_emptied_broker_costs_a_lease(rig: Rig) -> None:
    numbers = [post("lookup", f"flushed {n}") for n in range(20)]
    with redis.Redis.from_url(str(rig.info.redis_url)) as broker:
        for _ in range(10):
            broker.flushall()
            time.sleep(0.1)  # no condition: the pace at which it is emptied
    for n, number in enumerate(numbers):
        ended(rig, number, "published")
        assert public(rig, "lookup", f"flushed {n}") == 1


def test_hints_that_are_repeated_stale_or_malformed_do_no_harm(rig: Rig) -> None:
    from workers.app import app

    before = deaths(rig)
    numbers = [post("lookup", f"hinted {n}", in_s=2) for n in range(10)]
    with redis.Redis.from_url(str(rig.info.redis_url)) as broker:
        for queue in ("publish", "dispatch", "followup"):
            for raw in ('{"body": 5}', json.dumps({"body": "e30=", "headers": {}, "properties": {}})):
                broker.lpush(queue, raw)
    # From an older or a newer release, or from nobody's.
    for task, args in (
        ("publish.deliver", ()), ("publish.deliver", (1,)), ("publish.deliver", (1, 2, 3)),
        ("publish.deliver", ("x", None)), ("publish.deliver", (-1, 10**30)), ("publish.prepare", ({},)),
        ("publish.gone", (1, 2)), ("followup.reconcile", ("1", "2")),
        ("followup.refresh", (1, 1, 1, 1)), ("dispatch.second", (1,)),
    ):  # fmt: skip
        app.send_task(task, args=args, queue=task.partition(".")[0])
    for _ in range(20):
        for number in numbers:
            for generation in range(1, 5):
                app.send_task("publish.deliver", args=(number, generation), queue="publish")
    for n, number in enumerate(numbers):
        ended(rig, number, "published")
        assert public(rig, "lookup", f"hinted {n}") == 1
    assert deaths(rig) == before


@pytest.mark.slow
def test_what_is_no_message_at_all_ends_no_worker_and_delays_nobody(rig: Rig) -> None:
    """kombu by itself would end its process over an entry that is not JSON (workers/broker.py)."""
    before = deaths(rig)
    with redis.Redis.from_url(str(rig.info.redis_url)) as broker:
        for queue in ("publish", "dispatch", "followup"):
            for raw in ("{", "[]", "\x00\xff"):
                broker.lpush(queue, raw)
    number = post("lookup", "beside the garbage")
    ended(rig, number, "published")
    assert public(rig, "lookup", "beside the garbage") == 1
    assert deaths(rig) == before


@pytest.mark.parametrize(
    "point", ["http.publishes.connected", pytest.param("intent.before_commit", marks=pytest.mark.slow)]
)
def test_a_post_that_kills_its_worker_each_time_ends_in_front_of_a_person(rig: Rig, point: str) -> None:
    """Before the intent, too: there the first death cannot be told from a lost hint, and all others are counted."""
    words = f"poison at {point}"
    number = post("clientid", words, in_s=2)
    rig.arm([{"id": words, "name": point, "action": "kill", "subject": number, "count": 50}])
    others = [post("lookup", f"beside the {words} {n}", in_s=2 + n) for n in range(10)]
    found = ended(rig, number, "held", "failed", seconds=120)
    assert "its worker ended without an outcome 3 times" in found.error_message
    [letter] = rig.rows("SELECT * FROM dead_letters WHERE scheduled_post_id = :id", id=number)
    assert letter.resolved_at is None
    for n, other in enumerate(others):
        ended(rig, other, "published")
        assert public(rig, "lookup", f"beside the {words} {n}") == 1
    assert public(rig, "clientid", words) == 0


def test_a_platform_that_takes_the_post_after_we_gave_up_is_not_sent_it_again(rig: Rig) -> None:
    """Found by the soak's design: the request of a call that timed out may still be carried out."""
    rig.control("faults", [{"kind": "slow", "step": "*.publish", "count": 1, "delay_ms": 5500}])
    number = post("lookup", "slow")
    found = ended(rig, number, "published")
    assert (found.evidence, public(rig, "lookup", "slow")) == ("reconciled", 1)
    # Nothing else is on its way: it was sent once.
    assert len(rig.rows("SELECT id FROM publish_attempts WHERE scheduled_post_id = :id", id=number)) == 1


def fake_clock() -> Path | None:
    """The library that lies to a process about the time; None: not for this system."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    return next(iter(Path(found.origin).parent.rglob("libfaketime.so.1")), None)


FAKE_CLOCK = fake_clock()


@pytest.mark.skipif(FAKE_CLOCK is None, reason="libfaketime is not here: it is for Linux on x86-64 alone")
@pytest.mark.parametrize(
    ("programs", "shifts"),
    [
        pytest.param("workers", itertools.cycle(("+3600", "-3600", "+0", "-7200")), marks=pytest.mark.slow),
        ("beat", ("+3600", "-3600", "+0", "-7200")),
    ],
    ids=["workers-jump", "beat-jumps-and-stays-behind"],
)
def test_only_the_clock_of_the_database_counts(
    rig: Rig, tmp_path: Path, programs: str, shifts: Iterable[str], request: pytest.FixtureRequest
) -> None:
    """Their wall clock jumps by an hour, back and forth, all the time, or stays behind; every library that they use
    sees it."""
    told = tmp_path / "clock"
    told.write_text("+0\n")
    names = [name for name in rig.children if name.startswith("beat") is (programs == "beat") and name != "emulator"]
    faked = {
        "LD_PRELOAD": str(FAKE_CLOCK), "FAKETIME_TIMESTAMP_FILE": str(told), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    for name in names:
        rig.children[name].env = {**rig.env, **faked}
    rig.stop(*names)
    rig.start(*names)
    over = threading.Event()

    def jump() -> None:
        for shift in shifts:
            told.write_text(f"{shift}\n")
            if over.wait(1.7):
                return

    jumps = threading.Thread(target=jump, name="clock")
    jumps.start()
    numbers = {f"{request.node.callspec.id} {n}": 0 for n in range(3)}
    try:
        for place, words in enumerate(numbers):
            numbers[words] = post("lookup", words, in_s=3 + 3 * place)
        found = [ended(rig, number, "published") for number in numbers.values()]
    finally:
        over.set()
        jumps.join()
        for name in names:
            rig.children[name].env = rig.env
        rig.stop(*names)
        rig.start(*names)
    for words, row in zip(numbers, found, strict=True):
        assert public(rig, "lookup", words) == 1
        assert 0 <= (row.first_sent_at - row.due_at).total_seconds() < 15
        assert abs((row.published_at - row.first_sent_at).total_seconds()) < 30


SCRIPT = """
from scheduler import schedule
print(schedule({words!r}, to="lookup:a", at={at!r}, idempotency_key={words!r}).id)
"""


SCHEDULING = ("schedule.before_commit", "schedule.after_commit")


@pytest.mark.parametrize("point", SCHEDULING)
@pytest.mark.parametrize("action", ["kill", "lose_commit"])
def test_a_script_that_dies_while_it_schedules_makes_one_post_when_it_tries_again(
    rig: Rig, point: str, action: str
) -> None:
    if (point, action) == ("schedule.after_commit", "lose_commit"):
        pytest.skip("after the commit there is none to lose")
    words = f"{point} {action}"
    rig.arm([{"id": words, "name": point, "action": action}])
    script = [sys.executable, "-c", SCRIPT.format(words=words, at=f"{time.gmtime().tm_year + 2}-01-01T00:00:00Z")]
    first = subprocess.run(script, env=rig.env, capture_output=True, text=True, check=False, timeout=60)
    assert first.returncode != 0
    second = subprocess.run(script, env=rig.env, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 0, second.stderr
    rows = rig.rows("SELECT post_id FROM post_versions WHERE text = :words", words=words)
    assert [str(one.post_id) for one in rows] == [second.stdout.split()[-1]]
    rig.run("UPDATE scheduled_posts SET status = 'canceled', finalized_at = clock_timestamp() WHERE post_id = :id",
            id=rows[0].post_id)  # fmt: skip


def test_it_is_this_machine_only() -> None:
    """The rig's variables are gone from this process once a rig has ended."""
    assert "SCHEDULERX_FAILPOINTS" not in os.environ
