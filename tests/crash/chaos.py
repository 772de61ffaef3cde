"""The soak: thousands of posts while everything is killed at random.

``python -m tests.crash.chaos --posts 5000 --kills 200 --minutes 15 --seed 1 --json chaos.json``

Workers, both beats, both dispatchers, the broker (killed, flushed, restarted empty, full), Postgres (killed,
restarted at once, its connections cut), the object store and the platforms (killed, and made to answer with
errors, late, or not at all after they took the post) go down again and again, drawn with a seed. A script goes
on scheduling meanwhile, and repeats what got no answer under the same idempotency key; people edit, cancel and
reschedule posts, and pause and resume accounts, as they become due. Then everything is healed, every post has to come
to its end, and the database is compared with what the platforms accepted, by content, part by part. The last line is
``posts N, published P, held H, lost L, doubled D``; the exit code is 0 only if nothing was lost, doubled or
misreported, and every post that nobody canceled was published or is held.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from tests.crash.judge import Seen
from tests.crash.people import ACCOUNTS, OTHER_ACCOUNTS, SHARES, People, Script
from tests.crash.rig import OPEN, Rig

SETTINGS = {
    "SCHEDULERX_QUEUED_LEASE_SECONDS": "15",
    "SCHEDULERX_PREPARE_LEASE_SECONDS": "20",
    "SCHEDULERX_MEDIA_LEASE_SECONDS": "20",
    "SCHEDULERX_FOLLOW_LEASE_SECONDS": "8",
    "SCHEDULERX_CALL_BUDGET_SECONDS": "5",
    "SCHEDULERX_LEASE_MARGIN_SECONDS": "3",
    "SCHEDULERX_SEND_MARGIN_SECONDS": "2",
    "SCHEDULERX_QUARANTINE_SECONDS": "10",
    "SCHEDULERX_BACKOFF_SECONDS": "1",
    "SCHEDULERX_BACKOFF_MAX_SECONDS": "15",
    "SCHEDULERX_LOOKUP_BUDGET": "40",
    "SCHEDULERX_BURST_COUNT": "100000",
}
"""Shorter than in real life, so that minutes hold what weeks hold there; printed at the start."""

KILLS = {
    "publish worker": 20, "publish worker, its parent only": 4, "dispatch worker": 8,
    "followup worker": 8, "media worker": 3, "upload worker": 3,
    "beat": 6, "broker": 12, "broker, restarted empty": 8, "postgres, immediate": 10, "postgres, kill -9": 4,
    "platforms": 14, "object store": 6,
}  # fmt: skip
"""What is killed, by weight."""
BLOWS = {"worker stopped and woken": 8, "broker flushed": 6, "database connections cut": 8, "broker full": 2}
"""What else happens, by weight; not counted as kills."""
AT_POINTS = (
    "claim.after_commit", "deliver.start", "intent.before_commit", "intent.after_commit", "http.publishes.connected",
    "http.publishes.piece_sent", "http.publishes.head_read", "publish.answered", "outcome.before_commit",
    "outcome.after_commit", "checkpoint.*", "prepare.*", "poll.*", "reconcile.*", "rescue.*", "upload.*", "render.*",
)  # fmt: skip
"""Where a worker kills itself now and then: the instants that a signal from outside would seldom meet."""

SLOWEST_S = 6.5
"""How long the platforms take at most before a request takes effect."""
WEATHER: tuple[list[dict[str, Any]], ...] = (
    [],
    [],
    [{"kind": "server_error", "step": "*", "probability": 0.3}],
    [{"kind": "server_error_after", "step": "*.publish", "probability": 0.3}],
    [{"kind": "reset_after", "step": "*", "probability": 0.3}],
    [{"kind": "reset_before", "step": "*", "probability": 0.3}],
    [{"kind": "cut_answer", "step": "*", "probability": 0.3}],
    [{"kind": "rate_limited", "step": "*", "probability": 0.1, "retry_after_s": 2}],
    [{"kind": "slow", "step": "*.publish", "probability": 0.2, "delay_ms": SLOWEST_S * 1000}],
    [{"kind": "slow_answer", "step": "*", "probability": 0.15, "delay_ms": 6000}],
    [{"kind": "read_lag", "step": "x.*", "lag_s": 8}, {"kind": "read_lag", "step": "pinterest.*", "lag_s": 8},
     {"kind": "read_lag", "step": "*.read", "lag_s": 0.8},
     {"kind": "reset_after", "step": "*.publish", "probability": 0.3}],
)  # fmt: skip
"""How the platforms behave for some seconds each; stale reads stay within what the modules declare."""


class Chaos:
    """Draws what happens next, and does it."""

    def __init__(self, rig: Rig, dice: random.Random) -> None:
        self.rig = rig
        self.dice = dice
        self.kills: Counter[str] = Counter()
        self.blows: Counter[str] = Counter()
        self.weather: Counter[str] = Counter()
        self._wakers: list[threading.Timer] = []

    def kill(self) -> None:
        """One kill; what was killed comes back."""
        what = self.dice.choices(list(KILLS), list(KILLS.values()))[0]
        done = self._kill(what)
        if done:
            self.kills[what] += 1

    def _kill(self, what: str) -> bool:
        first = what.partition(",")[0]
        if first == "postgres":
            return self._restart("postgres", signal.SIGQUIT if "immediate" in what else signal.SIGKILL)
        if first == "broker":
            return self._restart("valkey", signal.SIGKILL, empty="empty" in what)
        if what == "object store":
            return self._restart("objects", signal.SIGKILL)
        if what == "platforms":
            return self._child("emulator")
        names = [name for name in self.rig.children if name.startswith(first.partition(" ")[0])]
        if "parent" in what:
            return self.rig.children[self.dice.choice(names)].kill_parent()
        return self._child(self.dice.choice(names))

    def _child(self, name: str) -> bool:
        return self.rig.children[name].signal(signal.SIGKILL)

    def _restart(self, name: str, number: signal.Signals, *, empty: bool = False) -> bool:
        service = self.rig.service(name)
        process = service._process
        if process is None or process.poll() is not None:
            return False
        process.send_signal(number)
        process.wait()
        if empty:
            shutil.rmtree(service.folder / "appendonlydir", ignore_errors=True)
        time.sleep(self.dice.uniform(0, 2))  # the time that it is away is part of the experiment
        self.rig.start_service(name)
        return True

    def blow(self) -> None:
        """Something that is no kill."""
        what = self.dice.choices(list(BLOWS), list(BLOWS.values()))[0]
        {
            "worker stopped and woken": self._stop,
            "broker flushed": self._flush,
            "database connections cut": self._cut,
            "broker full": self._fill,
        }[what]()
        self.blows[what] += 1

    def _stop(self) -> None:
        name = self.dice.choice(
            [name for name in self.rig.children if name.startswith(("publish", "followup", "dispatch"))]
        )
        child = self.rig.children[name]
        pid = child.pid
        if pid is not None and child.signal(signal.SIGSTOP):
            self._later(self.dice.uniform(1, 40), lambda: child.pid == pid and child.signal(signal.SIGCONT))

    def _later(self, seconds: float, call: Callable[[], Any]) -> None:
        timer = threading.Timer(seconds, call)
        timer.daemon = True
        timer.start()
        self._wakers.append(timer)

    def _broker(self) -> Any:
        import redis

        return redis.Redis.from_url(str(self.rig.info.redis_url), socket_timeout=5)

    def _flush(self) -> None:
        with self._broker() as broker:
            broker.flushall()

    def _fill(self) -> None:
        """Every write is refused for some seconds."""
        with self._broker() as broker:
            broker.config_set("maxmemory", "100kb")
        self._later(self.dice.uniform(1, 5), self._empty)

    def _empty(self) -> None:
        import redis

        try:
            with self._broker() as broker:
                broker.config_set("maxmemory", "0")
        except redis.RedisError:
            return  # killed meanwhile: it comes back without a limit

    def _cut(self) -> None:
        self.rig.rows("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'schedulerx' AND pid <> pg_backend_pid()""")

    def change_weather(self) -> None:
        """The platforms behave in another way from now on."""
        chosen = self.dice.choice(WEATHER)
        try:
            self.rig.control("faults", chosen)
        except OSError:
            return  # it is down just now; its faults went with it
        self.weather["fair" if not chosen else chosen[-1]["kind"]] += 1

    def heal(self) -> None:
        """Everything runs, nothing is in the way."""
        self.rig.arm([])
        for timer in self._wakers:
            timer.cancel()
        for name in ("postgres", "valkey", "objects"):
            if not self.rig.service(name).alive():
                self.rig.start_service(name)
        self._empty()
        for child in self.rig.children.values():
            child.signal(signal.SIGCONT)
        self.rig.start()
        self.rig.emulator_answers()
        self.rig.control("faults", [])


