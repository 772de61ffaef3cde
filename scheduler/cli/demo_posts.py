"""What the demo posts: one account on each platform, pictures and a video to all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from platforms.base import Identity
from scheduler.cli.pictures import draw, film
from scheduler.errors import Unavailable

NAME = "acme"
PLATFORMS = ("x", "pinterest", "bluesky", "mastodon", "instagram", "tiktok")
VIDEO_TO = PLATFORMS
TIKTOK_PICTURES = 1
"""How many of the posts with pictures go to TikTok, too: it takes six posts in a minute, and is the slowest to say
that a post is out."""
APART_S = 0.7
"""Between one post and the next, seconds."""


def credentials(page: str) -> dict[str, dict[str, Any]]:
    """What ``accounts add`` would read, for each platform; they open the sandbox's accounts and nothing else."""
    tokens = {name: {"access_token": f"sandbox-{name}-{NAME}"} for name in ("x", "pinterest", "instagram")}
    return {
        **tokens,
        "bluesky": {"identifier": NAME, "password": f"sandbox-bluesky-{NAME}"},
        "mastodon": {"server": page, "access_token": f"sandbox-mastodon-{NAME}"},
        "tiktok": {
            "access_token": f"sandbox-tiktok-{NAME}",
            "scope": "user.info.basic,user.info.profile,video.publish,video.upload,video.list",
        },
    }


def connect(page: str) -> dict[str, Identity]:
    """Adds an account on each platform, as ``schedulerx accounts add`` does, and asks whose it is.

    :raises Unavailable: a platform does not say.
    """
    from scheduler import accounts
    from scheduler.api import database
    from scheduler.settings import current

    settings = current()
    found = {}
    for platform, given in credentials(page).items():
        with database() as conn:
            accounts.add(conn, settings, platform, NAME, given)
            row = accounts.find(conn, f"{platform}:{NAME}")
        identity = accounts.identify(settings, row)
        if not isinstance(identity, Identity):
            raise Unavailable(f"{platform} does not know the demo's account: {identity.message}")
        with database() as conn:
            accounts.keep_identity(conn, row.id, identity)
        found[platform] = identity
    return found


def expected(count: int) -> int:
    """How many scheduled posts ``post_all`` makes for ``count`` posts with pictures."""
    return count * (len(PLATFORMS) - 1) + min(count, TIKTOK_PICTURES) + len(VIDEO_TO)


def post_all(folder: Path, count: int, lead: timedelta, who: dict[str, Identity]) -> list[int]:
    """Schedules one post with a video and ``count`` with pictures; the ids of the posts.

    :param lead: how long after it is scheduled a post is due at the soonest; they follow one another.
    """
    from scheduler import Media, schedule

    boards = [board["name"] for board in who["pinterest"].facts["boards"]]
    clip = folder / "pictures" / "sunset.mp4"
    words = film(clip)
    pictures = list(draw(folder / "pictures", count))
    begin = datetime.now(UTC) + lead

    def due(place: int) -> datetime:
        """Where scheduling itself takes long, a post is due later: none was ever due in the past."""
        return max(begin + timedelta(seconds=APART_S * place), datetime.now(UTC) + lead)

    video = schedule(
        f"{words}, in five seconds",
        to=[f"{platform}:{NAME}" for platform in VIDEO_TO],
        at=due(TIKTOK_PICTURES),
        media=[Media(clip, alt=words)],
        options={
            "tiktok": {"privacy": "PUBLIC_TO_EVERYONE"},
            "instagram": {"placement": "reel"},
            "pinterest": {"board": boards[0], "title": words[:100]},
        },
        idempotency_key="demo-video",
    )
    made = [video.id]
    for number, (picture, words) in enumerate(pictures):
        to = PLATFORMS if number < TIKTOK_PICTURES else tuple(name for name in PLATFORMS if name != "tiktok")
        post = schedule(
            f"{words} (post {number + 1} of {count}) https://example.com/{number + 1}",
            to=[f"{platform}:{NAME}" for platform in to],
            at=due(number + (number >= TIKTOK_PICTURES)),
            media=[Media(picture, alt=words)],
            options=_options(boards[number % len(boards)], words, to),
            idempotency_key=f"demo-{number}",
        )
        made.append(post.id)
    return made


def _options(board: str, words: str, to: tuple[str, ...]) -> dict[str, Any]:
    """Of a post with a picture. What Instagram finds too tall is put onto white, never cut."""
    chosen: dict[str, Any] = {
        "post": {"fit": "pad"},
        "pinterest": {"board": board, "title": words[:100]},
        "tiktok": {"privacy": "PUBLIC_TO_EVERYONE", "title": words[:90]},
    }
    return {name: value for name, value in chosen.items() if name == "post" or name in to}
