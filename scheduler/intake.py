"""Media as a caller names it: probed at scheduling, refused there, and stored before the post is.

The author's file may go away as soon as ``schedule()`` has returned: the original is in our store by then,
under its hash. Remote URLs are probed through the SSRF guard now and fetched by a worker later.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from db.object_lock import take_turn
from db.session import repeat_safe, transaction
from media.errors import MachineFailed, MediaRefused, RemoteUnavailable, StoreUnavailable
from media.probe import Probe
from media.sandbox import probe_own
from platforms.base import MediaItem, MediaKind, Violation
from scheduler.arguments import UNSTORABLE, listed, unstorable
from scheduler.errors import InvalidPost, Refused, Unavailable
from scheduler.logging import logger
from scheduler.settings import Settings

log = logger(__name__)

ALT_LIMIT = 10_000
"""Beyond any platform's; a file passed as alt text by mistake ends here."""


@dataclass(frozen=True)
class Media:
    """A file for a post: a path or an https URL, and what it shows, for people who cannot see it."""

    source: str | Path
    alt: str = ""


@dataclass(frozen=True)
class Arrived:
    """A file that was looked at. Local: ``path`` and ``probe``; remote: ``url`` and what its server said."""

    name: str
    alt: str
    path: Path | None = None
    probe: Probe | None = None
    url: str | None = None
    remote_mime: str = ""
    remote_size: int = 0

    def identity(self) -> str:
        """What makes it the same file at a second call."""
        return f"sha256:{self.probe.sha256}" if self.probe else f"url:{self.url}"

    def item(self, *, still: bool = False) -> MediaItem:
        """As platform modules see it while drafting.

        :param still: of an animation only the first picture is wanted.
        """
        return (
            item_of(self.probe, self.alt, self.name, still=still)
            if self.probe
            else MediaItem(
                kind=_kind_of(self.remote_mime, still=still),
                mime=self.remote_mime,
                size=self.remote_size,
                width=0,
                height=0,
                sha256="",
                alt=self.alt,
                name=self.name,
            )
        )


def _kind_of(mime: str, *, still: bool) -> MediaKind:
    """What a remote file is, as far as its beginning tells."""
    if mime == "image/gif" and not still:
        return MediaKind.GIF
    return MediaKind.VIDEO if mime.startswith("video/") else MediaKind.IMAGE


def kind_of(found: Probe, *, still: bool) -> MediaKind:
    """What a probed file is used as: whatever moves counts as an animation, unless only its first picture is wanted."""
    if found.clip is not None:
        return MediaKind.VIDEO
    return MediaKind.GIF if found.animated and not still else MediaKind.IMAGE


def item_of(found: Probe, alt: str, name: str, *, still: bool = False) -> MediaItem:
    """A probed file as platform modules see it while drafting."""
    return MediaItem(
        kind=kind_of(found, still=still),
        mime=found.mime,
        size=found.size,
        width=found.width,
        height=found.height,
        sha256=found.sha256,
        alt=alt,
        duration_s=found.duration_s,
        name=name,
    )


def look_at(media: Any, settings: Settings) -> tuple[list[Arrived], list[Violation]]:
    """Probes everything the caller named; what can be used, and what is wrong with the rest.

    :param media: a list of paths, URLs and ``Media``, or one of them alone.
    :raises Refused: it is nothing of that kind.
    """
    files = [media] if isinstance(media, str | os.PathLike | Media) else listed(media)
    if files is None:
        raise Refused(f"media must be a list of paths, https URLs or Media, not {type(media).__name__}")
    arrived: list[Arrived] = []
    wrong: list[Violation] = []
    for place, given in enumerate(files):
        found = _look(given if isinstance(given, Media) else Media(given), f"media[{place}]", settings)
        if isinstance(found, Arrived):
            arrived.append(found)
        else:
            wrong.append(found)
    return arrived, wrong


