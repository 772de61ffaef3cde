"""A scheduled post as a worker has to know it: loaded, with its draft, in one place for all tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from db.crypto import Cipher
from db.session import transaction
from media.probe import Probe
from platforms import registry
from platforms.base import AccountRef, Call, Draft, MediaItem, MediaKind, Platform, ReplyTo, Violation
from scheduler.accounts import STOP_LOCK_SHARED
from scheduler.checking import reachable
from scheduler.content import Parts, parts_of
from scheduler.intake import kind_of
from scheduler.logging import logger
from scheduler.options import post_options
from scheduler.settings import Settings, current
from workers.context import running_seconds, store

if TYPE_CHECKING:
    from platforms.http import Client

log = logger(__name__)

READ_BEAT_S = 30.0
"""How often a post's lease is renewed while a file comes from the store, as modules do it while they send one."""

LOAD = """
    SELECT s.id, s.post_id, s.version_id, s.account_id, s.platform, s.status, s.generation, s.due_at, s.available_at,
           s.window_ends_at, s.window_ends_at <= (SELECT clock_timestamp()) AS over, s.needs_prepare, s.checkpoint,
           s.checkpoint_expires_at, s.attempts, s.claims, s.leased_by, s.cancel_requested, s.lookups, s.media_ready,
           coalesce((s.checkpoint ->> '_prepared') = 'true', false)
               AND (s.checkpoint_expires_at IS NULL OR s.checkpoint_expires_at > (SELECT clock_timestamp()))
               AS prepared,
           a.name, a.handle, a.remote_id AS account_remote_id, a.facts, a.app, a.credentials, a.token_version,
           a.state AS account_state, a.paused_at, a.deleted_at,
           CASE WHEN a.limited_until > (SELECT clock_timestamp()) THEN a.limited_until END AS limited_until,
           v.text, v.options, v.sha256 AS version_sha256, p.correlation_id, (SELECT clock_timestamp()) AS now,
           s.parts_out, s.api_url, jsonb_array_length(v.media) AS media_count,
           EXISTS (SELECT FROM scheduled_post_media m WHERE m.scheduled_post_id = s.id) AS has_media
      FROM scheduled_posts s
      JOIN accounts a ON a.id = s.account_id
      JOIN post_versions v ON v.id = s.version_id
      JOIN posts p ON p.id = s.post_id
     WHERE s.id = :id
"""
LOCKED = text(LOAD.replace("SELECT s.id,", f"SELECT {STOP_LOCK_SHARED}, s.id,", 1) + " FOR NO KEY UPDATE OF a")
"""The account's lock comes first, everywhere, and the scheduled post's second. NO KEY: a script that inserts
a post for this account meanwhile is not kept waiting. And the stop button's: who presses it waits for the intents that
are being written, and those that come after see it."""
PLAIN = text(LOAD)
MEDIA = text("""
    SELECT m.position, m.alt, m.asset_id, a.name, a.probe, a.source_url, r.id AS rendition_id, r.state, r.sha256,
           r.size, r.mime, r.kind, r.width, r.height, r.duration_s, r.storage_key
      FROM scheduled_post_media m JOIN media_assets a ON a.id = m.asset_id
      LEFT JOIN renditions r ON r.id = m.rendition_id
     WHERE m.scheduled_post_id = :id ORDER BY m.position
""")


@dataclass
class Files:
    """A post's files, as its module opens them: the post's lease is kept while one comes from the store."""

    save: Callable[[Mapping[str, Any]], None] | None = None
    """Commits into the checkpoint, which renews the lease; what it raises (the post changed hands) ends the read. None:
    nobody has begun a call that has a lease."""

    def open(self, key: str) -> BinaryIO:
        """As ``Store.open``."""
        last = running_seconds()

        def beat(_share: float) -> None:
            nonlocal last
            if self.save is not None and running_seconds() - last >= READ_BEAT_S:
                self.save({})
                last = running_seconds()

        return store().open(key, beat)


@dataclass(frozen=True)
class Work:
    """One scheduled post in a worker's hands."""

    row: Row[Any]
    module: Platform
    account: AccountRef
    parts: Parts
    violations: tuple[Violation, ...]
    credentials: Mapping[str, Any]
    read_at: float
    """``running_seconds`` when ``row.now`` was read."""
    files: Files

    @property
    def id(self) -> int:
        """The scheduled post's id."""
        return int(self.row.id)

    @property
    def part(self) -> int:
        """The part of the thread that is next, from 0; what is before it is public. A plain post has one part."""
        return min(len(self.row.parts_out), len(self.parts.drafts) - 1)

    @property
    def draft(self) -> Draft:
        """What the next publishing call shall publish (or the one in doubt was to)."""
        draft = self.parts.drafts[self.part]
        if self.part == 0:
            return draft
        out = self.row.parts_out
        before = ReplyTo(remote_id=out[-1]["remote_id"] or "", root_id=out[0]["remote_id"] or "", url=out[-1]["url"])
        return replace(draft, reply_to=before)

    def goes_elsewhere(self, settings: Settings) -> bool:
        """Whether it was scheduled for real and would go to a stand-in from here, or the other way round."""
        return settings.elsewhere(self.row.platform, self.row.api_url)

    @property
    def platform_key(self) -> str:
        """hash(scheduled post, version, part): stable across retries of one content, new after an edit."""
        return self._key(self.part)

    def _key(self, part: int) -> str:
        words = f"{self.row.id}:{self.row.version_id}" + (f":{part}" if part else "")
        return hashlib.sha256(words.encode()).hexdigest()[:32]

    def payload_sha256(self) -> str:
        """Of what is about to be sent: version, options and files."""
        said = [self.row.version_sha256, self.draft.options, [item.sha256 for item in self.draft.media], self.part]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def database_time(self, at: float) -> datetime:
        """What the database's clock said (or will say) at this machine's ``running_seconds``: its own clock may
        be wrong, how fast it goes is not.
        """
        return cast("datetime", self.row.now) + timedelta(seconds=at - self.read_at)

    def call(self, client: Client, save: Any = None, *, part: int | None = None) -> Call:
        """The surroundings that the platform module gets. Its clock is the database's, carried on by ours.

        :param part: which part of a thread it is for; the next one otherwise. Each has a checkpoint of its own.
        """
        place = self.part if part is None else part
        checkpoint = self.checkpoint_of(place)
        kept = save or (lambda _values: None)
        self.files.save = save

        def store_part(values: Mapping[str, Any]) -> None:
            kept(as_stored(checkpoint, place, values))

        return Call(
            http=client,
            account=self.account,
            credentials=self.credentials,
            now=lambda: self.database_time(running_seconds()),
            checkpoint=checkpoint,
            store=store_part,
            platform_key=self._key(place),
            learn=self._learn,
        )

    def checkpoint_of(self, part: int) -> dict[str, Any]:
        """What the platform has given us for a part so far."""
        return of_part(self.row.checkpoint, part)

    def _learn(self, facts: Mapping[str, Any]) -> None:
        """Keeps what the platform just said about the account. Advice only: to lose it costs a later question."""
        try:
            with transaction(current().database()) as conn:
                conn.execute(
                    text("UPDATE accounts SET facts = facts || CAST(:facts AS jsonb) WHERE id = :id"),
                    {"id": self.row.account_id, "facts": json.dumps(dict(facts))},
                )
        except DBAPIError as error:
            log.warning("account.not_learned", error=type(error).__name__)


