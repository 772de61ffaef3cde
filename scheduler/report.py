"""Figures over a span of time: what came out, what did not and why, how late, what was saved, what it may cost.

All from committed rows, so a restart loses nothing. Rates: success = published of all that ended (published,
failed, missed); error = attempts that the platform did not accept of all attempts. What a person canceled is
counted, and is in no rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

SHARES = (0.5, 0.9, 0.95, 0.99)
BUCKETS: tuple[tuple[str, float], ...] = (
    ("up to 1 s", 1.0),
    ("1 to 2 s", 2.0),
    ("2 to 5 s", 5.0),
    ("5 to 10 s", 10.0),
    ("10 to 60 s", 60.0),
    ("1 to 5 min", 300.0),
    ("5 to 60 min", 3600.0),
    ("over 1 h", float("inf")),
)
X_POST, X_POST_WITH_URL, X_METADATA = 0.015, 0.200, 0.005
"""US dollars for each call. X's price list, pay per use, read 2026-08."""

# Found by history, whose times are indexed: ten million posts of the future are not looked at.
ENDED = """
    WITH ended AS (
        SELECT DISTINCT scheduled_post_id AS id FROM transitions
         WHERE at >= :since AND at < :until AND to_status IN ('published', 'failed', 'missed', 'canceled', 'held')
    )
"""


@dataclass
class Group:
    """Counts and rates of one platform, account, or of all."""

    name: str
    published: int = 0
    failed: int = 0
    missed: int = 0
    canceled: int = 0
    held: int = 0
    attempts: int = 0
    errors: int = 0
    retries: int = 0

    @property
    def ended(self) -> int:
        """What a rate is of."""
        return self.published + self.failed + self.missed

    @property
    def success(self) -> float | None:
        """Published of ended, 0 to 1; None: nothing ended."""
        return self.published / self.ended if self.ended else None

    @property
    def error_rate(self) -> float | None:
        """Attempts that were not accepted, 0 to 1; None: there was none."""
        return self.errors / self.attempts if self.attempts else None

    def add(self, status: str, count: int) -> None:
        """Counts posts of a status."""
        if status in {"published", "failed", "missed", "canceled", "held"}:
            setattr(self, status, getattr(self, status) + count)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        failure = None if self.success is None else 1 - self.success
        rates = {"success_rate": self.success, "failure_rate": failure, "error_rate": self.error_rate}
        return {**asdict(self), **rates}


@dataclass
class Report:
    """The figures. Times in UTC, sizes in bytes, lateness in seconds, costs in US dollars."""

    since: datetime
    until: datetime
    total: Group
    platforms: list[Group] = field(default_factory=list)
    accounts: list[Group] = field(default_factory=list)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    lateness: list[dict[str, Any]] = field(default_factory=list)
    late_buckets: list[tuple[str, int]] = field(default_factory=list)
    series: list[dict[str, Any]] = field(default_factory=list)
    step: str = "day"
    media: dict[str, Any] = field(default_factory=dict)
    costs: list[dict[str, Any]] = field(default_factory=list)
    test_posts: int = 0

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "total": self.total.as_json(),
            "platforms": [one.as_json() for one in self.platforms],
            "accounts": [one.as_json() for one in self.accounts],
            "reasons": self.reasons,
            "lateness": self.lateness,
            "late_buckets": [{"lateness": name, "posts": count} for name, count in self.late_buckets],
            "series": {
                "step": self.step,
                "points": [{**one, "at": one["at"].isoformat()} for one in self.series],
            },
            "media": self.media,
            "costs": self.costs,
            "test_posts": self.test_posts,
        }