@dataclass(frozen=True)
class Verdict:
    """The database against the judge."""

    posts: int
    published: int
    held: int
    held_elsewhere: int
    """Of those held: on a platform that offers a way to look."""
    canceled: int
    failed: int
    missed: int
    lost: int
    doubled: int
    misreported: int
    unfinished: int
    threads: int
    parts: int
    """How many parts the threads have in all."""
    details: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        broken = self.lost or self.doubled or self.misreported or self.unfinished
        return not broken and self.published + self.held + self.canceled == self.posts


def compare(rig: Rig, accepted: Mapping[str, tuple[str, str]]) -> Verdict:
    """Every post that ``schedule`` accepted, every row, and every post that a platform took."""
    judge = rig.judge()
    rows = rig.rows("""
        SELECT s.id, a.platform || ':' || a.name AS account, v.text, s.status, s.error_code, s.held_for,
               (SELECT text FROM post_versions f WHERE f.post_id = s.post_id ORDER BY f.number LIMIT 1) AS first_text,
               coalesce(v.options -> 'post' -> 'thread', '[]') AS thread, jsonb_array_length(s.parts_out) AS known
          FROM scheduled_posts s JOIN accounts a ON a.id = s.account_id JOIN post_versions v ON v.id = s.version_id""")
    there = {(row.account, row.first_text) for row in rows}
    details = [
        f"schedule() returned for {key}, but there is no row" for key, one in accepted.items() if one not in there
    ]
    lost = len(details)
    doubled = misreported = 0
    for row in rows:
        words = [row.text, *(part if isinstance(part, str) else part["text"] for part in row.thread)]
        seen = judge.look(row.account, words)
        told = f"{row.id} on {row.account} ({row.status}, {row.error_code}) has {seen.counts}, {seen.strangers} others"
        if seen.doubled:
            doubled += seen.doubled
            details.append(f"doubled: {told}")
        elif row.status == "published" and not seen.whole:
            lost += 1
            details.append(f"lost: published for us only: {told}")
        elif not _rightly(row, seen):
            misreported += 1
            details.append(f"misreported: {row.known} parts are known to be public: {told}")
    for (account, said), count in judge.rest().items():
        doubled += count
        details.append(f"nobody scheduled: {said!r} on {account}")
    states = Counter(row.status for row in rows)
    unfinished = sum(states[one] for one in OPEN)
    return Verdict(
        posts=len(rows),
        published=states["published"],
        held=states["held"],
        held_elsewhere=sum(row.status == "held" and not row.account.startswith("none:") for row in rows),
        canceled=states["canceled"],
        failed=states["failed"],
        missed=states["missed"],
        lost=lost + unfinished,
        doubled=doubled,
        misreported=misreported,
        unfinished=unfinished,
        threads=sum(bool(row.thread) for row in rows),
        parts=sum(1 + len(row.thread) for row in rows if row.thread),
        details=tuple(details),
    )