def of_part(stored: Mapping[str, Any], part: int) -> dict[str, Any]:
    """What a post's checkpoint holds of one of its parts."""
    if part:
        return dict(stored.get(f"_part{part}", {}))
    return {key: value for key, value in stored.items() if not key.startswith("_")}


def as_stored(checkpoint: Mapping[str, Any], part: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """New values of a part as they go into the post's checkpoint. ``checkpoint``: what the part has so far."""
    return dict(values) if part == 0 else {f"_part{part}": {**checkpoint, **values}}


def load(conn: Connection, settings: Settings, scheduled_post_id: int, *, lock_account: bool = False) -> Work | None:
    """A scheduled post with everything a platform module needs; None: there is no such row.

    :param lock_account: takes the account's lock until the transaction ends.
    """
    row = conn.execute(LOCKED if lock_account else PLAIN, {"id": scheduled_post_id}).one_or_none()
    read_at = running_seconds()
    if row is None:
        return None
    module = registry.get(row.platform)
    account = AccountRef(
        platform=row.platform,
        name=row.name,
        handle=row.handle,
        remote_id=row.account_remote_id,
        facts=dict(row.facts),
    )
    media = conn.execute(MEDIA, {"id": row.id}).all() if row.has_media else []
    still = post_options(row.options)[0].animation == "first_frame" if media else False
    files = Files()
    items = {one.position: _item(settings, one, row.platform, files, still=still) for one in media}
    parts = parts_of(row.text, items, row.media_count, row.options, module, account)
    wrong = list(parts.violations)
    if not wrong:
        # What is out cannot be mended any more: only what is still to come is judged.
        for draft in parts.drafts[len(row.parts_out) : parts.threaded]:
            wrong += module.validate(draft)
    credentials = Cipher(settings.secret()).open(row.credentials) if row.deleted_at is None else {}
    return Work(row, module, account, parts, tuple(wrong), credentials, read_at, files)


def _item(settings: Settings, row: Row[Any], platform: str, files: Files, *, still: bool) -> MediaItem:
    if row.state != "ready":
        # Not there yet: enough to say what the post is (a media post), not to send it.
        probe = Probe.from_json(row.probe) if row.probe else None
        return MediaItem(
            kind=kind_of(probe, still=still) if probe else MediaKind.IMAGE,
            mime=probe.mime if probe else "",
            size=probe.size if probe else 0,
            width=probe.width if probe else 0,
            height=probe.height if probe else 0,
            sha256=probe.sha256 if probe else "",
            alt=row.alt,
            name=row.name,
        )
    key = row.storage_key
    return MediaItem(
        kind=MediaKind(row.kind),
        mime=row.mime,
        size=row.size,
        width=row.width,
        height=row.height,
        sha256=row.sha256,
        alt=row.alt,
        name=row.name,
        duration_s=row.duration_s,
        url=store().public_url(key, expires_s=settings.url_lifetime_seconds) if reachable(settings, platform) else None,
        read=lambda: files.open(key),
        read_range=lambda offset, length: store().read_range(key, offset, length),
    )


def timed(method: str, target: str, status: int | None, seconds: float, sent: bool) -> None:
    """The performance stream: each request to a platform. ``target`` has no query."""
    log.info("performance.http", method=method, target=target, status=status, seconds=round(seconds, 3), sent=sent)


def client(settings: Settings, work: Work, **extra: Any) -> Client:
    """An HTTP client for this post's platform, pointed where the settings say."""
    from platforms.http import Client  # here: most workers never send a request, and requests needs 6 MB

    budget = settings.call_budget_seconds or work.module.publishing_call(work.draft).budget_s
    log.info(
        "security.credentials_used", purpose="post", scheduled_post_id=work.id, token_version=work.row.token_version
    )
    return Client(
        api_hosts=work.module.api_hosts,
        override=settings.api_url(work.row.platform),
        deadline_s=budget,
        correlation_id=work.row.correlation_id,
        observe=timed,
        **extra,
    )