def make(conn: Connection, *, since_s: float) -> Report:
    """The report of the last ``since_s`` seconds."""
    span: dict[str, Any] = dict(
        conn.execute(
            text("SELECT clock_timestamp() AS until, clock_timestamp() - make_interval(secs => :s) AS since"),
            {"s": since_s},
        )
        .mappings()
        .one()
    )
    made = Report(since=span["since"], until=span["until"], total=Group("all"))
    _counts(conn, made, span)
    _attempts(conn, made, span)
    made.reasons = [
        dict(row._mapping)
        for row in conn.execute(
            text(f"""
                {ENDED}
                SELECT s.status, coalesce(s.error_code, s.held_for, '?') AS code, s.platform, count(*) AS posts,
                       max(s.error_message) AS example
                  FROM scheduled_posts s JOIN ended USING (id) WHERE s.status IN ('failed', 'missed', 'held')
                 GROUP BY s.status, code, s.platform ORDER BY posts DESC, code LIMIT 50
            """),  # noqa: S608 - a constant of ours
            span,
        )
    ]
    _lateness(conn, made, span)
    _series(conn, made, span, since_s)
    made.media = _media(conn, span)
    made.costs = _costs(conn, span)
    return made


def _counts(conn: Connection, made: Report, span: dict[str, Any]) -> None:
    platforms: dict[str, Group] = {}
    accounts: dict[str, Group] = {}
    rows = conn.execute(
        text(f"""
            {ENDED}
            SELECT s.platform, a.platform || ':' || a.name AS account, s.status, count(*) AS posts,
                   count(*) FILTER (WHERE s.api_url IS NOT NULL) AS tests
              FROM scheduled_posts s JOIN ended USING (id) JOIN accounts a ON a.id = s.account_id
             GROUP BY s.platform, account, s.status
        """),  # noqa: S608 - a constant of ours
        span,
    )
    for row in rows:
        made.test_posts += row.tests
        for group in (
            made.total,
            platforms.setdefault(row.platform, Group(row.platform)),
            accounts.setdefault(row.account, Group(row.account)),
        ):
            group.add(row.status, row.posts)
    made.platforms = [platforms[name] for name in sorted(platforms)]
    made.accounts = [accounts[name] for name in sorted(accounts)]


def _attempts(conn: Connection, made: Report, span: dict[str, Any]) -> None:
    platforms = {one.name: one for one in made.platforms}
    accounts = {one.name: one for one in made.accounts}
    rows = conn.execute(
        text("""
            SELECT a.platform, a.platform || ':' || a.name AS account, count(*) AS tries,
                   count(*) FILTER (WHERE t.outcome IN ('rejected', 'not_sent', 'unknown')) AS errors,
                   -- Each part of a thread has a first try of its own.
                   count(*) - count(DISTINCT (t.scheduled_post_id, t.part)) AS retries
              FROM publish_attempts t JOIN accounts a ON a.id = t.account_id
             WHERE t.started_at >= :since AND t.started_at < :until GROUP BY a.platform, account
        """),
        span,
    )
    for row in rows:
        for group in (made.total, platforms.get(row.platform), accounts.get(row.account)):
            if group is not None:
                group.attempts += row.tries
                group.errors += row.errors
                group.retries += row.retries


def _lateness(conn: Connection, made: Report, span: dict[str, Any]) -> None:
    late = f"""{ENDED}, late AS (
        SELECT s.platform, CAST(greatest(extract(epoch FROM s.first_sent_at - s.due_at), 0) AS float8) AS s
          FROM scheduled_posts s JOIN ended USING (id)
         WHERE s.status = 'published' AND s.first_sent_at IS NOT NULL)"""  # noqa: S608 - a constant of ours
    rows = conn.execute(
        text(f"""
            {late}
            SELECT coalesce(platform, 'all') AS name, count(*) AS posts, max(s) AS max,
                   percentile_cont(CAST(:shares AS float8[])) WITHIN GROUP (ORDER BY s) AS shares
              FROM late GROUP BY GROUPING SETS ((), (platform)) HAVING count(*) > 0 ORDER BY platform NULLS FIRST
        """),  # noqa: S608 - as above
        {**span, "shares": list(SHARES)},
    )
    made.lateness = [
        {
            "name": row.name,
            "posts": row.posts,
            **{f"p{share * 100:g}": round(value, 3) for share, value in zip(SHARES, row.shares, strict=True)},
            "max": round(row.max, 3),
        }
        for row in rows
    ]
    edges = [edge for _, edge in BUCKETS[:-1]]
    places = conn.execute(
        # A post of exactly one second is "up to 1 s": the edges belong to the bucket below.
        text(f"""
            {late}
            SELECT (SELECT count(*) FROM unnest(CAST(:edges AS float8[])) e WHERE late.s > e) AS place,
                   count(*) AS posts FROM late GROUP BY place
        """),  # noqa: S608 - as above
        {**span, "edges": edges},
    )
    counted = {int(row.place): int(row.posts) for row in places}
    made.late_buckets = [(name, counted.get(place, 0)) for place, (name, _) in enumerate(BUCKETS)]


