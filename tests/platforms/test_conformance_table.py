"""That the conformance table has every row for each of our modules: a world that leaves one out proves less unseen."""

from __future__ import annotations

from typing import Any

import pytest
import test_conformance
import test_conformance_fediverse
import test_conformance_tiktok_instagram
from conformance import Refusal, Subject, cases

from platforms import registry
from platforms.base import AuthExpired, Draft, Platform, RateLimited, ReconcileKind, Rejected, Unknown
from platforms.kinds import kinds_of

SUBJECTS: tuple[Subject, ...] = (
    *test_conformance.SUBJECTS,
    *test_conformance_fediverse.SUBJECTS,
    *test_conformance_tiktok_instagram.SUBJECTS,
)
ALWAYS = (
    "publishes-once",
    "raises-TransportError-network-False",  # time-out before anything was sent
    "raises-TransportError-timeout-True",  # and after it was
    "revoked",
)
IN_DOUBT = (
    "reconcile-finds",  # reset after the platform stored it
    "reconcile-absent",
    "reconcile-in-trouble",
    "reconcile-while-reads-lag",
)


def of(name: str) -> list[Subject]:
    return [subject for subject in SUBJECTS if subject.platform.name == name]


def refusals_of(name: str, outcome: type) -> list[Refusal]:
    return [one for subject in of(name) for one in subject.refusals if one.outcome is outcome]


def shape(platform: Platform, draft: Draft) -> tuple[Any, ...]:
    """What makes a kind of post another one for the module."""
    call = platform.publishing_call(draft)
    media = frozenset(item.kind for item in draft.media)
    return platform.placement(draft), call.name, call.reconcile, media, "poll" in draft.options, draft.part > 0


def test_every_platform_is_in_the_table() -> None:
    assert {subject.platform.name for subject in SUBJECTS} == set(registry.names())


@pytest.mark.parametrize("name", registry.names())
def test_each_kind_of_post_succeeds_there(name: str) -> None:
    subjects = of(name)
    platform = subjects[0].platform
    there = {shape(platform, draft) for subject in subjects for draft in subject.drafts.values()}
    missing = [kind.name for kind in kinds_of(platform) if shape(platform, kind.example) not in there]
    assert missing == []
    if platform.capabilities.threads:
        assert any(draft.reply_to is not None for subject in subjects for draft in subject.drafts.values())


@pytest.mark.parametrize("name", registry.names())
def test_each_class_of_error_is_there(name: str) -> None:
    for outcome in (Rejected, AuthExpired, RateLimited, Unknown):
        assert refusals_of(name, outcome), outcome
    # A limit with the headers that say how long, compared with what they say.
    unchecked = Refusal.__dataclass_fields__["check"].default
    told = [one for one in refusals_of(name, RateLimited) if one.answer.headers and one.check is not unchecked]
    assert told


@pytest.mark.parametrize(
    "subject", SUBJECTS, ids=lambda subject: f"{subject.platform.name}-{next(iter(subject.drafts))}"
)
def test_each_draft_has_every_row(subject: Subject) -> None:
    there = {case.name for case in cases(subject)}
    for name, draft in subject.drafts.items():
        rows = ALWAYS
        if subject.platform.publishing_call(draft).reconcile is not ReconcileKind.NONE:
            rows += IN_DOUBT
        assert {f"{subject.platform.name}-{name}-{row}" for row in rows} <= there
