"""The gauges of ``/metrics`` and the queries behind them: what is true now, read from Postgres at each scrape."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A gauge and the query for it: each row is the labels' values and then the figure.

    ``(SELECT clock_timestamp())``: evaluated once, so that an index can be used.
    """

    name: str
    told: str
    labels: tuple[str, ...]
    query: str


QUOTAS = """
    SELECT labels ->> 'platform' AS platform, labels ->> 'quota' AS quota, value,
           coalesce(labels ->> 'scope', 'account') AS scope, coalesce(labels ->> 'call', '') AS call,
           CAST(labels ->> 'per_s' AS float) AS per_s FROM tallies WHERE name = 'quota_limit'
"""
"""What ``tallies.declare_quotas`` wrote down."""
COUNTS = """
    t.started_at > (SELECT clock_timestamp()) - make_interval(secs => q.per_s) AND q.call IN ('', t.call)
    AND coalesce(t.outcome, 'unknown') IN ('accepted', 'unknown') AND t.settled IS DISTINCT FROM 'absent'
    AND (t.outcome = 'accepted' AND t.error_code = 'processing' AND t.sent_at IS NULL) IS NOT TRUE
    AND (t.part = 0 OR q.quota <> 'burst_guard')
"""
"""Which attempts use up a place, as ``limits`` has it, which decides."""