def _rightly(row: Any, seen: Seen) -> bool:
    """Whether what is said of a post that is not published is so: a part may be public beyond what is known only
    where that is in doubt, and nothing comes after a part that is missing.
    """
    if row.status == "published":
        return True
    doubt = 1 if row.status == "held" and row.held_for == "outcome_unknown" else 0
    return row.known <= seen.begun <= row.known + doubt and sum(seen.counts) == seen.begun


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.chaos", description=__doc__)
    parser.add_argument("--posts", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=15.0, help="for everything")
    parser.add_argument("--seed", type=int, help="of what happens; drawn and printed where it is not given")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--naive", action="store_true", help="switch the protection off: this run must show doubles")
    return parser.parse_args()


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main() -> int:
    """One soak."""
    wanted = arguments()
    seed = wanted.seed if wanted.seed is not None else random.SystemRandom().randrange(1_000_000)
    from scheduler import logging as logs

    logs.configure(form="console", level="ERROR")
    say(f"seed {seed}; {wanted.posts} posts, {wanted.kills} kills, {wanted.minutes:g} minutes")
    say("settings: " + " ".join(f"{name.removeprefix('SCHEDULERX_')}={value}" for name, value in SETTINGS.items()))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to end, it still ends what it started
    extra = {"SCHEDULERX_CHAOS_NAIVE_RESEND": "1"} if wanted.naive else {}
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="sx-chaos-") as scratch,
        Rig(settings={**SETTINGS, **extra}, publishers=2, publish_slots=16, family=2, media=True, seed=seed, pairs=True,
            services=frozenset({"postgres", "valkey", "objects"})) as rig,
    ):  # fmt: skip
        verdict, told = soak(rig, wanted, seed, Path(scratch), began)
    if wanted.json:
        wanted.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for line in verdict.details[:40]:
        say(line)
    say(f"{verdict.threads} of the posts were threads, of {verdict.parts} parts in all; canceled by people"
        f" {verdict.canceled}, held where the platform offers a way to look {verdict.held_elsewhere}, failed"
        f" {verdict.failed}, missed {verdict.missed}, misreported {verdict.misreported}, unfinished"
        f" {verdict.unfinished}; {told['seconds']:.0f} s, seed {seed}")  # fmt: skip
    say(f"posts {verdict.posts}, published {verdict.published}, held {verdict.held}, lost {verdict.lost},"
        f" doubled {verdict.doubled}")  # fmt: skip
    return 0 if verdict.good else 1