def _look(one: Media, place: str, settings: Settings) -> Arrived | Violation:
    """One file or address, looked at; or what is wrong with it."""
    given: object = one.source
    source = os.fsdecode(given) if isinstance(given, os.PathLike) else given
    if not isinstance(source, str):  # bytes may well be the picture itself
        told = f"{place} is a {type(source).__name__}; give a path, an https URL or a Media"
        return Violation("bad_media", told, place)
    remote = "://" in source
    try:
        name = shown(source)
    except UnicodeEncodeError:
        return Violation("bad_text", f"{place} names its file with {UNSTORABLE}", place)
    bare = name.split("?", 1)[0] if remote else name  # a query may hold a secret
    if remote and unstorable(source):
        return Violation("bad_text", f"the address has {UNSTORABLE}", "media", bare)
    if bad := _bad_alt(one.alt, bare):
        return bad
    try:
        if remote:
            return _remote(source, one.alt, settings)
        path = Path(source).expanduser()
        return Arrived(name=shown(path.name), alt=one.alt, path=path, probe=probe_own(path, name=name))
    except MediaRefused as error:
        if error.code == "private_address":
            log.warning("security.private_address", url=error.file, at="scheduling")
        return Violation(error.code, error.message, "media", error.file or name)
    except MachineFailed as error:
        code, told = "not_probed", f"{error}; try again"
    except RemoteUnavailable as error:
        code, told = "not_reachable", f"{error}; try again, or give a local file"
    except RuntimeError:  # how pathlib says so
        code, told = "missing", "there is no such user, and so no home folder to look in"
    except OSError as error:  # /proc has files that open and cannot be read
        code, told = "unreadable", f"the file cannot be read ({error.strerror or 'input/output error'})"
    return Violation(code, told, "media", bare)


def _bad_alt(alt: object, name: str) -> Violation | None:
    if not isinstance(alt, str):
        told = f"the alt text of {name} must be a str, not {type(alt).__name__}; leave it out for none"
        return Violation("bad_media", told, "alt", name)
    if unstorable(alt):
        return Violation("bad_text", f"the alt text of {name} has {UNSTORABLE}", "alt", name)
    if (over := len(alt) - ALT_LIMIT) > 0:
        told = f"the alt text of {name} has {len(alt)} characters, {over} more than the {ALT_LIMIT} that are taken"
        return Violation("alt_too_long", told, "alt", name)
    return None


def shown(name: str) -> str:
    """A file's name as it may be kept and shown: names are bytes to the system, and need not be text.

    :raises UnicodeEncodeError: no file can have that name.
    """
    return (
        name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    )


def _remote(url: str, alt: str, settings: Settings) -> Arrived:
    from media.fetch import probe_remote

    found = probe_remote(url, max_bytes=settings.max_media_bytes, max_video_bytes=settings.max_video_bytes)
    bare = url.split("?", 1)[0]
    return Arrived(
        name=bare.rsplit("/", 1)[-1] or bare,
        alt=alt,
        url=url,
        remote_mime=found.sniffed or found.mime,
        remote_size=found.size or 0,
    )


def store(arrived: Sequence[Arrived], settings: Settings) -> list[int]:
    """Makes an asset of each file and puts local originals into the store; their ids, in order.

    The row is committed before the upload, so that what is in the store is always known to a row; prune
    looks at ``touched_at`` and waits a day, so a file that is used again is not deleted under us.

    :raises Unavailable: the store does not take them. Nothing was scheduled.
    """
    return [_store_local(one, settings) if one.probe else _store_remote(one, settings) for one in arrived]


