"""The judge of the crash tests sees what is doubled, missing, or out of order: it must be able to fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.crash.judge import Judge, Seen
from tests.crash.matrix import Result

WORDS = ["head", "and so on", "and so on"]


def post(number: int, text: str, answers: int | None = None, *, account: str = "a") -> dict[str, Any]:
    content = {"text": text} | ({} if answers is None else {"reply_to": str(answers)})
    return {"platform": "lookup", "account": account, "remote_id": str(number), "content": content}


THREAD = [post(1, "head"), post(2, "and so on", 1), post(3, "and so on", 2)]


@pytest.mark.parametrize(
    ("accepted", "seen"),
    [
        (THREAD, Seen((1, 1, 1))),
        (THREAD[:2], Seen((1, 1, 0))),
        ([], Seen((0, 0, 0))),
        ([*THREAD, post(4, "and so on", 2)], Seen((1, 1, 2))),  # its last part, twice
        ([*THREAD, post(4, "and so on", 1)], Seen((1, 2, 1))),  # its middle, twice
        ([*THREAD, post(4, "head")], Seen((2, 1, 1))),  # begun anew
        ([*THREAD, post(4, "and so on", 3)], Seen((1, 1, 1), 1)),  # one part too many
        ([THREAD[0], post(2, "and so on")], Seen((1, 0, 0), 1)),  # answers nothing
        ([THREAD[0], post(3, "and so on", 9)], Seen((1, 0, 0), 1)),  # answers what is not there
        ([*THREAD, post(4, "head", account="b")], Seen((1, 1, 1))),  # somebody else's
    ],
)
def test_it_counts_parts_by_words_and_by_what_they_answer(accepted: list[dict[str, Any]], seen: Seen) -> None:
    assert Judge(accepted).look("lookup:a", WORDS) == seen


def test_what_nobody_asked_about_is_left_over() -> None:
    judge = Judge([*THREAD, post(4, "unknown"), post(5, "unknown", account="b")])
    judge.look("lookup:a", WORDS)
    assert judge.rest() == {("lookup:a", "unknown"): 1, ("lookup:b", "unknown"): 1}


ENDED = Result(
    point="publish.answered, part 2 of 3", action="kill", kind="none", first="", needs="", ends="published",
    struck=True, status="published", code="", public=(1, 1, 1), strangers=0, known=3, attempts=3, seconds=1.0,
)  # fmt: skip
HELD = replace(ENDED, status="held", code="outcome_unknown", known=1)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (ENDED, "ok"),
        (replace(ENDED, public=(1, 1, 0)), "LOST"),
        (replace(ENDED, public=(1, 2, 1)), "DOUBLED"),
        (replace(ENDED, strangers=1), "DOUBLED"),
        (replace(ENDED, status="failed"), "ended failed"),
        (replace(HELD, public=(1, 0, 0)), "ok"),
        (replace(HELD, public=(1, 1, 0)), "ok"),  # it may be public: that is why it is held
        (replace(HELD, public=(1, 1, 1)), "MISREPORTED"),  # went on although it was in doubt
        (replace(HELD, public=(0, 0, 0)), "MISREPORTED"),  # known to be public, and is not
        (replace(HELD, kind="lookup", public=(1, 0, 0)), "ended held"),  # somebody could have looked
        (replace(HELD, code="reconnect", public=(1, 1, 0)), "MISREPORTED"),
    ],
)
def test_a_verdict_says_what_is_wrong(result: Result, verdict: str) -> None:
    assert result.verdict == verdict
