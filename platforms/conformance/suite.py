"""The cases of the conformance suite, and what they need to be told. How to use it: ``platforms.conformance``."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from platforms.base import (
    Absent,
    AuthExpired,
    Doubt,
    Draft,
    Effect,
    Found,
    Identity,
    Inconclusive,
    Platform,
    Processing,
    Published,
    RateLimited,
    Ready,
    ReconcileKind,
    Refreshed,
    Repeatable,
    Unknown,
)
from platforms.conformance.fake_http import NOW, Answer, Answerer, FakeHttp, Sent
from platforms.conformance.subject import Refusal, Subject, World
from platforms.errors import FenceExpired, TransportError
from platforms.kinds import kinds_of

__all__ = [
    "Case",
    "Refusal",
    "Subject",
    "World",
    "breaking",
    "cases",
    "doubtful_for_a_while",
    "doubtful_server_errors",
    "prepared",
]


@dataclass(frozen=True)
class Case:
    """One thing to prove."""

    name: str
    run: Callable[[], None]

    def __str__(self) -> str:
        return self.name


def cases(subject: Subject) -> list[Case]:
    """All cases for a module. :raises RuntimeError: Python runs without ``assert`` statements."""
    if not __debug__:
        raise RuntimeError("the conformance suite proves nothing under python -O")
    return list(_all(subject))


def _all(subject: Subject) -> Iterator[Case]:
    def case(name: str, check: Callable[..., None], *args: Any) -> Case:
        return Case(f"{subject.platform.name}-{name}", lambda: check(subject, *args))

    yield case("face", face)
    yield case("refuses-unknown-options", refuses_unknown_options)
    yield case("refuses-too-long", refuses_too_long)
    yield case("identifies", identifies)
    yield case("identify-unauthorized", identify_unauthorized)
    if subject.refresh_refused is not None:
        yield case("refreshes", refreshes)
        yield case("refresh-refused", refresh_refused)
        yield case("refresh-unanswered", refresh_unanswered)
    first = next(iter(subject.drafts))
    for refusal in subject.refusals:
        for name in sorted(refusal.drafts or _of_each_call(subject)):
            label = f"publish-{refusal.name}" if name == first else f"{name}-publish-{refusal.name}"
            yield case(label, refused, refusal, subject.drafts[name])
    for name, draft in subject.drafts.items():
        yield case(f"{name}-is-valid", is_valid, draft)
        yield case(f"{name}-publishes-once", publishes_once, draft)
        yield case(f"{name}-prepare-resumes", prepare_resumes, draft)
        for error in (
            TransportError("refused", sent=False),
            TransportError("no answer in time", sent=True, code="timeout"),
            TransportError("TLS broke after the request was read", sent=True, code="tls"),
            FenceExpired("too late"),
        ):
            label = f"{type(error).__name__}-{getattr(error, 'code', '')}-{getattr(error, 'sent', '')}"
            yield case(f"{name}-raises-{label}", raises, draft, error)
        if subject.platform.publishing_call(draft).reconcile is not ReconcileKind.NONE:
            yield case(f"{name}-reconcile-finds", reconcile_finds, draft)
            yield case(f"{name}-reconcile-absent", reconcile_absent, draft)
            yield case(f"{name}-reconcile-in-trouble", reconcile_in_trouble, draft)
            yield case(f"{name}-reconcile-while-reads-lag", reconcile_while_reads_lag, draft)
        if subject.revoked is not None:
            yield case(f"{name}-revoked", revoked, draft)


def _of_each_call(subject: Subject) -> list[str]:
    """A draft for each publishing call, and for each placement that is published by it: what refuses one kind of post
    has to be understood of every other.
    """
    platform, found = subject.platform, dict[tuple[str, str], str]()
    for name, draft in subject.drafts.items():
        found.setdefault((platform.publishing_call(draft).name, platform.placement(draft)), name)
    return list(found.values())


# --- Steps ------------------------------------------------------------------------------------------------


def prepared(subject: Subject, draft: Draft, world: World) -> dict[str, Any]:
    """The checkpoint after ``prepare`` (and ``poll`` as long as the platform works)."""
    http = FakeHttp(world)
    checkpoint: dict[str, Any] = {}
    call = subject.call(http, store=checkpoint.update)
    if not subject.platform.needs_prepare(draft):
        return checkpoint
    outcome: Any = subject.platform.prepare(call, draft)
    for _ in range(10):
        if not isinstance(outcome, Processing):
            break
        outcome = subject.platform.poll(call, draft)
    assert isinstance(outcome, Ready), outcome
    assert not http.publishing, "prepare must never send what publishes"
    return checkpoint


def breaking(world: World, effect: Effect, trouble: Answer | Exception) -> Answerer:
    """The world, but for its requests of one effect."""
    return lambda sent: trouble if sent.effect is effect else world(sent)


# --- The module as such -----------------------------------------------------------------------------------


def face(subject: Subject) -> None:
    """It is complete, and each limit says where it comes from."""
    platform = subject.platform
    capabilities = platform.capabilities
    assert isinstance(platform, Platform)
    assert platform.name == platform.name.lower()
    assert capabilities.source
    assert all(quota.source and quota.count > 0 and quota.per_s > 0 for quota in capabilities.quotas)
    kinds = kinds_of(platform)
    assert len({kind.name for kind in kinds}) == len(kinds) > 0, "each kind of post has a name of its own"
    for draft in (*subject.drafts.values(), *(kind.example for kind in kinds)):
        assert platform.placement(draft) in capabilities.media
        call = platform.publishing_call(draft)
        assert call.budget_s > 0
        assert (call.key_lifetime_s is not None) is (call.reconcile is ReconcileKind.KEYED)


def is_valid(subject: Subject, draft: Draft) -> None:
    """A good draft has no violation."""
    assert subject.platform.validate(draft) == []


def refuses_unknown_options(subject: Subject) -> None:
    """An option that does not exist is named."""
    draft = next(iter(subject.drafts.values()))
    wrong = dataclasses.replace(draft, options={**draft.options, "no_such_option": 1})
    found = subject.platform.validate(wrong)
    assert [violation.field for violation in found] == ["options.no_such_option"]
    assert found[0].platform == subject.platform.name


def refuses_too_long(subject: Subject) -> None:
    """A text over the limit is refused."""
    platform = subject.platform
    assert platform.text_length(subject.too_long.text) > platform.capabilities.text_limit
    assert "text_too_long" in {violation.code for violation in platform.validate(subject.too_long)}


def identifies(subject: Subject) -> None:
    """Credentials lead to an account; only reading."""
    http = FakeHttp(subject.world())
    identity = subject.platform.identify(subject.call(http))
    assert isinstance(identity, Identity)
    assert identity.remote_id
    assert {request.effect for request in http.sent} == {Effect.READ}


def identify_unauthorized(subject: Subject) -> None:
    """A 401 is about the credentials."""
    http = FakeHttp(lambda _: Answer(401, {}))
    assert isinstance(subject.platform.identify(subject.call(http)), AuthExpired)


def refreshes(subject: Subject) -> None:
    """A refresh gives whole new credentials, and says how long they last."""
    refreshed = subject.platform.refresh(subject.call(FakeHttp(subject.world())))
    assert isinstance(refreshed, Refreshed)
    assert set(subject.credentials) <= set(refreshed.credentials)
    assert refreshed.credentials["access_token"] != subject.credentials["access_token"]
    assert refreshed.expires_at == subject.platform.expires_at(refreshed.credentials)
    assert refreshed.expires_at is not None
    assert refreshed.expires_at > NOW


def refresh_refused(subject: Subject) -> None:
    """A dead refresh token is for a person to mend."""
    assert subject.refresh_refused is not None
    answer = subject.refresh_refused
    outcome = subject.platform.refresh(subject.call(FakeHttp(lambda _: answer)))
    assert isinstance(outcome, AuthExpired)
    assert outcome.permanent


def refresh_unanswered(subject: Subject) -> None:
    """A refresh without an answer may have spent the token: the caller has to know."""
    error = TransportError("no answer in time", sent=True)
    _raises_unchanged(error, lambda: subject.platform.refresh(subject.call(FakeHttp(lambda _: error))))


# --- Publishing -------------------------------------------------------------------------------------------


def publishes_once(subject: Subject, draft: Draft) -> None:
    """One publishing request, the last of all; its id comes back, at once or when the platform is done."""
    world = subject.world()
    checkpoint = prepared(subject, draft, world)
    http = FakeHttp(world)
    call = subject.call(http, checkpoint)
    outcome: Any = subject.platform.publish(call, draft)
    assert http.sent[-1].effect is Effect.PUBLISHES
    if isinstance(outcome, Processing):
        call.checkpoint.update(outcome.checkpoint or {})
    for _ in range(10):
        if not isinstance(outcome, Processing):
            break
        outcome = subject.platform.poll(call, draft)
    assert isinstance(outcome, Published), outcome
    assert world.published() == [outcome.remote_id]
    assert len(http.publishing) == 1


def refused(subject: Subject, refusal: Refusal, draft: Draft | None = None) -> None:
    """The declared outcome for an answer to the publishing call; no second try."""
    draft = draft or next(iter(subject.drafts.values()))
    world = subject.world()
    checkpoint = prepared(subject, draft, world)
    http = FakeHttp(breaking(world, Effect.PUBLISHES, refusal.answer))
    outcome = subject.platform.publish(subject.call(http, checkpoint), draft)
    assert type(outcome) is refusal.outcome, outcome
    assert refusal.check(outcome), outcome
    assert len(http.publishing) == 1
    if isinstance(outcome, RateLimited):
        assert outcome.until > NOW


def revoked(subject: Subject, draft: Draft) -> None:
    """An access that was taken back is about the account, at every step; what was in doubt stays so."""
    answer = subject.revoked
    assert answer is not None
    platform = subject.platform
    world = subject.world()
    checkpoint = prepared(subject, draft, world)
    refused: list[Sent] = []

    def taken_back(sent: Sent) -> Answer | Exception:
        if subject.needs_no_access(sent):
            return world(sent)
        refused.append(sent)
        return answer

    call = subject.call(FakeHttp(taken_back), checkpoint)
    outcome: Any = platform.publish(call, draft)
    if isinstance(outcome, Processing):
        # What publishes needed no access; how it went is asked with it.
        call.checkpoint.update(outcome.checkpoint or {})
        outcome = platform.poll(call, draft)
    steps = [outcome]
    if platform.needs_prepare(draft):
        before = len(refused)
        outcome = platform.prepare(subject.call(FakeHttp(taken_back)), draft)
        # One that needs nothing of the account has nothing to be refused.
        steps += [outcome] if len(refused) > before else []
    if platform.publishing_call(draft).reconcile is not ReconcileKind.NONE:
        steps.append(_look(subject, draft, FakeHttp(taken_back), _doubtful(subject, draft, arrives=True)[1], []))
    assert {type(outcome) for outcome in steps} == {AuthExpired}, steps


def raises(subject: Subject, draft: Draft, error: Exception) -> None:
    """What the transport says about the publishing call reaches the caller as it is."""
    world = subject.world()
    checkpoint = prepared(subject, draft, world)
    http = FakeHttp(breaking(world, Effect.PUBLISHES, error))
    _raises_unchanged(error, lambda: subject.platform.publish(subject.call(http, checkpoint), draft))
    assert len(http.publishing) == 1


def _raises_unchanged(error: Exception, action: Callable[[], Any]) -> None:
    raised: Exception | None = None
    outcome = None
    try:
        outcome = action()
    except type(error) as caught:
        raised = caught
    assert raised is error, f"swallowed or changed: {outcome!r}, {raised!r}"


def prepare_resumes(subject: Subject, draft: Draft) -> None:
    """Broken off at each request in turn, ``prepare`` goes on from the checkpoint and gets there."""
    if not subject.platform.needs_prepare(draft):
        return
    world = subject.world()
    checkpoint: dict[str, Any] = {}
    error = TransportError("killed", sent=True)
    done = 0
    allowed = 1
    for _ in range(100):
        left = [allowed]
        before = copy.deepcopy(checkpoint)

        def one_more(sent: Sent, left: list[int] = left) -> Answer | Exception:
            left[0] -= 1
            return world(sent) if left[0] >= 0 else error

        http = FakeHttp(one_more)
        call = subject.call(http, checkpoint, checkpoint.update)
        try:
            outcome: Any = subject.platform.prepare(call, draft)
        except TransportError:
            done += 1
            # A pass for the next request (a secret that is not kept) may have been all that came of it.
            allowed = 2 if checkpoint == before else 1
            continue
        assert not http.publishing
        if isinstance(outcome, Ready):
            break
        assert isinstance(outcome, Processing), outcome
        done += 1
        allowed = 1
    else:
        raise AssertionError("prepare makes no progress from its checkpoint")
    # A preparation of one request, or of none (files that are fetched ahead), cannot be broken off halfway.
    assert done > 0 or len(http.sent) <= 1


# --- Reconcile --------------------------------------------------------------------------------------------


def _doubtful(subject: Subject, draft: Draft, *, arrives: bool) -> tuple[World, dict[str, Any]]:
    """A world in which the publishing call was executed or not, and in both cases was reset instead of answered."""
    world = subject.world()
    checkpoint = prepared(subject, draft, world)
    error = TransportError("the connection was reset", sent=True)

    def lossy(sent: Sent) -> Answer | Exception:
        if sent.effect is not Effect.PUBLISHES:
            return world(sent)
        if arrives:
            world(sent)
        return error

    call = subject.call(FakeHttp(lossy), checkpoint, checkpoint.update)
    _raises_unchanged(error, lambda: subject.platform.publish(call, draft))
    return world, checkpoint


def _look(subject: Subject, draft: Draft, http: FakeHttp, checkpoint: dict[str, Any], taken: Sequence[str]) -> Any:
    doubt = Doubt(NOW - timedelta(seconds=70), None, frozenset(taken))
    outcome = subject.platform.reconcile(subject.call(http, checkpoint), draft, doubt)
    assert {request.effect for request in http.sent} <= {Effect.READ}, "reconcile only reads"
    return outcome


def reconcile_finds(subject: Subject, draft: Draft) -> None:
    """What arrived before the connection was reset is found, unless another post of ours holds it already."""
    world, checkpoint = _doubtful(subject, draft, arrives=True)
    kind = subject.platform.publishing_call(draft).reconcile
    found = _look(subject, draft, FakeHttp(world), checkpoint, [])
    if kind in {ReconcileKind.CLIENT_ID, ReconcileKind.TWO_STEP}:
        assert isinstance(found, Found | Repeatable), found
        return
    assert isinstance(found, Found), found
    assert [found.remote_id] == world.published()
    taken = _look(subject, draft, FakeHttp(world), checkpoint, world.published())
    provable = subject.platform.publishing_call(draft).absence_provable
    assert isinstance(taken, Absent if provable else Inconclusive), taken


def reconcile_absent(subject: Subject, draft: Draft) -> None:
    """What did not arrive is absent, or may be repeated; or it may still appear, and then nothing is decided."""
    world, checkpoint = _doubtful(subject, draft, arrives=False)
    outcome = _look(subject, draft, FakeHttp(world), checkpoint, [])
    if not subject.platform.publishing_call(draft).absence_provable:
        assert isinstance(outcome, Inconclusive), outcome
        return
    assert isinstance(outcome, Absent | Repeatable), outcome


def reconcile_while_reads_lag(subject: Subject, draft: Draft) -> None:
    """What arrived and is not shown yet is not found, or may be repeated; where that looks like absence, the call says
    how long reads may lag.
    """
    world, checkpoint = _doubtful(subject, draft, arrives=True)
    behind, _ = _doubtful(subject, draft, arrives=False)
    early = _look(subject, draft, FakeHttp(behind), checkpoint, [])
    assert isinstance(early, Absent | Inconclusive | Repeatable | Processing), early
    call = subject.platform.publishing_call(draft)
    if isinstance(early, Absent) and call.reconcile is ReconcileKind.LOOKUP:
        # Elsewhere repeating makes the same object.
        assert call.read_lag_s > 0, "an absence that is believed at once doubles what appears a moment later"
    later = _look(subject, draft, FakeHttp(world), checkpoint, [])
    assert isinstance(later, Found | Repeatable), later


def reconcile_in_trouble(subject: Subject, draft: Draft) -> None:
    """Where nothing could be read, nothing is decided."""
    world, checkpoint = _doubtful(subject, draft, arrives=True)
    expected: dict[int, type | tuple[type, ...]] = {
        401: AuthExpired, 429: RateLimited, 500: Inconclusive, 200: Inconclusive,
    }  # fmt: skip
    for status, kind in expected.items():
        broken = breaking(world, Effect.READ, Answer(status, b"<html>not JSON</html>"))
        outcome = _look(subject, draft, FakeHttp(broken), checkpoint, [])
        assert isinstance(outcome, kind), (status, outcome)


def doubtful_server_errors() -> list[Refusal]:
    """The answers that leave any publishing call without a second chance in doubt."""
    page = b"<html>Bad gateway</html>"
    return [Refusal(f"status-{status}", Answer(status, page), Unknown) for status in (500, 502, 503, 504)]


def doubtful_for_a_while() -> list[Refusal]:
    """Answers in doubt that also say when to come back: what turns out to be absent is not sent again before."""
    return [
        Refusal(f"status-{status}-later", Answer(status, b"", {"Retry-After": "120"}), Unknown, _in_two_minutes)
        for status in (408, 500, 503)
    ]


def _in_two_minutes(outcome: Unknown) -> bool:
    return outcome.retry_after_s == 120
