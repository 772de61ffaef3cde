"""The graph of states: what it promises, and that a wrong one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import (
    CANCELABLE,
    DEAD,
    FOLLOWED,
    LEASED,
    TERMINAL,
    TRANSITIONS,
    WAITING,
    Status,
    check_graph,
)

S = Status


def changed(**edges):
    """The graph with some states' edges replaced."""
    return {**TRANSITIONS, **{Status(name): frozenset(targets) for name, targets in edges.items()}}


def test_the_graph_of_this_program_is_right():
    check_graph(TRANSITIONS)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({state: targets for state, targets in TRANSITIONS.items() if state is not S.HELD}, "misses"),
        (changed(published={S.SCHEDULED}), "for ever"),
        (changed(scheduled=TRANSITIONS[S.SCHEDULED] | {S.SCHEDULED}), "leads to itself"),
        (changed(processing={S.PUBLISHING}), "cannot end"),
        (changed(publishing=TRANSITIONS[S.PUBLISHING] | {S.QUEUED}), "straight to a resend"),
        (changed(publishing=TRANSITIONS[S.PUBLISHING] | {S.SCHEDULED}), "straight to a resend"),
        (changed(unknown=TRANSITIONS[S.UNKNOWN] | {S.READY}), "straight to a resend"),
        (changed(unknown=TRANSITIONS[S.UNKNOWN] | {S.SCHEDULED}), "straight to a resend"),
        ({state: targets - {S.READY} for state, targets in TRANSITIONS.items()}, "cannot be reached"),
    ],
)
def test_a_graph_that_cannot_be_right_is_refused(graph, words):
    with pytest.raises(AssertionError, match=words):
        check_graph(graph)


def test_every_state_has_one_kind_of_keeper():
    """Each is over, held by a worker, waiting for a claim, looked after by followup, or in front of a person."""
    kinds = [TERMINAL, LEASED, WAITING, FOLLOWED, frozenset({S.HELD})]
    for state in Status:
        assert sum(state in kind for kind in kinds) == 1, state


def test_cancel_is_possible_wherever_it_wins_at_once():
    for state in CANCELABLE:
        assert S.CANCELED in TRANSITIONS[state]
    assert CANCELABLE.isdisjoint({S.PUBLISHING, S.PROCESSING, S.UNKNOWN} | TERMINAL)


def test_a_late_yes_can_end_every_state_but_published():
    for state in set(Status) - {S.PUBLISHED}:
        assert S.PUBLISHED in TRANSITIONS[state], state


def test_what_may_become_missed_by_the_clock_alone_can():
    for state in (S.SCHEDULED, S.PREPARING, S.READY, S.QUEUED, S.RETRYING, S.HELD):
        assert S.MISSED in TRANSITIONS[state]


@given(st.lists(st.integers(min_value=0, max_value=30), max_size=40))
def test_no_walk_sends_twice_without_having_passed_an_outcome(steps):
    """Between two publishing states there is always retrying, processing, unknown, or a person."""
    state, seen = S.SCHEDULED, []
    for step in steps:
        targets = sorted(TRANSITIONS[state])
        if not targets:
            break
        state = targets[step % len(targets)]
        if state is S.PUBLISHING:
            since = seen[len(seen) - seen[::-1].index(S.PUBLISHING) :] if S.PUBLISHING in seen else None
            assert since is None or set(since) & {S.RETRYING, S.PROCESSING, S.UNKNOWN, S.HELD} | set(since) & TERMINAL
        seen.append(state)


def test_everything_can_still_end_from_everywhere():
    for start in Status:
        reached, frontier = {start}, [start]
        while frontier:
            for target in TRANSITIONS[frontier.pop()] - reached:
                reached.add(target)
                frontier.append(target)
        assert reached & TERMINAL
        assert start in DEAD | TERMINAL or reached & DEAD