def _series(conn: Connection, made: Report, span: dict[str, Any], since_s: float) -> None:
    made.step = "hour" if since_s <= 2 * 86_400 else "day"
    rows = conn.execute(
        text("""
            SELECT g.at, count(*) FILTER (WHERE t.to_status = 'published') AS published,
                   count(*) FILTER (WHERE t.to_status = 'failed') AS failed,
                   count(*) FILTER (WHERE t.to_status = 'missed') AS missed
              FROM generate_series(date_trunc(:step, CAST(:since AS timestamptz), 'UTC'), CAST(:until AS timestamptz),
                                   CAST('1 ' || :step AS interval)) AS g(at)
              LEFT JOIN transitions t
                ON t.at >= g.at AND t.at < g.at + CAST('1 ' || :step AS interval) AND t.at >= :since AND t.at < :until
               AND t.to_status IN ('published', 'failed', 'missed')
             GROUP BY g.at ORDER BY g.at
        """),
        {**span, "step": made.step},
    )
    made.series = [dict(row._mapping) for row in rows]


def _media(conn: Connection, span: dict[str, Any]) -> dict[str, Any]:
    row: Row[Any] = conn.execute(
        text("""
            SELECT count(*) AS files, coalesce(sum(a.size), 0)::bigint AS original_bytes,
                   coalesce(sum(r.size), 0)::bigint AS sent_bytes,
                   count(*) FILTER (WHERE r.actions = '[]') AS unchanged
              FROM renditions r JOIN media_assets a ON a.id = r.asset_id
             WHERE r.state = 'ready' AND r.created_at >= :since AND r.created_at < :until
        """),
        span,
    ).one()
    actions = conn.execute(
        text("""
            SELECT one ->> 'name' AS name, count(*) AS files
              FROM renditions r CROSS JOIN LATERAL jsonb_array_elements(r.actions) one
             WHERE r.state = 'ready' AND r.created_at >= :since AND r.created_at < :until
             GROUP BY 1 ORDER BY files DESC, name
        """),
        span,
    )
    saved = row.original_bytes - row.sent_bytes
    share = saved / row.original_bytes if row.original_bytes else None
    return {
        **dict(row._mapping),
        "saved_bytes": saved,
        "saved_share": share,
        "actions": [dict(one._mapping) for one in actions],
    }


def _costs(conn: Connection, span: dict[str, Any]) -> list[dict[str, Any]]:
    """What X's price list says of the calls that it accepted. Test accounts cost nothing."""
    from platforms.x.length import links

    rows = conn.execute(
        text("""
            SELECT v.text, (SELECT count(*) FROM scheduled_post_media m
                             WHERE m.scheduled_post_id = s.id AND m.alt <> '') AS alts
              FROM publish_attempts t JOIN scheduled_posts s ON s.id = t.scheduled_post_id
              JOIN post_versions v ON v.id = t.version_id
             WHERE s.platform = 'x' AND s.api_url IS NULL AND t.outcome = 'accepted'
               AND t.started_at >= :since AND t.started_at < :until
        """),
        span,
    )
    plain = linked = alts = 0
    for row in rows:
        with_link = bool(links(row.text))
        linked += with_link
        plain += not with_link
        alts += row.alts
    if not plain + linked:
        return []
    priced = [("posts", plain, X_POST), ("posts with a link", linked, X_POST_WITH_URL), ("alt texts", alts, X_METADATA)]
    parts = [{"what": what, "count": count, "each": each} for what, count, each in priced]
    total = sum(count * each for _, count, each in priced)
    return [{"platform": "x", "dollars": round(total, 3), "parts": parts, "source": "price list read 2026-08"}]
