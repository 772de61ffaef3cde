"""The states of a scheduled post and the graph of changes between them, checked at import.

Each state says who writes it and how it is left; ``TRANSITIONS`` is the only list of allowed changes and
``db.transitions`` the only writer.
"""

from __future__ import annotations

import enum


class Status(enum.StrEnum):
    """Where a scheduled post is."""

    SCHEDULED = "scheduled"
    """Waits for its time and its media. Written by ``schedule()``, by replay, and by rescue of a lost lease."""
    PREPARING = "preparing"
    """What the platform needs first is uploaded there. Leased; safe to redo; never publishes."""
    READY = "ready"
    """Only the publishing call is left. Its checkpoint may expire, then back to ``scheduled``."""
    QUEUED = "queued"
    """Claimed by dispatch and hinted to a publish worker. Leased; nothing was called yet."""
    PUBLISHING = "publishing"
    """The intent is committed and the call may be under way. Leased; an expired lease is ``unknown``."""
    PROCESSING = "processing"
    """The platform accepted and is still working, or a part of a thread is out and the next one is to come;
    polled by followup."""
    RETRYING = "retrying"
    """Provably not published; waits until ``available_at``."""
    UNKNOWN = "unknown"
    """It may be public or not; reconcile decides."""
    HELD = "held"
    """In front of a person, with ``held_for`` saying why."""
    PUBLISHED = "published"
    """It is public. Final, for ever."""
    FAILED = "failed"
    """It will not go out as it is; has a dead letter."""
    MISSED = "missed"
    """Its window is over and it did not go out; has a dead letter."""
    CANCELED = "canceled"
    """A person stopped it."""


class HeldFor(enum.StrEnum):
    """Why a post is held."""

    OUTCOME_UNKNOWN = "outcome_unknown"
    RECONNECT = "reconnect"
    APPROVAL = "approval"


S = Status

TRANSITIONS: dict[Status, frozenset[Status]] = {
    # published from a waiting state: an answer that came late, from an attempt believed not to have arrived.
    # processing from one: the same, where the answer is "accepted, still working", or of one part of a thread.
    S.SCHEDULED: frozenset({S.PREPARING, S.QUEUED, S.FAILED, S.MISSED, S.CANCELED, S.HELD, S.PUBLISHED, S.PROCESSING}),
    S.PREPARING: frozenset({S.READY, S.SCHEDULED, S.FAILED, S.MISSED, S.CANCELED, S.HELD, S.PUBLISHED, S.PROCESSING}),
    S.READY: frozenset({S.QUEUED, S.SCHEDULED, S.MISSED, S.CANCELED, S.HELD, S.FAILED, S.PUBLISHED, S.PROCESSING}),
    S.QUEUED: frozenset(
        {
            S.PUBLISHING,
            S.SCHEDULED,
            S.READY,
            S.RETRYING,
            S.MISSED,
            S.CANCELED,
            S.HELD,
            S.FAILED,
            S.PUBLISHED,
            S.PROCESSING,
        }
    ),
    # publishing and processing may become missed or canceled only by way of an outcome "not published".
    S.PUBLISHING: frozenset({S.PUBLISHED, S.PROCESSING, S.RETRYING, S.FAILED, S.UNKNOWN, S.CANCELED, S.MISSED, S.HELD}),
    S.PROCESSING: frozenset({S.PUBLISHING, S.PUBLISHED, S.FAILED, S.UNKNOWN, S.RETRYING, S.CANCELED, S.MISSED, S.HELD}),
    S.RETRYING: frozenset({S.QUEUED, S.SCHEDULED, S.FAILED, S.MISSED, S.CANCELED, S.HELD, S.PUBLISHED, S.PROCESSING}),
    S.UNKNOWN: frozenset({S.PUBLISHED, S.RETRYING, S.MISSED, S.HELD, S.CANCELED, S.FAILED, S.PROCESSING}),
    S.HELD: frozenset({S.PUBLISHED, S.SCHEDULED, S.RETRYING, S.MISSED, S.CANCELED, S.FAILED, S.PROCESSING}),
    S.FAILED: frozenset({S.SCHEDULED, S.PUBLISHED, S.PROCESSING}),
    S.MISSED: frozenset({S.SCHEDULED, S.PUBLISHED, S.PROCESSING}),
    S.CANCELED: frozenset({S.SCHEDULED, S.PUBLISHED, S.PROCESSING}),
    S.PUBLISHED: frozenset(),
}
"""From -> to. failed, missed and canceled reach ``published`` only when a late answer proves that it is out, and
``processing`` only when one proves that the platform has it: replayed from there it would be sent twice."""

TERMINAL: frozenset[Status] = frozenset({S.PUBLISHED, S.FAILED, S.MISSED, S.CANCELED})
LEASED: frozenset[Status] = frozenset({S.PREPARING, S.QUEUED, S.PUBLISHING})
WAITING: frozenset[Status] = frozenset({S.SCHEDULED, S.READY, S.RETRYING})
"""Claimed by prepare or dispatch when their ``available_at`` has come."""
FOLLOWED: frozenset[Status] = frozenset({S.PROCESSING, S.UNKNOWN})
"""Looked after by followup when their ``available_at`` has come."""
CANCELABLE: frozenset[Status] = frozenset({S.SCHEDULED, S.PREPARING, S.READY, S.QUEUED, S.RETRYING, S.HELD})
"""Cancel wins at once in these; elsewhere it is recorded and honoured if the outcome is "not published"."""
DEAD: frozenset[Status] = frozenset({S.FAILED, S.MISSED, S.HELD})
"""Entering one of these writes a dead letter in the same transaction."""


def check_graph(graph: dict[Status, frozenset[Status]]) -> None:
    """Refuses a graph that cannot be right.

    :raises AssertionError: a state is missing, cannot be reached, cannot end, or leaves ``published``.
    """
    if set(graph) != set(Status):
        raise AssertionError(f"TRANSITIONS misses {set(Status) - set(graph)}")
    if graph[S.PUBLISHED]:
        raise AssertionError("published is for ever")
    reached = {S.SCHEDULED}
    frontier = [S.SCHEDULED]
    while frontier:
        for target in graph[frontier.pop()]:
            if target not in reached:
                reached.add(target)
                frontier.append(target)
    if reached != set(Status):
        raise AssertionError(f"cannot be reached: {set(Status) - reached}")
    for state in Status:
        if state in graph[state]:
            raise AssertionError(f"{state} leads to itself")
        if state not in TERMINAL and not graph[state] & TERMINAL:
            raise AssertionError(f"{state} cannot end")
        # Nothing that may have been called goes back to where it would be sent without a look.
    for risky in (S.PUBLISHING, S.UNKNOWN):
        if graph[risky] & {S.SCHEDULED, S.READY, S.QUEUED, S.PREPARING}:
            raise AssertionError(f"{risky} leads straight to a resend")


check_graph(TRANSITIONS)
