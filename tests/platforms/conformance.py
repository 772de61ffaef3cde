"""The conformance suite by its short name, for the tests of our own modules."""

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
