"""Pinterest's video uploads: register, the form that goes to Amazon S3, status.

The form is judged as S3 judges a browser's POST: by the policy that was signed for it (AWS documentation,
"Browser-based uploads using POST", 2026).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from platforms.sandbox.clip import read_clip
from platforms.sandbox.emulator import Route, signed_in
from platforms.sandbox.media_store import Media, NotMediaError
from platforms.sandbox.pinterest_words import PINS, READ, WRITE, PinterestWords, open_fields
from platforms.sandbox.shape import Text
from platforms.sandbox.wire import BadRequestError, Part, Request, Response, json_response, multipart

MAX_BYTES = 2_000_000_000
LEAST_S, LONGEST_S = 4.0, 15 * 60.0
NARROWEST, WIDEST = 1 / 2, 1.91
"""Media guides, 2026-11."""
SLACK = 0.01
"""Of a ratio: sides are whole, even numbers."""
UPLOAD_PATH = "/pinterest-upload"
CREDENTIAL = "ASIASANDBOX/20260101/us-east-1/s3/aws4_request"


class Uploads:
    """The media calls of the Pinterest emulator, and the store that takes the files."""

    def __init__(self, words: PinterestWords) -> None:
        self._words = words
        self._world = words.world

    def routes(self) -> Sequence[Route]:
        """Every call of an upload."""
        return (
            Route("POST", "/v5/media", "register_media", "prepare", self.register_media, WRITE, PINS),
            Route("GET", "/v5/media", "list_media", "prepare", self.list_media, READ, PINS),
            Route("GET", "/v5/media/{id}", "media_status", "prepare", self.media_status, READ, PINS),
            Route("POST", UPLOAD_PATH, "upload_media", "prepare", self.upload_media, signed=False),
        )

    async def register_media(self, request: Request) -> Response:
        shape = open_fields({"media_type": Text(one_of=("video",))}, "media_type")
        self._words.checked(shape, self._words.json_body(request))
        expires_at = time.time() + self._world.settings.media_ttl_s
        media_id = self._world.next_id()
        account = signed_in(request)
        media = Media(media_id, "pinterest", account.name, "video", "video", 0, expires_at)
        self._world.media.save(media)
        answer = {**_described(media), "upload_url": f"{self._world.url}{UPLOAD_PATH}"}
        del answer["status"]
        return json_response({**answer, "upload_parameters": _pass_for(media)}, 201)

    async def upload_media(self, request: Request) -> Response:
        """The form at S3, which answers in XML."""
        if "authorization" in request.headers:
            return _no(400, "InvalidArgument", "Only one auth mechanism allowed")
        try:
            parts = multipart(request)
        except BadRequestError:
            return _no(400, "MalformedPOSTRequest", "The body of your POST request is not well-formed.")
        names = [part.name for part in parts]
        if names.count("file") != 1:
            return _no(400, "InvalidArgument", "POST requires exactly one file upload per request.")
        # What comes after the file is not read.
        before = parts[: names.index("file")]
        media, refused = self._allowed(before)
        if media is None:
            return refused
        data = parts[names.index("file")].data
        if len(data) > MAX_BYTES:
            return _no(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        await self._take(media, data)
        return Response(204)

    def _allowed(self, parts: Sequence[Part]) -> tuple[Media | None, Response]:
        """The upload that the form's pass is for; or how S3 refuses it."""
        given = {part.name: part.data.decode("utf-8", "replace") for part in parts}
        policy = given.get("policy", "")
        if given.get("x-amz-signature") != _signature(policy):
            message = "The request signature we calculated does not match the signature you provided."
            return None, _no(403, "SignatureDoesNotMatch", message)
        told = json.loads(base64.b64decode(policy))
        if time.time() >= told["expires"]:
            return None, _no(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
        conditions: dict[str, str] = told["conditions"]
        for name, value in conditions.items():
            if given.get(name) != value:
                failed = f'["eq", "${name}", "{value}"]'
                message = f"Invalid according to Policy: Policy Condition failed: {failed}"
                return None, _no(403, "AccessDenied", message)
        extra = set(given) - set(conditions) - {"policy", "x-amz-signature"}
        if extra:
            message = f"Invalid according to Policy: Extra input fields: {min(extra)}"
            return None, _no(403, "AccessDenied", message)
        media = self._world.media.get("pinterest", conditions["key"].rpartition(":")[2])
        return media, _no(403, "AccessDenied", "Access Denied")

    async def _take(self, media: Media, data: bytes) -> None:
        """Keeps the file. What is wrong with it is found while it is processed, and told by the status."""
        media.finalized = True
        media.ready_at = time.time() + self._world.settings.processing_s
        try:
            media.sha256, facts = await self._world.media.add(data)
            media.mime, media.size = facts.mime, len(data)
            media.failed = _wrong_with(media, data) if facts.is_video else "not a video"
        except NotMediaError as error:
            media.failed = str(error)
        self._world.media.save(media)

    async def media_status(self, request: Request) -> Response:
        media = self._world.media.get("pinterest", request.args["id"])
        if media is None or media.account != signed_in(request).name or media.expired:
            raise self._words.refuse(404, "Media not found.")
        return json_response(_described(media))

    async def list_media(self, request: Request) -> Response:
        held = self._world.media.of_account("pinterest", signed_in(request).name)
        return self._words.page(request, [_described(media) for media in reversed(held)])


def media_status(media: Media) -> str:
    """How far an upload is, in Pinterest's words."""
    if not media.finalized:
        return "registered"
    if time.time() < media.ready_at:
        return "processing"
    return "failed" if media.failed else "succeeded"


def _described(media: Media) -> dict[str, Any]:
    return {"media_id": media.media_id, "media_type": "video", "status": media_status(media)}


def _wrong_with(media: Media, data: bytes) -> str:
    clip = read_clip(data)
    if clip is None:
        return "the video has no header that can be read"
    media.width, media.height, media.duration_s = clip.width, clip.height, clip.duration_s
    if not LEAST_S - 0.05 <= clip.duration_s <= LONGEST_S + 0.05:
        return "the video is too short or too long"
    fits = NARROWEST * (1 - SLACK) <= clip.width / clip.height <= WIDEST * (1 + SLACK)
    return "" if fits else "the aspect ratio is not allowed"


def _pass_for(media: Media) -> dict[str, str]:
    """The form's fields: a signed policy, and every field that it names."""
    conditions = {
        "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-security-token": "sandbox",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "key": f"uploads/11/aa/22/3:video:{media.media_id}",
        "x-amz-credential": CREDENTIAL,
        "Content-Type": "multipart/form-data",
    }
    policy = json.dumps({"expires": media.expires_at, "conditions": conditions})
    encoded = base64.b64encode(policy.encode()).decode("ascii")
    return {**conditions, "policy": encoded, "x-amz-signature": _signature(encoded)}


def _signature(policy: str) -> str:
    return hashlib.sha256(f"sandbox:{policy}".encode()).hexdigest()


def _no(status: int, code: str, message: str) -> Response:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(status, text.replace('"', "&quot;").encode(), "application/xml")
