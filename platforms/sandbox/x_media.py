"""X's uploads: initialize, append, finalize, status, the one-shot form, alt text."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Sequence
from typing import Any

from platforms.sandbox.clip import read_clip
from platforms.sandbox.emulator import Emulator, Route, signed_in
from platforms.sandbox.media_store import Facts, Media, NotMediaError
from platforms.sandbox.shape import Fields, Flag, Many, MismatchError, Text, Whole
from platforms.sandbox.wire import Request, Response, json_response, multipart

ID = Text(pattern="[0-9]{1,19}")
TYPES = (
    "video/mp4", "video/webm", "video/mp2t", "video/quicktime", "text/srt", "text/vtt", "image/jpeg",
    "image/gif", "image/bmp", "image/png", "image/webp", "image/pjpeg", "image/tiff", "model/gltf-binary",
    "model/vnd.usdz+zip",
)  # fmt: skip
CATEGORIES = (
    "amplify_video", "tweet_gif", "tweet_image", "tweet_video", "dm_gif", "dm_image", "dm_video", "subtitles",
)  # fmt: skip
BYTE_LIMITS = {"image": 5 * 1024 * 1024, "gif": 15 * 1024 * 1024, "video": 512 * 1024 * 1024}
ALT_LIMIT = 1000
GIF_SIDES, GIF_FRAMES, GIF_PIXELS = (1280, 1080), 350, 300_000_000
VIDEO_SIDES, VIDEO_SIDES_PREMIUM = (1280, 1024), (1920, 1080)
VIDEO_LEAST_S, VIDEO_LONGEST_S = 0.5, 140.0
"""Media guide, 2026-08. Longer videos are for Premium; the post is refused then, not the upload."""

INITIALIZE = Fields(
    {
        "media_type": Text(one_of=TYPES),
        "total_bytes": Whole(0, 17_179_869_184),
        "media_category": Text(one_of=CATEGORIES),
        "additional_owners": Many(ID),
        "shared": Flag(),
    }
)
APPEND = Fields({"media": Text(), "segment_index": Whole(0, 999)}, required=("media", "segment_index"))
ONE_SHOT = Fields(
    {
        "media": Text(),
        "media_category": Text(one_of=tuple(name for name in CATEGORIES if name != "amplify_video")),
        "additional_owners": Text(),
    },
    required=("media", "media_category"),
)
METADATA = Fields(
    {
        "id": ID,
        "metadata": Fields({"alt_text": Fields({"text": Text(high=ALT_LIMIT)}, required=("text",))}),
    },
    required=("id",),
)

WRITE = ("media.write",)
UPLOADS = (1875, 900)
ONE_SHOTS = (500, 900)


class XMedia:
    """The upload calls of the X emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self._x = emulator
        self._world = emulator.world

    def routes(self) -> Sequence[Route]:
        base = "/2/media/upload"
        return (
            Route("POST", f"{base}/initialize", "initialize", "prepare", self.initialize, UPLOADS, WRITE),
            Route("POST", f"{base}/{{id}}/append", "append", "prepare", self.append, UPLOADS, WRITE),
            Route("POST", f"{base}/{{id}}/finalize", "finalize", "prepare", self.finalize, UPLOADS, WRITE),
            Route("GET", base, "media_status", "prepare", self.status, (1000, 900), WRITE),
            Route("POST", base, "upload", "prepare", self.one_shot, ONE_SHOTS, WRITE),
            Route("POST", "/2/media/metadata", "metadata", "prepare", self.metadata, ONE_SHOTS, WRITE),
        )

    async def initialize(self, request: Request) -> Response:
        body = self._checked(INITIALIZE, self._x.json_body(request))
        if "media_type" not in body or "total_bytes" not in body:
            raise self._x.refuse(400, "media_type and total_bytes are needed to begin an upload.")
        media = self._new(request, body["media_type"], body.get("media_category", ""), body["total_bytes"])
        media.owners = list(body.get("additional_owners", ()))
        if media.total_bytes > self._byte_limit(media):
            raise self._x.refuse(400, "File size exceeds the limit of its category.")
        self._world.media.save(media)
        return json_response({"data": self._described(media)})

    async def append(self, request: Request) -> Response:
        media = self._mine(request, request.args["id"])
        if request.media_type == "multipart/form-data":
            index, data = self._from_parts(request)
        else:
            body = self._checked(APPEND, self._x.json_body(request))
            index, data = body["segment_index"], self._decoded(body["media"])
        if not data:
            raise self._x.refuse(400, "$.media: is empty")
        if len(data) > self._world.settings.append_limit:
            return Response(413)  # an edge proxy answers, so there is no JSON
        if media.finalized:
            raise self._x.refuse(400, "The upload is finalized already.")
        sizes = self._world.media.segment_sizes(media)
        sizes[index] = len(data)
        if sum(sizes.values()) > media.total_bytes:
            raise self._x.refuse(400, "More bytes than total_bytes announced.")
        self._world.media.put_segment(media, index, data)
        return json_response({"data": {"expires_at": int(media.expires_at)}})

    async def finalize(self, request: Request) -> Response:
        media = self._mine(request, request.args["id"])
        if not media.finalized:
            sizes = self._world.media.segment_sizes(media)
            if sorted(sizes) != list(range(len(sizes))) or sum(sizes.values()) != media.total_bytes:
                raise self._x.refuse(400, "Segments do not add up to total bytes.")
            await self._settle(media, self._world.media.take_segments(media))
        return json_response({"data": self._described(media)})

    async def status(self, request: Request) -> Response:
        query = request.query()
        if query.get("command", "STATUS") != "STATUS" or not query.get("media_id"):
            raise self._x.refuse(400, "command=STATUS and media_id are needed.")
        media = self._mine(request, query["media_id"])
        if not media.finalized:
            raise self._x.refuse(400, "The upload is not finalized.")
        return json_response({"data": self._described(media)})

    async def one_shot(self, request: Request) -> Response:
        if request.media_type == "multipart/form-data":
            body: dict[str, Any] = {}
            data = b""
            for part in multipart(request):
                if part.name == "media":
                    data = part.data
                    body["media"] = ""
                else:
                    body[part.name] = part.data.decode("utf-8", "replace")
            self._checked(ONE_SHOT, body)
        else:
            body = self._checked(ONE_SHOT, self._x.json_body(request))
            data = self._decoded(body["media"])
        media = self._new(request, "", body["media_category"], len(data))
        media.owners = [owner for owner in body.get("additional_owners", "").split(",") if owner]
        if media.total_bytes > self._byte_limit(media):
            raise self._x.refuse(400, "File size exceeds the limit of its category.")
        await self._settle(media, data)
        return json_response({"data": self._described(media)})

    async def metadata(self, request: Request) -> Response:
        body = self._checked(METADATA, self._x.json_body(request))
        media = self._mine(request, body["id"])
        alt = body.get("metadata", {}).get("alt_text", {}).get("text")
        if alt is not None:
            media.alt = alt
            self._world.media.save(media)
        associated = {"alt_text": {"text": media.alt}} if media.alt else {}
        return json_response({"data": {"id": media.media_id, "associated_metadata": associated}})

    # --- what the post call needs ---

    def usable(self, request: Request, media_id: str) -> Media | None:
        """The upload, if this account may attach it now."""
        account = signed_in(request)
        media = self._world.media.get("x", media_id)
        if media is None or media.expired or not media.finalized or media.failed:
            return None
        if media.account != account.name and account.user_id not in media.owners:
            return None
        return media if time.time() >= media.ready_at else None

    # --- pieces ---

    def _checked(self, shape: Fields, body: Any) -> dict[str, Any]:
        try:
            shape.check(body)
        except MismatchError as error:
            raise self._x.refuse(400, str(error)) from None
        checked: dict[str, Any] = body
        return checked

    def _decoded(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._x.refuse(400, "$.media: is not base64") from None

    def _from_parts(self, request: Request) -> tuple[int, bytes]:
        fields = {part.name: part.data for part in multipart(request)}
        if set(fields) != {"media", "segment_index"}:
            raise self._x.refuse(400, "media and segment_index, and nothing else, are needed.")
        index = fields["segment_index"].decode("latin-1")
        if not index.isdigit() or int(index) > 999:
            raise self._x.refuse(400, "$.segment_index: must be between 0 and 999")
        return int(index), fields["media"]

    def _new(self, request: Request, declared: str, category: str, size: int) -> Media:
        return Media(
            media_id=self._world.next_id(),
            platform="x",
            account=signed_in(request).name,
            declared_type=declared,
            category=category,
            total_bytes=size,
            expires_at=time.time() + self._world.settings.media_ttl_s,
        )

    def _mine(self, request: Request, media_id: str) -> Media:
        media = self._world.media.get("x", media_id)
        account = signed_in(request)
        if media is None or media.expired:
            raise self._x.refuse(404, f"Could not find media with id: [{media_id}].")
        if media.account != account.name:
            raise self._x.refuse(403, "The media belongs to another user.")
        return media

    def _byte_limit(self, media: Media) -> int:
        if media.category == "tweet_gif":
            return BYTE_LIMITS["gif"]
        video = media.declared_type.startswith("video/") or media.category.endswith("video")
        return BYTE_LIMITS["video" if video else "image"]

    async def _settle(self, media: Media, data: bytes) -> None:
        """Decodes what arrived and finishes the upload. :raises RefusedError: it fits no category."""
        try:
            sha, facts = await self._world.media.add(data)
        except NotMediaError:
            media.failed = "media type unrecognized."
            self._world.media.save(media)
            raise self._x.refuse(400, media.failed) from None
        wants_video = media.category.endswith("video")
        animated = facts.mime == "image/gif" and facts.frames > 1
        if wants_video != facts.is_video or (media.category == "tweet_gif" and facts.mime != "image/gif"):
            raise self._x.refuse(400, "The media does not fit its media_category.")
        media.sha256, media.mime, media.size = sha, facts.mime, len(data)
        media.width, media.height = facts.width, facts.height
        if animated and not media.category.endswith("gif"):
            media.category = "tweet_gif"
        if facts.is_video:
            media.failed = self._wrong_with_video(media, data)
        elif media.category == "tweet_gif":
            media.failed = _wrong_with_gif(facts)
        slow = facts.is_video or media.category == "tweet_gif"
        media.ready_at = time.time() + (self._world.settings.processing_s if slow else 0.0)
        media.finalized = True
        media.expires_at = time.time() + self._world.settings.media_ttl_s
        self._world.media.save(media)

    def _wrong_with_video(self, media: Media, data: bytes) -> str:
        """What X finds while it processes a video; empty: nothing."""
        clip = read_clip(data)
        if clip is None:
            return "Unsupported video format."
        media.width, media.height, media.duration_s = clip.width, clip.height, clip.duration_s
        account = self._world.accounts.ensure("x", media.account)
        sides = VIDEO_SIDES_PREMIUM if account.facts.get("premium") else VIDEO_SIDES
        long, short = max(clip.width, clip.height), min(clip.width, clip.height)
        if long > sides[0] or short > sides[1] or short < 32 or long > 3 * short:
            return "Invalid video dimensions or aspect ratio."
        return "The video is too short." if clip.duration_s < VIDEO_LEAST_S else ""

    def _described(self, media: Media) -> dict[str, Any]:
        data: dict[str, Any] = {
            "id": media.media_id,
            "media_key": media_key(media),
            "expires_after_secs": max(0, int(media.expires_at - time.time())),
        }
        if media.finalized:
            data["size"] = media.size
            if media.is_video or media.category == "tweet_gif":
                data["processing_info"] = self._processing(media)
        return data

    def _processing(self, media: Media) -> dict[str, Any]:
        left = media.ready_at - time.time()
        if left <= 0 and media.failed:
            # ``error`` is in live answers and clients, not in the OpenAPI, which closes the object.
            return {"state": "failed", "error": {"code": 1, "name": "InvalidMedia", "message": media.failed}}
        if left <= 0:
            return {"state": "succeeded", "progress_percent": 100}
        state = "pending" if left > self._world.settings.processing_s * 0.8 else "in_progress"
        percent = int(100 * (1 - left / max(self._world.settings.processing_s, 0.001)))
        return {"state": state, "check_after_secs": 1, "progress_percent": max(0, percent)}


def _wrong_with_gif(facts: Facts) -> str:
    if facts.width > GIF_SIDES[0] or facts.height > GIF_SIDES[1]:
        return "The animated GIF is too large."
    too_many = facts.frames > GIF_FRAMES or facts.width * facts.height * facts.frames > GIF_PIXELS
    return "The animated GIF has too many frames." if too_many else ""


def media_key(media: Media) -> str:
    """The key under which reads name an upload; its first number tells the kind."""
    kinds = {"amplify_video": "13", "tweet_video": "7", "tweet_gif": "16"}
    return f"{kinds.get(media.category, '3')}_{media.media_id}"