def _accounts(rig: Rig) -> dict[str, str]:
    """Adds all accounts; the first board of each on Pinterest."""
    for platform in SHARES:
        for number in range(ACCOUNTS.get(platform, OTHER_ACCOUNTS)):
            rig.account(f"{platform}:a{number}")
    rows = rig.rows("SELECT name, facts FROM accounts WHERE platform = 'pinterest'")
    return {f"pinterest:{row.name}": row.facts["boards"][0]["name"] for row in rows}


def _picture(folder: Path) -> Path:
    from PIL import Image

    file = folder / "picture.png"
    Image.effect_noise((600, 600), 40).convert("RGB").save(file)
    return file


def soak(
    rig: Rig, wanted: argparse.Namespace, seed: int, scratch: Path, began: float
) -> tuple[Verdict, dict[str, Any]]:
    """Schedules, kills, heals, waits, compares."""
    period_s = wanted.minutes * 60 * 0.6
    end = began + wanted.minutes * 60 - 15
    boards = _accounts(rig)
    script = Script(rig, wanted.posts, period_s * 0.9, random.Random(seed), _picture(scratch), boards)
    chaos = Chaos(rig, random.Random(seed + 1))
    at_points = max(1, wanted.kills // 4)
    each = {"action": "kill", "probability": 0.01, "count": 1 + at_points // len(AT_POINTS)}
    rig.arm([{"id": f"chaos-{point}", "name": point, **each} for point in AT_POINTS])
    rig.start()
    people = People(rig, random.Random(seed + 2), threading.Event())
    threads = [threading.Thread(target=one.run, name=type(one).__name__, daemon=True) for one in (script, people)]
    for one in threads:
        one.start()
    kills_until = time.monotonic() + period_s
    said = 0.0
    next_kill = next_blow = next_weather = time.monotonic() + 1
    while True:
        now = time.monotonic()
        rig.check()
        struck = sum(one["action"] == "kill" for one in rig.strikes())
        done = sum(chaos.kills.values()) + struck
        if now > kills_until and (done >= wanted.kills or now > end - 60):
            break
        if now >= next_kill and done < wanted.kills:
            chaos.kill()
            left = max(kills_until - time.monotonic(), 1)
            next_kill = time.monotonic() + chaos.dice.expovariate((wanted.kills - done) / left)
        if now >= next_blow:
            _calmly(chaos.blow)
            next_blow = time.monotonic() + chaos.dice.expovariate(1 / 8)
        if now >= next_weather:
            chaos.change_weather()
            next_weather = time.monotonic() + chaos.dice.uniform(3, 10)
        if now - said > (2 if sys.stdout.isatty() else 20):
            said = now
            _progress(rig, began, done, len(script.accepted))
        time.sleep(0.05)
    say("healing")
    people.leave.set()
    threads[1].join(30)
    chaos.heal()
    people.resume_all()
    healed_at = time.monotonic()
    threads[0].join(timeout=max(end - time.monotonic(), 1))
    script.stop.set()
    for words in (*script.failed, *people.failed):
        say("a script broke: " + words)
    rig.wait_final(max(end - time.monotonic(), 5))
    # A request may still be on its way to a platform that was slow, until that was healed and a little longer.
    time.sleep(max(healed_at + SLOWEST_S + 1 - time.monotonic(), 0))
    verdict = compare(rig, script.accepted)
    struck_at = Counter(one["name"] for one in rig.strikes() if one["action"] == "kill")
    told = _report(rig, wanted, seed, verdict, chaos, people, struck_at, script, time.monotonic() - began)
    _table(chaos, people, struck_at)
    return verdict, told


def _calmly(blow: Callable[[], None]) -> None:
    """What cannot be hit because it is down already is no blow."""
    import redis

    try:
        blow()
    except (redis.RedisError, DBAPIError, OSError):
        return


def _progress(rig: Rig, began: float, kills: int, accepted: int) -> None:
    try:
        states = {row.status: row.n for row in rig.rows("SELECT status, count(*) AS n FROM scheduled_posts GROUP BY 1")}
    except DBAPIError:
        states = {}
    order = (*OPEN, "published", "held", "failed", "missed")
    told = " ".join(f"{name} {states[name]}" for name in order if name in states)
    words = f"{time.monotonic() - began:4.0f} s, kills {kills}, accepted {accepted}: {told}"
    if sys.stdout.isatty():
        sys.stdout.write("\r\x1b[K" + words[:150])
        sys.stdout.flush()
    else:
        say(words)


def _table(chaos: Chaos, people: People, struck_at: Counter[str]) -> None:
    say("\nkills, by a signal from outside:")
    for name, count in sorted(chaos.kills.items()):
        say(f"  {count:4}  {name}")
    say("kills, by itself at a step:")
    for name, count in sorted(struck_at.items()):
        say(f"  {count:4}  {name}")
    say("other blows:")
    for name, count in sorted(chaos.blows.items()):
        say(f"  {count:4}  {name}")
    say("people:")
    for name, count in sorted(people.done.items()):
        say(f"  {count:4}  {name}")
    say("weather at the platforms:")
    for name, count in sorted(chaos.weather.items()):
        say(f"  {count:4}  {name}")


def _report(
    rig: Rig, wanted: argparse.Namespace, seed: int, verdict: Verdict, chaos: Chaos, people: People,
    struck_at: Counter[str], script: Script, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    by_platform = {
        row.platform: {"posts": row.n, "published": row.published, "held": row.held, "reconciled": row.reconciled}
        for row in rig.rows("""
            SELECT platform, count(*) AS n, count(*) FILTER (WHERE status = 'published') AS published,
                   count(*) FILTER (WHERE status = 'held') AS held,
                   count(*) FILTER (WHERE evidence = 'reconciled') AS reconciled
              FROM scheduled_posts GROUP BY 1 ORDER BY 1""")
    }
    [attempts] = rig.rows("""
        SELECT count(*) AS n, count(*) FILTER (WHERE settled = 'found') AS found,
               count(*) FILTER (WHERE settled = 'absent') AS absent FROM publish_attempts""")
    codes = {row.code: row.n for row in rig.rows("""
        SELECT status || ' ' || coalesce(error_code, '') AS code, count(*) AS n FROM scheduled_posts
         WHERE status IN ('held', 'failed', 'missed') GROUP BY 1""")}  # fmt: skip
    return {
        "seed": seed, "naive": wanted.naive, "seconds": round(seconds, 1),
        "posts": verdict.posts, "threads": verdict.threads, "parts_of_threads": verdict.parts,
        "published": verdict.published,
        "held": verdict.held, "held_elsewhere": verdict.held_elsewhere, "canceled": verdict.canceled,
        "people": dict(people.done), "failed": verdict.failed, "missed": verdict.missed, "lost": verdict.lost,
        "doubled": verdict.doubled, "misreported": verdict.misreported, "unfinished": verdict.unfinished,
        "kills": sum(chaos.kills.values()) + sum(struck_at.values()), "kills_from_outside": dict(chaos.kills),
        "kills_at_steps": dict(struck_at), "blows": dict(chaos.blows), "weather": dict(chaos.weather),
        "schedule_calls_repeated": script.repeated, "attempts": attempts.n, "doubtful_found": attempts.found,
        "doubtful_absent": attempts.absent, "by_platform": by_platform, "reasons": codes, "settings": SETTINGS,
        "details": list(verdict.details),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
