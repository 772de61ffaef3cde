"""Whether a platform will be able to fetch a file from our store, as far as that can be told from here."""

from __future__ import annotations

from urllib.parse import urlsplit

from media.reach import check_public
from scheduler.checking import must_pull
from scheduler.settings import Settings
from workers.context import store
from workers.work import Work


def pulled_places(work: Work) -> frozenset[int]:
    """The places of the post's media that its platform fetches by URL, of the parts that are still to come."""
    parts = work.parts
    return frozenset(
        place
        for draft, files in zip(parts.drafts, parts.files, strict=True)
        if draft.part >= len(work.row.parts_out)
        and draft.media
        and must_pull(work.module.capabilities, draft, work.module)
        for place in files
    )


def check(settings: Settings, platform: str, key: str, *, size: int, mime: str) -> None:
    """Fetches the beginning of an object as a stranger would.

    :param size: bytes that it has.
    :raises media.errors.MediaRefused: it would be refused, or get something else.
    :raises media.errors.RemoteUnavailable: no answer just now.
    """
    # A platform that is pointed at this machine (a sandbox) may fetch from this machine.
    inside = _on_this_machine(settings, platform) and store().is_loopback
    url = store().public_url(key, expires_s=settings.url_lifetime_seconds)
    check_public(url, size=size, mime=mime, allow_loopback=inside)


def _on_this_machine(settings: Settings, platform: str) -> bool:
    override = settings.api_url(platform)
    return bool(override) and (urlsplit(override or "").hostname or "") in {"127.0.0.1", "localhost", "::1"}
