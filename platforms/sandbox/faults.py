"""What can be made to go wrong, where, how often: the rules, and which of them strikes a request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

KINDS = {
    "rate_limited": "429 with the platform's headers; nothing is stored",
    "server_error": "5xx; nothing is stored",
    "server_error_after": "5xx, although the request took effect",
    "reset_early": "the connection is cut after the head, before the body was read",
    "reset_before": "the connection is cut after the request was read; nothing is stored",
    "reset_after": "the request takes effect, then the connection is cut without an answer",
    "cut_answer": "the request takes effect, then half of the answer and the end of the connection",
    "slow": "delay_ms pass before the request takes effect (it does so even if the client left)",
    "slow_answer": "the request takes effect, then delay_ms pass before the answer",
    "drip": "the request takes effect, the answer comes byte by byte, delay_ms apart",
    "expired_token": "401; the access token is dead until it is refreshed, if the account can refresh",
    "payment_required": "402 as the platform words it",
    "forbidden": "403 as the platform words it",
    "too_large": "413 with an empty body, as an edge proxy sends it",
    "html_error_page": "an HTML page instead of JSON, with status (502 by default)",
    "read_lag": "reads do not show posts younger than lag_s",
}


class FaultError(ValueError):
    """The rule cannot be understood; the message says why."""


@dataclass(slots=True)
class Fault:
    """One rule.

    ``step`` is a pattern for ``platform.step`` or ``platform.kind-of-step``: ``x.create``, ``x.append``,
    ``pinterest.create_pin``, ``*.publish``, ``*.read``. With neither ``probability`` nor ``count`` it strikes
    always; with both, with that probability and at most so often.
    """

    kind: str
    step: str = "*"
    account: str | None = None
    probability: float | None = None
    count: int | None = None
    """How often it still strikes."""
    skip: int = 0
    """How many matching requests pass before it begins."""
    status: int | None = None
    delay_ms: float = 1000.0
    retry_after_s: float = 2.0
    lag_s: float = 5.0
    struck: int = field(default=0)

    def matches(self, names: Sequence[str], account: str | None) -> bool:
        if self.account is not None and self.account != account:
            return False
        return any(fnmatchcase(name, self.step) for name in names)


def parse(rules: Any) -> list[Fault]:
    """Rules from JSON. :raises FaultError: one is wrong; none is taken then."""
    if not isinstance(rules, list):
        raise FaultError("faults are a JSON list of objects")
    known = {entry.name for entry in fields(Fault)} - {"struck"}
    parsed = []
    for rule in rules:
        if not isinstance(rule, dict):
            raise FaultError("each fault is a JSON object")
        if unknown := set(rule) - known:
            raise FaultError(f"unknown field {min(unknown)!r}; known: {', '.join(sorted(known))}")
        if rule.get("kind") not in KINDS:
            raise FaultError(f"unknown kind {rule.get('kind')!r}; known: {', '.join(KINDS)}")
        probability = rule.get("probability")
        if probability is not None and not 0 <= probability <= 1:
            raise FaultError("probability is between 0 and 1")
        parsed.append(Fault(**rule))
    return parsed


@dataclass(frozen=True, slots=True)
class Struck:
    """What happens to one request."""

    fault: Fault | None = None
    read_lag_s: float = 0.0


NOTHING = Struck()


class Faults:
    """The rules in force. The dice are seeded, so that a run on one machine can be told again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._dice = random.Random(seed)  # noqa: S311 (reproducible on purpose; guards nothing)
        self._rules: list[Fault] = []

    def replace(self, rules: list[Fault]) -> None:
        """These rules instead of the present ones; the dice start again."""
        self._rules = rules
        self._dice = random.Random(self._seed)  # noqa: S311 (reproducible on purpose; guards nothing)

    def show(self) -> list[dict[str, Any]]:
        """The rules, with what is left of their counts and how often each struck."""
        return [asdict(rule) for rule in self._rules]

    def strike(self, names: Sequence[str], account: str | None) -> Struck:
        """Decides for one request: the first rule that fires, and the longest read lag of all."""
        if not self._rules:
            return NOTHING
        fault: Fault | None = None
        lag_s = 0.0
        for rule in self._rules:
            if rule.kind != "read_lag" and fault is not None:
                continue
            if not rule.matches(names, account) or not self._fires(rule):
                continue
            if rule.kind == "read_lag":
                lag_s = max(lag_s, rule.lag_s)
            else:
                fault = rule
        return Struck(fault, lag_s)

    def _fires(self, rule: Fault) -> bool:
        if rule.skip > 0:
            rule.skip -= 1
            return False
        if rule.count is not None and rule.count <= 0:
            return False
        if rule.probability is not None and self._dice.random() >= rule.probability:
            return False
        if rule.count is not None:
            rule.count -= 1
        rule.struck += 1
        return True
