"""Pinterest's pins: create, read, delete. Video uploads are in ``pinterest_media``."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Sequence
from typing import Any

from platforms.sandbox.accounts import Account
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.fetch import FetchError, fetch
from platforms.sandbox.ledger import Picture, Post
from platforms.sandbox.media_store import NotMediaError
from platforms.sandbox.pinterest_media import media_status
from platforms.sandbox.pinterest_words import PINS, READ, WRITE, PinterestWords, moment, open_fields
from platforms.sandbox.shape import Fields, Flag, Many, Shape, Text, Whole
from platforms.sandbox.wire import Request, Response, json_response

SEE = ("boards:read", "pins:read")
MAX_IMAGE_BYTES = 20 * 1024 * 1024
URL_MIMES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff"})

_ID = Text(pattern=r"\d+")
_ID_OR_NULL = Text(pattern=r"\d+", nullable=True)
_MIME = Text(one_of=("image/jpeg", "image/png"))
_DATA = Text(pattern=r"[a-zA-Z0-9+/=]+")
_SLIDE: dict[str, Shape] = {"title": Text(), "description": Text(), "link": Text()}

SOURCES: dict[str, Fields] = {
    "image_url": open_fields({"url": Text(low=1), "is_standard": Flag()}, "url"),
    "image_base64": open_fields({"content_type": _MIME, "data": _DATA, "is_standard": Flag()}, "content_type", "data"),
    "video_id": open_fields(
        {
            "media_id": _ID,
            "cover_image_url": Text(),
            "cover_image_content_type": _MIME,
            "cover_image_data": Text(),
            "cover_image_key_frame_time": Whole(low=0),
            "is_standard": Flag(),
        },
        "media_id",
    ),
    "multiple_image_urls": open_fields(
        {"items": Many(open_fields({**_SLIDE, "url": Text(low=1)}, "url"), 2, 5), "index": Whole(low=0)},
        "items",
    ),
    "multiple_image_base64": open_fields(
        {
            "items": Many(open_fields({**_SLIDE, "content_type": _MIME, "data": _DATA}, "content_type", "data"), 2, 5),
            "index": Whole(low=0),
        },
        "items",
    ),
}
CREATE = open_fields(
    {
        "board_id": _ID,
        "board_section_id": _ID_OR_NULL,
        "title": Text(high=100, nullable=True),
        "description": Text(high=800, nullable=True),
        "alt_text": Text(high=500, nullable=True),
        "link": Text(high=2048, nullable=True),
        "dominant_color": Text(nullable=True),
        "parent_pin_id": _ID_OR_NULL,
        "sponsor_id": _ID_OR_NULL,
    },
    "board_id",
    "media_source",
)


class Pins:
    """The pin calls; ``board_of`` finds an account's board or refuses, ``is_secret`` tells of it."""

    def __init__(
        self,
        words: PinterestWords,
        board_of: Callable[[Account, str], dict[str, Any]],
        is_secret: Callable[[Account, str], bool],
    ) -> None:
        self._words = words
        self._world = words.world
        self._board_of = board_of
        self._is_secret = is_secret

    def routes(self) -> Sequence[Route]:
        return (
            Route("POST", "/v5/pins", "create_pin", "publish", self.create_pin, WRITE, PINS),
            Route("GET", "/v5/pins", "list_pins", "read", self.list_pins, READ, SEE),
            Route("GET", "/v5/pins/{id}", "get_pin", "read", self.get_pin, READ, SEE),
            Route("DELETE", "/v5/pins/{id}", "delete_pin", "delete", self.delete_pin, WRITE, PINS),
            Route("GET", "/v5/boards/{id}/pins", "board_pins", "read", self.board_pins, READ, SEE),
            Route(
                "GET", "/v5/boards/{id}/sections/{section}/pins", "section_pins", "read", self.section_pins, READ, SEE
            ),
        )

    async def create_pin(self, request: Request) -> Response:
        account = signed_in(request)
        body = self._words.checked(CREATE, self._words.json_body(request))
        board = self._board_of(account, body["board_id"])
        if board["privacy"] == "SECRET" and not self._words.may(account, "boards:write_secret", "pins:write_secret"):
            raise self._words.refuse(403)
        if body.get("board_section_id"):
            self._section(board, body["board_section_id"])
        source = body["media_source"]
        kind = source.get("source_type") if isinstance(source, dict) else None
        if kind not in SOURCES:
            raise self._words.refuse(400, f"media_source.source_type {kind!r} is not supported.")
        self._words.checked(SOURCES[kind], source, "$.media_source")
        pictures, media_kind, poster = await self._pictures(account, kind, source)
        for picture in pictures:
            picture.alt = body.get("alt_text") or ""
        fields = {name: body[name] for name in ("title", "link", "board_section_id") if body.get(name)}
        if "items" in source:
            fields["slides"] = [{name: item[name] for name in _SLIDE if item.get(name)} for item in source["items"]]
        fields["board_id"] = board["id"]
        private = {
            "kind": media_kind,
            "dominant_color": body.get("dominant_color"),
            "poster": poster,
            "trial": account.facts.get("tier") == "trial",
        }
        post = Post(
            "pinterest",
            account.name,
            self._world.next_id(),
            body.get("description") or "",
            pictures,
            time.time(),
            request.began_at,
            fields,
            private,
        )
        self._world.ledger.accept(post)
        return json_response(self._shown(post), 201)

    async def get_pin(self, request: Request) -> Response:
        post = self._pin(request)
        hidden = post.private.get("trial") and post.account != signed_in(request).name
        if hidden or post.accepted_at > time.time() - request.read_lag_s:
            raise self._words.refuse(404, "Pin not found.")
        return json_response(self._shown(post))

    async def delete_pin(self, request: Request) -> Response:
        post = self._pin(request)
        if post.account != signed_in(request).name:
            raise self._words.refuse(403)
        self._world.ledger.delete(post)
        return Response(204)

    async def list_pins(self, request: Request) -> Response:
        return self._pins(request, None)

    async def board_pins(self, request: Request) -> Response:
        return self._pins(request, self._board_of(signed_in(request), request.args["id"])["id"])

    async def section_pins(self, request: Request) -> Response:
        board = self._board_of(signed_in(request), request.args["id"])
        return self._pins(request, board["id"], self._section(board, request.args["section"]))

    def _section(self, board: dict[str, Any], section: str) -> str:
        if all(entry["id"] != section for entry in board["sections"]):
            raise self._words.refuse(404, "Board section not found.")
        return section

    def _pin(self, request: Request) -> Post:
        post = self._world.ledger.find("pinterest", request.args["id"])
        if post is None:
            raise self._words.refuse(404, "Pin not found.")
        return post

    def _pins(self, request: Request, board_id: str | None, section: str | None = None) -> Response:
        account = signed_in(request)
        posts = self._world.ledger.newest_first("pinterest", account.name, lag_s=request.read_lag_s)
        chosen = [
            post
            for post in posts
            if board_id in {None, post.fields["board_id"]}
            and section in {None, post.fields.get("board_section_id")}
            and (self._words.may(account, "pins:read_secret") or not self._is_secret(account, post.fields["board_id"]))
        ]
        return self._words.page(request, [self._shown(post) for post in chosen])

    async def _pictures(self, account: Account, kind: str, source: dict[str, Any]) -> tuple[list[Picture], str, str]:
        """What the pin will show, fetched or decoded in full; what kind of media that is; a video's cover."""
        if kind == "image_url":
            return [await self._pulled(source["url"])], "image", ""
        if kind == "image_base64":
            return [await self._sent(source["data"], source["content_type"])], "image", ""
        if kind == "video_id":
            video, poster = await self._video(account, source)
            return [video], "video", poster
        if source.get("index", 0) >= len(source["items"]):
            raise self._words.refuse(400, "media_source.index is beyond the items.")
        pictures = []
        for item in source["items"]:
            pulled = "url" in item
            picture = self._pulled(item["url"]) if pulled else self._sent(item["data"], item["content_type"])
            pictures.append(await picture)
        if len({(picture.width, picture.height) for picture in pictures}) > 1:
            raise self._words.refuse(400, "All images of a carousel need the same width and height.")
        return pictures, "multiple_images", ""

    async def _pulled(self, url: str) -> Picture:
        try:
            fetched = await asyncio.to_thread(fetch, url)
        except FetchError as error:
            raise self._words.refuse(400, f"Unable to reach the URL: {error}.") from None
        if fetched.content_type not in URL_MIMES:
            raise self._words.refuse(400, f"The URL is not an image: {fetched.content_type or 'no content type'}.")
        return await self._decoded(fetched.data, None)

    async def _sent(self, text: str, content_type: str) -> Picture:
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._words.refuse(400, "The image data is not base64.") from None
        return await self._decoded(data, content_type)

    async def _decoded(self, data: bytes, content_type: str | None) -> Picture:
        if len(data) > MAX_IMAGE_BYTES:
            raise self._words.refuse(400, "The image is too large.")
        try:
            sha, facts = await self._world.media.add(data)
        except NotMediaError as error:
            raise self._words.refuse(400, f"The image is broken: {error}.") from None
        if facts.is_video or (content_type is not None and facts.mime != content_type):
            raise self._words.refuse(400, f"The image is {facts.mime}, not {content_type or 'an image'}.")
        return Picture(sha, "", facts.mime, facts.width, facts.height)

    async def _video(self, account: Account, source: dict[str, Any]) -> tuple[Picture, str]:
        """The video, and the sha256 of its cover where that is a picture."""
        media = self._world.media.get("pinterest", source["media_id"])
        if media is None or media.account != account.name or media.expired:
            raise self._words.refuse(400, "The media_id is not known.")
        if media_status(media) != "succeeded":
            raise self._words.refuse(400, f"The media is {media_status(media)}.")
        cover: Picture | None = None
        if "cover_image_url" in source:
            cover = await self._pulled(source["cover_image_url"])
        elif "cover_image_data" in source and "cover_image_content_type" in source:
            cover = await self._sent(source["cover_image_data"], source["cover_image_content_type"])
        elif "cover_image_key_frame_time" not in source:
            raise self._words.refuse(400, "cover_image_url or cover_image_content_type is required for a video.")
        return Picture(media.sha256, "", media.mime, media.width, media.height), cover.sha256 if cover else ""

    def _shown(self, post: Post) -> dict[str, Any]:
        account = self._world.accounts.ensure("pinterest", post.account)
        sizes = [self._sizes(picture) for picture in post.pictures]
        media: dict[str, Any] = {"media_type": post.private["kind"]}
        if media["media_type"] == "image":
            media["images"] = sizes[0]
        elif media["media_type"] == "video":
            film = post.pictures[0]
            media |= {"width": film.width or None, "height": film.height or None, "duration": None, "video_url": None}
            if post.private.get("poster"):
                media["cover_image_url"] = f"{self._world.url}/_sandbox/blob/{post.private['poster']}"
        elif media["media_type"] == "multiple_images":
            media["items"] = [
                {"item_type": "image", "images": size, **{name: slide.get(name) for name in _SLIDE}}
                for size, slide in zip(sizes, post.fields["slides"], strict=True)
            ]
        creative = {"image": "REGULAR", "video": "VIDEO", "multiple_images": "CAROUSEL"}
        return {
            "id": post.remote_id,
            "created_at": moment(post.accepted_at),
            "link": post.fields.get("link"),
            "title": post.fields.get("title"),
            "description": post.text,
            "dominant_color": post.private["dominant_color"],
            "alt_text": (post.pictures[0].alt if post.pictures else "") or None,
            "creative_type": creative[media["media_type"]],
            "board_id": post.fields["board_id"],
            "board_section_id": post.fields.get("board_section_id"),
            "board_owner": {"username": account.username},
            "parent_pin_id": None,
            "media": media,
            "is_owner": True,
            "is_standard": True,
            "has_been_promoted": False,
            "pin_metrics": None,
        }

    def _sizes(self, picture: Picture) -> dict[str, Any]:
        url = f"{self._world.url}/_sandbox/blob/{picture.sha256}"
        height = round(picture.height * 600 / picture.width) if picture.width else 0
        return {"600x": {"width": 600, "height": height, "url": url}}
