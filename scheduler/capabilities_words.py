"""What is promised about doubles, in plain words, for each way that doubt about a publishing call is settled."""

from __future__ import annotations

from dataclasses import dataclass

from platforms.base import PublishingCall, ReconcileKind


@dataclass(frozen=True)
class Promise:
    """What happens to a post whose publishing call was not answered."""

    short: str
    """A few words, for a table."""
    long: str
    """Whole sentences."""


def promise(call: PublishingCall) -> Promise:
    """The promise about doubles for one publishing call."""
    match call.reconcile:
        case ReconcileKind.CLIENT_ID:
            return Promise(
                "never doubled: the record's id is ours",
                "The record's id is ours and fixed before the first try. Sent again it is the same record, so an"
                " unanswered call is repeated without harm.",
            )
        case ReconcileKind.TWO_STEP:
            return Promise(
                "never doubled: the last step names what was made before",
                "The last step names an object that was made before and can be published once. After an unanswered"
                " call that object is asked how it stands; the step is repeated only for the same object.",
            )
        case ReconcileKind.KEYED:
            minutes = (call.key_lifetime_s or 0.0) * 5 / 6 / 60
            return Promise(
                "not doubled: looked up first, then repeated with its key",
                "The call carries an idempotency key of ours. After an unanswered call the account's own posts are"
                f" looked through first; it is sent again only with the same key, and only within {minutes:.0f} minutes"
                " of the first try. Later it is held for a person.",
            )
        case ReconcileKind.LOOKUP if call.absence_provable:
            return Promise(
                "not doubled: own posts are read before a repeat",
                "After an unanswered call the account's own recent posts are read and compared. It is sent again only"
                " after a quarantine, and after two look-ups in a row that did not find it; where they cannot decide,"
                " it is held for a person.",
            )
        case ReconcileKind.LOOKUP:
            return Promise(
                "never repeated: found, or held for a person",
                "After an unanswered call the account's own posts are searched. Found: it is published. Not found: it"
                " may still appear, so it is held for a person and never sent again by itself.",
            )
        case ReconcileKind.NONE:
            return Promise(
                "never repeated: held for a person",
                "Nothing on the platform can tell whether an unanswered call took effect, so the post is held for a"
                " person and never sent again by itself.",
            )
