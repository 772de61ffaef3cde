"""Instagram's containers: what they take, how they get their media, what becomes of them.

A container is kept as an upload of the media store, so that it outlives a restart: its ``category`` holds the
parameters as JSON, its ``failed`` the subcode of what went wrong, its ``alt`` when it was published.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.clip import read_clip
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.fetch import FetchError, fetch
from platforms.sandbox.instagram_words import MESSAGES
from platforms.sandbox.media_store import Facts, Media, NotMediaError
from platforms.sandbox.wire import Request, Response, json_response

if TYPE_CHECKING:
    from platforms.sandbox.instagram import Instagram

CONTAINERS_A_DAY = 400
LARGEST_IMAGE = 8 * 1024 * 1024
LARGEST_REEL, LARGEST_STORY = 300_000_000, 100_000_000
SHORTEST_S, LONGEST_REEL_S, LONGEST_STORY_S = 3.0, 900.0, 60.0
WIDEST = 1_920
UPLOAD_ORIGIN = "https://rupload.facebook.com"
"""As Instagram says it: a client that is pointed at the sandbox sends it here."""
FIELDS = frozenset(
    {
        "alt_text", "audio_name", "caption", "children", "collaborators", "cover_url", "image_url", "is_carousel_item",
        "location_id", "media_type", "product_tags", "share_to_feed", "thumb_offset", "trial_params", "upload_type",
        "user_tags", "video_url",
    }
)  # fmt: skip
"""All parameters of POST /{ig-user}/media. Source: Meta's SDK specification, 2026-04."""
KINDS = ("", "IMAGE", "VIDEO", "REELS", "STORIES", "CAROUSEL")
_TAG = re.compile(r"(?<![\w&])#\w+")
_MENTION = re.compile(r"(?<![\w.])@[A-Za-z0-9._]+")