def _store_local(one: Arrived, settings: Settings) -> int:
    from media.storage import Store

    if one.probe is None or one.path is None:
        raise ValueError("a local file has a path and a probe")
    found, path = one.probe, one.path
    object_store = Store(settings.store())
    key = object_store.original_key(found.sha256)

    def touch() -> int:
        with transaction(settings.database()) as conn:
            take_turn(conn, key)
            return int(
                conn.execute(
                    text("""
                        INSERT INTO media_assets (sha256, name, size, mime, state, storage_key, lease_expires_at)
                        VALUES (:sha256, :name, :size, :mime, 'pending', :key,
                                clock_timestamp() + interval '1 hour')
                        ON CONFLICT (sha256) WHERE source_url IS NULL
                        DO UPDATE SET touched_at = clock_timestamp(), delete_after = NULL
                        RETURNING id
                    """),
                    {
                        "sha256": found.sha256,
                        "name": one.name,
                        "size": found.size,
                        "mime": found.mime,
                        "key": key,
                    },
                ).scalar_one()
            )

    def stored(asset_id: int) -> None:
        with transaction(settings.database()) as conn:
            conn.execute(
                text("""
                    UPDATE media_assets SET state = 'stored', progress = 1, probe = CAST(:probe AS jsonb),
                           storage_key = :key, touched_at = clock_timestamp(), lease_expires_at = NULL,
                           error_code = NULL, error_message = NULL
                     WHERE id = :id
                """),
                {"id": asset_id, "key": key, "probe": _json(found.as_json())},
            )

    asset_id = repeat_safe(touch)
    try:
        object_store.put_file(key, path, found.mime, found.sha256)
    except MediaRefused as error:
        raise InvalidPost([Violation(error.code, error.message, "media", one.name)]) from None
    except StoreUnavailable as error:
        raise Unavailable(f"The object store did not take {one.name}: {error}; nothing was scheduled") from None
    repeat_safe(lambda: stored(asset_id))
    return asset_id


def _store_remote(one: Arrived, settings: Settings) -> int:
    with transaction(settings.database()) as conn:
        return int(
            conn.execute(
                text("""
                    INSERT INTO media_assets (source_url, name, size, mime, state)
                    VALUES (:url, :name, :size, :mime, 'pending') RETURNING id
                """),
                {"url": one.url, "name": one.name, "size": one.remote_size or None, "mime": one.remote_mime},
            ).scalar_one()
        )


def in_this_database(conn: Connection, arrived: Sequence[Arrived], asset_ids: Sequence[int]) -> None:
    """Sees that the caller's connection knows the files that were just stored through a connection of our own.

    :raises Refused: their numbers mean nothing there, or other files.
    """
    if not asset_ids:
        return
    known = {
        row.id: (None if row.source_url else row.sha256, row.source_url)
        for row in conn.execute(
            text("SELECT id, sha256, source_url FROM media_assets WHERE id = ANY(:ids)"), {"ids": list(asset_ids)}
        )
    }
    mine = [(one.probe.sha256 if one.probe else None, one.url) for one in arrived]
    if [known.get(asset_id) for asset_id in asset_ids] == mine:
        return
    if str(conn.execute(text("SHOW transaction_isolation")).scalar_one()) != "read committed":
        raise Refused(
            "The caller's transaction cannot see the files that were stored for this post: it looks at an earlier"
            " moment (repeatable read, serializable). Use read committed, or no session, where a post has media"
        )
    raise Refused(
        "session is a connection to another database than DATABASE_URL names, where the files of this post were"
        " stored; use one and the same"
    )


def rendition(conn: Connection, asset_id: int, recipe: Any) -> tuple[int, str]:
    """The rendition of an asset for a recipe, made where it is new: (id, state).

    The row stays locked until the transaction ends, so that a worker that finishes it meanwhile waits and
    then sees the posts that need it.
    """
    row = conn.execute(
        text("""
            INSERT INTO renditions (asset_id, recipe_hash, recipe) VALUES (:asset, :hash, CAST(:recipe AS jsonb))
            ON CONFLICT (asset_id, recipe_hash)
            DO UPDATE SET touched_at = clock_timestamp(), delete_after = NULL,
                          -- One that failed is tried again for a new post; one that was pruned is made again.
                          state = CASE WHEN renditions.state = 'failed' THEN 'pending' ELSE renditions.state END,
                          claims = CASE WHEN renditions.state = 'failed' THEN 0 ELSE renditions.claims END,
                          available_at = CASE WHEN renditions.state = 'failed' OR renditions.available_at = 'infinity'
                                              THEN clock_timestamp() ELSE renditions.available_at END
            RETURNING id, state
        """),
        {"asset": asset_id, "hash": recipe.hash, "recipe": _json(recipe.as_json())},
    ).one()
    return int(row.id), str(row.state)


def _json(value: Any) -> str:
    import json

    return json.dumps(value)
