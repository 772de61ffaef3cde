"""What every platform module must do, as cases to run: ours and third parties' alike.

Use: describe the module by a ``Subject``, and in a test file of yours

    import pytest

    pytest.register_assert_rewrite("platforms.conformance")  # says what was compared where a case fails

    from platforms.conformance import Case, cases

    @pytest.mark.parametrize("case", cases(SUBJECT), ids=str)
    def test_conformance(case: Case) -> None:
        case.run()

A ``Subject`` brings a *world*: a small in-process stand-in for the platform that answers requests and keeps
what was posted. The cases break that world at chosen requests and look at what the module says. A case that
fails raises ``AssertionError``; without ``assert`` statements (``python -O``) nothing would be proven, so
``cases`` refuses to run there.
"""

from platforms.conformance.fake_http import NOW, Answer, Answerer, FakeHttp, Sent
from platforms.conformance.suite import (
    Case,
    Refusal,
    Subject,
    World,
    breaking,
    cases,
    doubtful_for_a_while,
    doubtful_server_errors,
    prepared,
)

__all__ = [
    "NOW",
    "Answer",
    "Answerer",
    "Case",
    "FakeHttp",
    "Refusal",
    "Sent",
    "Subject",
    "World",
    "breaking",
    "cases",
    "doubtful_for_a_while",
    "doubtful_server_errors",
    "prepared",
]