class InstagramContainers:
    """The calls of the Instagram emulator that make containers."""

    def __init__(self, emulator: Instagram) -> None:
        self._ig = emulator
        self._world = emulator.world
        self._arrived: dict[str, bytes] = {}
        """What came of uploads that are not whole; in memory only, as they are hours at most."""

    def routes(self, version: str) -> Sequence[Route]:
        """Of one Graph version."""
        return (
            Route("POST", f"/{version}/{{id}}/media", "media", "prepare", self.make),
            Route("POST", f"/ig-api-upload/{version}/{{id}}", "rupload", "prepare", self.upload),
        )

    # --- making ---

    async def make(self, request: Request) -> Response:
        account = signed_in(request)
        self._ig.mine(request, account)
        self._ig.needs(account, "basic", "publish")
        given = self._ig.parameters(request)
        if unknown := set(given) - FIELDS:
            raise self._ig.wrong(f"Unknown parameter: {min(unknown)}")
        if not self._ig.containers_left(account):
            raise self._ig.refuse(429, "Too many containers in 24 hours.")
        self._check(account, given)
        made = Media(
            self._world.next_id(),
            "instagram",
            account.name,
            given.get("media_type", ""),
            json.dumps(given),
            0,
            time.time() + self._world.settings.media_ttl_s,
        )
        made.ready_at = time.time()
        answer = {"id": made.media_id}
        if given.get("media_type") == "CAROUSEL":
            self._join(account, made, given)
        elif "image_url" in given:
            await self._image(made, given)
        elif "video_url" in given:
            await self._video(made, given["video_url"])
        else:
            version = request.path.split("/")[1]
            answer["uri"] = f"{UPLOAD_ORIGIN}/ig-api-upload/{version}/{made.media_id}"
        self._world.media.save(made)
        return json_response(answer)

    def _check(self, account: Account, given: dict[str, str]) -> None:
        """:raises RefusedError: the parameters do not go together."""
        kind, child = given.get("media_type", ""), given.get("is_carousel_item") == "true"
        if kind not in KINDS:
            raise self._ig.no(2207023, kind)
        if len(given.get("caption", "")) > 2200:
            raise self._ig.no(2207010)
        if len(_MENTION.findall(given.get("caption", ""))) > 20 or len(_TAG.findall(given.get("caption", ""))) > 30:
            raise self._ig.no(2207040)
        if child and ({"caption", "collaborators"} & set(given) or kind in {"REELS", "STORIES", "CAROUSEL"}):
            raise self._ig.wrong("A carousel item has no caption and no collaborators, and is an image or a VIDEO.")
        if len(given.get("alt_text", "")) > 1000 or (
            "alt_text" in given and ("image_url" not in given or kind == "STORIES")
        ):
            raise self._ig.wrong("alt_text is for images, up to 1000 characters.")
        sources = {"image_url", "video_url", "upload_type"} & set(given)
        if len(sources) != (0 if kind == "CAROUSEL" else 1):
            raise self._ig.wrong("Only photo or video can be accepted as media type.")
        moving = "image_url" not in given and kind != "CAROUSEL"
        if (moving and kind not in {"VIDEO", "REELS", "STORIES"}) or (kind == "VIDEO" and not child):
            raise self._ig.wrong("Use media_type=REELS for a video.")
        if kind == "REELS" and "image_url" in given:
            raise self._ig.wrong("A reel needs a video.")
        if "upload_type" in given and (
            given["upload_type"] != "resumable" or account.facts.get("login") == "instagram"
        ):
            raise self._ig.wrong("upload_type resumable is for Facebook Login.")
        self._check_lists(given)

    def _check_lists(self, given: dict[str, str]) -> None:
        for name, limit in (("collaborators", 3), ("user_tags", 20)):
            if name not in given:
                continue
            try:
                listed = json.loads(given[name])
            except ValueError:
                listed = None
            if not isinstance(listed, list) or len(listed) > limit:
                raise self._ig.wrong(f"{name} has to be a JSON array of up to {limit}.")
            if name == "user_tags" and not all(_well_tagged(tag, still="image_url" in given) for tag in listed):
                raise self._ig.wrong("user_tags of an image need username, x and y; those of a video username alone.")
        if given.get("media_type") == "STORIES" and {"collaborators", "alt_text"} & set(given):
            raise self._ig.wrong("A story has no collaborators.")

    def _join(self, account: Account, made: Media, given: dict[str, str]) -> None:
        wanted = [child for child in given.get("children", "").split(",") if child]
        if not 2 <= len(wanted) <= 10 or len(set(wanted)) != len(wanted):
            raise self._ig.no(2207028)
        for child in wanted:
            held = self._world.media.get("instagram", child)
            if held is None or held.account != account.name or held.expired:
                raise self._ig.no(2207006, child)
            if self.words(held).get("is_carousel_item") != "true":
                raise self._ig.wrong(f"{child} is not a carousel item.")
            made.ready_at = max(made.ready_at, held.ready_at)
            made.failed = made.failed or held.failed
        made.owners = wanted
        made.finalized = True

    async def _image(self, made: Media, given: dict[str, str]) -> None:
        """Images are fetched at once: what is wrong with one is told in the answer."""
        data, facts = await self._got(made, given["image_url"])
        if facts.mime != "image/jpeg":
            raise self._ig.no(2207005, facts.mime)
        if len(data) > LARGEST_IMAGE:
            raise self._ig.no(2207004)
        ratio = facts.width / facts.height
        if given.get("media_type") != "STORIES" and not 0.799 <= ratio <= 1.911:
            raise self._ig.no(2207009, f"{ratio:.3f}")
        made.ready_at += self._world.settings.processing_s / 5

    async def _got(self, made: Media, url: str) -> tuple[bytes, Facts]:
        if not url.isascii():
            raise self._ig.no(2207052)
        try:
            data = (await asyncio.to_thread(fetch, url)).data
        except FetchError as error:
            raise self._ig.no(2207052, f"({error})") from None
        try:
            made.sha256, facts = await self._world.media.add(data)
        except NotMediaError as error:
            raise self._ig.no(2207005, str(error)) from None
        made.mime, made.width, made.height, made.size = facts.mime, facts.width, facts.height, len(data)
        made.finalized = True
        return data, facts

    async def _video(self, made: Media, url: str) -> None:
        """Videos are fetched later in reality: what is wrong with one is told by the container's status."""
        try:
            data = (await asyncio.to_thread(fetch, url)).data
        except FetchError:
            made.failed = "2207052"
            made.finalized = True
            return
        await self._settle(made, data)

    async def _settle(self, made: Media, data: bytes) -> None:
        made.finalized = True
        made.ready_at = time.time() + self._world.settings.processing_s
        limit = LARGEST_STORY if self.words(made).get("media_type") == "STORIES" else LARGEST_REEL
        try:
            made.sha256, facts = await self._world.media.add(data)
        except NotMediaError:
            made.failed = "2207026"
            return
        made.mime, made.size = facts.mime, len(data)
        if facts.mime not in {"video/mp4", "video/quicktime"} or len(data) > limit:
            made.failed = "2207026"
            return
        clip = read_clip(data)
        longest = LONGEST_REEL_S if self.words(made).get("media_type") == "REELS" else LONGEST_STORY_S
        if clip is None or not SHORTEST_S <= clip.duration_s <= longest or clip.width > WIDEST:
            made.failed = "2207026"

    async def upload(self, request: Request) -> Response:
        """Bytes for a container that was made with ``upload_type=resumable``: whole, piece by piece (each begins where
        the one before ended), or by ``file_url``.
        """
        made = self._world.media.get("instagram", request.args["id"])
        if made is None or made.account != signed_in(request).name or made.expired:
            raise self._ig.missing(request.args["id"])
        if not request.headers.get("authorization", "").lower().startswith("oauth "):
            raise self._ig.refuse(401)
        url = request.headers.get("file_url")
        held = self._arrived.get(made.media_id, b"")
        offset, size = (request.headers.get(name, "") for name in ("offset", "file_size"))
        fits = offset == str(len(held)) and size.isdigit() and len(held) + len(request.body) <= int(size)
        if made.finalized or (url is None and not fits):
            trouble = {"retriable": False, "type": "ProcessingFailedError", "message": "Request processing failed"}
            return json_response({"debug_info": trouble}, 400)
        if url is not None:
            await self._video(made, url)
        else:
            self._arrived[made.media_id] = held + request.body
            if len(self._arrived[made.media_id]) == int(size):
                await self._settle(made, self._arrived.pop(made.media_id))
        self._world.media.save(made)
        return json_response({"success": True, "message": "Upload successful."})

    # --- what publishing and reading need ---

    def words(self, container: Media) -> dict[str, str]:
        """The parameters it was made with."""
        found: dict[str, str] = json.loads(container.category)
        return found

    def parts(self, container: Media) -> list[Media]:
        """The containers whose media the post shows."""
        held = [self._world.media.get("instagram", child) for child in container.owners]
        return [child for child in held if child is not None] or [container]

    def state(self, container: Media, *, lag_s: float = 0.0) -> str:
        """``status_code``; that it is published shows only ``lag_s`` afterwards."""
        if container.alt and float(container.alt) <= time.time() - lag_s:
            return "PUBLISHED"
        if container.expired:
            return "EXPIRED"
        if container.failed and time.time() >= container.ready_at:
            return "ERROR"
        ready = container.finalized and time.time() >= container.ready_at
        return "FINISHED" if ready else "IN_PROGRESS"

    def described(self, container: Media, *, lag_s: float = 0.0) -> dict[str, Any]:
        """The fields of a container's node."""
        code = self.state(container, lag_s=lag_s)
        words = {
            "FINISHED": "Finished: Media has been uploaded and it is ready to be published.",
            "IN_PROGRESS": "In Progress: Media is still being processed.",
            "PUBLISHED": "Published: Media has been successfully published.",
            "EXPIRED": "Expired: The media container was not published within 24 hours.",
        }
        failed = container.failed and code == "ERROR"
        told = f"Error: {MESSAGES[int(container.failed)][1]} ({container.failed})" if failed else words.get(code, "")
        arrived = container.size if container.finalized else len(self._arrived.get(container.media_id, b""))
        phase = {"status": "complete" if container.finalized else "in_progress", "bytes_transferred": arrived}
        video = {"uploading_phase": phase} if "upload_type" in self.words(container) else None
        return {"id": container.media_id, "status_code": code, "status": told, "video_status": video}

    def publishable(self, account: Account, creation_id: str) -> Media:
        """The container, if it may be published now. :raises RefusedError: it may not."""
        held = self._world.media.get("instagram", creation_id)
        if held is None or held.account != account.name:
            raise self._ig.no(2207006)
        if self.words(held).get("is_carousel_item") == "true":
            raise self._ig.wrong("A carousel item cannot be published by itself.")
        match self.state(held):
            case "FINISHED":
                return held
            case "EXPIRED":
                raise self._ig.no(2207020)
            case "PUBLISHED":
                # A container publishes once; how Instagram words it is not documented.
                raise self._ig.no(2207006, "It was published before.")
            case "ERROR":
                raise self._ig.no(int(held.failed))
        raise self._ig.no(2207027)

    def mark_published(self, container: Media) -> None:
        """It is good for nothing from now on."""
        container.alt = str(time.time())
        self._world.media.save(container)


def _well_tagged(tag: Any, *, still: bool) -> bool:
    """In a picture people have a place, in a video they have none."""
    return isinstance(tag, dict) and set(tag) == ({"username", "x", "y"} if still else {"username"})
