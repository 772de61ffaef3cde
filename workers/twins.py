"""Two posts of one account that say the same: a look-up for one of them could take what is the other's."""

from __future__ import annotations

from sqlalchemy import Connection, text

from platforms.base import Doubt, ReconcileKind
from scheduler.posts import WORDS
from workers.work import Work

LETTERS = "regexp_replace(lower({words}), '\\W+', '', 'g')"
SAME_WORDS = (
    f"CASE {LETTERS.format(words=':words')} WHEN '' THEN {WORDS} = :words"
    f" ELSE {LETTERS.format(words=WORDS)} = {LETTERS.format(words=':words')} END"
)
"""SQL: that they are ``:words``, as a look-up compares: platforms trim, fold and render, so only letters and digits
count here (where there are none, all of it does). Two that are the same by this and not by the look-up only wait for
one another."""


def twin_in_doubt(conn: Connection, work: Work) -> bool:
    """Whether another post of the account with the same words is being sent, or may have been."""
    if work.module.publishing_call(work.draft).reconcile not in {ReconcileKind.LOOKUP, ReconcileKind.KEYED}:
        return False
    if work.part > 0:
        return False  # a look-up tells parts apart by what they answer
    return (
        conn.execute(
            text(f"""
            SELECT 1 FROM scheduled_posts o JOIN post_versions v ON v.id = o.version_id
              JOIN accounts a ON a.id = o.account_id
             WHERE o.account_id = :account AND o.id <> :id AND {SAME_WORDS}
               AND jsonb_array_length(o.parts_out) = 0
               AND (o.status = 'unknown' OR (o.status = 'publishing' AND o.lease_expires_at IS NOT NULL)) LIMIT 1
        """),  # noqa: S608 - SAME_WORDS is a constant of this module
            {"account": work.row.account_id, "id": work.id, "words": work.draft.text},
        ).one_or_none()
        is not None
    )


def before_us(conn: Connection, work: Work, doubt: Doubt) -> bool:
    """Whether an older doubtful attempt of this account, for the same words, has to choose its match first."""
    return (
        conn.execute(
            text(f"""
            SELECT 1 FROM scheduled_posts o
              JOIN post_versions v ON v.id = o.version_id
              JOIN accounts a ON a.id = o.account_id
             WHERE o.account_id = :account AND o.id <> :id AND {SAME_WORDS}
               -- In these words, so that the small indexes of what is followed and what is leased serve.
               AND (o.status IN ('processing', 'unknown')
                    OR (o.status = 'publishing' AND o.lease_expires_at IS NOT NULL))
               -- One that the platform works on gets its id later: until then what is found may be that one.
               AND ((o.status = 'processing' AND jsonb_array_length(o.parts_out) = 0)
                    OR EXISTS (
                        SELECT FROM publish_attempts t
                         WHERE t.scheduled_post_id = o.id AND t.part = 0 AND t.started_at < :began
                           AND t.settled IS NULL AND coalesce(t.outcome, 'unknown') = 'unknown'))
             LIMIT 1
        """),  # noqa: S608 - SAME_WORDS is a constant of ours
            {
                "account": work.row.account_id,
                "id": work.id,
                "words": work.draft.text,
                "began": doubt.doubtful_since,
            },
        ).one_or_none()
        is not None
    )


def nameless_twin(conn: Connection, work: Work, doubt: Doubt) -> bool:
    """Whether a post of the account with the same words is public since then, or may be, and no id of it is known."""
    looks = {ReconcileKind.LOOKUP, ReconcileKind.KEYED}
    if work.module.publishing_call(work.draft).reconcile not in looks or work.part > 0:
        return False
    return (
        conn.execute(
            text(f"""
            SELECT 1 FROM scheduled_posts o
              JOIN post_versions v ON v.id = o.version_id
              JOIN accounts a ON a.id = o.account_id
             WHERE o.account_id = :account AND o.id <> :id
               -- By the index (account_id, due_at): what went public then was not due long before.
               AND o.due_at > CAST(:began AS timestamptz) - interval '8 days'
               AND ((o.status = 'published' AND o.remote_id IS NULL
                     AND o.published_at > CAST(:began AS timestamptz) - interval '1 day')
                    OR (o.status = 'held' AND o.held_for = 'outcome_unknown'))
               AND {SAME_WORDS} LIMIT 1
        """),  # noqa: S608 - SAME_WORDS is a constant of ours
            {
                "account": work.row.account_id,
                "id": work.id,
                "words": work.draft.text,
                "began": doubt.started_at,
            },
        ).one_or_none()
        is not None
    )