GAUGES = (
    # Twice each, in the words of the two indexes that dispatch claims by: nothing else finds them among millions.
    Figure(
        "schedulerx_posts_due",
        "Posts whose time has come and which no worker has yet.",
        ("platform",),
        """
        SELECT p.platform,
               (SELECT count(*) FROM scheduled_posts WHERE platform = p.platform AND media_ready AND NOT paused
                   AND ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))
                   AND available_at <= (SELECT clock_timestamp()))
             + (SELECT count(*) FROM scheduled_posts WHERE platform = p.platform AND media_ready AND NOT paused
                   AND status = 'scheduled' AND needs_prepare AND available_at <= (SELECT clock_timestamp()))
          FROM (SELECT DISTINCT platform FROM accounts WHERE deleted_at IS NULL) p
        """,
    ),
    Figure(
        "schedulerx_oldest_due_age_seconds",
        "How long the oldest of these has waited; 0: none waits.",
        ("platform",),
        """
        SELECT p.platform, greatest(0, coalesce(EXTRACT(EPOCH FROM (SELECT clock_timestamp()) - least(
               (SELECT min(available_at) FROM scheduled_posts WHERE platform = p.platform AND media_ready AND NOT paused
                   AND ((status = 'scheduled' AND NOT needs_prepare) OR status IN ('ready', 'retrying'))),
               (SELECT min(available_at) FROM scheduled_posts WHERE platform = p.platform AND media_ready AND NOT paused
                   AND status = 'scheduled' AND needs_prepare))), 0))
          FROM (SELECT DISTINCT platform FROM accounts WHERE deleted_at IS NULL) p
        """,
    ),
    Figure(
        "schedulerx_posts_leased",
        "Posts in the hands of a worker.",
        ("platform", "status"),
        """
        SELECT platform, status, count(*) FROM scheduled_posts WHERE lease_expires_at IS NOT NULL GROUP BY
        1, 2
        """,
    ),
    Figure(
        "schedulerx_posts_followed",
        "Posts that the platform is working on, or whose outcome is not known.",
        ("platform", "status"),
        """
        SELECT p.platform, s.status, (SELECT count(*) FROM scheduled_posts f WHERE f.status IN
        ('processing', 'unknown') AND f.status = s.status AND f.platform = p.platform) FROM (SELECT DISTINCT
        platform FROM accounts WHERE deleted_at IS NULL) p, (VALUES ('processing'), ('unknown')) s(status)
        """,
    ),
    Figure(
        "schedulerx_dead_letters_open",
        "Posts in front of a person.",
        ("status",),
        """
        SELECT s.status, (SELECT count(*) FROM dead_letters d WHERE d.resolved_at IS NULL AND d.status =
        s.status) FROM (VALUES ('failed'), ('missed'), ('held')) s(status)
        """,
    ),
    Figure(
        "schedulerx_paused",
        "1 while the stop button for everything is pressed.",
        (),
        """
        SELECT count(*) FROM switches WHERE name = 'all'
        """,
    ),
    Figure(
        "schedulerx_accounts",
        "Connected accounts.",
        ("platform", "state"),
        """
        SELECT platform, CASE WHEN paused_at IS NOT NULL THEN 'paused' ELSE state END, count(*) FROM
        accounts WHERE deleted_at IS NULL GROUP BY 1, 2
        """,
    ),
    Figure(
        "schedulerx_account_token_left_seconds",
        "Seconds until the account's access token ends (86400: a day).",
        ("platform", "account"),
        """
        SELECT platform, name, EXTRACT(EPOCH FROM token_expires_at - (SELECT clock_timestamp())) FROM
        accounts WHERE deleted_at IS NULL AND token_expires_at IS NOT NULL
        """,
    ),
    Figure(
        "schedulerx_account_limited_seconds",
        "Seconds for which the platform asked the account to wait.",
        ("platform", "account"),
        """
        SELECT platform, name, EXTRACT(EPOCH FROM limited_until - (SELECT clock_timestamp())) FROM accounts
        WHERE deleted_at IS NULL AND limited_until > (SELECT clock_timestamp())
        """,
    ),
    Figure(
        "schedulerx_quota_left",
        "Posts that an account may still publish within the quota's span; scope app: it and the others of its app.",
        ("platform", "account", "quota", "scope"),
        f"""
        WITH q AS MATERIALIZED ({QUOTAS})
        SELECT a.platform, a.name, q.quota, q.scope, greatest(0, q.value - (
               SELECT count(*) FROM publish_attempts t WHERE t.account_id = a.id AND {COUNTS}))
          FROM accounts a JOIN q ON q.platform = a.platform AND q.scope = 'account' WHERE a.deleted_at IS NULL
        UNION ALL
        SELECT a.platform, a.name, left_of.quota, left_of.scope, left_of.places FROM accounts a JOIN (
               SELECT p.platform, p.app, q.quota, q.scope, greatest(0, q.value - (
                      SELECT count(*) FROM publish_attempts t WHERE t.app = p.app AND {COUNTS})) AS places
                 FROM (SELECT DISTINCT platform, app FROM accounts WHERE deleted_at IS NULL) p
                 JOIN q ON q.platform = p.platform AND q.scope = 'app'
               ) left_of ON left_of.platform = a.platform AND left_of.app = a.app WHERE a.deleted_at IS NULL
        """,  # noqa: S608 - constants alone
    ),
    Figure(
        "schedulerx_quota_limit",
        "How many posts an account, or (scope app) all accounts of an app, may publish within the quota's span.",
        ("platform", "quota", "scope"),
        f"SELECT platform, quota, scope, value FROM ({QUOTAS}) q",  # noqa: S608 - constants alone
    ),
    Figure(
        "schedulerx_workers",
        "Workers that did a task from their queue within the last minutes.",
        ("queue",),
        """
        SELECT queue, count(*) FILTER (WHERE seen_at > (SELECT clock_timestamp()) - interval '2 minutes')
        FROM worker_beats WHERE queue <> 'beat' GROUP BY 1
        """,
    ),
    Figure(
        "schedulerx_worker_slots",
        "How many tasks they can do at once.",
        ("queue",),
        """
        SELECT queue, coalesce(sum(slots) FILTER (WHERE seen_at > (SELECT clock_timestamp()) - interval
        '2 minutes'), 0) FROM worker_beats WHERE queue <> 'beat' GROUP BY 1
        """,
    ),
    Figure(
        "schedulerx_heartbeat_age_seconds",
        "Since when nobody has taken anything from the queue; beat: since when its clock stands still.",
        ("queue",),
        """
        SELECT queue, EXTRACT(EPOCH FROM (SELECT clock_timestamp()) - max(seen_at)) FROM worker_beats GROUP
        BY 1
        """,
    ),
    Figure(
        "schedulerx_heartbeat_trip_seconds",
        "From beat's clock to the worker's mark in Postgres.",
        ("queue",),
        """
        SELECT DISTINCT ON (queue) queue, EXTRACT(EPOCH FROM pulse_at - beat_at) FROM worker_beats WHERE
        pulse_at IS NOT NULL AND beat_at IS NOT NULL ORDER BY queue, pulse_at DESC
        """,
    ),
    Figure(
        "schedulerx_table_dead_rows",
        "Rows that vacuum has still to remove.",
        ("table",),
        """
        SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE relname <> 'alembic_version'
        """,
    ),
    Figure(
        "schedulerx_table_live_rows",
        "Rows, as Postgres estimates them.",
        ("table",),
        """
        SELECT relname, n_live_tup FROM pg_stat_user_tables WHERE relname <> 'alembic_version'
        """,
    ),
    Figure(
        "schedulerx_table_bytes",
        "Size on disk with its indexes.",
        ("table",),
        """
        SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE relname <>
        'alembic_version'
        """,
    ),
    Figure(
        "schedulerx_oldest_transaction_seconds",
        "Age of the oldest open transaction: while it lasts, vacuum removes nothing younger.",
        (),
        """
        SELECT coalesce(max(EXTRACT(EPOCH FROM (SELECT clock_timestamp()) - xact_start)), 0) FROM
        pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type =
        'client backend'
        """,
    ),
)

SLOW = (
    Figure(
        "schedulerx_posts_open",
        "Posts that have not ended, by status (scheduled: waiting for their time).",
        ("platform", "status"),
        """
        SELECT platform, status, count(*) FROM scheduled_posts WHERE finalized_at IS NULL GROUP BY 1, 2
        """,
    ),
    Figure(
        "schedulerx_media_files",
        "Originals and renditions, by state.",
        ("kind", "state"),
        """
        SELECT 'original', state, count(*) FROM media_assets GROUP BY 2 UNION ALL SELECT 'rendition', state,
        count(*) FROM renditions GROUP BY 2
        """,
    ),
    Figure(
        "schedulerx_media_bytes",
        "Bytes in the object store.",
        ("kind",),
        """
        SELECT 'original', coalesce(sum(size), 0) FROM media_assets WHERE storage_key IS NOT NULL UNION ALL
        SELECT 'rendition', coalesce(sum(size), 0) FROM renditions WHERE storage_key IS NOT NULL
        """,
    ),
    Figure(
        "schedulerx_media_seconds",
        "Seconds of video and sound in the object store.",
        ("kind",),
        """
        SELECT 'rendition', coalesce(sum(duration_s), 0) FROM renditions WHERE storage_key IS NOT NULL
        """,
    ),
)
