"""What the public functions raise.

SchedulerXError
 ├── Refused                  the input cannot be taken; nothing was stored (exit 2)
 │    ├── InvalidPost         rules of platforms or media are broken; ``violations`` lists all of them
 │    ├── InvalidTime         a time that is past, without zone, or does not exist
 │    ├── UnknownAccount      no account of that name
 │    ├── KeyReused           the idempotency key belongs to a different post
 │    ├── NotFound            no post or dead letter of that id
 │    └── NotAllowed          the state of the post does not allow it; says what would
 ├── NotConfigured            a setting is missing or wrong (exit 2)
 └── Unavailable              the database or the object store does not answer, or the schema is not there (exit 2)
"""

from __future__ import annotations

from collections.abc import Sequence

from platforms.base import Violation


class SchedulerXError(Exception):
    """The root. ``str()`` is one message for a person: what was wrong, where, and what to do next."""

    code = "error"
    exit_code = 1
    """What a command ends with that met it."""


class Refused(SchedulerXError):
    """The input cannot be taken; nothing was stored."""

    code = "refused"
    exit_code = 2


class InvalidPost(Refused):
    """The post breaks rules of the platforms it shall go to, or of the files it brings."""

    code = "invalid_post"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n".join(_line(violation) for violation in violations))


class InvalidTime(Refused):
    """The time is past, has no zone, or does not exist on the clocks of its zone."""

    code = "invalid_time"


class UnknownAccount(Refused):
    """There is no account of that name."""

    code = "unknown_account"


class KeyReused(Refused):
    """The idempotency key was first used for something else."""

    code = "key_reused"


class NotFound(Refused):
    """There is no post, scheduled post or dead letter of that id."""

    code = "not_found"


class NotAllowed(Refused):
    """The state of the post does not allow what was asked."""

    code = "not_allowed"


class NotConfigured(SchedulerXError):
    """A setting is missing or wrong."""

    code = "not_configured"
    exit_code = 2


class Unavailable(SchedulerXError):
    """The database or the object store does not answer, or the schema is not there."""

    code = "unavailable"
    exit_code = 2


def _line(violation: Violation) -> str:
    where = ", ".join(word for word in (violation.platform, violation.field, violation.file) if word)
    return f"[{violation.code}] {violation.message} ({where})"
